"""A lock that renews its lease: for how long, who hears of it, and that it ends."""

import os
import subprocess
import sys
import threading
import time

import pytest
import redis
from conftest import ROOT
from labs import LONG, wait_for
from lock_contract import in_a_fork, in_a_thread, raised

from course_tasks.breakpoints import Breakpoint, watched
from course_tasks.locks import LockError, LockNotOwnedError, RenewingLock

LEASE = 0.3  # seconds; where a test waits for renewals. A busy machine may well lose a lease as short as this.
ROOMY = 1.5  # seconds; where none may be lost


def keepers():
    """The threads that keep a lock."""
    return [thread for thread in threading.enumerate() if thread.name.startswith(("renews", "watches"))]


@pytest.fixture(autouse=True)
def no_keeper_is_left():
    assert keepers() == []
    yield
    wait_for(lambda: not keepers(), "for the threads that keep a lock")


class Heard(list):
    """A callback that remembers its calls."""

    def __call__(self, lock):
        self.append(lock)

    def wait_for(self, count):
        wait_for(lambda: len(self) >= count, f"for {count} calls")


def test_it_is_held_for_longer_than_its_lease(server):
    renewed, lost = Heard(), Heard()
    lock = RenewingLock(server.client(), "mail", timeout=ROOMY, on_renewed=renewed, on_lost=lost)
    start = time.monotonic()
    with lock:
        renewed.wait_for(4)
        assert time.monotonic() - start > ROOMY * 4 / 3 * 0.99
        client = server.client()
        assert lock.owned() and 0 < client.pttl("mail") / 1000 <= ROOMY
        then, validity = time.monotonic(), lock.validity
        left = client.pttl("mail") / 1000
        assert 0 < validity <= left + time.monotonic() - then
        assert not RenewingLock(server.client(), "mail").acquire(blocking=False)
    assert set(renewed) == {lock} and lost == [] and not lock.lost.is_set()
    assert not lock.locked() and lock.validity == 0.0


@pytest.mark.parametrize("others", [False, True])
def test_it_says_that_it_was_lost(server, others):
    lost = Heard()
    lock = RenewingLock(server.client(), "mail", timeout=LEASE, on_lost=lost)
    lock.acquire()
    if others:
        server.client().set("mail", "another's")
    else:
        server.client().delete("mail")
    assert lock.lost.wait(LONG)
    lost.wait_for(1)
    assert lost == [lock] and lock.validity == 0.0
    assert server.client().get("mail") == (b"another's" if others else None)  # it was not taken again
    for use in (lambda: lock.extend(1), lock.reacquire, lock.release):
        assert isinstance(raised(use), LockNotOwnedError)
    assert lock.lost.is_set() and lost == [lock]


def test_it_says_so_in_time_while_the_server_does_not_answer(server):
    """A renewal would wait for its reply for much longer."""
    client = server.client(socket_timeout=LONG)
    lock = RenewingLock(client, "mail", timeout=LEASE)
    lock.acquire()
    start = time.monotonic()
    with server.stopped():
        assert lock.lost.wait(LONG)
        assert time.monotonic() - start < LONG / 2
    assert isinstance(raised(lock.release), LockNotOwnedError)


def test_a_lock_that_was_lost_stays_lost_though_the_key_is_there(server):
    """The answer to an extension is late; then the key is the lock's own, and the work has been told to stop."""
    with RenewingLock(server.client(), "mail") as lock:
        lock.extend(1)  # the server knows the script from now on
    with watched(server.client(), Breakpoint(lambda: lock.lost.wait(LONG), after="EVALSHA")) as client:
        lock = RenewingLock(client, "mail", timeout=LEASE, thread_local=False, max_hold=0.001)
        lock.acquire()
        server.client().pexpire("mail", 60_000)
        assert isinstance(in_a_thread(lambda: raised(lock.extend, 600)), LockNotOwnedError)
        assert lock.lost.is_set() and lock.owned()
        assert lock.validity == 0.0 and isinstance(raised(lock.extend, 1), LockNotOwnedError)
        assert isinstance(raised(lock.release), LockNotOwnedError)
    assert server.client().get("mail") is None


def test_a_renewal_that_fails_is_logged_and_tried_again(server, caplog):
    def fail():
        raise redis.ConnectionError("the connection broke")

    renewed = Heard()
    with RenewingLock(server.client(), "mail") as lock:
        lock.extend(1)  # the server knows the script from now on
    client = watched(server.client(), Breakpoint(fail, before="EVALSHA"))
    with client, RenewingLock(client, "mail", timeout=ROOMY, on_renewed=renewed) as lock:
        renewed.wait_for(1)
        assert not lock.lost.is_set()
    assert "could not be renewed" in caplog.text and "the connection broke" in caplog.text


def test_it_is_renewed_no_more_when_release_returns(server):
    """The release comes in the middle of a renewal, of which nothing has been sent."""
    here, released = threading.Event(), threading.Event()

    def linger():
        here.set()
        released.wait(0.1)

    with watched(server.client(), Breakpoint(linger, before="EVALSHA")) as client:
        lock = RenewingLock(client, "mail", timeout=ROOMY)
        lock.acquire()
        assert here.wait(LONG)
        lock.release()
        assert [thread for thread in keepers() if thread.name.startswith("renews")] == []
        released.set()
    assert server.client().get("mail") is None and not lock.lost.is_set()


