"""The faults of one run as it goes on: when each strikes, whom, and how it ends.

Most come from outside. A breakpoint has been carried out by the process that came to it, as far as it concerns that process
(see :class:`course_tasks.halts.Halt`): it has told the history, and stands still. The rest is done here.
"""

import signal
import time

from course_tasks.halts import HOLDER

IMMINENT = 0.5  # seconds before a fault from which on nothing long should be begun
AGAIN = 0.1  # seconds until one that was told to go on, and has not said that it does, is told once more


class Strikes:
    """The ``faults`` of one run: what is armed, what is under way, what never came.

    ``cast`` (a Cast) is who takes part, ``lab`` has the processes, ``record`` writes to the run's history. ``halted`` are those
    that stand at a breakpoint: name -> moment at which they are to be told to go on. ``dead`` are those that were killed.
    """

    def __init__(self, faults, cast, lab, record):
        self.armed = [fault for fault in faults if not fault.place]
        self.breakpoints = {number: fault for number, fault in enumerate(faults) if fault.place}  # armed as well
        self.cast, self.lab, self.record = cast, lab, record
        self._triggered = []  # came due while nobody held anything, or whom they are to hit could not be hit
        self._under_way = []  # (moment at which it ends, fault, who was hit)
        self.halted, self.dead = {}, set()
        self._holding = {}  # (worker, task) -> None, in the order in which they came in

    def step(self, elapsed, events):
        """Take note of new ``events`` (dicts), ``elapsed`` seconds into the run, and do what is due."""
        for event in events:
            self._note(event)
            self._trigger(fault for fault in self.armed if fault.triggered_by(event, self.cast))
            self._strike()
        self._trigger(fault for fault in self.armed if fault.due is not None and fault.due <= elapsed)
        self._strike()
        for over in [each for each in self._under_way if each[0] <= time.monotonic()]:
            self._under_way.remove(over)
            _, fault, name = over
            fault.end(self.lab, self.record, name)
        for worker in [w for w, moment in self.halted.items() if moment <= time.monotonic()]:
            self.halted[worker] = time.monotonic() + AGAIN  # it may have stopped itself just after this
            self.lab.send_signal([worker], signal.SIGCONT)

    def next_due(self, elapsed):
        """Seconds until the next fault begins or ends by the clock; infinity if none does."""
        begins = [fault.due - elapsed for fault in self.armed if fault.due is not None]
        moments = [*(moment for moment, _, _ in self._under_way), *self.halted.values()]
        return min([*begins, *(moment - time.monotonic() for moment in moments)], default=float("inf"))

    def imminent(self, elapsed):
        """Whether a fault may have to strike at any moment: then nobody should be busy with something else, such as a picture.

        Not a breakpoint: whoever comes there strikes itself, and stands still until there is time for it.
        """
        waiting = self._triggered or any(fault.when for fault in self.armed)
        return bool(waiting) or self.next_due(elapsed) < IMMINENT

    def finish(self):
        """The run is over: so is what is under way. Return the faults that never landed.

        Those that stand still at a breakpoint are left so. Whoever ends the run ends them: they are at work.
        """
        for _, fault, name in self._under_way:
            fault.run_over(self.lab, self.record, name)
        self._under_way.clear()
        for worker in self.halted:
            self.record("fault ended", lane=worker, detail={"fault": "pause"})
        return [*self.armed, *self._triggered, *self.breakpoints.values()]

    def why_not(self, fault):
        """Why ``fault`` never landed, in a few words."""
        if fault.who in self.dead:
            return f"{fault.who} was dead by then"
        if fault not in self._triggered:
            return "its moment did not come"
        if fault.who == HOLDER:
            return "nobody held the lock who could be hit"
        return f"{fault.who} stood still until the end"

    def _note(self, event):
        key = (event["lane"], event.get("task"))
        if event["kind"] in ("acquired", "entered"):
            self._holding.setdefault(key)
        elif event["kind"] in ("left", "released", "lost", "finished", "failed", "retried"):
            self._holding.pop(key, None)
        elif "breakpoint" in (event.get("detail") or {}):
            self._came_to_a_breakpoint(event)

    def _trigger(self, faults):
        for fault in list(faults):
            self.armed.remove(fault)
            self._triggered.append(fault)

    def _strike(self):
        for fault in list(self._triggered):
            name = self._holder() if fault.who == HOLDER else fault.who
            if not self._can_hit(fault, name):
                continue
            self._triggered.remove(fault)
            fault.begin(self.lab, self.record, name)
            if fault.deadly:
                self._note_death(name)
            if fault.lasts is not None:
                self._under_way.append((time.monotonic() + fault.lasts, fault, name))

    def _can_hit(self, fault, name):
        """Whether ``fault`` can hit ``name`` (None: nobody holds anything) as things stand."""
        if name in self.dead or (fault.who == HOLDER and name is None):
            return False
        stand_still = {*self.halted, *(hit for _, other, hit in self._under_way if other.still)}
        return fault.outside or name not in stand_still

    def _note_death(self, name):
        self.dead.add(name)
        self._under_way = [each for each in self._under_way if not (each[1].still and each[2] == name)]

    def _holder(self):
        return next((worker for worker, _ in reversed(self._holding) if worker not in self.dead), None)

    def _came_to_a_breakpoint(self, event):
        worker, detail = event["lane"], event["detail"]
        if event["kind"] == "fault ended":
            self.halted.pop(worker, None)
            return
        fault = self.breakpoints.pop(detail["breakpoint"])
        if worker in self.dead:
            return
        self.lab.send_signal([worker], signal.SIGSTOP)  # the whole tree, where one process has stopped itself
        if fault.deadly:
            fault.bury(self.lab, self.record, worker)
            self._note_death(worker)
        else:
            self.halted[worker] = event["t"] + fault.seconds
