"""What Celery tells of itself, written into the history: Celery's signals become events.

Only the processes of a lab connect these; a plain worker records nothing.
"""

import functools
import os

from celery import signals

from course_tasks import experiment, kinship

READY = "ready"  # the hash on the history server in which each worker notes its pid once it is ready
SKIPPED = "skipped: locked"  # what a task returns that found the lock taken
LOST = "lost: left unsent"  # what a task returns whose lock was lost while it worked


def lane(hostname):
    """The lane of a node in the picture: ``"worker1"`` for ``"worker1@localhost"``."""
    return hostname.partition("@")[0]


@functools.lru_cache(maxsize=1)
def run_of(task_id):
    """The run that a task belongs to: the one that was on when this process first asked, which is when the task began."""
    return experiment.current().run


def recorder(task_id, name, hostname):
    """The recorder that fills in a task's id and ``name``, on the lane of the node ``hostname``."""
    return functools.partial(experiment.recorder(run_of(task_id), lane(hostname)), task=task_id, name=name)


def of_request(request):
    """The recorder for the task that this process executes, from Celery's ``request`` context."""
    return recorder(request.id, request.task, request.hostname)


def connect():
    """Record what workers and beat do."""
    signals.worker_ready.connect(_ready)
    signals.worker_process_init.connect(_die_with_parent)
    signals.task_received.connect(_received)
    signals.task_prerun.connect(_started)
    signals.task_success.connect(_finished)
    signals.task_retry.connect(_retried)
    signals.task_failure.connect(_failed)
    signals.beat_init.connect(_beat)


def publish_as(producer):
    """Record every task that this process publishes as sent, on the lane called ``producer``."""

    @functools.partial(signals.before_task_publish.connect, weak=False)
    def _sent(sender, headers, **_):
        run = experiment.current().run
        experiment.recorder(run, producer)("sent", task=headers["id"], name=sender)


def _beat(sender, **_):
    publish_as("beat")


def _ready(sender, **_):
    experiment.client("history", os.getpid()).hset(READY, lane(sender.hostname), os.getpid())


def _die_with_parent(**_):
    """A pool process asks to be killed when the worker that forked it goes, however that went (Linux only)."""
    kinship.die_with_parent()


def _received(request, **_):
    recorder(request.id, request.name, request.hostname)("received")


def _started(task, **_):
    of_request(task.request)("started")


def _finished(sender, result, **_):
    if result != SKIPPED:
        of_request(sender.request)("finished")


def _retried(request, reason, **_):
    of_request(request)("retried", detail={"error": described(reason.exc), "countdown": reason.when})


def _failed(sender, exception, **_):
    of_request(sender.request)("failed", detail={"error": described(exception)})


def described(error):
    """``error`` as Python shows most: its name, and in parentheses what it says. (redis-py's own show themselves otherwise.)"""
    shown = repr(error)
    return shown if "(" in shown else f"{type(error).__name__}({str(error)!r})"
