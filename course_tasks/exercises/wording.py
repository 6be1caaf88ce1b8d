"""How the sentences about an answer call its functions, calls and values."""

SIZE = 60  # characters of a value in a sentence


def name(function):
    """What ``function`` is called: a function's or class's own name, else that of its type."""
    return getattr(function, "__name__", type(function).__name__)


def called(function, args):
    """``function(*args)`` as one writes it."""
    told = ", ".join(name(value) if callable(value) else short(value) for value in args)
    return f"{name(function)}({told})"


def short(value):
    """``value`` as one writes it, on one line and not too long; a table by its type."""
    try:
        text = repr(value)
    except Exception:  # theirs may be of any kind
        text = "\n"
    if "\n" in text:
        return f"<{type(value).__name__}>"
    return text if len(text) <= SIZE else f"{text[: SIZE - 1]}…"


def ended(status):
    """How a process ended that has this exit ``status`` (negative for a signal)."""
    return f"by signal {-status}" if status < 0 else f"with status {status}"


def place_told(place):
    """A ``place`` of :func:`course_tasks.breakpoints.boundaries` as one says it: "after GET"."""
    moment, command = next(iter(place.items()))
    return f"{moment} {command}"
