"""The faults of one run as it goes on: when each strikes, whom, and how it ends.

Most are signals from outside. A breakpoint has been carried out by the process that came to it, as far as it concerns that
process (see :class:`course_tasks.halts.Halt`): it has told the history, and stands still. The rest is done here.
"""

import signal
import time

from course_tasks.halts import HOLDER

IMMINENT = 0.5  # seconds before a fault from which on nothing long should be begun
AGAIN = 0.1  # seconds until one that was told to go on, and has not said that it does, is told once more


class Strikes:
    """The ``faults`` of one run: what is armed, what is under way, what never came.

    ``send(worker, number)`` sends a signal to a worker's tree, ``end(worker)`` kills it and returns when it is gone,
    ``record`` writes to the run's history. A worker is here whoever can be hit: in a contest, a contender. ``halted`` are
    those that stand at a breakpoint: name -> moment at which they are to be told to go on.
    """

    def __init__(self, faults, send, end, record):
        self.armed = [fault for fault in faults if not fault.place]
        self.breakpoints = {number: fault for number, fault in enumerate(faults) if fault.place}  # armed as well
        self.send, self.end, self.record = send, end, record
        self._triggered = []  # came due while nobody held anything
        self._paused, self.halted = {}, {}  # worker -> moment at which it goes on: from outside, and from a breakpoint
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
        for fault in [f for f in self.armed if f.due is not None and f.due <= elapsed]:
            self.armed.remove(fault)
            self._triggered.append(fault)
        self._strike()
        for worker in [w for w, moment in self._paused.items() if moment <= time.monotonic()]:
            self._resume(worker)
        for worker in [w for w, moment in self.halted.items() if moment <= time.monotonic()]:
            self.halted[worker] = time.monotonic() + AGAIN  # it may have stopped itself just after this
            self.send(worker, signal.SIGCONT)

    def next_due(self, elapsed):
        """Seconds until the next fault begins or ends by the clock; infinity if none does."""
        begins = [fault.due - elapsed for fault in self.armed if fault.due is not None]
        ends = [moment - time.monotonic() for moment in (*self._paused.values(), *self.halted.values())]
        return min(begins + ends, default=float("inf"))

    def imminent(self, elapsed):
        """Whether a fault may have to strike at any moment: then nobody should be busy with something else, such as a picture.

        Not a breakpoint: whoever comes there strikes itself, and stands still until there is time for it.
        """
        waiting = self._triggered or any(fault.when for fault in self.armed)
        return bool(waiting) or self.next_due(elapsed) < IMMINENT

    def finish(self):
        """End what is under way, and return the faults that never landed.

        Those that stand still at a breakpoint are left so. Whoever ends the run ends them: they are at work.
        """
        for worker in list(self._paused):
            self._resume(worker)
        for worker in self.halted:
            self.record("fault ended", lane=worker, detail={"fault": "pause"})
        return [*self.armed, *self._triggered, *self.breakpoints.values()]

    def _note(self, event):
        key = (event["lane"], event.get("task"))
        if event["kind"] in ("acquired", "entered"):
            self._holding.setdefault(key)
        elif event["kind"] in ("left", "released", "lost", "finished", "failed", "retried"):
            self._holding.pop(key, None)
        elif "breakpoint" in (event.get("detail") or {}):
            self._came_to_a_breakpoint(event)

    def _strike(self):
        for fault in list(self._triggered):
            worker = fault.who if fault.who != HOLDER else self._holder()
            if worker is None or worker in self._paused or worker in self.halted or worker in self.dead:
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
        self._bury(worker)

    def _bury(self, worker):
        """Kill ``worker``, which stands still; the history is told first."""
        self.record("fault ended", lane=worker, detail={"fault": "kill"})
        self.end(worker)
        self.dead.add(worker)
        self._paused.pop(worker, None)

    def _stop(self, worker, fault):
        self.send(worker, signal.SIGSTOP)
        self.record("fault began", lane=worker, detail={"fault": "pause", "seconds": fault.seconds})
        self._paused[worker] = time.monotonic() + fault.seconds

    def _resume(self, worker):
        del self._paused[worker]
        self.record("fault ended", lane=worker, detail={"fault": "pause"})
        self.send(worker, signal.SIGCONT)

    def _came_to_a_breakpoint(self, event):
        worker, detail = event["lane"], event["detail"]
        if event["kind"] == "fault ended":
            self.halted.pop(worker, None)
            return
        del self.breakpoints[detail["breakpoint"]]
        if worker in self.dead:
            return
        self.send(worker, signal.SIGSTOP)  # the whole tree, where one process has stopped itself
        if detail["fault"] == "kill":
            self._bury(worker)
        else:
            self.halted[worker] = event["t"] + detail["seconds"]
