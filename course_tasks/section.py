"""The critical section in which tasks do their work: who may enter, and what the history hears of it."""

import contextlib
import functools
import inspect
import os
import time

import redis

from course_tasks import experiment

POLL = 0.05  # seconds between two attempts where a lock's own acquire() does not wait


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
    lock = experiment.lock_factory(present.run, os.getpid())(experiment.client("lock", os.getpid()), name)
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
