"""The Celery application: ``celery -A course_tasks worker`` and ``celery -A course_tasks beat`` find it here.

In a lab it talks to the lab's own servers over Unix sockets; anywhere else it is plain Celery on
``redis://localhost:6379/0``.
"""

import os
from datetime import timedelta

from celery import Celery

from course_tasks import experiment, observation, place

EVERY = 3.0  # seconds between two ticks of beat, unless a run asks for another interval

ARGUMENTS = {"tasks.add": (4, 4)}  # what the producers, beat and the invoker, pass to a task that takes some

app = Celery("course_tasks", include=["course_tasks.tasks"])


def configure():
    """Configure the application for where this process is: also called in a process that was forked for a lab."""
    here = place.lab()
    if here:  # a terminal that joins a lab may have others: Celery would prefer them to what is set below
        for name in place.foreign_settings(os.environ):
            del os.environ[name]
    present = experiment.current()
    options = {} if present.soft_time_limit is None else {"soft_time_limit": present.soft_time_limit}
    task, every = present.task or "tasks.send_mail_from_queue", present.every or EVERY
    app.conf.update(
        broker_url=here.url("broker") if here else place.PLAIN_REDIS,
        result_backend=here.url("broker") if here else place.PLAIN_REDIS,
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        # One slot a worker, so that a worker is a lane of the picture, and no task reserved beyond the one that
        # runs, so that a busy worker never keeps a task from an idle one.
        worker_concurrency=1,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=bool(here),
        broker_connection_retry_on_startup=True,
        beat_schedule={
            task: {
                "task": task,
                "args": ARGUMENTS.get(task, ()),
                "schedule": every,
                "options": options,
                # As if the last tick were one interval ago: the first comes at once.
                "last_run_at": app.now() - timedelta(seconds=every),
            }
        },
    )


configure()
if place.lab():
    observation.connect()
