"""Redlock over five servers, beside other people's Redlocks and a lock on one server: all up, far away, one of them stopped.

The peers are redlock-py, which asks one server after the other, and pottery, which asks them in threads. redis-py's clients are
as they come, unless said otherwise.
"""

import collections
import functools
import logging
import statistics
import time

import pottery
import redis
import redlock

from bench.figures import percentile, ratio, spread
from bench.fleet import Fleet, private_place
from bench.links import Links
from bench.lives import Life, apart
from bench.turns import Turns, used
from course_tasks.history.wording import times
from course_tasks.locks import LeaseLock, Redlock

SERVERS = tuple(f"lock{number}" for number in range(1, 6))
OURS, REDLOCK_PY, POTTERY, ONE = "Redlock", "redlock-py", "pottery", "LeaseLock, one server"
ROUNDS, BLOCK = 40, 50  # all up
STOPPED_ROUNDS, STOPPED_BLOCK = 20, 100  # one of five stopped
PATIENCE, PEER_USES = 40, 20  # seconds for a peer meanwhile, and how often it is used in them if it can
IMPATIENT = 0.1  # seconds that its clients wait for a server, where they are told
DELAY = 0.005  # seconds added each way
FAR_ROUNDS, FAR_BLOCK = 8, 3


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


def turns(sockets, rounds, block, names=tuple(LOCKS)):
    return Turns({name: functools.partial(made, name, sockets) for name in names}, rounds, block)


# All up --------------------------------------------------------------------------------------------------------------


def all_up(sockets):
    """Rows (what, figure)."""
    found = turns(sockets, ROUNDS, BLOCK)
    rows = [
        (f"{name}: acquire and release, five servers, nobody else", f"{statistics.median(found.both(name)):,.0f} µs")
        for name in LOCKS
    ]
    for name in (REDLOCK_PY, POTTERY, ONE):
        first, second = found.ratios(OURS, name)
        rows.append((f"  Redlock, as a multiple of {name}", f"{first:.2f} and {second:.2f}"))
    return [*rows, ("  " + found.control[0], found.control[1])]


# Far away ------------------------------------------------------------------------------------------------------------


def far_away(fleet, sockets):
    """Rows (what, figure): over links, first without a delay, then with one."""
    with Links(fleet, ["client"]) as links:
        linked = [str(fleet.where.link("client", name)) for name in fleet.names]
        overhead = through(sockets, linked)
        links.slow(DELAY)
        found = turns(linked, FAR_ROUNDS, FAR_BLOCK)
    rtt = 2 * DELAY * 1e6
    rows = [
        (
            f"{name}, {DELAY * 1000:.0f} ms added each way: acquire and release",
            f"{spread([each / 1000 for each in found.both(name)], 1)} ms, "
            f"{statistics.median(found.both(name)) / (2 * rtt):.2f} times two round trips",
        )
        for name in LOCKS
    ]
    return [*rows, ("  " + found.control[0], found.control[1]), *overhead]


def through(sockets, linked):
    """Rows (what, figure): what a link without a delay adds."""
    makers = {}
    for name in (OURS, ONE):
        makers[name] = functools.partial(made, name, sockets)
        makers[f"{name}, linked"] = functools.partial(made, name, linked)
    found = Turns(makers, ROUNDS, BLOCK)
    return [
        (
            f"  the links themselves, without a delay: {name}",
            f"{statistics.median(found.both(f'{name}, linked')):.0f} µs instead of "
            f"{statistics.median(found.both(name)):.0f} µs",
        )
        for name in (OURS, ONE)
    ]


# One stopped ---------------------------------------------------------------------------------------------------------


def one_by_one(use):
    """Milliseconds for each of STOPPED_BLOCK calls of ``use``; and how many failed."""
    taken, failed = [], 0
    for _ in range(STOPPED_BLOCK):
        begin = time.perf_counter()
        try:
            use()
        except (redis.RedisError, AssertionError):
            failed += 1
        taken.append((time.perf_counter() - begin) * 1000)
    return taken, failed


def ours_stopped(fleet, sockets):
    """Rows (what, figure): blocks with all up, with one stopped, and all up again, which is the control."""
    use, name = made(OURS, sockets), fleet.names[-1]
    up, stopped, again, failures = [], [], [], 0
    one_by_one(use)
    for _ in range(STOPPED_ROUNDS):
        up.append(one_by_one(use)[0])
        fleet.stop(name)
        taken, failed = one_by_one(use)
        fleet.resume(name)
        stopped.append(taken)
        failures += failed
        again.append(one_by_one(use)[0])
    medians = [list(map(statistics.median, each)) for each in (up, stopped, again)]
    each = [taken for block in stopped for taken in block]
    return [
        ("Redlock, one of five servers stopped (SIGSTOP): median", f"{statistics.median(each):.2f} ms"),
        ("  as a multiple of all five up", f"{ratio(medians[1], medians[0]):.2f}"),
        ("  all five up, as a multiple of itself", f"{ratio(medians[2], medians[0]):.2f}"),
        ("  99th percentile, and longest", f"{percentile(each, 99):.1f} ms, {max(each):.1f} ms"),
        ("  failed", f"{failures} of {len(each):,}"),
    ]


def peer_stopped(fleet, name, sockets, **options):
    """What becomes of PEER_USES of a peer while a server is stopped, in words; ``options`` are its clients'."""

    def uses(say):
        logging.disable()  # both log a traceback for every server that does not answer
        use = made(name, sockets, **options)
        use()
        fleet.stop(fleet.names[-1])
        for _ in range(PEER_USES):
            begin, error = time.monotonic(), None
            try:
                use()
            except AssertionError:
                error = "not acquired"
            except Exception as problem:
                error = type(problem).__name__
            say((time.monotonic() - begin, error))

    life, found, end = Life(uses), [], time.monotonic() + PATIENCE
    try:
        while len(found) < PEER_USES and life.answers.poll(max(0.0, end - time.monotonic())):
            found.append(life.hear())
    finally:
        life.end()
        fleet.resume(fleet.names[-1])
        fleet.clear()  # it may have been ended while it held the lock
    return said(found)


def said(found):
    """In words, what became of uses: each took so long and failed so, (seconds, error or None)."""
    if not found:
        return f"not even one in {PATIENCE} s"
    errors = collections.Counter(error for _, error in found if error)
    took = statistics.median(took for took, _ in found)
    told = [f"{took:.3f} s each, {times(len(found))}" + ("" if len(found) == PEER_USES else f" in {PATIENCE} s")]
    return ", ".join(told + [f"{number} of these {error}" for error, number in errors.items()])


def one_stopped(fleet, sockets):
    """Rows (what, figure)."""
    rows = ours_stopped(fleet, sockets)
    for name in (REDLOCK_PY, POTTERY):
        rows.append((f"  {name} meanwhile", peer_stopped(fleet, name, sockets)))
        limited = {"socket_timeout": IMPATIENT, "retry": None}
        what = f"  {name} meanwhile, its clients wait {IMPATIENT} s for a server, and ask once"
        rows.append((what, peer_stopped(fleet, name, sockets, **limited)))
    return rows


def measure():
    """Rows (what, figure). Each part runs in a process of its own: pottery leaves threads behind."""
    with private_place() as where, Fleet(where, SERVERS) as fleet:
        sockets = [fleet.socket(name) for name in fleet.names]
        rows = apart(lambda: all_up(sockets))
        rows += apart(lambda: far_away(fleet, sockets))
        rows += one_stopped(fleet, sockets)
    return rows


if __name__ == "__main__":
    for what, figure in measure():
        print(f"{what:<100} {figure}")
