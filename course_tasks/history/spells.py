"""The faults of a run as spells: what befell whom, from when to when.

A pause or a kill of a worker matters to intervals as well, and is paired there with what it interrupts; here a fault is by
itself.
"""

import math
from collections import defaultdict
from dataclasses import dataclass


@dataclass(frozen=True)
class Spell:
    """One fault, as ``recording.FAULTS`` describes it.

    ``fault`` is its name, ``lane`` whom it befell, ``detail`` those of its beginning and its end together. ``begin`` and
    ``end`` are in seconds since the run began; ``end`` is infinity where it did not end before the run did.
    """

    fault: str
    lane: str
    begin: float
    end: float
    detail: dict

    def at(self, t):
        """Whether it went on at ``t``, in seconds since the run began."""
        return self.begin <= t < self.end

    @property
    def servers(self):
        """The servers that it keeps the lane from, or makes slow to reach: a tuple."""
        return tuple(self.detail.get("servers", ()))


def spells(happened, planned=math.inf):
    """Return the Spells in ``happened``, the events by kind, in the order of their beginnings.

    ``planned`` is how many seconds the run was to last: what ends then, ends because the run is over.
    """
    found, going = [], defaultdict(list)
    for event in sorted(happened["fault began"] + happened["fault ended"], key=lambda event: event.Index):
        same = going[event.lane, event.detail["fault"]]
        if event.kind == "fault began":
            same.append(event)
        elif began := _its_beginning(same, event):
            same.remove(began)
            found.append(_spell(began, event.t if event.t < planned else math.inf, event.detail))
    found += [_spell(began, math.inf, {}) for same in going.values() for began in same]
    return sorted(found, key=lambda spell: spell.begin)


def _its_beginning(same, ended):
    """The one of ``same``, beginnings of such faults on that lane, that ``ended``; None where there is none.

    Several cuts may go on at once: an end that names servers is that of a beginning that named them.
    """
    servers = ended.detail.get("servers")
    return next((began for began in same if servers is None or began.detail.get("servers") == servers), None)


def _spell(began, end, detail):
    return Spell(began.detail["fault"], began.lane, began.t, end, began.detail | detail)
