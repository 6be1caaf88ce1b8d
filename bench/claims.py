"""Who claimed to hold a lock, from when until when; and whether two did at once.

A claim begins when acquire() has returned. It ends when the validity is over that the lock had then, or when its holder is about
to release it, if that is earlier. All times are CLOCK_MONOTONIC, which all processes of one machine share.
"""

import functools
import itertools
from dataclasses import dataclass

from bench.blows import Schedule
from bench.claimant import VAIN
from course_tasks.history.wording import count


@dataclass(frozen=True)
class Claim:
    """``who`` held the lock from ``begin`` until ``end``, as it could not but believe; ``granted`` by these servers."""

    who: str
    begin: float
    end: float
    granted: tuple


def claims(events):
    """The Claims in ``events``, dictionaries as history/recording.py describes them, in the order of their beginnings.

    The ``lease`` of one who "acquired" is the validity that was left at that moment.
    """
    left = {event["task"]: event["t"] for event in events if event["kind"] == "left"}
    found = []
    for event in events:
        if event["kind"] == "acquired":
            begin, end = event["t"], event["t"] + event["lease"]
            granted = tuple(event["detail"]["granted"])
            found.append(Claim(event["lane"], begin, min(end, left.get(event["task"], end)), granted))
    return sorted(found, key=lambda claim: claim.begin)


def pairs(found):
    """Each two of the Claims that overlap, the earlier one first."""
    return [(one, other) for one, other in itertools.combinations(found, 2) if other.begin < one.end]


def within(found, moments):
    """Those of ``moments``, (who, t), that lie inside a claim of somebody else's."""
    return [(who, t) for who, t in moments if any(claim.begin < t < claim.end and claim.who != who for claim in found)]


@dataclass(frozen=True)
class Outcome:
    """What became of a ``schedule``: the ``events`` in the order of their times, as the history has them."""

    schedule: Schedule
    events: tuple

    @functools.cached_property
    def claims(self):
        return claims(self.events)

    @functools.cached_property
    def pairs(self):
        """Two valid holders at once: each two Claims."""
        return pairs(self.claims)

    @functools.cached_property
    def contended(self):
        """How many attempts there were while somebody else held the lock: in vain, or not."""
        last = [event for event in self.events if event["kind"] == "finished"]
        attempts = [(event["lane"], t) for event in last for t in event["detail"][VAIN]]
        attempts += [(claim.who, claim.begin) for claim in self.claims]
        return len(within(self.claims, attempts))

    @functools.cached_property
    def strikes(self):
        """The faults that landed inside a hold (events)."""
        began = [event for event in self.events if event["kind"] == "fault began"]
        return [event for event in began if within(self.claims, [(None, event["t"])])]

    @property
    def counts(self):
        """Whether the lock was wanted while it was held, and something broke then."""
        return self.contended > 0 and len(self.strikes) > 0

    @property
    def together(self):
        """Seconds that the pairs were valid together."""
        return sum(min(one.end, other.end) - other.begin for one, other in self.pairs)

    def __str__(self):
        return (
            f"seed {self.schedule.seed}: {count(len(self.claims), 'hold')}, {count(self.contended, 'contended attempt')}, "
            f"{count(len(self.strikes), 'fault')} inside a hold; {count(len(self.pairs), 'pair')} of valid holders"
            + (f", together for {self.together * 1000:.1f} ms" if self.pairs else "")
        )
