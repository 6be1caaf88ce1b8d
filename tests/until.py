"""Runs that end as soon as enough has happened; light enough for the processes that play a kernel."""

from collections import Counter
from unittest import mock

from course_tasks.lab import lab as module

LONG = 60.0  # seconds: far more than anything in the tests takes on a busy machine


def run_until(lab, lock=None, *, until, seconds=LONG, **options):
    """``lab.run``, ended as soon as each kind of event in ``until`` (a dict) has come so often, or ``until()`` is true.

    So a test neither waits longer than it must, nor fails where the machine is busy.
    """
    with _impatient("Production", until):
        return lab.run(lock, seconds=seconds, **options)


def contend_until(lab, lock, *, until, seconds=LONG, **options):
    """``lab.contend``, ended likewise."""
    with _impatient("Contest", until):
        return lab.contend(lock, seconds=seconds, **options)


def _impatient(conductor, until):
    class Impatient(getattr(module, conductor)):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.seen = Counter()

        def _done(self):
            return until() if callable(until) else all(self.seen[kind] >= until[kind] for kind in until)

        def _note(self, event):
            self.seen[event["kind"]] += 1
            super()._note(event)

    return mock.patch.object(module, conductor, Impatient)
