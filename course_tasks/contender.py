"""A contender: ``python -m course_tasks.contender contender1`` takes the run's lock, holds it, gives it back, and again.

It goes through the same critical section as the tasks do, without Celery around it: what limits it is the lock. It begins
when the run does, together with all the others, and goes on until it is ended.
"""

import contextlib
import functools
import itertools
import os
import sys
import time
import traceback

from course_tasks import experiment, observation, section
from course_tasks.history.recording import stream

LOCK = "contended"  # the lock's name
PATIENCE = 1.0  # seconds; redis-py gives up on a reply after 5
AGAIN = 0.05  # seconds from an error to the next attempt


class Contender:
    """The contender ``name`` in the run that is on."""

    def __init__(self, name):
        self.name, self.present = name, experiment.current()

    def get_ready(self):
        """Do all that takes time, say so, and return when the run begins."""
        history, pid = experiment.client("history", os.getpid()), os.getpid()
        if self.present.lock:
            with contextlib.suppress(Exception):  # it will be met again, where it can be told
                experiment.lock_factory(self.present.run, pid)
            for client in experiment.clients(self.present, pid):
                client.ping()
        history.hset(observation.READY, self.name, pid)
        while not history.xread({stream(self.present.run): "0"}, count=1, block=int(1000 * PATIENCE)):
            pass

    def contend(self):
        """Get in again and again."""
        recorder = experiment.recorder(self.present.run, self.name)
        for number in itertools.count(1):
            self._try(functools.partial(recorder, task=f"{self.name}-{number}"))

    def _try(self, record):
        try:
            with section.critical_section(LOCK, self.present, record) as inside:
                if inside:
                    inside.work(self.present.takes)
        except BaseException as error:
            traceback.print_exc()
            record("failed", detail={"error": observation.described(error)})
            if not isinstance(error, Exception):  # sys.exit(), say
                raise
            time.sleep(AGAIN)


if __name__ == "__main__":
    contender = Contender(sys.argv[1])
    contender.get_ready()
    contender.contend()
