"""What an exercise is, what its check finds out, and where the exercises are.

The exercises of lesson 04 are the list ``EXERCISES`` in ``lesson04.py``. They are looked for when one of them is asked
for, so that importing the course loads none of them.

**The stub.** What a learner begins with is a function, or a class with methods, whose body is ``raise
NotImplementedError``. That is the one convention, and it is found by what happens: an answer that raises
NotImplementedError when it is first touched has not been attempted.
"""

from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

NOT_ATTEMPTED, NOT_YET, PASSED = "not attempted", "not yet", "passed"

FINDINGS = {
    "raised": "Read those lines from the last one upwards: first the error, then the line of yours that it came from.",
    "unfinished": "One part is there; another still says raise NotImplementedError.",
    "endless": "Follow it by hand: which loop goes on for ever, or what does it wait for?",
    "ended": "Return, or raise an error. sys.exit() and os._exit() end the whole process, which in a lab is a worker.",
    "large": "Return what was asked for, and no more.",
    "unsendable": "Make such things inside, where they are needed: the check calls your code in another process.",
    "nonsense": "Compare what you return with what the exercise asks for: how many values, and of which type?",
    "stopped": "Run the cell again. If it stays so, look for what your code starts and doesn't end.",
    "nobody": "acquire() returns True to the one who is given the lock, and False to all others.",
    "everybody": "acquire() must look at something that all of them see, and return False where the lock is taken.",
    "kept": "release() must undo what acquire() did, so that the next one finds the lock free.",
    "unused": "Where nobody finds the lock taken, or nobody gets it a second time, nothing has been shown.",
    "two_steps": "To look and to take must be one step. What does both at once?",
}
"""What every check may find, and the hint for it; an exercise may have a better one."""


@dataclass(frozen=True)
class Outcome:
    """What a check found out.

    ``state`` is "not attempted", "not yet" or "passed"; ``sentence`` says what was seen. ``finding`` is the key of the hint
    for it, or None. ``run`` is the Run that showed it, ``trace`` the error in the learner's code (a ``traces.Trace``),
    ``printed`` what that code had printed; each may be missing.
    """

    state: str
    sentence: str
    finding: str | None = None
    run: object = None
    trace: object = None
    printed: str = ""


def passed(sentence, run=None):
    """The :class:`Outcome` of a right answer; ``sentence`` says what it was put to."""
    return Outcome(PASSED, sentence, run=run)


def not_yet(finding, sentence, run=None, **more):
    """The :class:`Outcome` of a wrong answer: ``finding`` is a key of the exercise's hints, ``sentence`` what was seen."""
    return Outcome(NOT_YET, sentence, finding, run, **more)


class Stop(Exception):
    """Ends a check with the ``outcome`` it carries: raised by the bench where the answer can't be examined any further."""

    def __init__(self, outcome):
        super().__init__(outcome.sentence)
        self.outcome = outcome


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    ``id``: lesson and number, such as "04.1". ``title``: a few words for the table. ``check``: a function that takes
    ``(answer, bench)``, the learner's function or class and a :class:`~course_tasks.exercises.bench.Bench`, and
    returns what :func:`passed` or :func:`not_yet` make. ``reference``: a right answer, or a tuple of the objects that it
    is made of; ``solution`` shows their source. ``hints``: general ones, in the order in which ``hint`` gives them.
    ``findings``: finding -> the hint that the card shows with it. ``given``: what stands after the id in
    ``@exercise("03.1", run)``, as names.
    """

    id: str
    title: str
    check: object
    reference: object
    hints: tuple
    findings: dict = field(default_factory=dict)
    given: tuple = ()

    @property
    def lesson(self):
        """The lesson's number: "04"."""
        return self.id.partition(".")[0]

    def hint_for(self, finding):
        """The hint that belongs to ``finding`` (a key, or None); None where there is none."""
        return (FINDINGS | self.findings).get(finding)

    def accept(self, given):
        """Raise TypeError unless as much is ``given`` as the exercise is about."""
        if len(given) != len(self.given):
            raise TypeError(f"Exercise {self.id} is written @exercise({', '.join([repr(self.id), *self.given])})")


def find(id):
    """The :class:`Exercise` with this ``id``. Raises ValueError, which lists the exercises there are, for any other."""
    lesson = id.partition(".")[0] if isinstance(id, str) else ""
    for exercise in of_lesson(lesson):
        if exercise.id == id:
            return exercise
    there = ", ".join(exercise.id for exercise in everything())
    raise ValueError(f"no exercise is called {id!r}; there are {there}")


def of_lesson(lesson):
    """The exercises of ``lesson`` (such as "04"), in order; none where it has none."""
    name = f"course_tasks.exercises.lesson{lesson}"
    if not (lesson.isdigit() and find_spec(name)):
        return []
    return import_module(name).EXERCISES


def everything():
    """Every exercise, in the order of the lessons."""
    lessons = sorted(path.stem.removeprefix("lesson") for path in Path(__file__).parent.glob("lesson[0-9]*.py"))
    return [exercise for lesson in lessons for exercise in of_lesson(lesson)]
