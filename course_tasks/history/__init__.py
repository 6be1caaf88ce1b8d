"""The history of a run: recorded by every process, read as a table, judged, and drawn.

Recording needs only the Redis client, and is what a worker imports; everything else needs pandas and matplotlib, and is
loaded when it is first used.
"""

from course_tasks.lazily import exports

_HOMES = {
    "read": "reading",
    "frame": "reading",
    "follow": "reading",
    "intervals": "pairing",
    "judge": "verdict",
    "Verdict": "verdict",
    "Witness": "witnesses",
    "draw": "timeline",
    "picture": "pictures",
    "compare": "pictures",
    "Picture": "pictures",
    "card": "cards",
}

__all__ = list(_HOMES)
__getattr__ = exports(__name__, _HOMES)
