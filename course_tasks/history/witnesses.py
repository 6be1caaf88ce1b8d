"""The witnesses of a verdict: single violations, each as small as it can be shown."""

from dataclasses import dataclass

import pandas as pd

from course_tasks.history.findings import seen_before
from course_tasks.history.wording import listing, named, numeral, seconds

KEPT = 5
"""How many witnesses of each kind are kept. The first explains most; thousands explain nothing."""


@dataclass(frozen=True)
class Witness:
    """One violation, as small as it can be shown.

    ``kind`` is "overlap" (more inside together than may be), "duplicate" (a mail delivered again) or "stale write" (one
    that the database accepted after one with a higher token). ``lanes`` is who was concerned, ``tasks`` their Celery task
    ids, ``mails`` the numbers of their mails (of an overlap: one for each task that had read any), ``tokens`` those of a
    stale write: its own, and the highest one before. ``begin`` is when it began, in seconds since the run began; ``seconds``
    how long they were inside together, or how long after the first delivery, or the first write, the second came. ``order``
    is the index of the event with which the violation was complete. ``servers`` are the lock servers that had granted the lock
    to both of two who were inside together, before either's lease had ended.
    """

    kind: str
    lanes: tuple
    tasks: tuple
    mails: tuple
    begin: float
    seconds: float
    order: int
    tokens: tuple = ()
    servers: tuple = ()

    def __str__(self):
        until = self.begin + self.seconds
        if self.kind == "duplicate":
            by = f", sent by {listing(self.lanes)}" if self.lanes else ""
            return f"mail {self.mails[0]} was delivered at {self.begin:.1f} s and again at {until:.1f} s{by}"
        if self.kind == "stale write":
            after = f"{self.lanes[1]} had written with" if len(self.lanes) > 1 else "it had accepted"
            return (
                f"the database accepted a write of {self.lanes[0]} with token {self.tokens[0]} at {until:.1f} s, "
                f"after {after} token {self.tokens[1]}"
            )
        many = len(self.tasks)
        who = listing(self.lanes) if len(self.lanes) == many else f"{numeral(many)} tasks of {listing(self.lanes)}"
        alike = len(self.mails) == many and len(set(self.mails)) == 1
        both = f", {'both' if many == 2 else 'all'} with mail {self.mails[0]}" if alike else ""
        digits = 1 if self.seconds >= 0.1 else 3
        span = f"from {self.begin:.{digits}f} s to {until:.{digits}f} s ({seconds(self.seconds)})"
        granted = f", both granted by {named(self.servers)}" if self.servers else ""
        return f"{who} were inside together {span}{both}{granted}"


def witnesses(found):
    """The first witnesses of each kind in ``found`` (Findings): a tuple, in the order in which the violations were complete."""
    everything = [*_overlaps(found), *_duplicates(found), *_stale_writes(found)]
    return tuple(sorted(everything, key=lambda witness: witness.order))


def _overlaps(found):
    """A witness for each of the first entries that were one too many."""
    for crowd in found.together.crowds[:KEPT]:
        last = crowd[-1]
        yield Witness(
            kind="overlap",
            lanes=tuple(dict.fromkeys(stay.lane for stay in crowd)),
            tasks=tuple(stay.task for stay in crowd),
            mails=_known(stay.mail for stay in crowd),
            begin=last.begin,
            seconds=max(0.0, min(stay.until for stay in crowd) - last.begin),
            order=last.begin_order,
            servers=_granted_both(found, crowd),
        )


def _granted_both(found, crowd):
    """The servers that had granted both of a ``crowd`` of two: a tuple, empty where there are none, or more were inside."""
    doubles = list(found.grants.doubles([crowd]))
    return tuple(doubles[0].why) if len(crowd) == 2 and doubles else ()


def _duplicates(found):
    """A witness for each of the first mails that were delivered a second time."""
    completed = sorted((found.deliveries[mail][1].Index, mail) for mail in found.duplicates)[:KEPT]
    for order, mail in completed:
        first, second = found.deliveries[mail][:2]
        stays = [stay for event in (first, second) for stay in _sending(found, event)]
        yield Witness(
            kind="duplicate",
            lanes=tuple(dict.fromkeys(stay.lane for stay in stays)),
            tasks=tuple(stay.task for stay in stays),
            mails=(mail,),
            begin=first.t,
            seconds=second.t - first.t,
            order=order,
        )


def _stale_writes(found):
    """A witness for each of the first writes that were accepted after one with a higher token."""
    for write in found.stale_writes[:KEPT]:
        seen = seen_before(write)
        # Its event may be missing, if the writer was killed before it could record it; the database's word is enough.
        higher = [event for event in found.happened["written"] if event.token == seen][:1]
        begin = higher[0].t if higher else write.t
        yield Witness(
            kind="stale write",
            lanes=tuple(dict.fromkeys(event.lane for event in (write, *higher))),
            tasks=tuple(event.task for event in (write, *higher)),
            mails=_known({event.mail for event in (write, *higher)}),
            begin=begin,
            seconds=write.t - begin,
            order=write.Index,
            tokens=(write.token, seen),
        )


def _sending(found, delivered):
    """The stay during which a mail was sent, in a list that is empty where the delivery doesn't say who sent it."""
    sender = (delivered.detail or {}).get("sender")
    return [
        stay
        for stay in found.lasted["inside"]
        if stay.lane == sender and stay.begin_order < delivered.Index < stay.until_order
    ][:1]


def _known(mails):
    """The mail numbers among ``mails`` that are known, ascending."""
    return tuple(sorted(mail for mail in mails if mail is not pd.NA))
