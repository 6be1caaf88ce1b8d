"""Faults of the links between those who want a lock and the servers that grant it: cut for a while, or slow."""

from typing import ClassVar

from course_tasks.halts import HOLDER
from course_tasks.lab import arguments
from course_tasks.lab.fault import Fault, kind_of_fault


@kind_of_fault
class LinkFault(Fault):
    """A fault of the links between ``who`` (None: everybody) and ``servers`` (None: all). A subclass says what to ``_do``."""

    servers: tuple | None

    hits: ClassVar[tuple] = ("actors", "replicas")
    outside: ClassVar[bool] = True
    anyone: ClassVar[bool] = True

    def check(self, cast):
        super().check(cast)
        if unknown := [server for server in self.servers or () if server not in cast.servers]:
            raise ValueError(f"{self}: no lock server is called {unknown[0]!r}; there are {', '.join(cast.servers)}")

    def prepare(self, lab):
        if self.due == 0 and self.who != HOLDER:
            self._do(lab, self.who)

    def begin(self, lab, record, name):
        self._do(lab, name)
        self._tell("fault began", lab, record, name)

    def run_over(self, lab, record, name):
        self._tell("fault ended", lab, record, name)

    def _do(self, lab, name):
        raise NotImplementedError

    def _tell(self, kind, lab, record, name, **more):
        servers = list(self.servers or lab.lock_servers)
        for lane in [name] if name else lab.links.everybody:
            record(kind, lane=lane, detail={"fault": self.action, "servers": servers, **more})

    @property
    def _servers(self):
        """As a learner would write them."""
        if self.servers is None:
            return None
        return self.servers[0] if len(self.servers) == 1 else list(self.servers)


@kind_of_fault
class Cut(LinkFault):
    """See :func:`cut`."""

    seconds: float | None

    action: ClassVar[str] = "cut"

    @property
    def lasts(self):
        return float("inf") if self.seconds is None else self.seconds

    @property
    def arguments(self):
        return (self.who, self._servers, *([] if self.seconds is None else [self.seconds]))

    def end(self, lab, record, name):
        self._tell("fault ended", lab, record, name)
        lab.links.end_cut((self, name))

    def _do(self, lab, name):
        lab.links.begin_cut((self, name), name, self.servers)


def cut(who, servers, seconds=None, *, when=None, after=None):
    """Cut ``who`` off from some lock ``servers`` for ``seconds``, or until the run's end: a partition, as asymmetric as you like.

    ``who`` is the name of a worker, of a contender or of a replica, "holder" (as for :func:`kill`), or None: everybody.
    ``servers`` is a name, a list of names, or None: all of them. A replica is cut off from "lock", its primary.

    What they send each other meanwhile is held back, in order, and delivered when the link heals, as TCP does; so it may
    come late, and from one who is dead by then. Nobody is told: who waits for an answer waits. New connections get none
    either. What is still held back at the run's end is never delivered.

    ``when`` or ``after`` (seconds) says when, as for :func:`kill`. With ``after=0`` the link is cut before anybody begins.
    Raises TypeError or ValueError for a bad argument; the run does where the lab has no such process or server.
    """
    return Cut(
        who=who,
        servers=_several(servers),
        seconds=None if seconds is None else arguments.duration("seconds", seconds),
        when=when,
        after=after,
    )


@kind_of_fault
class Slow(LinkFault):
    """See :func:`slow`."""

    milliseconds: float

    action: ClassVar[str] = "slow"
    lasts: ClassVar[float] = float("inf")

    @property
    def arguments(self):
        given = [self.milliseconds, self.who, self._servers]
        while given[-1] is None:
            given.pop()
        return tuple(given)

    def begin(self, lab, record, name):
        self._do(lab, name)
        self._tell("fault began", lab, record, name, milliseconds=self.milliseconds)

    def _do(self, lab, name):
        lab.links.slow(self.milliseconds, name, self.servers)


def slow(milliseconds, who=None, servers=None, *, when=None, after=None):
    """Deliver what ``who`` and ``servers`` send each other so many ``milliseconds`` late, in each direction, until the run's end.

    A reply comes at least twice that after its command. The rest is as for :func:`cut`. Of two on one link, the later holds.
    """
    return Slow(
        milliseconds=arguments.milliseconds("milliseconds", milliseconds),
        who=who,
        servers=_several(servers),
        when=when,
        after=after,
    )


def _several(servers):
    """``servers``, one name or several, as a tuple; None for all. Whether there are such is for the run to say."""
    if servers is None:
        return None
    return arguments.names("lock server", servers, [servers] if isinstance(servers, str) else servers)
