"""A contender: ``python -m course_tasks.contender contender1`` takes the run's lock, holds it, gives it back, and again.

It goes through the same critical section as the tasks do, without Celery around it: what limits it is the lock. It begins
when the run does, together with all the others, and goes on until it is ended.
"""

import contextlib
import functools
import itertools
import os
import sys
import threading
import time
import traceback

from course_tasks import experiment, observation, section
from course_tasks.history.recording import stream

LOCK = "contended"  # the lock's name
SILENT = 0.05  # seconds after which an attempt of which nothing was heard counts as waiting
PATIENCE = 1.0  # seconds; redis-py gives up on a reply after 5


class Attempt:
    """One attempt to get in: what records its events, with ``record``; the waiting counts from the attempt's beginning.

    A lock may wait in its ``acquire()`` without being asked to, and nobody would hear of it. So whoever :meth:`listen` s
    records that it waits.
    """

    def __init__(self, record):
        self.record, self.began = record, time.monotonic()
        self._heard = False
        self._one_at_a_time = threading.Lock()

    def __call__(self, kind, **fields):
        with self._one_at_a_time:
            if kind == "waiting":
                if self._heard:
                    return None
                fields["t"] = self.began
            self._heard = True
            return self.record(kind, **fields)

    def listen(self):
        """Record that this attempt waits, if it has gone on for a while and nothing was heard of it."""
        if not self._heard and time.monotonic() - self.began > SILENT:
            self("waiting")


class Contender:
    """The contender ``name`` in the run that is on."""

    def __init__(self, name):
        self.name, self.present = name, experiment.current()
        self.attempt = None

    def get_ready(self):
        """Do all that takes time, say so, and return when the run begins."""
        history, pid = experiment.client("history", os.getpid()), os.getpid()
        if self.present.lock:
            with contextlib.suppress(Exception):  # it will be met again, where it can be told
                experiment.lock_factory(self.present.run, pid)
            experiment.client("lock", pid).ping()
        history.hset(observation.READY, self.name, pid)
        while not history.xread({stream(self.present.run): "0"}, count=1, block=int(1000 * PATIENCE)):
            pass

    def contend(self):
        """Get in again and again."""
        threading.Thread(target=self._listen, name="listener", daemon=True).start()
        recorder = experiment.recorder(self.present.run, self.name)
        for number in itertools.count(1):
            self.attempt = Attempt(functools.partial(recorder, task=f"{self.name}-{number}"))
            self._try(self.attempt)

    def _try(self, record):
        try:
            with section.critical_section(LOCK, self.present, record) as inside:
                if inside:
                    inside.work(self.present.takes)
        except BaseException as error:
            traceback.print_exc()
            record("failed", detail={"error": BaseException.__repr__(error)})  # redis-py's own leaves the message out
            if not isinstance(error, Exception):  # sys.exit(), say
                raise
            time.sleep(section.POLL)

    def _listen(self):
        while True:
            time.sleep(SILENT)
            self.attempt.listen()


if __name__ == "__main__":
    contender = Contender(sys.argv[1])
    contender.get_ready()
    contender.contend()
