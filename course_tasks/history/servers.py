"""What befell the lock servers and the links to them: who could answer whom, and when that was no majority."""

import math
from dataclasses import dataclass
from itertools import pairwise

from course_tasks.history.spells import Spell


@dataclass(frozen=True)
class Absence:
    """A time in which too few lock servers could answer: ``seconds`` of it in all.

    At least ``least`` of ``number`` servers were away throughout; ``names`` are those that were at any time of it. They were
    all ``dead``, or else some of them were only paused.
    """

    seconds: float
    least: int
    number: int
    names: tuple
    dead: bool


class Servers:
    """The lock servers and replicas called ``names``, in a run with these ``faults`` (Spells).

    ``pauses`` are the intervals of kind "paused"; ``planned`` is how long the run was to last: a pause that ends then ends
    because the run is over, and nobody hears anything after it. All times are in seconds since the run began.

    =============== ====================================================================================================
    ``down``        Spells of their own kind: a server is dead, from a kill on, or from a restart until it is started again,
                    and ``memory`` in the detail says whether it then still knows what it knew before
    ``paused``      Spells "pause" of servers
    ``moved``       Spells "clock"
    ``promoted``    Spells "promote"
    ``cut``         Spells "cut", on the lanes of workers, contenders and replicas
    ``slow``        Spells "slow", likewise
    =============== ====================================================================================================
    """

    def __init__(self, names, faults, pauses, planned=math.inf):
        self.names = tuple(names)
        self.down = [down for name in self.names for down in _down(name, faults)]
        self.paused = [
            Spell("pause", row.lane, row.begin, _end(row, planned), {}) for row in pauses if row.lane in self.names
        ]
        kinds = ("clock", "promote", "cut", "slow")
        self.moved, self.promoted, self.cut, self.slow = (
            [spell for spell in faults if spell.fault == kind] for kind in kinds
        )

    def asked(self, t):
        """Those whom a lock asks at ``t``: all but the replicas; or the replica that was promoted last."""
        primary = [spell.lane for spell in self.promoted if spell.begin <= t][-1:]
        return primary or [name for name in self.names if not name.startswith("replica")]

    def away(self, t, lane=None):
        """Those of them that cannot answer at ``t``: dead, paused, or cut off from ``lane`` (None: from nobody)."""
        gone = {spell.lane for spell in self.down + self.paused if spell.at(t)}
        gone |= {server for spell in self.cut if spell.lane == lane and spell.at(t) for server in spell.servers}
        return [name for name in self.asked(t) if name in gone]

    def too_few(self, t, lane=None):
        """Whether so many are away from ``lane`` at ``t`` that those left are no majority."""
        number = len(self.asked(t))
        return number > 0 and 2 * (number - len(self.away(t, lane))) <= number

    def heard(self, server, lane, t):
        """When ``server`` hears what ``lane`` sends it at ``t``; infinity, where it is dead by then, or never goes on."""
        if any(spell.lane == server and spell.at(t) for spell in self.down):
            return math.inf
        held_back = [spell for spell in self.paused if spell.lane == server]
        held_back += [spell for spell in self.cut if spell.lane == lane and server in spell.servers]
        until = max((spell.end for spell in held_back if spell.at(t)), default=t)
        return t if until == t else self.heard(server, lane, until)

    def absence(self, begin, end):
        """The :class:`Absence` of a majority between ``begin`` and ``end``; None where there was one throughout."""
        moments = {t for spell in self.down + self.paused + self.promoted for t in (spell.begin, spell.end)}
        moments = sorted({begin, end} | {t for t in moments if begin < t < end})
        parts = [(since, until) for since, until in pairwise(moments) if self.too_few(since)]
        if not parts:
            return None
        away = [(t, self.away(t)) for t, _ in parts]
        return Absence(
            seconds=sum(until - since for since, until in parts),
            least=min(len(names) for _, names in away),
            number=len(self.asked(begin)),
            names=tuple(name for name in self.names if any(name in names for _, names in away)),
            dead=not any(spell.lane in names and spell.at(t) for t, names in away for spell in self.paused),
        )


def _end(pause, planned):
    """When it was over; infinity, where that was not before the run's end."""
    return math.inf if pause.closed_by == "run ended" or pause.until >= planned else pause.until


def _down(name, faults):
    """The times in which the server called ``name`` was dead, as Spells."""
    since = None
    for spell in (spell for spell in faults if spell.lane == name and spell.fault in ("kill", "restart")):
        if since is None:
            since = spell.end if spell.fault == "kill" and spell.end < math.inf else spell.begin
        if spell.fault == "restart" and spell.end < math.inf:
            yield Spell("down", name, since, spell.end, {"memory": bool(spell.detail.get("memory"))})
            since = None
    if since is not None:
        yield Spell("down", name, since, math.inf, {"memory": False})