def test_after_the_maximum_hold_it_is_renewed_no_more(server, caplog):
    renewed, lost = Heard(), Heard()
    client = server.client()
    lock = RenewingLock(client, "mail", timeout=LEASE, max_hold=LEASE * 1.5, on_renewed=renewed, on_lost=lost)
    start = time.monotonic()
    lock.acquire()
    assert lock.lost.wait(LONG)
    assert time.monotonic() - start > LEASE * 1.5 * 0.99
    lost.wait_for(1)
    assert len(renewed) <= 4 and "is not renewed any more" in caplog.text
    with RenewingLock(client, "mail", blocking_timeout=LONG):
        assert isinstance(raised(lock.release), LockNotOwnedError)


@pytest.mark.parametrize("bad", [None, 0, -1, float("nan"), float("inf"), "60"])
def test_there_is_always_a_maximum(server, bad):
    with pytest.raises(ValueError, match="max_hold"):
        RenewingLock(server.client(), "mail", max_hold=bad)


def test_what_callbacks_raise_is_logged_and_changes_nothing(server, caplog):
    def fail(lock):
        calls.append(lock)
        raise RuntimeError("no time for that")

    calls = Heard()
    lock = RenewingLock(server.client(), "mail", timeout=ROOMY, on_renewed=fail, on_lost=fail)
    lock.acquire()
    calls.wait_for(2)
    server.client().delete("mail")
    assert lock.lost.wait(LONG)
    raised(lock.release)
    assert "no time for that" in caplog.text


@pytest.mark.parametrize("thread_local", [True, False])
def test_callbacks_see_the_hold(server, thread_local):
    seen = Heard()

    def look(lock):
        seen.append((lock.validity > 0, lock.lost.is_set(), lock.owned()))

    lock = RenewingLock(server.client(), "mail", timeout=ROOMY, on_renewed=look, thread_local=thread_local)
    with lock:
        seen.wait_for(1)
    assert seen[0] == (True, False, True)


@pytest.mark.parametrize("thread_local", [True, False])
def test_a_callback_may_release_it(server, thread_local):
    errors = Heard()

    def release(lock):
        errors.append(raised(lock.release))

    lock = RenewingLock(server.client(), "mail", ROOMY, thread_local=thread_local, on_renewed=release)
    lock.acquire()
    errors.wait_for(1)
    assert errors == [None] and not lock.locked()
    assert lock.validity == 0.0
    assert isinstance(raised(lock.release), LockError)


def test_a_hold_that_somebody_counts_as_lost_has_no_validity(server):
    lock = RenewingLock(server.client(), "mail", ROOMY)
    lock.acquire()
    assert lock.validity > 0
    lock.lost.set()
    assert lock.validity == 0.0
    lock.release()


def test_each_hold_is_lost_for_itself(server):
    lock = RenewingLock(server.client(), "mail", timeout=LEASE)
    assert not lock.lost.is_set()
    lock.acquire()
    first = lock.lost
    assert in_a_thread(lambda: lock.lost) is first
    server.client().delete("mail")
    assert first.wait(LONG) and isinstance(raised(lock.release), LockNotOwnedError)
    assert lock.lost is first  # who asks afterwards still hears of it
    lock = RenewingLock(server.client(), "mail")
    with lock:
        assert lock.lost is not first and not lock.lost.is_set() and lock.validity > 0


def test_a_hold_that_is_followed_by_another_is_lost(server):
    lost = Heard()
    lock = RenewingLock(server.client(), "mail", timeout=100 * LONG, on_lost=lost)
    lock.acquire()
    first = lock.lost
    server.client().delete("mail")
    with lock:  # long before a renewal would have found out
        assert first.wait(LONG) and not lock.lost.is_set() and lock.validity > 0
        lost.wait_for(1)
    assert len(lost) == 1


def test_no_thread_no_lock(server, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    lock = RenewingLock(server.client(), "mail")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert isinstance(raised(lock.acquire), RuntimeError)
    assert not lock.locked()


# Processes ----------------------------------------------------------------------------------------------------------


def test_a_forked_child_renews_nothing(server):
    renewed = Heard()
    with RenewingLock(server.client(), "mail", timeout=ROOMY, on_renewed=renewed) as lock:
        assert in_a_fork(lambda: (len(keepers()), lock.validity)) == [0, 0.0]
        renewed.wait_for(1)


PROGRAM = """
import os, sys, threading, time
import redis
from course_tasks.locks import RenewingLock

lock = RenewingLock(redis.Redis(unix_socket_path=sys.argv[1]), "mail", timeout=float(sys.argv[2]))
lock.acquire()
"""


def run(server, program, lease, **options):
    command = [sys.executable, "-W", "error", "-c", PROGRAM + program, server.socket, str(lease)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, **options)


def test_it_does_not_keep_the_interpreter_from_ending(server):
    program = run(server, "", 30, stderr=subprocess.PIPE)
    assert program.communicate(timeout=LONG) == (b"", b"") and program.returncode == 0
    assert server.client().exists("mail")  # until the lease ends: nobody released it


def test_a_child_that_outlives_the_holder_does_not_keep_the_lock(server):
    fork = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, which is what this is about
if not os.fork():
    print(os.getpid(), flush=True)
    sys.stdin.read()
    os._exit(0)
time.sleep(1000)
"""
    with run(server, fork, LEASE, stdin=subprocess.PIPE) as program:
        child = int(program.stdout.readline())
        program.kill()
        with RenewingLock(server.client(), "mail", blocking_timeout=LONG):
            os.kill(child, 0)  # it is there
