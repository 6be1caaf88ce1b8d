"""A run of contenders: processes that want the same lock over and over, without Celery between them and it."""

import signal
import time

from course_tasks.lab.conduct import Conductor


class Contest(Conductor):
    """Conducts the run of ``Lab.contend``; ``names`` are the contenders', the other arguments those of ``Lab.contend``."""

    effort = "attempt"

    def __init__(self, lab, plan, seconds, lock, faults, names, at_once):
        super().__init__(lab, plan, seconds, lock, faults, names)
        self.names, self.at_once = names, at_once

    def _begin(self):
        for name in self.names:
            self.lab.start(name, ["python", "-m", "course_tasks.contender", name])
        self.lab.await_ready(self.names)
        plan = {"seconds": self.seconds, "holds": self.plan.takes, "at_once": self.at_once}
        self.began = self._record_began(self.names, **plan)  # what they all wait for

    def _look(self, seconds):
        # They write a thousand entries a second. Whoever is woken by each takes from them the processor they contend with.
        if not self.strikes.imminent(time.monotonic() - self.began):
            time.sleep(seconds)
            seconds = 0
        return super()._look(seconds)

    def _end(self):
        """Stop all contenders at one stroke, as they stand; then the history is complete."""
        lab = self.lab
        ended = {name: status for name in self.names if (status := lab.exit_status(name)) is not None}
        lab.send_signal(self.names, signal.SIGSTOP)
        self._look(0)  # a round trip: whatever the stopped ones had sent is in the history now
        self.record("ended")
        lab.end(self.names)
        return [
            f"{name} ended by itself, with status {status}; lab.logs({name!r}) shows why."
            for name, status in ended.items()
        ]
