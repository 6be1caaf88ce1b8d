"""What goes wrong in a lab, said so that one knows what to do."""

NO_CLOCKS = "the clocks of this lab's servers can't be moved: make it with Lab(…, clocks=True)"
NO_REPLICAS = "none: make the lab with Lab(…, replicas=1)"  # after "there are"


class LabError(RuntimeError):
    """The lab could not do what it was asked; the message says what is missing and what to do."""


def ended(name, status, log):
    """The LabError for a process called ``name`` that has ended by itself with ``status``; ``log`` is the file of its output."""
    return LabError(
        f"{name} has ended with status {status}: run the cell that starts the lab again. "
        f"The last lines it wrote are\n{last_lines(log.read_bytes())}"
    )


def last_lines(log, count=8):
    """The last ``count`` lines of ``log`` (bytes), indented, for the end of an error message."""
    lines = log.decode(errors="replace").strip().splitlines()[-count:]
    return "\n".join(f"    {line}" for line in lines) or "    (it wrote nothing)"
