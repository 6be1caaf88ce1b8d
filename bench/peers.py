"""Redlock over five servers, other people's, and a lock on one server: each made from the five servers' clients.

redlock-py asks one server after the other, pottery asks them in threads. redis-py's clients are as they come, unless said
otherwise.
"""

import pottery
import redis
import redlock

from bench.turns import used
from course_tasks.locks import LeaseLock, Redlock

OURS, REDLOCK_PY, POTTERY, ONE = "Redlock", "redlock-py", "pottery", "LeaseLock, one server"


class Theirs:
    """redlock-py, with acquire() and release()."""

    def __init__(self, clients):
        self._locks, self._held = redlock.Redlock(clients), None

    def acquire(self):
        self._held = self._locks.lock("redlock-py", 10_000)
        return bool(self._held)

    def release(self):
        self._locks.unlock(self._held)


LOCKS = {  # from the five clients
    OURS: lambda clients: Redlock(clients, "redlock"),
    REDLOCK_PY: Theirs,
    POTTERY: lambda clients: pottery.Redlock(key="pottery", masters=frozenset(clients)),
    ONE: lambda clients: LeaseLock(clients[0], "lease"),
}


def made(name, sockets, **options):
    """What is timed of the lock of that name, with clients of its own for servers at ``sockets``; ``options`` are theirs."""
    return used(LOCKS[name]([redis.Redis(unix_socket_path=socket, **options) for socket in sockets]))
