"""Values that an answer gives, compared with those that are right."""

import math
from dataclasses import dataclass
from numbers import Real

from course_tasks.exercises.wording import called, short


@dataclass(frozen=True)
class Wrong:
    """A wrong answer: ``called``, the call as one writes it; its ``args``; its ``value``, and what was ``wanted``."""

    called: str
    args: tuple
    value: object
    wanted: object

    def __str__(self):
        return f"{self.called} is {short(self.value)}, and should be {short(self.wanted)}."


def first_wrong(function, cases, values):
    """The first of ``cases``, pairs of (args, wanted), where the one of ``values`` is not what is wanted; or None."""
    for (args, wanted), value in zip(cases, values, strict=True):
        if not same(value, wanted):
            return Wrong(called(function, args), args, value, wanted)
    return None


def same(value, wanted):
    """Whether ``value`` is what is ``wanted``: numbers that agree to nine digits, tuples and lists part by part, all else
    by ``==``.
    """
    if isinstance(wanted, tuple | list) and isinstance(value, tuple | list):
        return len(value) == len(wanted) and all(map(same, value, wanted))
    if isinstance(wanted, Real) and isinstance(value, Real):
        return math.isclose(value, wanted, abs_tol=1e-9)
    return bool(value == wanted)
