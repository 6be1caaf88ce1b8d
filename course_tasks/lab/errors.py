"""What goes wrong in a lab, said so that one knows what to do."""


class LabError(RuntimeError):
    """The lab could not do what it was asked; the message says what is missing and what to do."""


def last_lines(log, count=8):
    """The last ``count`` lines of ``log`` (bytes), indented, for the end of an error message."""
    lines = log.decode(errors="replace").strip().splitlines()[-count:]
    return "\n".join(f"    {line}" for line in lines) or "    (it wrote nothing)"
