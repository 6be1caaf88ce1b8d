"""What can be counted and measured in one run, each fact defined in one place.

The verdict, its sentences and the card all take their numbers from here.
"""

from collections import Counter
from functools import cached_property

import numpy as np
import pandas as pd

from course_tasks.history.liveness import starvation
from course_tasks.history.overlap import overlap

ATTEMPT = ["lane", "task", "pid"]
"""The columns that make out one attempt of one task."""


class Findings:
    """The facts about the run with these ``events`` (from ``frame``) and ``intervals`` (from ``intervals``)."""

    def __init__(self, events, intervals):
        self.events, self.intervals = events, intervals
        self.kinds = Counter(events.kind)
        self.began = next((detail or {} for detail in events.detail[events.kind == "began"]), {})
        self.inside = intervals[intervals.kind == "inside"]
        self.waiting = intervals[intervals.kind == "waiting"]
        self.ticks = int(((events.kind == "sent") & (events.lane == "beat")).sum())
        self.sent, self.skipped = self.kinds["sent"], self.kinds["skipped"]
        self.retried, self.failed = self.kinds["retried"], self.kinds["failed"]
        self.delivered = self.kinds["delivered"]

    @cached_property
    def together(self):
        """Who was inside together: an :class:`Overlap`."""
        return overlap(self.intervals)

    @cached_property
    def starvation(self):
        """When nobody could enter for longest: a :class:`Starvation`."""
        return starvation(self.events, self.intervals)

    @property
    def has_section(self):
        """Whether the tasks have a critical section at all: whether one entered it, or tried to."""
        return any(self.kinds[kind] for kind in ("entered", "waiting", "skipped", "acquired"))

    @cached_property
    def worked(self):
        """The runs: stays inside the critical section; where the tasks have none, runs of tasks."""
        return self.inside if self.has_section else self.intervals[self.intervals.kind == "running"]

    @property
    def runs(self):
        """How many attempts did their work."""
        return len(self.worked.drop_duplicates(ATTEMPT))

    @property
    def waited(self):
        """How many attempts waited for the lock."""
        return len(self.waiting.drop_duplicates(ATTEMPT))

    @property
    def longest_wait(self):
        """Seconds that a task waited for the lock at most."""
        return float((self.waiting.until - self.waiting.begin).max()) if len(self.waiting) else 0.0

    @property
    def overlap(self):
        """Seconds during which two or more were inside."""
        return sum(stretch.seconds for stretch in self.together.stretches)

    @property
    def most_inside(self):
        """How many were inside at once at most."""
        return self.together.most

    @property
    def starved(self):
        """Seconds during which somebody wanted to enter and nobody was inside, at most."""
        return self.starvation.seconds

    @cached_property
    def deliveries(self):
        """Mail number -> how often it was delivered, for the mails that were."""
        return dict(sorted(Counter(self.events.mail[self.events.kind == "delivered"].dropna().tolist()).items()))

    @property
    def duplicates(self):
        """The same, for the mails delivered more than once."""
        return {mail: number for mail, number in self.deliveries.items() if number > 1}

    @property
    def unsent(self):
        """The numbers of the run's mails that were never delivered."""
        return tuple(mail for mail in range(1, self.began.get("mails", 0) + 1) if mail not in self.deliveries)

    @cached_property
    def lanes(self):
        """Every lane: those that the run announced, in drawing order, then others in the order of appearance."""
        announced = self.began.get("lanes", [])
        return list(dict.fromkeys([*announced, *(lane for lane in self.events.lane.unique() if lane != "lab")]))

    @property
    def contended(self):
        """How many attempts found another one inside, or the lock taken.

        By the stream's order: while it waited, when it went away, or when it entered, another was inside; while it
        waited or when it went away, another held the lock, be it dead.
        """
        occupied = self.intervals[self.intervals.kind.isin(("inside", "holding"))]
        asked = [self.waiting.assign(first=self.waiting.begin_order, last=self.waiting.until_order)]
        skipped = self.events[self.events.kind == "skipped"]
        asked.append(skipped.assign(first=skipped.index, last=skipped.index))
        asked = pd.concat([part[[*ATTEMPT, "first", "last"]] for part in asked if len(part)] or asked[:1])
        entered = self.inside.assign(first=self.inside.begin_order, last=self.inside.begin_order)
        found = [asked[_meet(asked, occupied)], entered[_meet(entered, self.inside)]]
        return len({row for part in found for row in part[ATTEMPT].itertuples(index=False, name=None)})


def _meet(asked, stays):
    """For each row of ``asked``, whether one of ``stays`` was going on between its ``first`` and ``last``."""
    begun = np.searchsorted(np.sort(stays.begin_order), asked["last"], side="left")
    over = np.searchsorted(np.sort(stays.until_order), asked["first"], side="right")
    return begun > over
