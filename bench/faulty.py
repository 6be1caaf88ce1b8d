"""A contender under a FencedLock, in a process of its own, that pauses or kills itself where a schedule says.

It does so at a breakpoint (course_tasks/breakpoints.py), so that it lands exactly there. What it says goes through a pipe,
where it is not lost when its process dies.

It is as naive as can be, and never looks whether its lease is over: what is to hold it back is the database.
"""

import functools
import os
import random
import signal
import time
from dataclasses import dataclass

from bench.ledger import READ, WRITE
from course_tasks.breakpoints import AFTER, BEFORE, Breakpoint, watched
from course_tasks.locks import FencedLock, LockNotOwnedError
from course_tasks.locks.hold import DRIFT

STAYS = 6  # holds of each contender, in all its lives together
LEASE, WORK, POLL, BREAK = 0.2, (0.01, 0.03), (0.003, 0.012), (0.0, 0.005)  # seconds; what varies: from, to
PAUSE, KILL = "paused", "killed"
SIGNALS = {PAUSE: signal.SIGSTOP, KILL: signal.SIGKILL}
ENTERED, TAKEN, LOST = "entered with token", "found it taken", "found it lost"


@dataclass(frozen=True)
class Fault:
    """Contender ``who`` (0, 1, …) is ``what``, "paused" or "killed", in its ``life``: 0, and one more each time it was killed.

    It happens at ``moment``, "before" or "after", of the ``nth`` ``command`` of that life: EVALSHA, an attempt to get the
    lock or a release, or the database's READ or WRITE. A pause lasts ``seconds``; or until another contender has meanwhile
    done what ``until`` says, "read" or "wrote", where that comes first. One that is killed is started anew ``seconds`` later.
    """

    who: int
    life: int
    what: str
    moment: str
    command: str
    nth: int
    seconds: float
    until: str | None = None

    def __str__(self):
        lasting = f"{self.seconds:.2f} s" if self.what == PAUSE else f"anew after {self.seconds:.2f} s"
        lasting += f" or until another {self.until}" if self.until else ""
        return f"{self.what} {self.moment} {self.command} {self.nth} of life {self.life} ({lasting})"


@dataclass(frozen=True)
class Schedule:
    """What happens to whom. ``seed`` also decides how long contenders work and pause by themselves; ``lease`` in seconds."""

    seed: int
    contenders: int
    faults: tuple
    stays: int = STAYS
    lease: float = LEASE


@dataclass(frozen=True)
class Event:
    """``who`` had done something of this ``kind`` at ``t``, by time.monotonic(). (So another may enter before one "released".)

    ``number`` is what was given, read or written; of a fault, ``fault`` says which, ``inside`` whether it landed inside a
    hold: after acquire() had returned, and before release() was called.
    """

    t: float
    who: int
    kind: str
    number: int | None = None
    fault: Fault | None = None
    inside: bool = False

    def __str__(self):
        detail = f"{self.fault}, {'inside a hold' if self.inside else 'outside'}" if self.fault else self.kind
        return f"contender {self.who}  {detail}{'' if self.number is None else f' {self.number}'}"


class Contender:
    """One life of a contender, in a process of its own. ``tell`` takes its Events."""

    def __init__(self, schedule, who, life, ledger, tell):
        self.who, self.ledger, self._tell = who, ledger, tell
        self.lease = schedule.lease
        self.inside = False
        self._chance = random.Random(f"{schedule.seed} {who} {life}")
        self._breakpoints = [
            Breakpoint(functools.partial(self._strike, fault), nth=fault.nth, **{fault.moment: fault.command})
            for fault in schedule.faults
            if (fault.who, fault.life) == (who, life)
        ]

    def live(self, client, name, stays):
        """Enter so many times."""
        with watched(client, *self._breakpoints) as own:
            lock = FencedLock(own, name, timeout=self.lease)
            for _ in range(stays):
                self._wait(BREAK)
                while not self._entered(lock):
                    self._wait(POLL)
                self._increment(lock.fence)
                self._leave(lock)

    def _entered(self, lock):
        asked = time.monotonic()
        self.inside = lock.acquire(blocking=False)
        if self.inside:
            self._say(ENTERED, lock.fence)
        elif time.monotonic() - asked < self.lease * (1 - DRIFT):
            self._say(TAKEN)
        else:  # paused on its way in
            self._say("was given it too late, perhaps")
        return self.inside

    def _increment(self, token):
        number = self._passing(READ, "read", self.ledger.read, token)
        if number is not None:
            self._wait(WORK)
            self._passing(WRITE, "wrote", self.ledger.write, token, number)

    def _leave(self, lock):
        self.inside = False
        try:
            lock.release()
            self._say("released")
        except LockNotOwnedError:
            self._say(LOST)

    def _passing(self, command, done, operation, *arguments):
        """Call ``operation``, say what came of it, and pass the breakpoints before and after it."""
        self._pass(BEFORE, command)
        number = operation(self.who, *arguments)
        self._say(f"was refused a {command}" if number is None else done, number)
        self._pass(AFTER, command)
        return number

    def _pass(self, moment, command):
        for breakpoint in self._breakpoints:
            breakpoint(moment, command)

    def _strike(self, fault):
        self._tell(Event(time.monotonic(), self.who, fault.what, fault=fault, inside=self.inside))
        os.kill(os.getpid(), SIGNALS[fault.what])
        self._say("went on")

    def _wait(self, span):
        time.sleep(self._chance.uniform(*span))

    def _say(self, kind, number=None):
        self._tell(Event(time.monotonic(), self.who, kind, number))
