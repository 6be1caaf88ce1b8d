"""What can be counted and measured in one run, each fact defined in one place.

The verdict, its sentences, the card and the picture all take their numbers from here.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from functools import cached_property

import pandas as pd

from course_tasks.history.liveness import starvation
from course_tasks.history.overlap import overlap
from course_tasks.history.reading import rows

MOMENTS = "began sent acquired renewed released skipped retried failed delivered ended command".split() + [
    "fault ended"
]
"""The kinds of events that count as such. The others matter only as beginnings and ends of intervals.
"command" is in counterexamples only, one for each step of a client; its detail says what it was."""


class Findings:
    """The facts about the run with these ``events`` (from ``frame``) and ``spans`` (from ``intervals``).

    ``happened`` and ``lasted`` hold the same as named tuples: kind of event, one of ``MOMENTS`` -> events, and kind of
    interval -> intervals, each in the stream's order.
    """

    def __init__(self, events, spans):
        self.events = events
        self.happened, self.lasted = _by_kind(events[events.kind.isin(MOMENTS)]), _by_kind(spans)
        self.began = next((event.detail or {} for event in self.happened["began"]), {})
        self.ticks = sum(event.lane == "beat" for event in self.happened["sent"])
        self.sent, self.skipped = len(self.happened["sent"]), len(self.happened["skipped"])
        self.retried, self.failed = len(self.happened["retried"]), len(self.happened["failed"])
        self.delivered = len(self.happened["delivered"])
        self.kills = [event for event in self.happened["fault ended"] if event.detail["fault"] == "kill"]

    @cached_property
    def lanes(self):
        """Every lane: those that the run announced, in drawing order, then others in the order of appearance."""
        announced = self.began.get("lanes", [])
        return list(dict.fromkeys([*announced, *(lane for lane in self.events.lane.unique() if lane != "lab")]))

    @property
    def in_steps(self):
        """Whether time is counted in steps, as in a counterexample, and not in seconds."""
        return self.began.get("unit") == "steps"

    @property
    def has_section(self):
        """Whether the tasks have a critical section at all: whether one was inside, or tried to be."""
        return any(self.lasted[kind] for kind in ("inside", "waiting", "holding")) or self.skipped > 0

    @property
    def worked(self):
        """The runs: stays inside the critical section; where the tasks have none, runs of tasks."""
        return self.lasted["inside" if self.has_section else "running"]

    @property
    def runs(self):
        """How many there were: Celery may run the same task more than once."""
        return len(self.worked)

    @property
    def waited(self):
        """How many tasks waited for the lock."""
        return len(self.lasted["waiting"])

    @property
    def longest_wait(self):
        """Seconds that a task waited for the lock at most."""
        return max((row.until - row.begin for row in self.lasted["waiting"]), default=0.0)

    @cached_property
    def together(self):
        """Who was inside together: an :class:`Overlap`."""
        return overlap(self.lasted["inside"])

    @property
    def overlap(self):
        """Seconds during which two or more were inside."""
        return sum(stretch.seconds for stretch in self.together.stretches)

    @property
    def most_inside(self):
        """How many were inside at once at most."""
        return self.together.most

    @cached_property
    def starvation(self):
        """When nobody could enter for longest: a :class:`Starvation`."""
        return starvation(self.happened, self.lasted, self.events.t.iloc[-1] if len(self.events) else 0.0)

    @property
    def starved(self):
        """Seconds during which somebody wanted to enter and nobody was inside, at most."""
        return self.starvation.seconds

    @cached_property
    def deliveries(self):
        """Mail number -> its deliveries (events), for the mails that were delivered, in ascending order."""
        deliveries = defaultdict(list)
        for event in self.happened["delivered"]:
            if event.mail is not pd.NA:
                deliveries[event.mail].append(event)
        return dict(sorted(deliveries.items()))

    @cached_property
    def duplicates(self):
        """Mail number -> number of deliveries, for the mails delivered more than once."""
        return {mail: len(events) for mail, events in self.deliveries.items() if len(events) > 1}

    @property
    def unsent(self):
        """The numbers of the run's mails that were never delivered."""
        return tuple(mail for mail in range(1, self.began.get("mails", 0) + 1) if mail not in self.deliveries)

    @cached_property
    def contended(self):
        """How many tasks found another one inside, or the lock taken.

        By the stream's order: while it waited or when it went away, another one was inside or held the lock, be it
        dead; or when it entered, not having waited, another one was inside.
        """
        inside, taken = self.lasted["inside"], self.lasted["inside"] + self.lasted["holding"]
        waited = _meeting(taken, self.lasted["waiting"], "begin_order", "until_order")
        skipped = _meeting(taken, self.happened["skipped"], "Index", "Index")
        entered = _meeting(inside, inside, "begin_order", "begin_order")
        in_vain, who = {row.until_order for row in waited}, {_attempt(row) for row in waited}
        skipped = [event for event in skipped if event.Index not in in_vain]
        return len(waited) + len(skipped) + len([row for row in entered if _attempt(row) not in who])


def _by_kind(table):
    """The table's rows as named tuples, by their kind."""
    kinds = defaultdict(list)
    for row in rows(table):
        kinds[row.kind].append(row)
    return kinds


def _attempt(row):
    """Who tries: Celery runs the same task id in another process when it delivers the task anew."""
    return row.lane, row.task, row.pid


def _meeting(stays, rows, first, last):
    """Those of ``rows`` during which one of ``stays`` was going on; ``first`` and ``last`` name their orders."""
    begun, over = sorted(stay.begin_order for stay in stays), sorted(stay.until_order for stay in stays)
    return [row for row in rows if bisect_left(begun, getattr(row, last)) > bisect_right(over, getattr(row, first))]
