"""One step of the learner's code after the other, and somebody else in between.

Where two steps must be one, another worker has to come between them for the fault to show; left to luck, that may take
hours. Here one ``acquire()`` is halted before its first step, and while it stands still another one runs from beginning
to end; then the same before its second step, and so on. A step is what the interpreter does at once, an instruction of
the bytecode, in the learner's own code; what a library does within one call is not divided.

It is the trace function of Python (``sys.settrace``) that halts, so it works for any code, whatever it is called.
"""

import sys
import threading
from dataclasses import dataclass

from course_tasks.exercises import traces

STEPS = 2000  # an acquire() with more has a loop
PATIENCE = 1.0  # seconds for the halted one to come to its step, and to end afterwards


@dataclass(frozen=True)
class Between:
    """Where another one came between two steps, and both were given the lock: the learner's ``file``, ``line`` and
    ``function`` that was halted.
    """

    file: str
    line: int
    function: str


class _Halted(threading.Thread):
    """``acquire()``, halted before its step number ``step``; ``at`` is where, or None when it has ended before.

    ``release()`` is called in this thread too, once :meth:`give_back` asks for it: some locks know a thread by its token.
    """

    def __init__(self, acquire, release, step):
        super().__init__(daemon=True)
        self.acquire, self.release, self.left = acquire, release, step
        self.at, self.given = None, False
        self.stands, self.go_on = threading.Event(), threading.Event()
        self.answered, self.over = threading.Event(), threading.Event()

    def run(self):
        sys.settrace(self._called)
        try:
            self.given = bool(self.acquire())
        finally:
            sys.settrace(None)
            self.stands.set()
            self.answered.set()
        self.over.wait()
        if self.given:
            self.release()

    def give_back(self):
        self.over.set()
        self.join(PATIENCE)

    def _called(self, frame, event, argument):
        if traces.is_learners(frame.f_code.co_filename):
            frame.f_trace_opcodes = True
            return self._stepped

    def _stepped(self, frame, event, argument):
        if event == "opcode":
            if self.left == 0:
                self.at = Between(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
                self.stands.set()
                self.go_on.wait(PATIENCE)
            self.left -= 1
        return self._stepped


def both_given(make, attempt):
    """Look for a step of ``acquire()`` before which another one can come so that both are given the lock.

    ``make(name)`` makes a lock, a new object at each call, of that name; ``attempt(lock)`` tries to acquire it once and
    returns whether it was given. Returns a :class:`Between`, or None where there is no such step.
    """
    for step in range(STEPS):
        name = f"step{step}"
        one, other = make(name), make(name)
        halted = _Halted(lambda one=one: attempt(one), one.release, step)
        halted.start()
        halted.stands.wait(PATIENCE)
        at = halted.at
        also = attempt(other) if at else False
        halted.go_on.set()
        halted.answered.wait(PATIENCE)
        if halted.given and also:
            return at
        halted.give_back()
        if also:
            other.release()
        if at is None:
            return None
    return None
