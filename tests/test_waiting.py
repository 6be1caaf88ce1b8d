"""Getting a lock and waiting for it: how it is asked, and that whoever waits is heard, once, and since when."""

import os
import threading

import pytest

from course_tasks import waiting
from course_tasks.waiting import SILENT, Attempt, Listener, acquire


def test_acquire_uses_a_locks_own_way_of_waiting():
    asked = []

    class Patient:
        def acquire(self, blocking=True, blocking_timeout=None):
            asked.append(blocking)
            return blocking

    assert acquire(Patient(), wait=True, waiting=lambda: asked.append("waiting"))
    assert asked == [False, "waiting", True]
    del asked[:]
    assert not acquire(Patient(), wait=False, waiting=lambda: asked.append("waiting"))
    assert asked == [False]


@pytest.mark.parametrize("make", [threading.Lock, threading.RLock, threading.Semaphore], ids=lambda make: make.__name__)
def test_acquire_takes_locks_that_show_no_signature(make):
    lock = make()
    assert acquire(lock, wait=False, waiting=None)
    taken = make is not threading.RLock  # which its own thread may take again
    assert acquire(lock, wait=False, waiting=None) is not taken


# Who waits is heard --------------------------------------------------------------------------------------------------


@pytest.fixture
def told():
    """What was recorded: (kind, fields)."""
    return []


@pytest.fixture
def attempt(told, monkeypatch):
    """An attempt that is under way. Nobody listens but the test."""
    listener = Listener()
    monkeypatch.setattr(waiting, "_listener", lambda pid: listener)
    with Attempt(lambda kind, **fields: told.append((kind, fields))) as attempt:
        yield attempt


def listens(since=SILENT):
    """The listener looks, ``since`` seconds after the last time."""
    waiting._listener(os.getpid()).look(since)


def test_the_waiting_counts_from_the_attempts_beginning(attempt, told):
    listens()
    assert told == [] and not attempt.waited  # it has only just begun
    attempt.began -= 2 * SILENT
    listens()
    listens()
    attempt.waiting()
    assert told == [("waiting", {"t": attempt.began})]
    assert attempt.waited


def test_what_was_said_is_not_noticed_once_more(attempt, told):
    attempt.waiting()
    attempt.began -= 2 * SILENT
    listens()
    assert len(told) == 1


def test_a_process_that_stood_still_has_not_waited(attempt, told):
    """It was paused for longer than that, at a breakpoint inside acquire() perhaps."""
    attempt.began -= 10
    listens(since=10)
    assert told == []
    listens()
    assert len(told) == 1  # but it goes on and on


def test_an_attempt_that_is_over_does_not_wait_any_more(attempt, told):
    attempt.__exit__()
    attempt.began -= 10
    listens()
    attempt.waiting()
    assert told == []


def test_an_attempt_waits_once_however_many_notice():
    for _ in range(200):
        told = []
        with Attempt(lambda kind, told=told, **fields: told.append(kind)) as attempt:
            other = threading.Thread(target=attempt.waiting)
            other.start()
            attempt.waiting()
        told.append("acquired")
        other.join()
        assert told == ["waiting", "acquired"]


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_lock_that_waits_without_a_word_is_heard_in_every_process():
    """Also in a fork, in which threads stay behind."""

    def heard():
        recorded = threading.Event()
        with Attempt(lambda kind, **fields: recorded.set()):
            return recorded.wait(60)

    assert heard()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if heard() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
