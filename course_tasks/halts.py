"""The breakpoints of a run, in the processes that come to them: the first one there stops itself, exactly there.

The notebook writes them into the run's directory, and whatever the lab has started finds them there. Whoever comes to one
claims it first, by making a file that can be made only once; so each strikes once, over all processes. Then it tells the
history, and stops. The lab learns of it by the history, and does the rest: it kills the worker, or lets it go on.
"""

import dataclasses
import functools
import json
import os
import signal
import time

from course_tasks import place
from course_tasks.breakpoints import Breakpoint

HOLDER = "holder"  # who a fault hits: whoever holds the lock then; at a breakpoint, whoever comes there first


@dataclasses.dataclass(frozen=True)
class Halt:
    """One breakpoint of a run: ``who`` (a process's name, or HOLDER) stops at ``moment`` ("before" or "after") of ``command``.

    ``number`` distinguishes it from the run's others. ``action`` is "kill" or "pause", ``seconds`` how long a pause lasts
    (None for a kill).
    """

    number: int
    who: str
    action: str
    seconds: float | None
    moment: str
    command: str

    def here(self, run, record):
        """The Breakpoint with which this process stops in ``run``; ``record`` writes to the run's history."""
        return Breakpoint(functools.partial(self._strike, run, record), **{self.moment: self.command})

    def _strike(self, run, record):
        if not claim(place.lab(), run, self.number):
            return
        told = {"fault": self.action, "command": f"{self.moment} {self.command}", "breakpoint": self.number}
        began = record("fault began", detail={**told, **({"seconds": self.seconds} if self.seconds else {})})
        until = began + (self.seconds or float("inf"))
        try:
            # The whole worker: it leads a process group. Again where somebody woke it too soon, or where another thread took
            # the signal, and this one runs on for a moment.
            while time.monotonic() < until:
                os.killpg(os.getpgrp(), signal.SIGSTOP)
        finally:
            record("fault ended", detail=told)


def write(where, run, halts):
    """Write ``halts`` (Halts) down for ``run`` of the lab at ``where`` (a Place)."""
    _list(where, run).write_text(json.dumps([dataclasses.asdict(halt) for halt in halts]))


def claim(where, run, number):
    """Whether breakpoint ``number`` of ``run`` was free until now. From now on it isn't."""
    try:
        (where.run(run) / f"struck{number}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def here(run, record):
    """The Breakpoints of ``run`` that this process carries: a list, empty where the lab has not started the process."""
    name, written = os.environ.get(place.PROCESS), _list(place.lab(), run)
    if name is None or not written.exists():
        return []
    halts = [Halt(**halt) for halt in json.loads(written.read_text())]
    return [halt.here(run, record) for halt in halts if halt.who in (name, HOLDER)]


def _list(where, run):
    return where.run(run) / "breakpoints.json"
