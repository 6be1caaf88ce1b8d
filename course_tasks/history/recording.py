"""Writing the history: every process of a lab appends its events to one Redis stream.

The stream gives one total order for all processes, because one server that no fault ever touches appends the
entries one after the other. How long something took comes from each event's own ``time.monotonic()``, which all
processes of one machine share; the stream's ids are wall-clock milliseconds and are used for nothing.

An entry has a single field, ``e``, with one JSON object: one field instead of six makes a long history three
times faster to read. The object's keys:

========== =====================================================================================================
key        meaning
========== =====================================================================================================
``t``      ``time.monotonic()`` of the recording process, in seconds
``kind``   what happened, one of :data:`KINDS`
``lane``   who: ``"beat"``, ``"invoker"``, ``"worker1"`` …, ``"inbox"``, a lock server (``"lock"``, ``"lock1"`` …,
           ``"replica1"`` …), or ``"lab"`` for the run itself
``pid``    the process that recorded the event
``task``   the Celery task id (absent where no task is concerned)
``name``   the task's name, such as ``"tasks.send_mail_from_queue"`` (absent likewise)
``mail``   the number of the mail concerned, an int (absent where there is none)
``lease``  seconds until the lock frees itself, on ``acquired`` and ``renewed`` (absent where the lock has none)
``token``  the fencing token, an int (absent where there is none)
``detail`` a JSON object with whatever else belongs to this kind (absent where nothing does)
========== =====================================================================================================

This module needs nothing but the Redis client it is given, so that a worker that records loads neither pandas
nor matplotlib.
"""

import json
import os
import time

KINDS = {
    "began": "the run began; time 0 of the picture. detail: lanes (in drawing order), seconds (how long it is planned to "
    "last), and if any: every (seconds between two ticks), takes (seconds that a task works) or holds (seconds that a "
    "contender stays inside), mails (how many), at_once (how many may be inside together; 1 where it says nothing), servers "
    "(those of the lanes that are lock servers and their replicas)",
    "sent": "the producer (beat or the invoker) published a task",
    "received": "a worker took the task from the queue",
    "started": "a worker's process began to run the task",
    "waiting": "the task waits for the lock. Its t is when it asked first, which may be before that of events before it",
    "acquired": "the task was given the lock. detail, where the lock says so: granted (the servers that had granted it when "
    "acquire() returned)",
    "entered": "the task is inside the critical section",
    "read": "the task, inside, has read a record: the oldest unsent mail",
    "written": "the database accepted the task's write. detail: seen (the highest token it had accepted before, if any)",
    "refused": "the database refused the task's write, for its token. detail: seen (the highest token it had accepted)",
    "left": "the task is about to leave the critical section",
    "renewed": "the lease was extended",
    "released": "the lock was given back",
    "unanswered": "the lock was given back, and too few answered: nobody knows whether it is free. detail: error",
    "lost": "the lock was no longer the task's own when it looked. detail, where it looked on release: error",
    "skipped": "the task found the lock taken and went away",
    "retried": "the task failed and will run again. detail: countdown (seconds), error",
    "failed": "the task failed for good. detail: error",
    "finished": "the task ended without an error",
    "delivered": "the inbox received a mail. detail: message_id, sender (a lane)",
    "dropped": "the inbox received a mail that it has already, and dropped it. detail: likewise",
    "fault began": "a fault begins. detail: fault, and what belongs to it, see FAULTS; and where the process stops itself at a "
    "breakpoint: command (such as 'before EXPIRE'), breakpoint (its number among the run's faults)",
    "fault ended": "the fault is over. detail: fault; servers and memory as FAULTS has them; and where the process itself says "
    "so, command and breakpoint",
    "ended": "the run ended",
}
"""What can happen, and what each event's detail has."""

FAULTS = {
    "kill": "on the lane of a process, a lock server's too: SIGKILL. It ends when the whole process tree does nothing any more",
    "pause": "likewise: SIGSTOP. detail: seconds",
    "restart": "on a lock server's lane: it begins when the server does nothing any more, and ends when it is started again. "
    "detail, at the end: memory (whether it still knows what it knew before)",
    "clock": "on a lock server's lane: its wall clock jumps. detail: seconds (back, where they are negative)",
    "promote": "on a replica's lane: from now on it is the primary, which everybody asks",
    "cut": "on the lane of a worker, a contender or a replica: what it and some lock servers send each other is held back until "
    "the end. detail, at both ends: servers",
    "slow": "likewise: it arrives later, either way. detail, at both ends: servers; at the beginning: milliseconds",
}
"""The faults, by what an event's detail calls them, and what else it has."""


class Recorder:
    """Appends events to the history of one run.

    ``client`` is a ``redis.Redis`` connected to the history server, ``run`` the run's number, ``lane`` the name
    under which this process appears.
    """

    def __init__(self, client, run, lane):
        self.client, self.run, self.lane = client, run, lane

    def __call__(self, kind, *, lane=None, **fields):
        """Append one event and return its time (``time.monotonic()``, seconds).

        ``kind`` is one of :data:`KINDS`, ``lane`` replaces the recorder's own (a fault is drawn on the lane that it
        hits), ``fields`` are the other keys of the table above; those that are None are left out. Raises KeyError
        for an unknown kind, or an unknown fault.
        """
        KINDS[kind]
        if kind in ("fault began", "fault ended"):
            FAULTS[fields["detail"]["fault"]]
        event = {"t": time.monotonic(), "kind": kind, "lane": lane or self.lane, "pid": os.getpid()}
        event.update((key, value) for key, value in fields.items() if value is not None)
        self.client.xadd(stream(self.run), {"e": json.dumps(event)})
        return event["t"]


def unheard(kind, **fields):
    """Stands for a Recorder where nothing is recorded."""


def stream(run):
    """The key of the stream that holds the events of run number ``run``."""
    return f"history:{run}"
