"""What every lock must do before anything goes wrong, tried without a lab, in a fraction of a second.

Each function takes the bench and the learner's lock, a class or callable that takes (client, name), and returns the
Outcome of a wrong answer, or None.
"""

import inspect

from course_tasks.exercises import halting
from course_tasks.exercises.definition import not_yet
from course_tasks.exercises.traces import Trace
from course_tasks.exercises.wording import short

NAME = "mail"
IN_TURN = {
    "nobody": "The lock was free, and acquire() returned {}.",
    "everybody": "One had the lock, and the acquire() of another one returned {}.",
    "kept": "The holder had released the lock, and the acquire() of another one returned {}.",
}


def in_turn(bench, lock):
    """One is given the lock, another is not; and when the first has released it, the other one is.

    Findings: "nobody", "everybody", "kept".
    """
    bench.attempted(lock)
    found = bench.call(_in_turn, lock, bench.client, what="One of two locks, asked in turn,")
    return found and not_yet(found[0], IN_TURN[found[0]].format(found[1]))


def one_step(bench, lock):
    """No other one can come between two steps of ``acquire()`` so that both are given the lock. Finding: "two_steps"."""
    bench.attempted(lock)
    found = bench.call(_halted, lock, bench.client, seconds=6.0, what="acquire(), halted at each of its steps,")
    if found is None:
        return None
    where = Trace("Here one was halted; another asked, and was given the lock; then so was this one.", ((*found,),))
    return not_yet("two_steps", "Two were given the lock: the second came between two steps of the first.", trace=where)


def attempt(lock):
    """Ask ``lock`` once, without waiting, and return what it answers."""
    try:
        waits = "blocking" in inspect.signature(lock.acquire).parameters
    except ValueError:  # built-in locks (threading.Lock) show no signature, and do take it
        waits = True
    return lock.acquire(blocking=False) if waits else lock.acquire()


def _in_turn(lock, client):
    """The first wrong answer of two locks, as (finding, what acquire() returned); None where all are right."""
    one, other = lock(client, NAME), lock(client, NAME)
    if not (answer := attempt(one)):
        return "nobody", short(answer)
    if answer := attempt(other):
        return "everybody", short(answer)
    one.release()
    if not (answer := attempt(other)):
        return "kept", short(answer)
    return None


def _halted(lock, client):
    found = halting.both_given(lambda name: lock(client, name), attempt)
    return found and (found.file, found.line, found.function)
