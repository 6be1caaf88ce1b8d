"""The lab: ``Lab`` starts it, ``Lab.run`` returns a ``Run``, ``kill`` and ``pause`` are the faults.

The names are looked up when they are first used: the warden, which lives in this package, must not load what draws.
"""

import importlib

_PUBLIC = {
    "Lab": "lab",
    "LabError": "errors",
    "Run": "run",
    "compare": "run",
    "kill": "faults",
    "pause": "faults",
    "preflight": "checks",
}

__all__ = list(_PUBLIC)


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"course_tasks.lab.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
