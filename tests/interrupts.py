"""Interrupts at every place where Python lets one in: what Ctrl-C and Celery's soft time limit do, without their luck.

A signal's handler runs when a function begins, after a call of one, and when a loop jumps back. Whatever it raises is raised
there. (Read from the opcodes, while the code is traced: slow, and exact.)
"""

import dis
import functools
import gc
import signal
import sys

import pytest
import redis.connection
from conftest import THOROUGH

REDIS = redis.connection.__file__
LOCKS = "/course_tasks/locks/"


class Interrupt(Exception):
    """What the handler raises. Celery's SoftTimeLimitExceeded is such an Exception too."""


def count(function, files=(LOCKS, REDIS)):
    """How many places ``function()`` passes in ``files``, each a part of a source file's path. It is called twice."""
    for _ in range(2):  # from Python 3.13 on, opcodes of a function are seen from its second call on
        error, passed = _Tracer(None, files).run(function)
        if error:
            raise error
    assert passed, f"nothing is passed in {files}"
    return passed


def each_place(use, step):
    """Call ``use()`` again and again, interrupted at one place after the other; yields its number after each.

    Only each ``step``-th place, where the tests aren't to be thorough.
    """
    use()
    for number in range(1, count(use) + 1, 1 if THOROUGH else step):
        struck, error = at_place(number, use)
        if struck:
            assert isinstance(error, Interrupt), number
            yield number


def at_place(number, function, files=(LOCKS, REDIS)):
    """Call ``function()`` and interrupt it at the place of that number, from 1; return whether it was, and what it raised.

    What it raises where there was no interrupt is raised here.
    """
    error, passed = _Tracer(number, files).run(function)
    if error and passed < number:
        raise error
    return passed == number, error


class _Tracer:
    def __init__(self, number, files):
        self._number, self._files = number, files
        self._passed = 0
        self._before = {}  # frame -> the last opcode in it

    def run(self, function):
        error, before = None, sys.gettrace()
        # A finalizer swallows what it is interrupted by. And if the collector calls one in the middle of a step of the trace,
        # Python 3.11 crashes: what is raised there takes away the trace function, which is then called.
        gc.disable()
        sys._getframe().f_trace_opcodes = True  # Python 3.12 wants to know beforehand
        sys.settrace(self._enter)
        try:
            function()
        except BaseException as raised:
            error = raised
        finally:
            sys.settrace(before)
            gc.enable()
            self._before.clear()
        return error, self._passed

    def _enter(self, frame, event, _):
        if event == "call" and any(file in frame.f_code.co_filename for file in self._files):
            frame.f_trace_lines, frame.f_trace_opcodes = False, True
            self._pass()
            return self._step
        return None

    def _step(self, frame, event, _):
        if event == "opcode":
            opcode = _opcodes(frame.f_code)[frame.f_lasti]
            before, self._before[frame] = self._before.get(frame, ""), opcode
            # What is raised right before a return lies outside of a try that it would lie in after the call.
            if before.startswith(("CALL", "JUMP_BACKWARD", "POP_JUMP_BACKWARD")) and opcode != "RETURN_VALUE":
                self._pass()
        elif event == "return":
            self._before.pop(frame, None)
        return self._step

    def _pass(self):
        if self._passed == self._number:
            return
        self._passed += 1
        if self._passed == self._number:
            raise Interrupt


@functools.cache
def _opcodes(code):
    return {each.offset: each.opname for each in dis.get_instructions(code)}


# By a signal --------------------------------------------------------------------------------------------------------


class Interrupted(BaseException):
    """What a signal's handler raises: KeyboardInterrupt is such a one."""


class SoftTimeLimit(Exception):
    """Celery's SoftTimeLimitExceeded is such a one."""


@pytest.fixture(params=[Interrupted, SoftTimeLimit])
def interrupted(request):
    """Returns whether ``function`` was interrupted by a signal, 0.2 s after it began."""

    def interrupt(*_):
        raise request.param

    def call(function):
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            function()
        except request.param:
            return True
        return False

    before = signal.signal(signal.SIGALRM, interrupt)
    yield call
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
