"""One schedule carried out: its contenders in real processes, killed and paused where it says, let go on and started anew.

What a seed does not decide is the course of things: who asks first, and how far the others are when something ends.
"""

import functools
import os
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import redis

from bench.faulty import ENTERED, KILL, LOST, PAUSE, TAKEN, Contender, Schedule
from bench.ledger import Account, Ledger
from bench.lives import Life, Stage
from course_tasks.history.wording import count


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


class Conductor(Stage):
    """Starts the contenders of ``schedule``, and does for them what they can't do while they stand still or are dead.

    ``live(who, number, stays, say)`` is what contender ``who`` does in its life of that number.
    """

    def __init__(self, schedule, live):
        super().__init__(f"seed {schedule.seed}")
        self.schedule, self._live = schedule, live
        self.events = []
        for who in range(schedule.contenders):
            self._begin(who, 0)

    def _begin(self, who, number):
        entered = sum(event.who == who and event.kind == ENTERED for event in self.events)
        work = functools.partial(self._live, who, number, self.schedule.stays - entered)
        self.lives.append(Life(work, f"contender {who}"))

    def heard(self, life, event):
        self.events.append(event)
        if event.kind == PAUSE:
            os.waitpid(life.process.pid, os.WUNTRACED)  # a SIGCONT that comes before the SIGSTOP would be lost
            self.at(time.monotonic() + event.fault.seconds, functools.partial(life.signal, signal.SIGCONT), event)
        for due in list(self.due):
            if due.cause.who != event.who and due.cause.fault.until == event.kind and due.cause.t < event.t:
                self.do(due)

    def ended(self, life):
        if life.last and life.last.kind == KILL and life.process.exitcode == -signal.SIGKILL:
            fault = life.last.fault
            anew = functools.partial(self._begin, fault.who, fault.life + 1)
            self.at(time.monotonic() + fault.seconds, anew, life.last)
        else:
            super().ended(life)


def carry_out(schedule, socket, fence):
    """Carry ``schedule`` out on the server at ``socket``, with a database of its own; return the Outcome.

    ``fence``: a key of FENCES. Raises RuntimeError where a contender fails, TimeoutError where all of them hang.
    """
    with tempfile.TemporaryDirectory(prefix="course-") as directory:
        path = Path(directory) / "ledger.sqlite"
        Ledger.make(path)
        conductor = Conductor(schedule, functools.partial(_live, schedule, socket, path, fence))
        conductor.play()
        with Ledger(path, fence) as ledger:
            events = sorted(conductor.events, key=lambda event: event.t)
            return Outcome(schedule, fence, tuple(events), ledger.account())


def _live(schedule, socket, path, fence, who, number, stays, say):
    with redis.Redis(unix_socket_path=socket) as client, Ledger(path, fence) as ledger:
        Contender(schedule, who, number, ledger, say).live(client, str(path), stays)
