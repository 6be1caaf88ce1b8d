"""The verdict on a run: valid, invalid (with witnesses), or unknown, where nothing was put to the test.

No evidence is not a pass: as long as no task found another one inside or the lock taken, a run shows nothing about
mutual exclusion.
"""

from dataclasses import dataclass, field, fields

import pandas as pd

from course_tasks.history.findings import Findings
from course_tasks.history.story import finding, summary
from course_tasks.history.wording import listing, seconds

WITNESSES = 5
"""How many witnesses of each kind a verdict keeps. The first explains most; thousands explain nothing."""


@dataclass(frozen=True)
class Witness:
    """One violation, as small as it can be shown.

    ``kind`` is "overlap" (two tasks inside together) or "duplicate" (a mail delivered again), ``lanes`` who was
    concerned, ``tasks`` their Celery task ids, ``mails`` the numbers of their mails as far as known. ``begin`` is when
    it began, in seconds since the run began; ``seconds`` how long they were inside together, or how long after the
    first delivery the second came. ``order`` is the index of the event with which the violation was complete.
    """

    kind: str
    lanes: tuple
    tasks: tuple
    mails: tuple
    begin: float
    seconds: float
    order: int

    def __str__(self):
        until = self.begin + self.seconds
        if self.kind == "duplicate":
            by = f", sent by {listing(self.lanes)}" if self.lanes else ""
            return f"mail {self.mails[0]} was delivered at {self.begin:.1f} s and again at {until:.1f} s{by}"
        who = listing(self.lanes) if len(self.lanes) == 2 else f"two tasks of {self.lanes[0]}"
        both = f", both with mail {self.mails[0]}" if len(self.mails) == 1 else ""
        length = seconds(self.seconds)
        return f"{who} were inside together from {self.begin:.1f} s to {until:.1f} s ({length}){both}"


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
    ``overlap``      seconds during which two or more were inside
    ``most_inside``  how many were inside at once at most
    ``contended``    how many tasks found another one inside, or the lock taken
    ``duplicates``   mail number -> number of deliveries, for the mails delivered more than once
    ``unsent``       the numbers of the run's mails that were never delivered
    ``longest_wait`` seconds that a task waited for the lock at most
    ``starved``      seconds during which somebody wanted to enter and nobody was inside, at most
    ``ticks``        tasks published by beat
    ``sent``         tasks published by anybody
    ``runs``         stays inside the critical section; where the tasks have none, runs of tasks
    ``skipped``      tasks that found the lock taken and went away
    ``waited``       tasks that waited for the lock
    ``retried``      runs that failed and were to be repeated
    ``failed``       runs that failed for good
    ``delivered``    mails that reached the inbox, duplicates included
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
    starved: float = 0.0
    ticks: int = 0
    sent: int = 0
    runs: int = 0
    skipped: int = 0
    waited: int = 0
    retried: int = 0
    failed: int = 0
    delivered: int = 0

    def __str__(self):
        return f"{self.outcome}: {self.sentence}"


def judge(events, intervals):
    """Return the :class:`Verdict` on the run with these ``events`` (from ``frame``) and ``intervals`` (from theirs).

    Invalid if two were inside the critical section together, by the stream's order, or a mail was delivered twice;
    unknown if no attempt ever found another one inside or the lock taken, or the tasks have no critical section; else
    valid. Mail that was never sent is said, and doesn't make a run invalid.
    """
    found = Findings(events, intervals)
    if found.together.pairs or found.duplicates:
        outcome = "invalid"
    else:
        outcome = "valid" if found.contended else "unknown"
    witnesses = [*_overlaps(found), *_duplicates(found)]
    said = {
        "outcome": outcome,
        "sentence": finding(found),
        "summary": summary(found),
        "witnesses": tuple(sorted(witnesses, key=lambda witness: witness.order)),
    }
    numbers = {fact.name: getattr(found, fact.name) for fact in fields(Verdict) if fact.name not in said}
    return Verdict(**said, **numbers)


def _overlaps(found):
    """A witness for each of the first entries that found another one inside."""
    for earlier, later in found.together.pairs[:WITNESSES]:
        yield Witness(
            kind="overlap",
            lanes=tuple(dict.fromkeys((earlier.lane, later.lane))),
            tasks=(earlier.task, later.task),
            mails=_known({earlier.mail, later.mail}),
            begin=later.begin,
            seconds=max(0.0, min(earlier.until, later.until) - later.begin),
            order=later.begin_order,
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
