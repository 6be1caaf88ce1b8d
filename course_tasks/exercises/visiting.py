"""One call of the learner's code is halted between two of its steps, and meanwhile another process comes to the same file.

Where a database is shared, a step is a call: what the code does between two of them, it does alone. So it is halted before
each call that it makes. Who comes is another process, because that is what a database tells apart; and it may have to wait
until the halted one goes on, if that keeps the file locked.

It is the trace function of Python (``sys.settrace``) that halts, so it works for any code, whatever it is called.
"""

import dis
import itertools
import os
import select
import sys
import time
from dataclasses import dataclass

from course_tasks.exercises import calling, traces

SOON = 0.15  # seconds after which a visitor that has not come back is taken to wait for the halted one
LATER = 6.0  # seconds for it to come back when the halted one has ended; SQLite itself waits for 5


@dataclass(frozen=True)
class Visit:
    """What came of one visit: ``own`` and ``other`` are the Answers (of ``calling``) of the halted call and of the visitor.

    ``waited`` is whether the visitor had to wait for the halted one; ``place`` the learner's line that was halted, as
    (file, line, function).
    """

    own: calling.Answer
    other: calling.Answer
    waited: bool
    place: tuple


def visits(make, scratch):
    """Yield the :class:`Visit` at each step of the learner's code, one after the other.

    ``make(number)`` prepares the visit of that number and returns two functions without arguments: the call that is halted,
    and what the visitor does, in a process of its own that works in the directory ``scratch``.
    """
    for number in itertools.count():
        visit = _visit(*make(number), number, scratch)
        if visit is None:
            return
        yield visit


def _visit(call, visitor, number, scratch):
    """The Visit before the step of this ``number``; None where ``call()`` has fewer."""
    wait, go = os.pipe()
    other = calling.Call(visitor, (), scratch, (wait, go))  # forked before this process has opened the file
    os.close(wait)
    place, waited = None, False

    def let_in(frame):
        nonlocal place, waited
        place = frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name
        os.close(go)
        waited = not _comes_back(other, SOON)

    try:
        own = _halted(call, number, let_in)
        if waited:
            _comes_back(other, LATER)
    finally:
        if place is None:
            os.close(go)
        answer = other.end()
    return Visit(own, answer, waited, place) if place else None


def _halted(call, number, let_in):
    """The Answer of ``call()``; ``let_in`` is called with the learner's frame before the step of this ``number``."""
    left = number

    def entered(frame, event, argument):
        if not traces.is_learners(frame.f_code.co_filename):
            return None
        frame.f_trace_opcodes = True
        return stepped

    def stepped(frame, event, argument):
        nonlocal left
        if event == "opcode" and dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith("CALL"):
            if left == 0:
                let_in(frame)
            left -= 1
        return stepped

    sys.settrace(entered)
    try:
        return calling.Answer("returned", call())
    except Exception as error:
        return calling.Answer("raised", calling.kind(error), traces.of(error))
    finally:
        sys.settrace(None)


def _comes_back(other, seconds):
    """Whether the process ``other`` (a calling.Call) gives its answer within so many ``seconds``."""
    deadline = time.monotonic() + seconds
    while not other.over and (left := deadline - time.monotonic()) > 0:
        for descriptor in select.select(list(other.open), [], [], left)[0]:
            other.read(descriptor)
    return other.over
