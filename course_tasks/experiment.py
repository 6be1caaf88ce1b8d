"""What the present run of a lab asks of its tasks and contenders.

The notebook writes one small file; every task and every contender reads it when it starts. Outside a lab there is no such
file: tasks take no lock, take no extra time, and record nothing.
"""

import dataclasses
import functools
import json
import os
import pickle

import redis

from course_tasks import halts, place
from course_tasks.breakpoints import watched
from course_tasks.history.recording import Recorder, unheard


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What one run asks for.

    ``run`` is its number (0 between the runs), ``task`` the name of the task that beat sends every ``every`` seconds,
    ``takes`` how many seconds a task works, or a contender holds the lock, ``if_locked`` either "skip" or "wait", and
    ``lock`` whether there is a lock, whose code is then in the run's directory. ``fencing`` is whether the outbox
    compares fencing tokens, ``idempotent`` whether a mail keeps one Message-ID, ``soft_time_limit`` the seconds after
    which Celery interrupts a task (None: never).
    """

    run: int = 0
    task: str | None = None
    every: float | None = None
    takes: float = 0.0
    if_locked: str = "skip"
    lock: bool = False
    fencing: bool = True
    idempotent: bool = False
    soft_time_limit: float | None = None

    def write(self, where):
        """Make this the present experiment of the lab at ``where`` (a Place), in one step that no reader sees half of."""
        half = where.experiment.with_suffix(".new")
        half.write_text(json.dumps(dataclasses.asdict(self)))
        os.replace(half, where.experiment)


def current():
    """The present Experiment; the quiet one (run 0) outside a lab and between the runs."""
    here = place.lab()
    try:
        return Experiment(**json.loads(here.experiment.read_text())) if here else Experiment()
    except FileNotFoundError:
        return Experiment()


@functools.cache
def client(server, pid):
    """This process's Redis client for ``server``; ``pid`` is in the key so that no connection crosses a fork."""
    return redis.Redis(unix_socket_path=str(place.lab().socket(server)))


def recorder(run, lane):
    """What writes the events of ``lane`` into the history of ``run``: a Recorder, or outside a lab one that writes nothing."""
    return Recorder(client("history", os.getpid()), run, lane) if place.lab() else unheard


@functools.lru_cache(maxsize=1)
def lock_factory(run, pid):
    """The lock that the notebook handed over for ``run``: a callable that takes (client, name).

    Where the run has breakpoints, the lock is made with a client that carries them, in place of the one that is given.
    """
    make = pickle.loads((place.lab().run(run) / "lock.pkl").read_bytes())
    points = halts.here(run, recorder(run, os.environ.get(place.PROCESS)))
    if not points:
        return make
    with_breakpoints = functools.cache(lambda client: watched(client, *points))
    return lambda client, name: make(with_breakpoints(client), name)
