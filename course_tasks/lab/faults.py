"""Faults: what happens to workers, contenders and lock servers while a run goes on, on purpose and at a chosen moment.

Each kind is a class, with what it does, and a function, which is what a learner types. What follows an event of the
history comes from outside, and so lands up to a dozen commands after it. Where the exact place matters, a fault is a
*breakpoint* (``before=`` or ``after=`` a command): the process that runs the command stops itself there.
"""

import signal
from typing import ClassVar

from course_tasks.halts import HOLDER
from course_tasks.lab.arguments import duration, shift
from course_tasks.lab.errors import NO_CLOCKS
from course_tasks.lab.fault import Fault, kind_of_fault


class Signalled(Fault):
    """A fault that is a signal to a whole process tree: of a worker or a contender, or of a server."""

    hits = ("actors", "servers", "replicas")
    breakable = True

    def check(self, cast):
        super().check(cast)
        if self.place and self.who not in (HOLDER, *cast.actors):
            raise ValueError(
                f"{self}: at a command it is the client that stops itself, and {self.who} is a server: "
                "say when= or after= a number of seconds"
            )


class Kill(Signalled):
    """See :func:`kill`."""

    action = "kill"
    deadly = True

    def begin(self, lab, record, name):
        # A lock that the system frees at its holder's death may be somebody else's a moment later. So the history must
        # say before that moment that this worker does nothing any more: it is stopped, and only then killed.
        lab.send_signal([name], signal.SIGSTOP)
        record("fault began", lane=name, detail={"fault": "kill"})
        self.bury(lab, record, name)

    def bury(self, lab, record, name):
        """Kill ``name``, which stands still; the history is told first."""
        record("fault ended", lane=name, detail={"fault": "kill"})
        lab.end([name])


def kill(who=HOLDER, *, when=None, after=None, before=None):
    """Kill a worker, its pool process included, a contender, or a lock server (SIGKILL); it stays dead until the run is over.

    ``who`` is the name of a worker ("worker2"), of a contender ("contender2"), of a lock server ("lock3") or of a replica
    ("replica1"); or "holder": whoever holds the lock (or is inside, without a lock) at that moment. Exactly one of the others
    says when:

    * ``when="entered"``: an event of the history triggers it, once: "entered", "acquired", "skipped" … of that worker, or
      of anyone where ``who`` is "holder" or a server. It lands up to a dozen commands later.
    * ``after=2.5``: so many seconds into the run. Where nobody holds anything then, "holder" is the next one who does.
    * ``before="EXPIRE"`` or ``after="GET"``: a breakpoint, at a command that the lock sends through a client it was given.
      It is called as it is sent, in any case (redis-py's ``incr()`` sends INCRBY). The process that runs it stops exactly
      there: before anything of it was sent, or when its reply has been read and nothing done about it. "holder" is then
      whoever comes there first. Not for servers: there it is the client that stops.

    Each strikes once in a run. Raises TypeError or ValueError for anything else, and the run does for a command that the
    lock server doesn't know.
    """
    return Kill(who=who, when=when, after=after, before=before)


@kind_of_fault
class Pause(Signalled):
    """See :func:`pause`."""

    seconds: float

    action: ClassVar[str] = "pause"
    still: ClassVar[bool] = True

    @property
    def lasts(self):
        return self.seconds

    @property
    def arguments(self):
        return self.seconds, self.who

    def begin(self, lab, record, name):
        lab.send_signal([name], signal.SIGSTOP)
        record("fault began", lane=name, detail={"fault": "pause", "seconds": self.seconds})

    def end(self, lab, record, name):
        record("fault ended", lane=name, detail={"fault": "pause"})
        lab.send_signal([name], signal.SIGCONT)

    def run_over(self, lab, record, name):
        if name in lab.servers.names:  # it would let somebody in, a moment before all are stopped
            super().run_over(lab, record, name)
        else:
            self.end(lab, record, name)


