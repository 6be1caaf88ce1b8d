"""Conducting one run: start clean, let the producer send, watch, strike, end, read what happened."""

import json
import math
import signal
import smtplib
import time
from collections import Counter

from course_tasks import history
from course_tasks.history.recording import Recorder
from course_tasks.lab import directory
from course_tasks.lab import faults as faulty
from course_tasks.lab.arguments import MAIL, count, task
from course_tasks.lab.live import Live
from course_tasks.lab.packing import pack
from course_tasks.lab.run import Run, read_inbox
from course_tasks.lab.sending import ENDS
from course_tasks.mailroom import Outbox

IF_LOCKED = ("skip", "wait")
LOOK = 0.1  # seconds between two looks at the history at most
SETTLE = 2.0  # seconds for a message that is on its way to a worker to arrive there


class Conductor:
    """Conducts one run in ``lab`` after the ``plan`` (an Experiment); the other arguments are those of ``Lab.run``.

    Making one checks every argument, and changes nothing.
    """

    def __init__(self, lab, plan, seconds, lock, faults, mails):
        task(plan.task)
        if plan.if_locked not in IF_LOCKED:
            raise ValueError(f'if_locked is "skip" or "wait", not {plan.if_locked!r}')
        faults = tuple(faults) if isinstance(faults, list | tuple) else (faults,)
        faulty.check(faults, lab.workers)
        if mails is not None:
            count("mails", mails, 0)
        self.lab, self.plan, self.seconds = lab, plan, seconds
        self.packed = pack(lock) if lock is not None else None
        if mails is None and plan.task == MAIL:
            mails = math.ceil(seconds / plan.every)
        self.mails = mails if plan.task == MAIL else None
        self.record = Recorder(lab.client("history"), plan.run, "lab")
        self.faults = faulty.Faults(faults, lab.send_signal, lambda worker: lab.end([worker]), self.record)
        self.published, self.received = Counter(), Counter()  # task id -> how often; a retry publishes it again
        self.busy = Counter()  # worker -> tasks that it has received and not ended
        self.ended = set()  # ids of the tasks that came to an end
        self.last = "0"  # id of the last entry that was read

    def with_beat(self):
        """The run of ``Lab.run``: beat sends for so many seconds."""
        schedule = str(self.lab.place.run(self.plan.run) / "celerybeat-schedule")
        command = ["celery", "-A", "course_tasks", "beat", "--loglevel=info", "-s", schedule]
        return self._conduct("beat", command, lambda: False)

    def with_invoker(self, times):
        """The run of ``Lab.invoke``: the invoker sends ``times`` tasks, and all of them come to an end."""
        command = ["python", "-m", "course_tasks.invoker", self.plan.task, "--times", str(times)]
        return self._conduct("invoker", command, lambda: len(self.ended) >= times)

    def _conduct(self, producer, command, done):
        lab = self.lab
        lab.begin()
        lab.unsettled = True
        try:
            with Live(self.seconds, lab.live) as live:
                self._begin(producer, command)
                self._watch(done, live)
            failed = lab.exit_status(producer)
            missed = self.faults.finish()
            self._end(producer)
            events = history.read(lab.client("history"), self.plan.run)
            inbox = read_inbox(lab.place.inbox(self.plan.run), events)
            lab.settle()
        except BaseException:  # an interrupt, say; if another comes while this clears up, the next run does it
            lab.settle(everything=True)
            raise
        notes = [f"{fault} never landed: its moment did not come." for fault in missed]
        if failed:
            notes.append(f"{producer} ended by itself, with status {failed}; lab.logs({producer!r}) shows why.")
        return Run(self.plan.run, events, inbox, (*notes, *complaints(events)))

    def _begin(self, producer, command):
        lab, run = self.lab, self.plan.run
        with directory.writing(lab.place.path.parent):
            lab.place.run(run).mkdir(mode=0o700)
            if self.packed:
                (lab.place.run(run) / "lock.pkl").write_bytes(self.packed)
            if self.plan.task == MAIL:
                Outbox(lab.place.outbox(run)).write(self.mails)
            self.plan.write(lab.place)
        lanes = [producer, *lab.workers, *(["inbox"] if self.plan.task == MAIL else [])]
        plan = {"every": self.plan.every, "takes": self.plan.takes, "seconds": self.seconds, "mails": self.mails}
        said = {name: value for name, value in plan.items() if value is not None}
        self.began = self.record("began", detail={"lanes": lanes, **said})
        lab.start(producer, command)

    def _watch(self, done, live):
        while (elapsed := time.monotonic() - self.began) < self.seconds and not done():
            events = self._look(max(0.001, min(LOOK, self.seconds - elapsed, self.faults.next_due(elapsed))))
            elapsed = time.monotonic() - self.began
            self.faults.step(elapsed, events)
            live.update(elapsed, events, draw=not self.faults.imminent(elapsed))

    def _look(self, seconds):
        """The new events, after waiting for them for ``seconds`` at most; they are taken note of."""
        self.last, events = history.follow(self.lab.client("history"), self.plan.run, self.last, seconds)
        for event in events:
            self._note(event)
        return events

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

    def _end(self, producer):
        """End the producer, and stop every worker with a task in its hands; then the history is complete."""
        lab = self.lab
        lab.end([producer])
        queue = lab.client("broker").pipeline().lrange("celery", 0, -1).delete("celery").execute()[0]
        queued = {json.loads(message)["headers"]["id"] for message in queue}
        stopped, deadline = [], time.monotonic() + SETTLE
        while True:
            while self._look(0.001):
                pass
            # Stopped, not killed: a lock that the system frees at its holder's death must not let the next one in.
            for worker in lab.workers:
                if self.busy[worker] > 0 and worker not in stopped:
                    lab.send_signal(worker, signal.SIGSTOP)
                    stopped.append(worker)
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


def complaints(events):
    """A sentence for each kind of error that tasks raised; a bad index of the crawled site is no news."""
    failed = events[(events["kind"] == "failed") & (events["name"] != "tasks.data_extractor")]
    errors = Counter(detail["error"] for detail in failed["detail"])
    return [f"{count} task{'s' * (count > 1)} raised {error}; lab.logs shows where." for error, count in errors.items()]
