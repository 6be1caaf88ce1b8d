"""Faults: what happens to workers while they work, on purpose and at a chosen moment.

A fault here is a signal from outside, to the whole process tree of a worker: ``SIGKILL`` or ``SIGSTOP``. It follows
what the history shows, and so lands up to a dozen commands after the event that triggers it.
"""

import dataclasses
import signal
import time

from course_tasks.history.recording import KINDS
from course_tasks.lab.arguments import duration

HOLDER = "holder"
IMMINENT = 0.5  # seconds


@dataclasses.dataclass(frozen=True)
class Fault:
    """One fault of a run; made by :func:`kill` and :func:`pause`.

    ``action`` is "kill" or "pause", ``who`` a worker's name or "holder", ``seconds`` how long it lasts (None for ever),
    ``when`` the kind of event that triggers it, ``after`` the seconds into the run at which it comes; one of the two.
    """

    action: str
    who: str
    seconds: float | None
    when: str | None
    after: float | None

    def __post_init__(self):
        if not isinstance(self.who, str):
            raise TypeError(f'who is a worker\'s name or "{HOLDER}", not {self.who!r}')
        if (self.when is None) == (self.after is None):
            raise ValueError('say either when= (an event such as "entered") or after= (seconds into the run)')
        if self.when is not None and self.when not in KINDS:
            raise ValueError(f"when={self.when!r} is no event of the history; these are: {', '.join(KINDS)}")
        if self.after is not None:
            duration("after", self.after, or_zero=True)

    def __str__(self):
        moment = f"when={self.when!r}" if self.when else f"after={self.after:g}"
        lasts = f"{self.seconds:g}, " if self.seconds else ""
        return f"{self.action}({lasts}{self.who!r}, {moment})"


def kill(who=HOLDER, *, when=None, after=None):
    """Kill a worker, its pool process included (SIGKILL); it stays dead until the run is over.

    ``who`` is a worker's name such as "worker2", or "holder": whoever holds the lock (or is inside, without a lock) at
    that moment. ``when`` names the event of the history that triggers it, once: "entered", "acquired", "skipped" … of
    that worker, or of anyone where ``who`` is "holder". Or ``after`` so many seconds of the run. Where nobody holds
    anything at that moment, "holder" is the next one who does. Raises ValueError for anything else.
    """
    return Fault("kill", who, None, when, after)


def pause(seconds, who=HOLDER, *, when=None, after=None):
    """Stop a worker, its pool process included, for ``seconds`` (SIGSTOP, then SIGCONT). The rest is as for :func:`kill`."""
    return Fault("pause", who, duration("seconds", seconds), when, after)


def check(faults, workers):
    """Raise TypeError or ValueError unless ``faults`` are Faults that can hit one of ``workers`` (names)."""
    for fault in faults:
        if not isinstance(fault, Fault):
            raise TypeError(f"faults must be made by kill(…) or pause(…), not {fault!r}")
        if fault.who != HOLDER and fault.who not in workers:
            raise ValueError(f"{fault}: no worker is called {fault.who!r}; this lab has {', '.join(workers)}")


class Faults:
    """The faults of one run, as it goes on: what is armed, what is under way, what never came.

    ``send(worker, number)`` sends a signal to a worker's tree, ``end(worker)`` kills it and returns when it is gone,
    ``record`` writes to the run's history.
    """

    def __init__(self, faults, send, end, record):
        self.armed = list(faults)
        self.send, self.end, self.record = send, end, record
        self._triggered = []  # came due while nobody held anything
        self._paused = {}  # worker -> (moment at which it goes on, fault)
        self._holding = {}  # (worker, task) -> None, in the order in which they came in
        self.dead = set()

    def step(self, elapsed, events):
        """Take note of new ``events`` (dicts), ``elapsed`` seconds into the run, and do what is due."""
        for event in events:
            self._note(event)
            for fault in [f for f in self.armed if f.when == event["kind"] and f.who in (HOLDER, event["lane"])]:
                self.armed.remove(fault)
                self._triggered.append(fault)
            self._strike()
        for fault in [f for f in self.armed if f.after is not None and f.after <= elapsed]:
            self.armed.remove(fault)
            self._triggered.append(fault)
        self._strike()
        for worker in [w for w, (moment, _) in self._paused.items() if moment <= time.monotonic()]:
            self._resume(worker)

    def next_due(self, elapsed):
        """Seconds until the next fault begins or ends by the clock; infinity if none does."""
        begins = [fault.after - elapsed for fault in self.armed if fault.after is not None]
        ends = [moment - time.monotonic() for moment, _ in self._paused.values()]
        return min(begins + ends, default=float("inf"))

    def imminent(self, elapsed):
        """Whether a fault may come at any moment: then nobody should be busy with something else, such as a picture."""
        return any(fault.when for fault in self.armed) or bool(self._triggered) or self.next_due(elapsed) < IMMINENT

    def finish(self):
        """End what is under way, and return the faults that never landed."""
        for worker in list(self._paused):
            self._resume(worker)
        return self.armed + self._triggered

    def _note(self, event):
        key = (event["lane"], event.get("task"))
        if event["kind"] in ("acquired", "entered"):
            self._holding.setdefault(key)
        elif event["kind"] in ("left", "released", "lost", "finished", "failed", "retried"):
            self._holding.pop(key, None)

    def _strike(self):
        for fault in list(self._triggered):
            worker = fault.who if fault.who != HOLDER else self._holder()
            if worker is None or worker in self._paused or worker in self.dead:
                continue
            self._triggered.remove(fault)
            if fault.action == "kill":
                self._kill(worker)
            else:
                self._stop(worker, fault)

    def _holder(self):
        return next((worker for worker, _ in reversed(self._holding) if worker not in self.dead), None)

    def _kill(self, worker):
        # A lock that the system frees at its holder's death may be somebody else's a moment later. So the history must
        # say before that moment that this worker does nothing any more: it is stopped, and only then killed.
        self.send(worker, signal.SIGSTOP)
        self.record("fault began", lane=worker, detail={"fault": "kill"})
        self.record("fault ended", lane=worker, detail={"fault": "kill"})
        self.end(worker)
        self.dead.add(worker)

    def _stop(self, worker, fault):
        self.send(worker, signal.SIGSTOP)
        self.record("fault began", lane=worker, detail={"fault": "pause", "seconds": fault.seconds})
        self._paused[worker] = (time.monotonic() + fault.seconds, fault)

    def _resume(self, worker):
        del self._paused[worker]
        self.record("fault ended", lane=worker, detail={"fault": "pause"})
        self.send(worker, signal.SIGCONT)