def pause(seconds, who=HOLDER, *, when=None, after=None, before=None):
    """Stop a worker, a contender or a lock server for ``seconds`` (SIGSTOP, then SIGCONT). The rest is as for :func:`kill`."""
    return Pause(seconds=duration("seconds", seconds), who=who, when=when, after=after, before=before)


@kind_of_fault
class Restart(Fault):
    """See :func:`restart`."""

    down: float

    action: ClassVar[str] = "restart"
    still: ClassVar[bool] = True

    @property
    def lasts(self):
        return self.down

    @property
    def arguments(self):
        return (self.who, self.down) if self.down else (self.who,)

    def begin(self, lab, record, name):
        lab.send_signal([name], signal.SIGSTOP)
        record("fault began", lane=name, detail={"fault": "restart", "seconds": self.down})
        lab.servers.kill(name)

    def end(self, lab, record, name):
        # Before it is up, which takes a twentieth of a second: what it grants then must come after this in the history.
        record("fault ended", lane=name, detail={"fault": "restart", "memory": lab.durable})
        lab.servers.restart(name)

    def run_over(self, lab, record, name):
        """It did not come back in this run: the history, which has no end of it, says so."""


def restart(server, down=0.0, *, when=None, after=None):
    """Kill a lock ``server`` (SIGKILL), and start it again ``down`` seconds later, with the same command line.

    It remembers what it had written to disk: everything that it has ever answered to in a lab with ``durable=True``, and
    nothing otherwise. ``when`` or ``after`` (seconds) says when, as for :func:`kill`; ``when`` is anyone's event. If the run
    is over before it comes back, it is down until the end.

    Raises TypeError or ValueError for a bad argument; the run does where no lock server is called so.
    """
    return Restart(who=server, down=duration("down", down, or_zero=True), when=when, after=after)


@kind_of_fault
class MoveClock(Fault):
    """See :func:`move_clock`."""

    seconds: float

    action: ClassVar[str] = "clock"
    typed: ClassVar[str] = "move_clock"
    hits: ClassVar[tuple] = ("servers", "replicas")
    lasts: ClassVar[float] = float("inf")

    @property
    def arguments(self):
        return self.who, self.seconds

    def check(self, cast):
        super().check(cast)
        if not cast.clocks:
            raise ValueError(f"{self}: {NO_CLOCKS}")

    def begin(self, lab, record, name):
        # What is no lease any more may be somebody else's a moment later: the history must have said why.
        record("fault began", lane=name, detail={"fault": "clock", "seconds": self.seconds})
        lab.servers.move_clock(name, self.seconds)


def move_clock(server, seconds, *, when=None, after=None):
    """Let the wall clock of a lock ``server`` jump by so many ``seconds``, back where they are negative. It stays so in this run.

    Leases on that server end by its wall clock: forward, they end so much sooner; back, so much later. ``when`` or ``after``
    (seconds) says when, as for :func:`kill`; ``when`` is anyone's event.

    Raises TypeError or ValueError for a bad argument; the run does where no lock server is called so, or where the lab was not
    made with ``clocks=True``.
    """
    return MoveClock(who=server, seconds=shift("seconds", seconds), when=when, after=after)


@kind_of_fault
class Promote(Fault):
    """See :func:`promote`."""

    action: ClassVar[str] = "promote"
    hits: ClassVar[tuple] = ("replicas",)

    def begin(self, lab, record, name):
        record("fault began", lane=name, detail={"fault": "promote"})
        lab.servers.promote(name)
        record("fault ended", lane=name, detail={"fault": "promote"})


def promote(replica, *, when=None, after=None):
    """Make a ``replica`` the primary, as a failover does: everybody who asks "lock" asks it from now on.

    It knows what it has received by then, and nothing else. A primary that is still up loses its clients, and nobody finds it any
    more; kill it before, if it is to have died. ``when`` or ``after`` (seconds) says when, as for :func:`kill`; ``when`` is
    anyone's event.

    Raises TypeError or ValueError for a bad argument; the run does where no replica is called so.
    """
    return Promote(who=replica, when=when, after=after)
