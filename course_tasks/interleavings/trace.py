"""The steps of a counterexample, the faults among them included."""

from dataclasses import dataclass
from typing import NamedTuple

from course_tasks.interleavings.commands import Command, Marker
from course_tasks.interleavings.store import Refused

SERVER = "server"
"""Who takes the step of a lease's end."""


@dataclass(frozen=True)
class Fault(Command):
    """A step that no lock takes: it happens to it."""

    def run(self, store, client):
        raise Refused("this is for the search to do, if asked by lease_ends=True or crashes=True")


@dataclass(frozen=True)
class LEASE_ENDS(Fault):
    """The server removes a ``key`` that has a lease, and tells nobody."""

    key: str

    def __str__(self):
        return f"the lease of {self.key} ends"


@dataclass(frozen=True)
class CRASH(Fault):
    """A client stops for ever."""

    def __str__(self):
        return "crashes"


class Step(NamedTuple):
    """One step: ``who`` took it ("client1" …, or "server" for a lease's end), the ``command``, and the ``answer``.

    ``command.name`` is the name that Redis has for it, such as "GET"; for the faults it is "LEASE_ENDS" and "CRASH".
    """

    who: str
    command: Command
    answer: object = None

    @property
    def answered(self):
        """The answer as text; empty where there is none to speak of."""
        return "" if isinstance(self.command, Fault | Marker) else str(self.answer)

    def __str__(self):
        said = str(self.command) if self.who == SERVER else f"{self.who} {self.command}"
        return f"{said} → {self.answered}" if self.answered else said
