"""What all faults have in common: whom a fault hits, when its moment comes, and what each kind has to say for itself."""

import dataclasses
from typing import ClassVar

from course_tasks.breakpoints import command_name
from course_tasks.halts import HOLDER
from course_tasks.history.recording import KINDS
from course_tasks.lab.arguments import duration
from course_tasks.lab.errors import NO_REPLICAS


@dataclasses.dataclass(frozen=True)
class Cast:
    """Who takes part in a run, and so who can be hit: tuples of names. ``actors`` are its workers, or its contenders.

    ``clocks`` is whether the clocks of the servers can be moved.
    """

    actors: tuple
    servers: tuple = ()
    replicas: tuple = ()
    clocks: bool = False

    def kind(self, group):
        """What one of a ``group`` ("actors", "servers", "replicas") is called in a sentence."""
        return {"servers": "lock server", "replicas": "replica"}.get(group) or self.actors[0].rstrip("0123456789")


kind_of_fault = dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
"""Decorates a class of faults that has fields: they are shown as the learner typed them."""


@kind_of_fault
class Fault:
    """One fault of a run: ``who`` is hit (a name, "holder", or None: everybody), and one of the others says when.

    ``when``: the kind of event that triggers it. ``after``: a number of seconds into the run, or for a breakpoint the command
    after whose reply it comes. ``before``: the command before which it comes.

    A subclass is one kind of fault. It says

    * what the history calls it (``action``), and the learner, if otherwise (``typed``); what he wrote before the moment
      (``arguments``);
    * whom it can hit (``hits``: groups of the Cast), whether that can be everybody (``anyone``), and whether it can be a
      breakpoint (``breakable``), which a process carries out on itself, as :mod:`course_tasks.halts` has it;
    * how many seconds it ``lasts``: None for what has nothing to end, infinity for what lasts until the run's end;
    * whether whom it hits stands ``still`` meanwhile, or is dead from then on (``deadly``): then other faults have to wait,
      unless they come from ``outside``, as those of a link do;
    * what to do (``prepare``, ``begin``, ``end``, ``run_over``) and to write to the history.
    """

    who: str | None
    when: str | None = None
    after: float | str | None = None
    before: str | None = None

    action: ClassVar[str]
    hits: ClassVar[tuple] = ("servers",)
    anyone: ClassVar[bool] = False
    breakable: ClassVar[bool] = False
    still: ClassVar[bool] = False
    deadly: ClassVar[bool] = False
    outside: ClassVar[bool] = False
    lasts = None
    seconds = None  # of a pause

    def __post_init__(self):
        if not isinstance(self.who, str) and not (self.who is None and self.anyone):
            raise TypeError(f'whom it hits is a name such as "worker2", or "{HOLDER}", not {self.who!r}')
        if [self.when, self.after, self.before].count(None) != 2:
            say = ['when= (an event such as "entered")', "after= (seconds into the run)"]
            if self.breakable:
                say = [say[0], 'after= (seconds into the run, or a command such as "GET")', "before= (a command)"]
            raise ValueError(f"say one of {', '.join(say[:-1])} and {say[-1]}")
        if self.when is not None and self.when not in KINDS:
            raise ValueError(f"when={self.when!r} is no event of the history; these are: {', '.join(KINDS)}")
        if self.place:
            if (event := self.place[1].lower()) in KINDS:
                raise ValueError(f'{event!r} is an event, not a command: say when="{event}"')
        elif self.after is not None:
            duration("after", self.after, or_zero=True)

    # When

    @property
    def place(self):
        """Where it strikes, for a breakpoint: ("before" or "after", the command's name in capitals). Else None."""
        if self.before is not None:
            return "before", command_name("before", self.before)
        return ("after", command_name("after", self.after)) if self.breakable and isinstance(self.after, str) else None

    @property
    def due(self):
        """Seconds into the run at which it comes; None where something else triggers it."""
        return None if self.place else self.after

    def triggered_by(self, event, cast):
        """Whether its moment has come with this ``event``: for one of the actors, only its own events count."""
        return self.when == event["kind"] and (self.who not in cast.actors or self.who == event["lane"])

    # What

    def check(self, cast):
        """Raise ValueError unless it can hit somebody of the ``cast`` (a Cast)."""
        groups = [group for group in self.hits if getattr(cast, group)]
        names = [name for group in groups for name in getattr(cast, group)]
        if self.who is None:
            return
        if self.who not in names and not ("actors" in groups and self.who == HOLDER):
            kinds = " or ".join(cast.kind(group) for group in groups or self.hits)
            raise ValueError(f"{self}: no {kinds} is called {self.who!r}; there are {', '.join(names) or NO_REPLICAS}")

    def prepare(self, lab):
        """All is ready, and the run begins now: do what must be done before anybody can begin. The history has yet to begin."""

    def begin(self, lab, record, name):
        """Hit ``name`` (None: everybody); ``record`` writes to the run's history, ``lab`` has the processes."""
        raise NotImplementedError

    def end(self, lab, record, name):
        """Undo it, when it has lasted as long as it is to."""

    def run_over(self, lab, record, name):
        """The run is over while it lasts. By default the history is told that it ends here, and nothing is undone: whoever is at
        work has yet to be stopped, and only ``lab.settle()`` comes after that.
        """
        record("fault ended", lane=name, detail={"fault": self.action})

    @property
    def typed(self):
        """The function with which a learner makes one."""
        return self.action

    @property
    def arguments(self):
        """What the learner wrote before the moment."""
        return (self.who,)

    def __repr__(self):
        given = {"when": self.when, "after": self.after, "before": self.before}
        moment = [f"{name}={_shown(value)}" for name, value in given.items() if value is not None]
        return f"{self.typed}({', '.join([*map(_shown, self.arguments), *moment])})"


def _shown(value):
    return f"{value:g}" if isinstance(value, int | float) else repr(value)


def check(faults, cast, known=lambda command: True):
    """Raise TypeError or ValueError unless ``faults`` are Faults that can hit somebody of the ``cast`` (a Cast).

    ``known`` says of a command's name whether the lock server knows it.
    """
    for fault in faults:
        if not isinstance(fault, Fault):
            raise TypeError(f"faults are made by kill(…), pause(…), restart(…) and so on, not {fault!r}")
        fault.check(cast)
        if fault.place and not known(fault.place[1]):
            raise ValueError(f"{fault}: the lock server knows no command {fault.place[1]}")
