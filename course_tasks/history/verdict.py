"""The verdict on a run: valid, invalid (with witnesses), or unknown, where nothing was put to the test.

No evidence is not a pass: as long as no task found another one inside or the lock taken, a run shows nothing about
mutual exclusion.
"""

from dataclasses import dataclass, field, fields

import pandas as pd

from course_tasks.history.findings import Findings, seen_before
from course_tasks.history.story import finding, summary
from course_tasks.history.wording import listing, numeral, seconds

WITNESSES = 5
"""How many witnesses of each kind a verdict keeps. The first explains most; thousands explain nothing."""


@dataclass(frozen=True)
class Witness:
    """One violation, as small as it can be shown.

    ``kind`` is "overlap" (more inside together than may be), "duplicate" (a mail delivered again) or "stale write" (one
    that the database accepted after one with a higher token). ``lanes`` is who was concerned, ``tasks`` their Celery task
    ids, ``mails`` the numbers of their mails as far as known, ``tokens`` those of a stale write: its own, and the highest
    one before. ``begin`` is when it began, in seconds since the run began; ``seconds`` how long they were inside together,
    or how long after the first delivery, or the first write, the second came. ``order`` is the index of the event with
    which the violation was complete.
    """

    kind: str
    lanes: tuple
    tasks: tuple
    mails: tuple
    begin: float
    seconds: float
    order: int
    tokens: tuple = ()

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
        both = f", {'both' if many == 2 else 'all'} with mail {self.mails[0]}" if len(self.mails) == 1 else ""
        digits = 1 if self.seconds >= 0.1 else 3
        span = f"from {self.begin:.{digits}f} s to {until:.{digits}f} s ({seconds(self.seconds)})"
        return f"{who} were inside together {span}{both}"


@dataclass(frozen=True)
class Verdict:
    """What a run showed. See :func:`judge`.

    ================ ===================================================================================================
    field            meaning
    ================ ===================================================================================================
    ``outcome``      "valid", "invalid" or "unknown"
    ``sentence``     the finding, the title of the picture
    ``summary``      one line of text that says the same as the picture
    ``witnesses``    :class:`Witness` objects, in the order in which the violations were complete
    ``overlap``      seconds during which two or more were inside, or more than may be
    ``most_inside``  how many were inside at once at most
    ``contended``    how many tasks found another one inside, or the lock taken
    ``duplicates``   mail number -> number of deliveries, for the mails delivered more than once
    ``unsent``       the numbers of the run's mails that were never delivered
    ``longest_wait`` seconds that a task waited for the lock at most
    ``fairness``     Jain's index of how often each lane that tried to get in did: 1.0 is even, 1/n is all for one of n;
                     1.0 where nobody tried
    ``starved``      seconds during which somebody wanted to enter and nobody was inside, at most
    ``ticks``        tasks published by beat
    ``sent``         tasks published by anybody
    ``runs``         stays inside the critical section; where there is none, runs of tasks
    ``contenders``   processes that contended for the lock by themselves, without tasks
    ``skipped``      tasks that found the lock taken and went away
    ``waited``       tasks that waited for the lock
    ``retried``      runs that failed and were to be repeated
    ``failed``       runs that failed for good
    ``renewed``      renewals of a lease
    ``lost``         tasks whose lock was no longer their own when they looked
    ``refused``      writes that the database refused for their fencing token
    ``stale``        writes that it accepted, although it had accepted one with a higher token before
    ``delivered``    mails that reached the inbox, duplicates included
    ``dropped``      mails that the inbox dropped, as it had them already
    ================ ===================================================================================================
    """

    outcome: str
    sentence: str
    summary: str
    witnesses: tuple = ()
    overlap: float = 0.0
    most_inside: int = 0
    contended: int = 0
    duplicates: dict = field(default_factory=dict)
    unsent: tuple = ()
    longest_wait: float = 0.0
    fairness: float = 1.0
    starved: float = 0.0
    ticks: int = 0
    sent: int = 0
    runs: int = 0
    contenders: int = 0
    skipped: int = 0
    waited: int = 0
    retried: int = 0
    failed: int = 0
    renewed: int = 0
    lost: int = 0
    refused: int = 0
    stale: int = 0
    delivered: int = 0
    dropped: int = 0

    def __str__(self):
        return f"{self.outcome}: {self.sentence}"


def judge(events, intervals):
    """Return the :class:`Verdict` on the run with these ``events`` (from ``frame``) and ``intervals`` (from theirs).

    Invalid if two were inside the critical section together, by the stream's order, or a mail was delivered twice, or the
    database accepted a write that was stale by its token; unknown if nobody was ever inside, or no attempt ever
    found another one inside or the lock taken; else valid. Mail that was never sent is said, and doesn't make a run
    invalid. Where the run allows several inside together (``at_once``), it takes one more than that in each case.
    """
    found = Findings(events, intervals)
    if found.together.crowds or found.duplicates or found.stale:
        outcome = "invalid"
    else:
        outcome = "valid" if found.contended and found.runs else "unknown"
    witnesses = [*_overlaps(found), *_duplicates(found), *_stale_writes(found)]
    said = {
        "outcome": outcome,
        "sentence": finding(found),
        "summary": summary(found),
        "witnesses": tuple(sorted(witnesses, key=lambda witness: witness.order)),
    }
    numbers = {fact.name: getattr(found, fact.name) for fact in fields(Verdict) if fact.name not in said}
    return Verdict(**said, **numbers)


def _overlaps(found):
    """A witness for each of the first entries that were one too many."""
    for crowd in found.together.crowds[:WITNESSES]:
        last = crowd[-1]
        yield Witness(
            kind="overlap",
            lanes=tuple(dict.fromkeys(stay.lane for stay in crowd)),
            tasks=tuple(stay.task for stay in crowd),
            mails=_known({stay.mail for stay in crowd}),
            begin=last.begin,
            seconds=max(0.0, min(stay.until for stay in crowd) - last.begin),
            order=last.begin_order,
        )


def _duplicates(found):
    """A witness for each of the first mails that were delivered a second time."""
    completed = sorted((found.deliveries[mail][1].Index, mail) for mail in found.duplicates)[:WITNESSES]
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
    for write in found.stale_writes[:WITNESSES]:
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
