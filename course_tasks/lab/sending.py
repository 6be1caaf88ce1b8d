"""Single tasks, sent between the runs of a lab from a cell, and whether they are over when the next run begins."""

import functools
import time
import weakref

from celery import Celery
from celery.app.backends import by_url
from celery.backends.base import DisabledBackend
from kombu import Connection
from kombu.utils.uuid import uuid

from course_tasks import history
from course_tasks.history.recording import Recorder
from course_tasks.observation import described

BETWEEN = 0  # the number under which the history keeps what happens between the runs
ENDS = ("finished", "failed", "skipped")  # a task that ended so does not come back; one that is "retried" does
AFTERMATH = 0.1  # seconds from a task's result, for which a cell may have waited, to its end in the history


class App(Celery):
    """A Celery application that sends to the broker at ``url``, and finds results there, whatever the environment says.

    Celery itself would prefer CELERY_RESULT_BACKEND to what it is told here.
    """

    def __init__(self, url):
        super().__init__("notebook", loader="app", set_as_current=False)
        self.conf.update(task_serializer="json", accept_content=["json"])
        self.url = url

    @functools.cached_property
    def backend(self):
        make, url = by_url(self.url, self.loader)
        return make(app=self, url=url)


class Sender:
    """Sends tasks to the broker at ``url``; ``client`` is a ``redis.Redis`` connected to the history server."""

    def __init__(self, url, client):
        self.app, self.client = App(url), client
        self._results = weakref.WeakSet()
        self._under_way, self._last = set(), "0"  # ids of tasks; id of the last entry of the history that was read

    def send(self, task, args):
        """Send ``task`` (a name) with ``args`` and return its AsyncResult."""
        task_id = uuid()
        record = Recorder(self.client, BETWEEN, "notebook")
        record("sent", task=task_id, name=task)  # before it is: it may be received at once
        try:
            with Connection(self.app.url) as connection:
                result = self.app.send_task(task, args, task_id=task_id, connection=connection)
        except Exception as error:  # arguments that are no JSON, say
            record("failed", task=task_id, name=task, detail={"error": described(error)})
            raise
        self._results.add(result)
        return result

    def close(self):
        """Cut the results off from the server, which is about to go: dropped later, each would knock there for 20 s."""
        for result in self._results:
            result.backend = DisabledBackend(self.app)

    def under_way(self):
        """Whether a task sent between the runs, from a cell or a terminal, is queued, running, or to be retried."""
        deadline = time.monotonic() + AFTERMATH
        self._read()
        while self._under_way and time.monotonic() < deadline:
            self._read(AFTERMATH)
        return bool(self._under_way)

    def forget(self):
        """Take note that whatever was under way has been ended."""
        self._read()  # what it did until then
        self._under_way.clear()

    def _read(self, block_seconds=0):
        """Take note of what is new in the history, after waiting for it for ``block_seconds`` at most."""
        new = True
        while new:
            self._last, new = history.follow(self.client, BETWEEN, self._last, block_seconds)
            block_seconds = 0
            for event in new:
                if event["kind"] in ENDS:
                    self._under_way.discard(event["task"])
                elif "task" in event:
                    self._under_way.add(event["task"])
