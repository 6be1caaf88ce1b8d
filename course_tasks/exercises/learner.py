"""The four names that a learner types: ``exercise``, ``hint``, ``solution``, ``progress``."""

from html import escape

from course_tasks.exercises import definition, record
from course_tasks.exercises.definition import NOT_ATTEMPTED
from course_tasks.lab.interrupts import held_back
from course_tasks.lab.live import notebook

_hints_given = {}  # exercise -> how many, in this kernel


def exercise(id, *given):
    """Check the function or class below as the answer to exercise ``id``, when the cell runs::

        @exercise("04.1")
        class MarkerFile: ...

    The cell shows the outcome: "passed", "not yet" with what was seen and a hint, or "not attempted" as long as the
    answer raises NotImplementedError. ``given`` is what the exercise is about, such as a run: the exercise says so. The
    function or class stays as it is, and can be used afterwards.

    The answer runs in processes of its own, whatever it does, and within 15 seconds. Raises ValueError for an unknown
    ``id``, TypeError where something else was to be ``given``.
    """
    found = definition.find(id)
    found.accept(given)

    def check(answer):
        from course_tasks.exercises.judging import judge

        with _Place(found) as shown:
            outcome = judge(found, answer, given, shown.waiting)
            note = record.note(found.id, outcome.state)
            shown.show(outcome, [note] if note else [])
        return answer

    return check


def hint(id):
    """The next hint for exercise ``id``; the first one again after the last. Raises ValueError for an unknown ``id``."""
    from course_tasks.exercises.card import Told

    found = definition.find(id)
    number = _hints_given.get(id, 0) % len(found.hints)
    _hints_given[id] = number + 1
    return Told(f"{id} {found.title}: hint {number + 1} of {len(found.hints)}", found.hints[number])


def solution(id):
    """An answer to exercise ``id``, as code. There are others. Raises ValueError for an unknown ``id``."""
    from course_tasks.exercises.card import Source
    from course_tasks.exercises.sources import source

    parts = definition.find(id).reference
    return Source(source(parts if isinstance(parts, tuple) else (parts,)))


def progress():
    """A table of all exercises, and which of them you have passed, on this machine and under this account."""
    from course_tasks.exercises.card import Table

    known, note = record.states()
    rows = []
    for one in definition.everything():
        state, when = known.get(one.id, (NOT_ATTEMPTED, None))
        rows.append((one.lesson, one.id, one.title, state, f"{when:%Y-%m-%d %H:%M}" if when else ""))
    return Table(rows, note)


class _Place:
    """The place in a cell's output where the outcome appears; what is going on stands there until then."""

    def __init__(self, exercise):
        self.exercise = exercise
        self._handle = None

    def __enter__(self):
        if notebook():
            from IPython.display import HTML, display

            self._handle = display(HTML(""), display_id=True)
        return self

    def waiting(self, words):
        """Say that the check is at ``words``."""
        if self._handle:
            from IPython.display import HTML

            self._handle.update(HTML(f'<span aria-live="polite">Checking {self.exercise.id}: {escape(words)} …</span>'))

    def show(self, outcome, notes):
        """Show the ``outcome``, here to stay."""
        with held_back():  # half an import of what draws could not be repaired
            from course_tasks.exercises.card import Card

            card = Card(self.exercise, outcome, notes)
            if self._handle:
                self._handle.update(card)
            else:
                print(card)

    def __exit__(self, kind, *_):
        if kind and self._handle:  # interrupted: nothing goes on any more
            from IPython.display import HTML

            self._handle.update(HTML(f"Checking {self.exercise.id} was interrupted."))
