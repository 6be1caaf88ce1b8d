"""Checking what was typed: each function returns the value, or raises an error that names the argument."""

import numbers

MAIL = "tasks.send_mail_from_queue"
TASKS = (MAIL, "tasks.add", "tasks.data_extractor")
YEAR = 366 * 86400


def duration(name, value, or_zero=False, unit="seconds"):
    """``value`` as a float; ValueError or TypeError where it is no number of ``unit``, above 0 (or 0, with ``or_zero``)."""
    number = _number(name, value, unit)
    if not (0 < number < float("inf") or (or_zero and number == 0)):
        raise ValueError(f"{name} must be a number of {unit}{', 0 or more' if or_zero else ' above 0'}, not {value!r}")
    return number


def shift(name, value):
    """``value`` as a float; ValueError or TypeError where it is no number of seconds by which a clock can be moved."""
    number = _number(name, value, "seconds")
    if not 0 < abs(number) <= YEAR:
        raise ValueError(f"{name} must be other than 0, and a year ({YEAR}) at most, forward or back, not {value!r}")
    return number


def milliseconds(name, value):
    """``value`` as a float; ValueError or TypeError where it is no number of milliseconds, 0 or more."""
    return duration(name, value, or_zero=True, unit="milliseconds")


def names(kind, given, known):
    """``given``, one name or several, as a tuple; all that are ``known`` where it is None.

    ``kind`` is what such a thing is called. Raises ValueError, which lists those that are known, or TypeError.
    """
    if given is None:
        return tuple(known)
    several = (given,) if isinstance(given, str) else given
    if not isinstance(several, list | tuple | set) or not all(isinstance(name, str) for name in several):
        raise TypeError(f"say the name of one {kind} or a list of names, not {given!r}")
    if not several:
        raise ValueError(f"say the name of at least one {kind}")
    if unknown := [name for name in several if name not in known]:
        raise ValueError(f"no {kind} is called {unknown[0]!r}; there are {', '.join(known)}")
    return tuple(several)


def task(name):
    """``name`` if it is that of a task; else ValueError."""
    if name not in TASKS:
        raise ValueError(f"no task is called {name!r}; the tasks are {', '.join(TASKS)}")
    return name


def count(name, value, least, most=float("inf")):
    """``value`` if it is an int from ``least`` to ``most``; else ValueError or TypeError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a whole number, not {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be {least} {'or more' if most == float('inf') else f'to {most}'}, not {value!r}")
    return value


def flag(name, value):
    """``value`` if it is True or False; else TypeError: "no" would count as True."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is True or False, not {value!r}")
    return value


def _number(name, value, unit):
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is a number of {unit}, not {value!r}")
    try:
        return float(value)
    except OverflowError:  # of an int
        return float("inf")
