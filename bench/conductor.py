"""One schedule carried out: its contenders in real processes, killed and paused where it says, let go on and started anew.

What a seed does not decide is the course of things: who asks first, and how far the others are when something ends.
"""

import functools
import multiprocessing
import multiprocessing.connection
import os
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import redis

from bench.faulty import ENTERED, KILL, LOST, PAUSE, TAKEN, Contender, Schedule
from bench.ledger import Account, Ledger
from course_tasks import kinship
from course_tasks.history.wording import count

PATIENCE = 60  # seconds without a word from anybody, after which something must be wrong


@dataclass(frozen=True)
class Outcome:
    """What became of a ``schedule`` with this ``fence``: the ``events`` in the order of their times, the ledger's ``account``."""

    schedule: Schedule
    fence: str
    events: tuple
    account: Account

    @property
    def contended(self):
        """How many attempts found the lock taken."""
        return sum(event.kind == TAKEN for event in self.events)

    @property
    def strikes(self):
        """The faults that landed inside a hold (events)."""
        return [event for event in self.events if event.inside]

    @property
    def outlived(self):
        """How many holds were longer than their lease, as their release found out."""
        return sum(event.kind == LOST for event in self.events)

    def __str__(self):
        account = self.account
        return (
            f"seed {self.schedule.seed}, tokens compared at {self.fence}: {count(self.contended, 'contended attempt')}, "
            f"{count(len(self.strikes), 'fault')} inside a hold, {count(self.outlived, 'hold')} longer than the lease; "
            f"{count(len(account.writes), 'write')} accepted, {len(account.out_of_order)} of them out of order, "
            f"{len(account.refused)} stale refused, {count(account.lost, 'update')} lost"
        )


class Life:
    """The process of a contender, seen from outside: ``answers`` is where its Events come from."""

    def __init__(self, schedule, who, life, stays, socket, path, fence):
        processes = multiprocessing.get_context("fork")
        self.who, self.number, self.last = who, life, None
        self.answers, answer = processes.Pipe(duplex=False)
        self.process = processes.Process(
            target=self._run, args=(schedule, who, life, stays, socket, path, fence, answer.send)
        )
        self.process.start()
        answer.close()  # so that ``answers`` ends with the process

    @staticmethod
    def _run(schedule, who, life, stays, socket, path, fence, tell):
        kinship.die_with_parent()
        with redis.Redis(unix_socket_path=socket) as client, Ledger(path, fence) as ledger:
            Contender(schedule, who, life, ledger, tell).live(client, str(path), stays)

    def go_on(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def end(self):
        self.process.kill()
        self.process.join()
        self.answers.close()


class Conductor:
    """Starts the contenders of ``schedule``, and does for them what they can't do while they stand still or are dead."""

    def __init__(self, schedule, start):
        self.schedule, self._start = schedule, start  # start(who, life, stays) makes a Life
        self.events = []
        self._lives = {}  # who -> Life
        self._due = {}  # who -> (when, what to do then, the Event of the fault)

    def conduct(self):
        """Return when all contenders are done."""
        for who in range(self.schedule.contenders):
            self._begin(who, 0)
        while self._lives or self._due:
            soonest = min((when for when, _, _ in self._due.values()), default=time.monotonic() + PATIENCE)
            patience = max(0.0, soonest - time.monotonic())
            heard = multiprocessing.connection.wait([life.answers for life in self._lives.values()], patience)
            if not heard and not self._due:
                raise TimeoutError(f"seed {self.schedule.seed}: no contender has said anything for {PATIENCE} s")
            for life in [life for life in self._lives.values() if life.answers in heard]:
                self._hear(life)
            for who in [who for who, (when, _, _) in self._due.items() if when <= time.monotonic()]:
                self._do(who)

    def end(self):
        """End whatever is left."""
        for life in self._lives.values():
            life.end()

    def _begin(self, who, life):
        entered = sum(event.who == who and event.kind == ENTERED for event in self.events)
        self._lives[who] = self._start(who, life, self.schedule.stays - entered)

    def _hear(self, life):
        try:
            event = life.last = life.answers.recv()
        except EOFError:
            self._bury(life)
            return
        self.events.append(event)
        if event.kind == PAUSE:
            os.waitpid(life.process.pid, os.WUNTRACED)  # a SIGCONT that comes before the SIGSTOP would be lost
            self._due[life.who] = time.monotonic() + event.fault.seconds, life.go_on, event
        for who, (_, _, fault) in list(self._due.items()):
            if who != event.who and fault.fault.until == event.kind and fault.t < event.t:
                self._do(who)

    def _bury(self, life):
        del self._lives[life.who]
        life.process.join()
        life.answers.close()
        if life.last and life.last.kind == KILL and life.process.exitcode == -signal.SIGKILL:
            anew = functools.partial(self._begin, life.who, life.number + 1)
            self._due[life.who] = time.monotonic() + life.last.fault.seconds, anew, life.last
        elif life.process.exitcode:
            raise RuntimeError(
                f"seed {self.schedule.seed}: contender {life.who} ended with status {life.process.exitcode}"
            )

    def _do(self, who):
        _, action, _ = self._due.pop(who)
        action()


def carry_out(schedule, socket, fence):
    """Carry ``schedule`` out on the server at ``socket``, with a database of its own; return the Outcome.

    ``fence``: a key of FENCES. Raises RuntimeError where a contender fails, TimeoutError where all of them hang.
    """
    with tempfile.TemporaryDirectory(prefix="course-") as directory:
        path = Path(directory) / "ledger.sqlite"
        Ledger.make(path)
        conductor = Conductor(schedule, lambda who, life, stays: Life(schedule, who, life, stays, socket, path, fence))
        try:
            conductor.conduct()
        finally:
            conductor.end()
        with Ledger(path, fence) as ledger:
            events = sorted(conductor.events, key=lambda event: event.t)
            return Outcome(schedule, fence, tuple(events), ledger.account())
