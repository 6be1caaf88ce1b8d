"""The lab: ``Lab`` starts it, ``Lab.run`` returns a ``Run``, ``kill``, ``pause``, ``cut`` … are faults.

The names are looked up when they are first used: the warden, which lives in this package, must not load what draws.
"""

from course_tasks.lazily import exports

_HOMES = {
    "Lab": "lab",
    "LabError": "errors",
    "Run": "run",
    "compare": "run",
    "cut": "link_faults",
    "kill": "faults",
    "movable_clocks": "clocks",
    "move_clock": "faults",
    "pause": "faults",
    "preflight": "checks",
    "promote": "faults",
    "restart": "faults",
    "slow": "link_faults",
}

__all__ = list(_HOMES)
__getattr__ = exports(__name__, _HOMES)
