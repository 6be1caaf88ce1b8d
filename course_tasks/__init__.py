"""A hands-on course on distributed locking: a lab of real servers and workers, and the locks it takes apart.

A lesson imports from here; and from ``course_tasks.locks``, ``course_tasks.breakpoints`` and ``course_tasks.interleavings``
what it is about. The names are looked up when they are first used, so that a Celery worker, which imports this package
too, loads neither pandas nor matplotlib.
"""

from course_tasks.lazily import exports

_HOMES = {
    "Lab": "lab",
    "cut": "lab",
    "kill": "lab",
    "movable_clocks": "lab",
    "move_clock": "lab",
    "pause": "lab",
    "preflight": "lab",
    "promote": "lab",
    "restart": "lab",
    "slow": "lab",
    "compare": "lab",
    "exercise": "exercises",
    "hint": "exercises",
    "solution": "exercises",
    "progress": "exercises",
}

__all__ = list(_HOMES)
__getattr__ = exports(__name__, _HOMES)
