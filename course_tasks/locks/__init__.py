"""Locks that you could ship, each with a lease, one file each: on one Redis server, and on several. Arguments as redis-py's.

They import nothing else of the course. Each command is sent exactly once: by ``commands`` to one server, by ``panel`` to several.
"""

from course_tasks.locks.errors import LockError, LockNotOwnedError, LockOutcomeUnknown
from course_tasks.locks.fair import FairLock
from course_tasks.locks.fenced import FencedLock
from course_tasks.locks.lease import LeaseLock
from course_tasks.locks.redlock import Redlock
from course_tasks.locks.renewing import RenewingLock

__all__ = [
    "FairLock",
    "FencedLock",
    "LeaseLock",
    "LockError",
    "LockNotOwnedError",
    "LockOutcomeUnknown",
    "Redlock",
    "RenewingLock",
]
