"""Faults: what happens to workers and contenders while they work, on purpose and at a chosen moment.

A fault is a signal to the whole process tree of one of them: ``SIGKILL`` or ``SIGSTOP``. What follows an event of the history
comes from outside, and so lands up to a dozen commands after it. Where the exact place matters, a fault is a *breakpoint*
(``before=`` or ``after=`` a command): the process that runs the command stops itself there.
"""

import dataclasses

from course_tasks.breakpoints import command_name
from course_tasks.halts import HOLDER
from course_tasks.history.recording import KINDS
from course_tasks.lab.arguments import duration


@dataclasses.dataclass(frozen=True)
class Fault:
    """One fault of a run; made by :func:`kill` and :func:`pause`.

    ``action`` is "kill" or "pause", ``who`` the name of a worker or a contender, or "holder", ``seconds`` how long it lasts
    (None for ever). One of the others says when it comes: ``when`` the kind of event that triggers it; ``after`` a number of
    seconds into the run, or the command after whose reply it comes; ``before`` the command before which it comes.
    """

    action: str
    who: str
    seconds: float | None
    when: str | None
    after: float | str | None
    before: str | None

    def __post_init__(self):
        if not isinstance(self.who, str):
            raise TypeError(f'who is a name such as "worker2", or "{HOLDER}", not {self.who!r}')
        if [self.when, self.after, self.before].count(None) != 2:
            raise ValueError(
                'say one of when= (an event such as "entered"), after= (seconds into the run, or a command such as "GET") '
                "and before= (a command)"
            )
        if self.when is not None and self.when not in KINDS:
            raise ValueError(f"when={self.when!r} is no event of the history; these are: {', '.join(KINDS)}")
        if self.place:
            if (event := self.place[1].lower()) in KINDS:
                raise ValueError(f'{event!r} is an event, not a command: say when="{event}"')
        elif self.after is not None:
            duration("after", self.after, or_zero=True)

    @property
    def place(self):
        """Where it strikes, for a breakpoint: ("before" or "after", the command's name in capitals). Else None."""
        if self.before is not None:
            return "before", command_name("before", self.before)
        return ("after", command_name("after", self.after)) if isinstance(self.after, str) else None

    @property
    def due(self):
        """Seconds into the run at which it comes; None where something else triggers it."""
        return None if isinstance(self.after, str) else self.after

    def __str__(self):
        given = {"when": self.when, "after": self.after, "before": self.before}
        ((name, value),) = ((name, value) for name, value in given.items() if value is not None)
        lasts = f"{self.seconds:g}, " if self.seconds else ""
        return f"{self.action}({lasts}{self.who!r}, {name}={repr(value) if isinstance(value, str) else f'{value:g}'})"


def kill(who=HOLDER, *, when=None, after=None, before=None):
    """Kill a worker, its pool process included, or a contender (SIGKILL); it stays dead until the run is over.

    ``who`` is the name of a worker ("worker2") or of a contender ("contender2"), or "holder": whoever holds the lock (or is
    inside, without a lock) at that moment. Exactly one of the others says when:

    * ``when="entered"``: an event of the history triggers it, once: "entered", "acquired", "skipped" … of that worker, or
      of anyone where ``who`` is "holder". It lands up to a dozen commands later.
    * ``after=2.5``: so many seconds into the run. Where nobody holds anything then, "holder" is the next one who does.
    * ``before="EXPIRE"`` or ``after="GET"``: a breakpoint, at a command that the lock sends through the client it was given.
      It is called as it is sent, in any case (redis-py's ``incr()`` sends INCRBY). The process that runs it stops exactly
      there: before anything of it was sent, or when its reply has been read and nothing done about it. "holder" is then
      whoever comes there first.

    Each strikes once in a run. Raises TypeError or ValueError for anything else, and the run does for a command that the
    lock server doesn't know.
    """
    return Fault("kill", who, None, when, after, before)


def pause(seconds, who=HOLDER, *, when=None, after=None, before=None):
    """Stop a worker or a contender for ``seconds`` (SIGSTOP, then SIGCONT). The rest is as for :func:`kill`."""
    return Fault("pause", who, duration("seconds", seconds), when, after, before)


def check(faults, names, known=lambda command: True):
    """Raise TypeError or ValueError unless ``faults`` are Faults that can hit one of ``names``.

    ``known`` says of a command's name whether the lock server knows it.
    """
    for fault in faults:
        if not isinstance(fault, Fault):
            raise TypeError(f"faults must be made by kill(…) or pause(…), not {fault!r}")
        if fault.who != HOLDER and fault.who not in names:
            kind = names[0].rstrip("0123456789")
            raise ValueError(f"{fault}: no {kind} is called {fault.who!r}; there are {', '.join(names)}")
        if fault.place and not known(fault.place[1]):
            raise ValueError(f"{fault}: the lock server knows no command {fault.place[1]}")
