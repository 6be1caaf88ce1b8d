"""What the present run of a lab asks of its tasks, and the critical section in which they do their work.

The notebook writes one small file; every task reads it when it starts. Outside a lab there is no such file: tasks
take no lock, take no extra time, and record nothing.
"""

import contextlib
import dataclasses
import functools
import inspect
import json
import os
import pickle
import time

import redis

from course_tasks import place
from course_tasks.history.recording import Recorder

POLL = 0.05  # seconds between two attempts where a lock's own acquire() does not wait


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What one run asks for.

    ``run`` is its number (0 between the runs), ``task`` the name of the task that beat sends every ``every``
    seconds, ``takes`` how many seconds a task's work lasts, ``if_locked`` either "skip" or "wait", and ``lock``
    whether there is a lock, whose code is then in the run's directory.
    """

    run: int = 0
    task: str | None = None
    every: float | None = None
    takes: float = 0.0
    if_locked: str = "skip"
    lock: bool = False

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
    if not place.lab():
        return lambda kind, **fields: None
    return Recorder(client("history", os.getpid()), run, lane)


@functools.lru_cache(maxsize=1)
def lock_factory(run, pid):
    """The lock that the notebook handed over for ``run``: a callable that takes (client, name)."""
    return pickle.loads((place.lab().run(run) / "lock.pkl").read_bytes())


def acquire(lock, *, wait, waiting):
    """Acquire ``lock`` and return whether it was given.

    Without ``wait``, one attempt. With it, ``waiting()`` is called once if the first attempt fails, and then the
    lock's own ``acquire()`` waits, if it takes redis-py's argument ``blocking``; else it is asked again and again.
    """
    try:
        waits_itself = "blocking" in inspect.signature(lock.acquire).parameters
    except ValueError:  # built-in locks (threading.Lock) show no signature, and do take it
        waits_itself = True
    once = functools.partial(lock.acquire, blocking=False) if waits_itself else lock.acquire
    if once():
        return True
    if not wait:
        return False
    waiting()
    if waits_itself:
        return bool(lock.acquire())
    while not once():
        time.sleep(POLL)
    return True


@contextlib.contextmanager
def critical_section(name, present, record):
    """The section that must be alone: ``with critical_section(...) as inside:`` is True inside and False where it was skipped.

    ``name`` is the lock's name, ``present`` the Experiment, ``record`` the recorder of this task. Without a lock
    everybody walks in. The task's own exception is never hidden by an error on release.
    """
    if not present.lock:
        with _inside(record):
            yield True
        return
    lock = lock_factory(present.run, os.getpid())(client("lock", os.getpid()), name)
    if not acquire(lock, wait=present.if_locked == "wait", waiting=lambda: record("waiting")):
        record("skipped")
        yield False
        return
    record("acquired", lease=_lease(lock))
    try:
        with _inside(record):
            yield True
    except BaseException:
        with contextlib.suppress(Exception):
            _give_back(lock, record)
        raise
    _give_back(lock, record)


@contextlib.contextmanager
def _inside(record):
    record("entered")
    try:
        yield
    finally:
        record("left")


def _lease(lock):
    """Seconds until ``lock`` frees itself, where it says so as redis-py's locks do; else None."""
    timeout = getattr(lock, "timeout", None)
    return timeout if isinstance(timeout, int | float) else None


def _give_back(lock, record):
    try:
        lock.release()
    except redis.exceptions.LockError as error:
        record("lost", detail={"error": str(error)})
        raise
    record("released")
