"""What each lock server knew of each hold: from when it was acquired until the server was told, or forgot.

A server forgets a hold when its lease ends, by the server's own clock; when its clock is moved by at least what the lease
had left; and when it dies, unless it comes back with what it had on disk. Releases and renewals are sent to all servers: those
that are dead never hear of them, those that are paused or cut off from the holder do later. So it is with a release of which
the holder itself can't say whether it was done. And whatever the reason: a server that grants the lock to another has
forgotten the first.
"""

import math
from collections import defaultdict
from dataclasses import dataclass, replace

TOLD = ("released", "lost", "killed")
"""What a hold was closed by that was over for the servers as well; with "killed", it had no lease."""

HEARD = {"renewed": "renewed", "unanswered": "released"}
"""What a server that hears of it does."""


@dataclass(frozen=True, eq=False)
class Grant:
    """One server's part of one hold: ``lane`` is the server.

    ``hold`` is a row of the intervals of kind "holding". ``begin`` and ``end`` are in seconds since the run began; ``end`` may
    lie after the run's end, and is infinity where nothing would ever have ended it. ``why`` it ended: "released", "lease
    ended", "clock moved", "died", "granted to another", or None.
    """

    lane: str
    hold: tuple
    begin: float
    end: float
    why: str | None


@dataclass(frozen=True, eq=False)
class Double:
    """Two who were inside together, each by right of a lock that had been granted and had not ended: rows of kind "holding".

    ``first`` and ``second`` are in the order in which they acquired it. ``why`` tells of each server that had granted it to
    both why it had forgotten the first: server -> as in :class:`Grant`.
    """

    first: tuple
    second: tuple
    why: dict


class Grants:
    """Who was granted the lock by which ``servers`` (Servers), as far as ``happened`` and ``lasted`` tell.

    Those are the events by kind and the intervals by kind, as ``Findings`` has them. ``of`` is a dictionary of dictionaries:
    begin_order of a hold -> server -> Grant.
    """

    def __init__(self, happened, lasted, servers):
        granted = {event.Index: (event.detail or {}).get("granted", ()) for event in happened["acquired"]}
        self.of, self._holds, told = {}, defaultdict(list), defaultdict(list)
        for event in happened["renewed"] + happened["unanswered"]:
            told[_attempt(event)].append(event)
        latest = {}  # server -> its latest Grant
        for hold in lasted["holding"]:
            self._holds[_attempt(hold)].append(hold)
            if hold.lease == 0:  # who told of it stood still until it was over: by then no server knew of it any more
                continue
            for server in [name for name in servers.names if name in granted.get(hold.begin_order, ())]:
                if (before := latest.get(server)) and before.end > hold.begin:
                    self._put(replace(before, end=hold.begin, why="granted to another"))
                end, why = _forgotten(hold, server, told[_attempt(hold)], servers)
                latest[server] = self._put(Grant(server, hold, hold.begin, end, why))

    def _put(self, grant):
        self.of.setdefault(grant.hold.begin_order, {})[grant.lane] = grant
        return grant

    @property
    def all(self):
        """Every Grant, in the order of the holds."""
        return [grant for grants in self.of.values() for grant in grants.values()]

    def doubles(self, crowds):
        """The :class:`Double` of each pair in ``crowds`` (tuples of stays, as ``overlap`` finds them) that is one."""
        for *others, last in crowds if self.of else ():
            second = self._hold(last)
            for other in others:
                first = self._hold(other)
                if first and second and first.begin_order < second.begin_order < first.until_order:
                    mine = self.of[second.begin_order]
                    both = {name: grant.why for name, grant in self.of[first.begin_order].items() if name in mine}
                    yield Double(first, second, both)

    def _hold(self, stay):
        """By right of which hold a ``stay`` was inside; None where nothing is known of who had granted it."""
        holds = [hold for hold in self._holds[_attempt(stay)] if hold.begin_order < stay.begin_order]
        return holds[-1] if holds and holds[-1].begin_order in self.of else None


def _attempt(row):
    return row.lane, row.task, row.pid


def _forgotten(hold, server, told, servers):
    """When and why ``server`` forgets ``hold``; ``told`` are the attempt's renewals, and unanswered releases."""
    lease_ends, ahead = hold.begin + _length(hold.lease), 0.0
    for t, what, seconds in _changes(hold, server, told, servers):
        if lease_ends <= t:
            break
        if what == "renewed":
            lease_ends, ahead = t + _length(seconds), 0.0
        elif what == "clock moved":
            lease_ends, ahead = lease_ends - seconds, ahead + seconds
            if lease_ends <= t:
                return t, what
        else:
            return t, what
    if lease_ends == math.inf:
        return math.inf, None
    return lease_ends, "clock moved" if ahead > 0 else "lease ended"


def _length(lease):
    """The seconds of a ``lease``; infinity where there is none (NaN)."""
    return lease if lease == lease else math.inf


def _changes(hold, server, told, servers):
    """What changes for how long ``server`` knows of ``hold``: (when, what, seconds), in order."""
    changes = [(servers.heard(server, event.lane, event.t), HEARD[event.kind], event.lease) for event in told]
    changes += [
        (spell.begin, "clock moved", spell.detail["seconds"]) for spell in servers.moved if spell.lane == server
    ]
    forgetful = [spell for spell in servers.down if spell.lane == server and not spell.detail["memory"]]
    changes += [(spell.begin, "died", None) for spell in forgetful]
    if hold.closed_by in TOLD:
        changes.append((servers.heard(server, hold.lane, hold.until), "released", None))
    changes.sort(key=lambda change: change[0])
    return [change for change in changes if hold.begin <= change[0] < math.inf]
