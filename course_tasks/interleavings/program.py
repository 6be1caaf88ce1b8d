"""Where a client stands: its generator, replayed from the answers that it has had so far.

A generator can't be copied, and a search must go on from each state in several ways. But what a generator does next
depends on nothing but the answers it was given, so a new one that gets the same answers comes to the same place.
"""

from contextlib import closing
from typing import NamedTuple

from course_tasks.interleavings.commands import ENTER, LEAVE, Command
from course_tasks.interleavings.yielding import StepsError, Yielding

_OTHERWISE = (
    "does not do the same again: after the same answers came {} before, and now {}. What differs from client to client, "
    "such as a token, has to come from the client's name, and not from chance, a clock or a global variable"
)


class Position(NamedTuple):
    """Where a client stands between two of its steps.

    ``inside``: whether it is in the critical section. ``next``: the Command that is its next step, None where it is done.
    ``leaves``: whether it leaves the critical section just before that step.
    """

    inside: bool
    leaves: bool
    next: Command | None


class Program:
    """A lock as steps: ``lock`` is a generator function as ``search`` describes it."""

    def __init__(self, lock):
        if not callable(lock):
            raise StepsError(f"{lock!r} is no function: hand over the lock's function itself, without calling it")
        self.name = getattr(lock, "__name__", "the lock")
        self._lock, self._known = lock, {}

    def at(self, client, answers=()):
        """The :class:`Position` of ``client`` after these ``answers`` (a tuple) to its steps.

        Raises StepsError where the lock is not written as steps, or does something else each time that it is replayed.
        """
        if (client, answers) not in self._known:
            with closing(Yielding(lambda: self._lock(client), client)) as steps:
                walk = _walk(steps)
                position = next(walk)
                for number, answer in enumerate(answers):
                    before = self.at(client, answers[:number])
                    # By what they say: a script that is defined anew in each replay is another function each time.
                    if str(position) != str(before):
                        came = ["the end" if there.next is None else there.next for there in (before, position)]
                        raise steps.wrong(_OTHERWISE.format(*came))
                    position = walk.send(answer)
            self._known[client, answers] = position
        return self._known[client, answers]


def _walk(steps):
    """Yield each :class:`Position` along ``steps`` (a Yielding) in turn, and be sent the answer to its step.

    An ENTER is part of the step before it, a LEAVE of the step after it; where there is no such step, it is one of its own.
    So a client is inside as early and as long as it can be. A search misses nothing by that, because what a client does
    between two commands, it does alone.
    """
    inside = leaves = begun = False
    item = steps.next()
    while True:
        if item is LEAVE:
            if leaves or not inside:
                raise steps.wrong("yields LEAVE and is not inside: yield ENTER before it")
            leaves, item = True, steps.next()
        elif item is ENTER and inside and not leaves:
            raise steps.wrong("yields ENTER and is inside already: yield LEAVE before it")
        elif item is ENTER and begun:
            inside, leaves, item = True, False, steps.next()
        elif item is not None:
            answer = yield Position(inside, leaves, item)
            inside, leaves, begun = item is ENTER or (inside and not leaves), False, True
            item = steps.next(answer)
        elif leaves:
            yield Position(inside, leaves, LEAVE)
            inside = leaves = False
        elif inside:
            raise steps.wrong("ends while it is inside: yield LEAVE before it gives the lock back")
        else:
            yield Position(False, False, None)
