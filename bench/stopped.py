"""One of five servers is stopped (SIGSTOP): what Redlock's acquire and release cost then, and what becomes of its peers."""

import collections
import logging
import statistics
import time

import redis

from bench.figures import percentile, ratio
from bench.lives import Life
from bench.peers import OURS, POTTERY, REDLOCK_PY, made
from course_tasks.history.wording import times

ROUNDS, BLOCK = 20, 100
PATIENCE, PEER_USES = 40, 20  # seconds for a peer, and how often it is used in them if it can
IMPATIENT = 0.1  # seconds that its clients wait for a server, where they are told


def one_by_one(use):
    """Milliseconds for each of BLOCK calls of ``use``; and how many failed."""
    taken, failed = [], 0
    for _ in range(BLOCK):
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
    for _ in range(ROUNDS):
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
