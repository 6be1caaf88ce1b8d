"""What can be counted and measured in one run, each fact defined in one place.

The verdict, its sentences, the card and the picture all take their numbers from here.
"""

import math
from collections import Counter, defaultdict
from functools import cached_property

import pandas as pd

from course_tasks.history.contention import contended
from course_tasks.history.grants import Grants
from course_tasks.history.liveness import starvation
from course_tasks.history.overlap import overlap
from course_tasks.history.reading import rows
from course_tasks.history.servers import Servers
from course_tasks.history.spells import spells

MOMENTS = (
    "began sent acquired renewed lost released unanswered skipped retried failed written refused delivered dropped command "
    "ended"
).split() + ["fault began", "fault ended"]
"""The kinds of events that count as such. The others matter only as beginnings and ends of intervals.
"command" is in counterexamples only, one for each step of a client; its detail says what it was."""

MOST = 0.8
"""The share of a time in which nobody could enter from which on what was so in it is said to be the reason."""


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
        self.delivered, self.dropped = len(self.happened["delivered"]), len(self.happened["dropped"])
        self.renewed, self.lost = len(self.happened["renewed"]), len(self.happened["lost"])
        self.refused = len(self.happened["refused"])
        self.at_once = self.began.get("at_once", 1)  # how many may be inside together
        planned = self.began.get("seconds") or math.inf
        self.faults = spells(self.happened, planned)
        self.servers = Servers(self.began.get("servers", ()), self.faults, self.lasted["paused"], planned)
        self.kills = [event for event in self.happened["fault ended"] if event.detail["fault"] == "kill"]

    def error(self, failed):
        """The name of the error of which a task ``failed`` (an event) at its first run; None where it had been retried."""
        name = (failed.detail or {}).get("error", "").partition("(")[0]
        return name if name and failed.task not in self._retried else None

    @cached_property
    def _retried(self):
        return {event.task for event in self.happened["retried"]}

    def place(self, order):
        """Where among a process's commands the fault struck whose event has this order: " before EXPIRE", or ""."""
        return f" {self._places[order]}" if order in self._places else ""

    @cached_property
    def _places(self):
        places, latest = {}, {}  # event's order -> place; lane -> place
        faults = self.happened["fault began"] + self.happened["fault ended"]
        for event in sorted(faults, key=lambda event: event.Index):
            if event.kind == "fault began":
                latest[event.lane] = event.detail.get("command")
            if latest.get(event.lane):
                places[event.Index] = latest[event.lane]
        return places

    @cached_property
    def lanes(self):
        """Every lane: those that the run announced, in drawing order, then others in the order of appearance."""
        announced = self.began.get("lanes", [])
        return list(dict.fromkeys([*announced, *(lane for lane in self.events.lane.unique() if lane != "lab")]))

    @cached_property
    def end(self):
        """Seconds after which the run ended; as long as it goes on, those that it has lasted."""
        over = self.happened["ended"]
        return over[-1].t if over else self.events.t.max() if len(self.events) else 0.0

    @cached_property
    def contending(self):
        """The lanes of processes that contend for the lock by themselves, without tasks; in most runs there are none."""
        return [lane for lane in self.lanes if lane.startswith("contender")]

    @property
    def contenders(self):
        """How many there are."""
        return len(self.contending)

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
    def shares(self):
        """Lane -> number of its stays inside, for each lane that tried to get in."""
        tried = {row.lane for kind in ("waiting", "holding", "inside") for row in self.lasted[kind]}
        tried |= {event.lane for event in self.happened["skipped"]}
        stays = Counter(row.lane for row in self.lasted["inside"])
        return {lane: stays[lane] for lane in self.lanes if lane in tried}

    @property
    def fairness(self):
        """Jain's index of the shares: 1.0 where all are alike or nobody tried, 1/n where one of n has had everything.

        R. Jain, D. Chiu, W. Hawe: A quantitative measure of fairness and discrimination for resource allocation in shared
        computer systems. DEC Research Report TR-301, 1984.
        """
        shares = self.shares.values()
        squares = sum(share**2 for share in shares)
        return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0

    @cached_property
    def together(self):
        """Who was inside together, more than may be: an :class:`Overlap`."""
        return overlap(self.lasted["inside"], self.at_once)

    @property
    def overlap(self):
        """Seconds during which more were inside than may be."""
        return sum(stretch.seconds for stretch in self.together.stretches)

    @property
    def most_inside(self):
        """How many were inside at once at most."""
        return self.together.most

    @cached_property
    def grants(self):
        """Which server granted which hold: :class:`Grants`."""
        return Grants(self.happened, self.lasted, self.servers)

    @cached_property
    def doubles(self):
        """Who were inside together, each by right of a lock that had not ended: a list of Doubles."""
        return list(self.grants.doubles(self.together.crowds))

    @cached_property
    def starvation(self):
        """When nobody could enter for longest: a :class:`Starvation`."""
        return starvation(self.happened, self.lasted, self.events.t.iloc[-1] if len(self.events) else 0.0)

    @property
    def starved(self):
        """Seconds during which somebody wanted to enter and nobody was inside, at most."""
        return self.starvation.seconds

    @cached_property
    def absence(self):
        """How that was the lock servers' doing, as too few could answer for most of it: an :class:`Absence`, or None."""
        begin, length = self.starvation.begin, self.starvation.seconds
        absence = self.servers.absence(begin, begin + length)
        return absence if absence and absence.seconds >= MOST * length else None

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

    @cached_property
    def stale_writes(self):
        """The writes (events) that the database accepted although it had accepted one with a higher token before."""
        # By what the database itself saw as it accepted them. The order of the events says nothing about that: each is
        # recorded after its write, so that those of two processes may come the other way round.
        return [write for write in self.happened["written"] if (seen_before(write) or 0) > write.token]

    @property
    def stale(self):
        """How many there were."""
        return len(self.stale_writes)

    @property
    def unsent(self):
        """The numbers of the run's mails that were never delivered."""
        return tuple(mail for mail in range(1, self.began.get("mails", 0) + 1) if mail not in self.deliveries)

    @cached_property
    def contended(self):
        """How many tasks found another one inside, or the lock taken; where several may be inside: as many as may be."""
        return contended(self.happened, self.lasted, self.at_once)


def _by_kind(table):
    """The table's rows as named tuples, by their kind."""
    kinds = defaultdict(list)
    for row in rows(table):
        kinds[row.kind].append(row)
    return kinds


def seen_before(write):
    """The highest token that the database had accepted before this ``write`` (an event); None where there was none."""
    return (write.detail or {}).get("seen")
