"""An event for threads that an interrupt can't break."""

import contextlib
import threading

from course_tasks.locks.hold import LONGEST


class Flag:
    """Goes ``up`` once, and wakes whoever waits for that.

    A ``threading.Event`` is not for threads in which signals raise exceptions (Ctrl-C, Celery's soft time limit): its mutex
    is taken by a few lines of Python, an exception between two of them leaves it taken, and whoever comes next hangs for
    ever. Here each step is one call into C, and may be done again.
    """

    def __init__(self):
        self.up = False
        self._gate = threading.Lock()
        self._gate.acquire()

    def set(self):
        self.up = True
        self._open()

    def wait(self, seconds):
        """Return whether it is up, as soon as it is; at the latest after so many seconds."""
        if self._gate.acquire(timeout=min(max(0.0, seconds), LONGEST)):
            self._open()  # for the next one
        return self.up

    def _open(self):
        with contextlib.suppress(RuntimeError):  # it is open
            self._gate.release()
