"""A hands-on course on distributed locking: a lab of real servers and workers, and the locks it takes apart.

``from course_tasks import Lab, kill, pause, compare`` is all that a lesson imports. The names are looked up when
they are first used, so that a Celery worker, which imports this package too, loads neither pandas nor matplotlib.
"""

import importlib

_PUBLIC = {
    "Lab": "course_tasks.lab",
    "kill": "course_tasks.lab",
    "pause": "course_tasks.lab",
    "preflight": "course_tasks.lab",
    "compare": "course_tasks.lab",
}

__all__ = list(_PUBLIC)


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
