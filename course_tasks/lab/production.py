"""A run with a producer: beat or the invoker sends tasks, and the workers carry them out."""

import json
import math
import signal
import smtplib
import time
from collections import Counter

from course_tasks.lab.arguments import MAIL, count, task
from course_tasks.lab.conduct import Conductor
from course_tasks.lab.sending import ENDS
from course_tasks.outbox import Outbox

IF_LOCKED = ("skip", "wait")
SETTLE = 2.0  # seconds for a message that is on its way to a worker to arrive there


class Production(Conductor):
    """Conducts the run of ``Lab.run``: beat sends for so many seconds. Or, with ``times``, that of ``Lab.invoke``: the
    invoker sends so many tasks, and all of them come to an end. The other arguments are those of ``Lab.run``.
    """

    def __init__(self, lab, plan, seconds, lock, faults, mails, times=None):
        task(plan.task)
        if plan.if_locked not in IF_LOCKED:
            raise ValueError(f'if_locked is "skip" or "wait", not {plan.if_locked!r}')
        if mails is not None:
            count("mails", mails, 0)
        super().__init__(lab, plan, seconds, lock, faults, lab.workers)
        if mails is None and plan.task == MAIL:
            mails = math.ceil(seconds / plan.every)
        self.mails = mails if plan.task == MAIL else None
        self.times, self.producer = times, "invoker" if times else "beat"
        self.published, self.received = Counter(), Counter()  # task id -> how often; a retry publishes it again
        self.busy = Counter()  # worker -> tasks that it has received and not ended
        self.ended = set()  # ids of the tasks that came to an end

    def _prepare(self, where):
        super()._prepare(where)
        if self.mails is not None:
            Outbox(where.outbox(self.plan.run)).write(self.mails)

    def _begin(self):
        plan = {"every": self.plan.every, "takes": self.plan.takes, "seconds": self.seconds, "mails": self.mails}
        inbox = ["inbox"] if self.plan.task == MAIL else []
        self.began = self._record_began([self.producer, *self.lab.workers], inbox, **plan)
        self.lab.start(self.producer, self._command())

    def _command(self):
        if self.times:
            return ["python", "-m", "course_tasks.invoker", self.plan.task, "--times", str(self.times)]
        schedule = str(self.lab.place.run(self.plan.run) / "celerybeat-schedule")
        return ["celery", "-A", "course_tasks", "beat", "--loglevel=info", "-s", schedule]

    def _done(self):
        return bool(self.times) and len(self.ended) >= self.times

    def _note(self, event):
        kind, worker, task = event["kind"], event["lane"], event.get("task")
        if kind in ("sent", "retried"):
            self.published[task] += 1
        if kind == "received":
            self.received[task] += 1
            self.busy[worker] += 1
        if kind in ENDS or kind == "retried":
            self.busy[worker] -= 1
        if kind in ENDS:
            self.ended.add(task)

    def _end(self):
        """End the producer, and stop every worker with a task in its hands; then the history is complete."""
        lab = self.lab
        failed = lab.exit_status(self.producer)
        lab.end([self.producer])
        queue = lab.client("broker").pipeline().lrange("celery", 0, -1).delete("celery").execute()[0]
        queued = {json.loads(message)["headers"]["id"] for message in queue}
        stopped, deadline = [], time.monotonic() + SETTLE
        while True:
            while self._look(0.001):
                pass
            # Stopped, not killed: a lock that the system frees at its holder's death must not let the next one in.
            at_it = [worker for worker in lab.workers if self.busy[worker] > 0 or worker in self.strikes.halted]
            if busy := [worker for worker in at_it if worker not in stopped]:
                lab.send_signal(busy, signal.SIGSTOP)
                stopped += busy
            # A message that left the queue and was not received yet is on its way to a worker: see it arrive.
            under_way = [task for task, count in self.published.items() if count > self.received[task]]
            if not set(under_way) - queued or time.monotonic() > deadline:
                break
            time.sleep(0.005)
        with smtplib.LMTP(str(lab.place.socket("mail")), local_hostname="localhost") as mail:
            mail.noop()  # answered after whatever was delivered before it
        self._look(0)  # a round trip: whatever the stopped ones had sent is in the history now
        self.record("ended")
        lab.end(stopped)
        shows = f"lab.logs({self.producer!r}) shows why."
        return [f"{self.producer} ended by itself, with status {failed}; {shows}"] if failed else []
