"""Interrupts while one waits, while a lock is renewed and in the middle of extending: at any moment, and nothing is left.

What holds for acquiring and releasing every lock is in the contract.
"""

import gc
import threading
import time
import types
from unittest import mock

import interrupts
import pytest
from fair_workers import LENIENT, NAME, QUEUE
from interrupts import each_place
from labs import LONG, wait_for
from lock_contract import raised

from course_tasks.locks import FairLock, LeaseLock, LockOutcomeUnknown, RenewingLock, fair, keeper
from course_tasks.locks.bell import Bell

# An interrupt while redis-py connects leaves the socket to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(autouse=True)
def collected():
    """What is left to the garbage collector is collected in the test that left it."""
    yield
    gc.collect()


class Both(RenewingLock, FairLock):
    pass


@pytest.fixture
def client(server):
    return server.client()


def free(client):
    """Whether nobody has the lock, or waits. Where a turn was left to run out, that takes 0.2 s."""
    return client.exists(NAME, QUEUE) == 0


def test_a_connection_that_was_being_made(server):
    """Used again, it would be in another database than the client's: nobody else would find the lock there."""
    client = None

    def use():
        nonlocal client
        client = server.client(db=1)
        LeaseLock(client, NAME).acquire(blocking=False)

    for number in each_place(use, 3):
        server.client(db=1).delete(NAME)
        lock = LeaseLock(client, NAME)
        assert lock.acquire(blocking=False), number
        assert server.client(db=1).get(NAME) == lock._hold.token, number
        server.drop_clients()
        server.client().flushall()


@pytest.mark.parametrize("kind", [FairLock, Both])
def test_waiting_for_a_turn_that_comes(client, kind):
    holder = FairLock(client, NAME)

    class Late(Bell):
        def wait(self, seconds):
            if holder.validity:
                holder.release()
            super().wait(seconds)

    def use():
        nonlocal lock
        holder.acquire()
        lock = kind(client, NAME)
        lock.acquire()
        lock.release()

    lock = None
    with mock.patch.object(fair, "Bell", Late):
        for number in each_place(use, 9):
            for left in (holder, lock):
                if left.owned():  # before release() had begun, or anything at all
                    left.release()
            wait_for(lambda: free(client), f"for nobody to be there after {number}", LENIENT)


@pytest.mark.parametrize("kind", [LeaseLock, FairLock])
def test_waiting_in_vain(client, kind):
    holder = kind(client, NAME, timeout=60)
    holder.acquire()
    lock = kind(client, NAME)
    for number in each_place(lambda: lock.acquire(blocking_timeout=0.002, sleep=0.001), 5):
        assert lock.validity == 0.0, number
        if kind is LeaseLock:
            assert holder.owned()
        else:
            wait_for(lambda: client.llen(QUEUE) == 0, f"for the queue to be empty after {number}", LENIENT)
    holder.release()
    wait_for(lambda: free(client), "for the lock to be free", LENIENT)


def keepers():
    return [
        thread for thread in threading.enumerate() if thread.ident and thread.name.startswith(("renews", "watches"))
    ]


def renews():
    return any(thread.name.startswith("renews") for thread in keepers())


def test_a_lock_that_is_being_renewed(client):
    """Its threads end, whatever happens to the one that has it."""
    lease = LONG
    # By this clock a third of the lease is over at once, so that it is renewed at once, and has plenty left.
    ahead = types.SimpleNamespace(monotonic=lambda: time.monotonic() + lease / 3)

    def use():
        nonlocal lock
        lock = RenewingLock(client, NAME, timeout=lease)
        lock.acquire()
        wait_for(renews, "for the renewer")
        lock.release()

    lock = None
    with mock.patch.object(keeper, "time", ahead):
        for number in each_place(use, 15):
            if lock.owned():  # before release() had begun
                lock.release()
            wait_for(lambda: not keepers(), f"for the threads to end after {number}", lease / 2)
            wait_for(lambda: free(client), f"for the lock to be free after {number}", lease / 2)


def test_an_extension_may_have_been_made(client):
    """So whoever is told later by when the lock clears is told of the longer lease."""
    lock = LeaseLock(client, NAME, timeout=1)

    def use():
        lock.extend(100)

    lock.acquire()
    for _ in each_place(use, 20):
        assert lock.validity > 0
        assert lock._hold.clears_in >= client.pttl(NAME) / 1000
    assert not isinstance(raised(lock.release), LockOutcomeUnknown)


def test_somebody_elses_hold_is_left_alone(client):
    """One object, two threads: what is interrupted in one does not give back what the other has."""
    lock = LeaseLock(client, NAME, thread_local=False)

    def acquire_elsewhere():
        thread = threading.Thread(target=lock.acquire)
        thread.start()
        thread.join(LONG)

    def use():
        with mock.patch("time.sleep", return_value=None):
            lock.acquire(blocking_timeout=0)

    other = LeaseLock(client, NAME)
    other.acquire()
    for number in range(1, interrupts.count(use) + 1, 5):
        client.delete(NAME)
        acquire_elsewhere()
        interrupts.at_place(number, use)
        assert lock.owned(), number
        lock.release()
        other.acquire(blocking=False)
