"""What a search has shown."""

from dataclasses import dataclass, field
from functools import cached_property

from course_tasks.interleavings.model import Model
from course_tasks.interleavings.telling import tell
from course_tasks.interleavings.wording import sentence


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """What a search has shown; made by ``search``. A cell shows its card, and ``print`` the same as plain text.

    ================= ==================================================================================================
    field             meaning
    ================= ==================================================================================================
    ``outcome``       "holds": every order was tried, and no property that was put to the test is violated; "broken";
                      "unknown": the search was cut short, or nobody ever entered or wrote anything
    ``violated``      the property: "mutual exclusion", "no deadlock" or "no stale write"; None where none is violated
    ``trace``         a shortest counterexample: a tuple of steps, each ``(who, command, answer)``; empty where there is none
    ``states``        how many different states were reached
    ``depth``         every order of so many steps was tried, and violates nothing
    ``asked``         the properties that were put to the test, named as in ``violated``
    ``leases``        whether any key ever had a lease
    ``lease_ends``    as ``search`` was asked, like ``crashes`` and ``count_overdue``
    ``model``         the Model that was searched
    ================= ==================================================================================================
    """

    outcome: str
    violated: str | None
    trace: tuple
    states: int
    depth: int
    asked: tuple
    leases: bool
    lease_ends: bool
    crashes: bool
    count_overdue: bool
    model: Model = field(repr=False)

    @cached_property
    def told(self):
        """What each step of the trace changed: a list of Told."""
        return tell(self.model, self.trace)

    @property
    def sentence(self):
        """What was shown, in a few sentences; for a counterexample, what went wrong."""
        return sentence(self)

    def timeline(self, title=None):
        """The counterexample as a picture (a ``history.Picture``), drawn like a run, with a step in place of a second.

        ``title`` replaces the finding as its title. Raises ValueError where there is no counterexample.
        """
        from course_tasks.interleavings.drawing import picture  # loads what draws

        if not self.trace:
            raise ValueError(f"There is no counterexample to draw. {self.sentence}")
        return picture(self, title)

    def __repr__(self):
        from course_tasks.interleavings.cards import card_text

        return card_text(self)

    def _repr_html_(self):
        from course_tasks.interleavings.cards import card_html

        return card_html(self)
