"""What a process leaves that is killed between two commands of its lock: real processes, a real SIGKILL, at every place.

An error that a breakpoint raises would not do: ``finally`` still runs then, and can set right what a dead process can't.
"""

import functools
import os
import signal
import time

from course_tasks.breakpoints import Breakpoint, boundaries, watched
from course_tasks.exercises import locking
from course_tasks.exercises.definition import not_yet
from course_tasks.exercises.wording import place_told

LEASE = 1  # seconds, a whole number, so that EX and EXPIRE take it as it is
GRACE = 0.4  # seconds after the end of the lease by which a lock must be free
LONG = 3600  # seconds: a lease that no check sees the end of, not even where it is a thousand times too short
DEFAULT = 2.0  # seconds: the lease of a lock that does not look at its argument

LEFT = {
    "short": "a holder was killed inside. {:.1f} s later, another one was given the lock.",
    "longer": f"a holder was killed inside. The lock came free, but not within {LEASE + GRACE:g} s.",
    "no_lease": "a holder was killed inside. Seconds later the lock was still taken.",
    "late_lease": f"a process was killed {{}}. After {LEASE + GRACE:g} s the lock was still taken.",
    "lengthened": "a holder was killed. Where nobody asked for the lock meanwhile, it was free after its lease. Where others "
    f"asked all the time, it was still taken after {LEASE + GRACE:g} s.",
}

HINTS = {
    "short": "timeout is in seconds: EX and EXPIRE count seconds, PX and PEXPIRE milliseconds.",
    "longer": "Is it the lease that was asked for? timeout is in seconds, and another number for each lock. And it is whoever "
    "takes the lock that gives it the lease, not the next one who asks.",
    "no_lease": "Ask the server for the TTL of the key. -1 is no lease: somebody has to send EXPIRE, or PEXPIRE. If it is a "
    "thousand times too long: EX and EXPIRE count seconds, PX and PEXPIRE milliseconds.",
    "late_lease": "At that place the key is there and has no lease. A process that is killed runs no finally, and whoever comes "
    "later must not be the one to repair it. Do both in one step on the server.",
    "lengthened": "Each attempt gave the lock a new lease, also the attempts that were refused. Only who has taken the lock may "
    "set its lease.",
}
"""For an exercise's findings: the hint for each of those of :func:`frees_itself`."""


def frees_itself(bench, lock):
    """Wherever a process is killed, the lock is free when its lease is over, asked for meanwhile or not, and not before.

    ``lock`` takes (client, name, timeout=seconds). Returns the Outcome of a wrong answer, or None. Findings: those of HINTS,
    and "together" where another process is given the lock as soon as it asks.
    """
    long = functools.partial(lock, timeout=LONG)
    if all([bench.call(_given, long, bench.client, what="acquire()") for _ in range(2)]):
        said = "One process had the lock. Another one made a lock of that name, asked, and was given it."
        return not_yet("together", said)
    found = bench.call(_left_behind, lock, bench.client, seconds=8.0, what="The lock, whose holders die,")
    return found and not_yet(found[0], f"With timeout={LEASE}, {LEFT[found[0]].format(found[1])}")


def _given(lock, client):
    """Whether a process is given the lock that it asks for, and keeps."""
    return bool(locking.attempt(lock(client, "kept")))


def _left_behind(lock, client):
    """``(finding, what was seen)``; None where every lock comes free in time."""
    client.flushall()  # whoever took a lock before this may not have given it back
    make = functools.partial(lock, timeout=LEASE)

    def take(own, name):
        one = make(own, name)
        return one if locking.attempt(one) else None

    def use(own, name):
        if one := take(own, name):
            one.release()

    use(client, "warm")  # scripts are loaded now: the commands of a use are the same from here on
    inside = len(boundaries(client, lambda own: take(own, "taken"))) - 1  # after the last command of acquire()
    places = boundaries(client, lambda own: use(own, "used"))
    began = [
        _killed(use, client, f"{asked}{n}", place) for n, place in enumerate(places) for asked in ("quiet", "asked")
    ]
    free = _asked_for(make, client, len(places))
    quiet = [bool(locking.attempt(make(client, f"quiet{number}"))) for number in range(len(places))]
    if inside in free and (held := free[inside] - began[2 * inside + 1]) < 0.9 * LEASE:
        return "short", held
    if not quiet[inside]:
        time.sleep(DEFAULT)
        return "longer" if locking.attempt(make(client, f"quiet{inside}")) else "no_lease", None
    if not all(quiet):
        return "late_lease", place_told(places[quiet.index(False)])
    return None if len(free) == len(places) else ("lengthened", None)


def _killed(use, client, name, place):
    """Have a process use the lock ``name``, and be killed at ``place``; return when it began, once it is gone."""
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        try:
            with watched(client, Breakpoint(lambda: os.kill(os.getpid(), signal.SIGKILL), **place)) as own:
                use(own, name)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    return began


def _asked_for(make, client, count):
    """Ask for the locks "asked0" … again and again, until each was given: number -> when. Those that never were are missing."""
    given, deadline = {}, time.monotonic() + LEASE + GRACE
    while len(given) < count:
        over = time.monotonic() > deadline
        for number in set(range(count)) - set(given):
            if locking.attempt(make(client, f"asked{number}")):
                given[number] = time.monotonic()
        if over:
            break
        time.sleep(0.02)
    return given
