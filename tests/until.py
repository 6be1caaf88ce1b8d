"""Runs that end as soon as enough has happened; light enough for the processes that play a kernel."""

from collections import Counter
from unittest import mock

from course_tasks.lab.conduct import Conductor

LONG = 60.0  # seconds: far more than anything in the tests takes on a busy machine


def run_until(lab, lock=None, *, until, seconds=LONG, **options):
    """``lab.run``, ended as soon as each kind of event in ``until`` (a dict) has come so often, or ``until()`` is true.

    So a test neither waits longer than it must, nor fails where the machine is busy.
    """

    class Impatient(Conductor):
        def _conduct(self, producer, command, done):
            self.seen = Counter()
            enough = until if callable(until) else lambda: all(self.seen[kind] >= until[kind] for kind in until)
            return super()._conduct(producer, command, enough)

        def _note(self, event):
            self.seen[event["kind"]] += 1
            super()._note(event)

    with mock.patch("course_tasks.lab.lab.Conductor", Impatient):
        return lab.run(lock, seconds=seconds, **options)
