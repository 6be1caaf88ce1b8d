"""What a learner's generator yields, one item after the other; and where that is no step, an error that says what to do."""

import sys
from inspect import isgenerator

from course_tasks.interleavings.commands import Command

MOST_ITEMS = 100
"""What one generator may yield. A lock that makes a bounded number of attempts is done long before that."""

MOST_LINES = 100_000
"""Lines of Python between two items, after which a loop is taken for an endless one."""

SHOWN = 4
"""How many of the last steps an error names."""


class StepsError(Exception):
    """A lock is not written as steps. The message says where it goes wrong, and what to write instead."""


class Yielding:
    """A generator of steps, made by calling ``make``; ``who`` is the name that errors give it. Close it after use.

    Raises StepsError, here or in ``next``, where it doesn't behave as steps do.
    """

    def __init__(self, make, who):
        self._who, self._said = who, []
        try:
            self._steps = make()
        except Exception as error:
            raise self.wrong(f"can't begin: {_told(error)}") from error
        if not isgenerator(self._steps):
            raise self.wrong('has no steps: write yield before each command, as in (yield GET("lock"))')

    def next(self, answer=None):
        """The next item, a Command; None at the end, and then ``returned`` is what it returned.

        ``answer`` is the answer to the item before.
        """
        try:
            item = _watched(self._steps.send, answer)
        except StopIteration as end:
            self.returned = end.value
            return None
        except _Endless as error:
            raise self.wrong(f"runs {MOST_LINES:,} lines without a yield: is there a loop that never ends?") from error
        except Exception as error:
            raise self.wrong(f"raises {_told(error)}") from error
        if not isinstance(item, Command):
            raise self.wrong(f"yields {item!r}, which is no step: {_advice(item)}")
        self._said.append(item)
        if len(self._said) > MOST_ITEMS:
            raise self.wrong("goes on and on: make a bounded number of attempts, as in for attempt in range(3)")
        return item

    def wrong(self, what):
        """The StepsError that says what is wrong here, and after which steps."""
        said = ", ".join(map(str, self._said[-SHOWN:]))
        more = "… " if len(self._said) > SHOWN else ""
        return StepsError(f"{self._who} {what}" + (f" (after {more}{said})" if said else ""))

    def close(self):
        """Drop the generator. Where it has a ``finally`` with a ``yield`` in it, it has to be told more than once."""
        for _ in range(MOST_ITEMS):
            try:
                return self._steps.close()
            except Exception:  # what it does when it is dropped is no part of the search
                continue


class _Endless(BaseException):
    """Too many lines were run. The loop may catch each Exception."""


def _watched(function, answer):
    """``function(answer)``, stopped with _Endless after ``MOST_LINES`` lines; not watched while a debugger is at work."""
    lines = 0

    def count(frame, event, argument):
        nonlocal lines
        lines += 1
        if lines > MOST_LINES:
            raise _Endless
        return count

    if sys.gettrace() is not None:
        return function(answer)
    sys.settrace(count)
    try:
        return function(answer)
    finally:
        sys.settrace(None)


def _told(error):
    return f"{type(error).__name__}: {error}"


def _advice(item):
    """What may have been meant by an ``item`` that is no Command."""
    if isinstance(item, bool):
        return 'the whole comparison was yielded. Put the yield in brackets: (yield GET("lock")) is None'
    if isgenerator(item):
        return "write yield from to take the steps of another function"
    if isinstance(item, type) and issubclass(item, Command):
        return f'it lacks its arguments, as in {item.__name__}("lock", …)'
    return 'steps are ENTER, LEAVE and commands such as GET("lock")'
