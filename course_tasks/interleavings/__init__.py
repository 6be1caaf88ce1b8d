"""A lock written as steps, and every order in which the steps of several clients can come.

::

    from course_tasks.interleavings import DEL, ENTER, GET, LEAVE, SET, search

    def get_then_set(me):
        if (yield GET("lock")) is None:
            yield SET("lock", me)
            yield ENTER
            yield LEAVE
            yield DEL("lock")

    search(get_then_set)  # a Result: a cell shows its card

A test runs a few orders, chosen by luck. A search runs all of them, on a model of the server, and so it either finds the
shortest order in which the lock fails, or has tried each one. What it knows of is in the docstring of :func:`search`.
"""

from course_tasks.interleavings.commands import (
    DEL,
    DELIFEQ,
    ENTER,
    EXISTS,
    EXPIRE,
    GET,
    INCR,
    LEAVE,
    PEXPIRE,
    READ,
    SET,
    SETNX,
    WRITE,
)
from course_tasks.interleavings.result import Result
from course_tasks.interleavings.script import EVAL
from course_tasks.interleavings.searching import search
from course_tasks.interleavings.trace import Step
from course_tasks.interleavings.yielding import StepsError

__all__ = [
    "DEL",
    "DELIFEQ",
    "ENTER",
    "EVAL",
    "EXISTS",
    "EXPIRE",
    "GET",
    "INCR",
    "LEAVE",
    "PEXPIRE",
    "READ",
    "SET",
    "SETNX",
    "WRITE",
    "Result",
    "Step",
    "StepsError",
    "search",
]
