"""Conducting one run: start clean, let it begin, watch, strike, end, read what happened."""

import dataclasses
import time
from collections import Counter

from course_tasks import halts, history
from course_tasks.halts import Halt
from course_tasks.history.recording import Recorder
from course_tasks.lab import directory
from course_tasks.lab.fault import Cast, check
from course_tasks.lab.live import Live
from course_tasks.lab.packing import pack
from course_tasks.lab.run import Run, read_inbox
from course_tasks.lab.strikes import Strikes

LOOK = 0.1  # seconds between two looks at the history at most
STRIKING = 2.0  # seconds for a breakpoint that has been claimed to be in the history


class Conductor:
    """Conducts one run in ``lab`` after the ``plan`` (an Experiment), with ``seconds``, ``lock`` and ``faults`` of ``Lab.run``.

    ``actors`` are the names of those who want the lock: them a fault can hit, and the lock servers. Making one checks every
    argument, and changes nothing. A subclass says how the run begins (``_begin``, which sets ``began``), when it is done
    before its time (``_done``), and how it ends (``_end``, which returns notes for the Run).
    """

    effort = "task"  # what may raise an error

    def __init__(self, lab, plan, seconds, lock, faults, actors):
        self.faults = tuple(faults) if isinstance(faults, list | tuple) else (faults,)
        self.cast = Cast(tuple(actors), lab.lock_servers, lab.replicas, bool(lab.clocks))
        check(self.faults, self.cast, lab.understands)
        self.lab, self.seconds = lab, seconds
        self.plan = dataclasses.replace(
            plan, lock_servers=lab.lock_servers, links=any(fault.outside for fault in self.faults)
        )
        self.packed = pack(lock) if lock is not None else None
        self.record = Recorder(lab.client("history"), plan.run, "lab")
        self.strikes = Strikes(self.faults, self.cast, lab, self.record)
        self.last = "0"  # id of the last entry that was read

    def conduct(self):
        """Conduct the run, and return the :class:`Run`."""
        lab = self.lab
        lab.begin()
        lab.unsettled = True
        try:
            with Live(self.seconds, lab.live) as live:
                with directory.writing(lab.place.path.parent):
                    self._prepare(lab.place)
                self._begin()
                self._watch(live)
            self._disarm()
            notes = [f"{fault} never landed: {self.strikes.why_not(fault)}." for fault in self.strikes.finish()]
            notes += self._end()
            events = history.read(lab.client("history"), self.plan.run)
            notes += self._complaints(events)
            inbox = read_inbox(lab.place.inbox(self.plan.run), events)
            lab.settle()
        except BaseException:  # an interrupt, say; if another comes while this clears up, the next run does it
            lab.settle(everything=True)
            raise
        return Run(self.plan.run, events, inbox, tuple(notes))

    def _record_began(self, above, below=(), **plan):
        """Record that the run begins, and return when that was. The lanes of the lock servers, where they matter, come between
        those ``above`` and ``below``; what is None in the ``plan`` is left out. Nobody begins before.
        """
        servers = (*self.cast.servers, *self.cast.replicas)
        matter = len(servers) > 1 or any(fault.who in servers for fault in self.faults)
        lanes = [*above, *(servers if matter else ()), *below]
        said = {"servers": servers if matter else None, **plan}
        for fault in self.faults:
            fault.prepare(self.lab)
        return self.record("began", detail={"lanes": lanes, **{k: v for k, v in said.items() if v is not None}})

    def _prepare(self, where):
        """Lay ready, in the lab at ``where`` (a Place), what the processes of this run will look for."""
        where.run(self.plan.run).mkdir(mode=0o700)
        if self.plan.links:
            self.lab.links.lay(self.cast.actors)
        if self.packed:
            (where.run(self.plan.run) / "lock.pkl").write_bytes(self.packed)
        points = self.strikes.breakpoints.items()
        if points:
            written = [Halt(number, fault.who, fault.action, fault.seconds, *fault.place) for number, fault in points]
            halts.write(where, self.plan.run, written)
        self.plan.write(where)

    def _watch(self, live):
        while (elapsed := time.monotonic() - self.began) < self.seconds and not self._done():
            events = self._look(max(0.001, min(LOOK, self.seconds - elapsed, self.strikes.next_due(elapsed))))
            elapsed = time.monotonic() - self.began
            self.strikes.step(elapsed, events)
            live.update(elapsed, events, draw=not self.strikes.imminent(elapsed))

    def _done(self):
        return False

    def _look(self, seconds):
        """The new events, after waiting for them for ``seconds`` at most; they are taken note of."""
        self.last, events = history.follow(self.lab.client("history"), self.plan.run, self.last, seconds)
        for event in events:
            self._note(event)
        return events

    def _note(self, event):
        """Take note of ``event``; a subclass may have something to note."""

    def _disarm(self):
        """Nobody stops at a breakpoint from here on. Who has come to one at this very moment is waited for."""
        left = self.strikes.breakpoints
        struck = [number for number in left if not halts.claim(self.lab.place, self.plan.run, number)]
        deadline = time.monotonic() + STRIKING
        while any(number in left for number in struck) and time.monotonic() < deadline:
            events = self._look(LOOK)
            self.strikes.step(time.monotonic() - self.began, events)

    def _complaints(self, events):
        """A sentence for each kind of error that was raised; a bad index of the crawled site is no news."""
        failed = events[(events["kind"] == "failed") & (events["name"] != "tasks.data_extractor")]
        errors = Counter(detail["error"] for detail in failed["detail"])
        return [
            f"{count} {self.effort}{'s' * (count > 1)} raised {error}; lab.logs shows where."
            for error, count in errors.items()
        ]
