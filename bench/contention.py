"""Six processes that all want one lock: who gets in how often, how long they wait; and what a dead one costs the others.

The locks take turns, several rounds, FairLock twice in each as a control. Times are CLOCK_MONOTONIC, which all processes
of one machine share.
"""

import functools
import itertools
import multiprocessing.connection
import random
import signal
import statistics
import time

import redis
import redis_lock

from bench.figures import percentile, spread
from bench.fleet import serving
from bench.lives import FORK, Life
from course_tasks.locks import FairLock, LeaseLock

CONTENDERS, HOLD, SECONDS, ROUNDS = 6, 0.005, 5.0, 3
REPEATS = 5  # of each fault
ASKED = 0.1  # seconds after which a process that wants the lock has asked for it; as long as the polls' interval
CONTROL = "FairLock once more"
LOCKS = {
    "FairLock": lambda client, lease: FairLock(client, "lock", timeout=lease),
    "LeaseLock, which polls": lambda client, lease: LeaseLock(client, "lock", timeout=lease),
    "redis-py's Lock, which polls": lambda client, lease: client.lock("lock", timeout=lease),
    "python-redis-lock": lambda client, lease: redis_lock.Lock(client, "lock", expire=lease),
}


def contender(socket, lock, lease, work):
    """A Life with a lock; ``work(lock, say)`` is what it does."""
    return Life(functools.partial(_contend, socket, LOCKS[lock], lease, work))


def _contend(socket, make, lease, work, say):
    with redis.Redis(unix_socket_path=socket) as client:
        client.ping()
        work(make(client, lease), say)


# Nobody fails --------------------------------------------------------------------------------------------------------


def entering(gate):
    """Work: enter again and again. Says [(asked, entered, left), ...]."""

    def work(lock, say):
        gate.wait()
        spans, end = [], time.monotonic() + SECONDS
        while (asked := time.monotonic()) < end:
            lock.acquire()
            entered = time.monotonic()
            time.sleep(HOLD)
            spans.append((asked, entered, time.monotonic()))
            lock.release()
        say(spans)

    return work


def contest(socket, lock):
    """One round: (grants a second, Jain's index, and in ms: the wait's median, 99th percentile and longest, the hand-off)."""
    gate = FORK.Barrier(CONTENDERS)
    crowd = [contender(socket, lock, 10, entering(gate)) for _ in range(CONTENDERS)]
    try:
        spans = [life.hear() for life in crowd]
    finally:
        for life in crowd:
            life.end()
    counts = [len(each) for each in spans]
    waits = sorted((entered - asked) * 1000 for each in spans for asked, entered, _ in each)
    holds = sorted((entered, left, who) for who, each in enumerate(spans) for _, entered, left in each)
    changes = [
        (entered - left) * 1000 for (_, left, one), (entered, _, other) in itertools.pairwise(holds) if one != other
    ]
    jain = sum(counts) ** 2 / (CONTENDERS * sum(count**2 for count in counts))
    late = percentile(waits, 99)
    return sum(counts) / SECONDS, jain, statistics.median(waits), late, waits[-1], statistics.median(changes)


# Somebody does -------------------------------------------------------------------------------------------------------


def holding(lock, say):
    """Work: enter, and give the lock back when told to by SIGUSR1. Says when it entered, and when it gives back."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    lock.acquire()
    say(time.monotonic())
    signal.sigwait([signal.SIGUSR1])
    say(time.monotonic())
    lock.release()


def entering_once(lock, say):
    """Work: enter, and stay. Says when it entered."""
    lock.acquire()
    say(time.monotonic())
    signal.pause()


def pause(chance):
    """Wait until whoever wants the lock has asked for it; longer by chance, so that polls are not hit or missed each time."""
    time.sleep(ASKED + chance.uniform(0, ASKED))


def fault(socket, lock, what, chance):
    """Seconds that the others lose to one fault, by a holder and two waiters. ``chance`` is a random.Random.

    ``what``: "killed holder": from the end of its lease of a second until a waiter is in. "killed waiter", "stopped waiter":
    it was the first to wait, the lease is two seconds, and the time is from the release until the other waiter is in.
    """
    with redis.Redis(unix_socket_path=socket) as client:
        client.flushall()
    lease, holders = (1, 1) if what == "killed holder" else (2, 60)
    crowd = [contender(socket, lock, holders, holding)]
    try:
        (holder,) = crowd
        free = holder.hear() + lease
        for _ in range(2):
            crowd.append(contender(socket, lock, lease, entering_once))
            pause(chance)
        _, first, second = crowd
        if what == "killed holder":
            holder.signal(signal.SIGKILL)
            waiters = [first, second]
        else:
            first.signal(signal.SIGKILL if what == "killed waiter" else signal.SIGSTOP)
            pause(chance)  # and until the server knows that a killed one's connection is closed
            holder.signal(signal.SIGUSR1)
            free, waiters = holder.hear(), [second]
        ready = multiprocessing.connection.wait([waiter.answers for waiter in waiters])
        return ready[0].recv() - free
    finally:
        for life in crowd:
            life.end()


# The table -----------------------------------------------------------------------------------------------------------


def measure():
    """Rows (what, figure); figures are the median of the rounds, with the smallest and the largest."""
    chance, names = random.Random(0), [*LOCKS, CONTROL]
    with serving() as socket:
        contests = {name: [] for name in names}
        for _ in range(ROUNDS):
            for name in chance.sample(names, len(names)):
                contests[name].append(contest(socket, "FairLock" if name == CONTROL else name))
        rows = []
        for name in names:
            grants, jain, median, late, longest, change = zip(*contests[name], strict=True)
            rows += [
                (f"{name}: {CONTENDERS} processes, holds of {HOLD * 1000:.0f} ms, grants a second", spread(grants, 0)),
                ("  Jain's index of fairness", spread(jain, 3)),
                ("  wait: median", f"{spread(median, 1)} ms"),
                ("  wait: 99th percentile", f"{spread(late, 1)} ms"),
                ("  wait: longest", f"{spread(longest, 0)} ms"),
                ("  from one's release until another is in", f"{spread(change, 2)} ms"),
            ]
        for what, lost in (
            ("killed holder", "until the next is in, after the lease (1 s) is over"),
            ("killed waiter", "from the release until the next is in; the lease is 2 s"),
            ("stopped waiter", "from the release until the next is in; the lease is 2 s"),
        ):
            losses = {name: [] for name in LOCKS}
            for _ in range(REPEATS):
                for name in chance.sample(list(LOCKS), len(LOCKS)):
                    losses[name].append(fault(socket, name, what, chance))
            rows += [(f"{what}, {name}: {lost}", f"{spread(losses[name], 3)} s") for name in LOCKS]
    return rows


if __name__ == "__main__":
    for what, figure in measure():
        print(f"{what:<100} {figure}")
