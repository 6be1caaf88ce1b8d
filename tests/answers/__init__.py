"""Answers to the exercises, right ones and ones that people really write: one module a lesson, ``lesson04.py``.

``@passes("04.1")`` above a function or class says that it is right; ``@fails("04.1", "two_steps")`` that it is wrong, and
what the check must find. ``@given("03.1")`` above a function says that it makes what the exercise is about, as a tuple.
tests/test_exercises_answers.py checks every one of them. They are called as they like: a check must not go by names.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """An ``answer`` to ``exercise`` (an id), and the ``finding`` that is expected; None where it is right."""

    exercise: str
    answer: object
    finding: str | None

    def __str__(self):
        return f"{self.exercise}-{self.finding or 'passes'}-{self.answer.__name__}"


ANSWERS, GIVEN = [], {}


def passes(exercise):
    """Enter the function or class below as a right answer."""
    return fails(exercise, None)


def fails(exercise, finding):
    """Enter the function or class below as a wrong answer."""

    def enter(answer):
        ANSWERS.append(Answer(exercise, answer, finding))
        return answer

    return enter


def given(exercise):
    """Enter the function below as the one that makes what the exercise is about."""

    def enter(function):
        GIVEN[exercise] = function
        return function

    return enter


def what_is_given(exercise):
    """What stands after the id of ``exercise`` (an Exercise): a tuple."""
    return GIVEN[exercise.id]() if exercise.given else ()


for path in sorted(Path(__file__).parent.glob("lesson*.py")):
    import_module(f"answers.{path.stem}")
