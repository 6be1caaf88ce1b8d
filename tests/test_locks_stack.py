"""Stack: what a pool of connections needs of a queue, and no interrupt breaks it."""

import functools
import queue
import threading
import time

import interrupts
import pytest
import redis
from labs import LONG
from lock_contract import in_threads

from course_tasks.locks import LeaseLock
from course_tasks.locks.stack import Stack


def test_the_last_one_in_is_the_first_one_out():
    stack = Stack(2)
    stack.put_nowait("first")
    stack.put_nowait(None)
    with pytest.raises(queue.Full):
        stack.put_nowait("third")
    assert [stack.get(), stack.get()] == [None, "first"]


def test_it_waits_no_longer_than_it_is_told():
    start = time.monotonic()
    with pytest.raises(queue.Empty):
        Stack(1).get(timeout=0.05)
    assert 0.05 <= time.monotonic() - start < LONG / 2


def breaks(make):
    """Whether an interrupt at some place leaves a queue that hangs."""

    def use(queue):
        queue.put_nowait("a connection")
        queue.get(timeout=1)

    files = ["/queue.py", "/threading.py", "/locks/stack.py"]
    for number in range(1, interrupts.count(lambda: use(make(3)), files) + 1):
        made = make(3)
        interrupts.at_place(number, lambda made=made: use(made), files)
        thread = threading.Thread(target=use, args=[made], daemon=True)
        thread.start()
        thread.join(0.5)
        if thread.is_alive():
            return True
    return False


def test_an_interrupt_at_any_moment_leaves_it_usable():
    assert not breaks(Stack)


def test_a_queue_of_the_standard_library_is_left_useless():
    """The negative control, and the reason for Stack: where this fails, it may go."""
    assert breaks(queue.LifoQueue)


def test_more_threads_than_connections(server):
    pool = redis.BlockingConnectionPool(
        max_connections=2, connection_class=redis.UnixDomainSocketConnection, path=server.socket
    )
    client = redis.Redis(connection_pool=pool)

    def work(name):
        for _ in range(20):
            with LeaseLock(client, name):
                pass

    assert in_threads(*[functools.partial(work, f"mail {number}") for number in range(8)]) == []
    pool.disconnect()
