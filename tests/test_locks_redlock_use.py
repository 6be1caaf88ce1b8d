"""Redlock among threads, interrupted, with wrong arguments, and how long it pauses."""

import gc
import inspect
import signal
import statistics
import types
import weakref
from unittest import mock

import pytest
import redis
from fives import LEASE, NAME, PATIENT, SOON
from interrupts import each_place
from labs import LONG, wait_for
from lock_contract import in_threads, raised
from redis.sentinel import Sentinel

from course_tasks.locks import LeaseLock, LockError, LockNotOwnedError, Redlock
from course_tasks.locks.node import Node, stock_of

# An interrupt while redis-py connects leaves the socket to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

# Threads ------------------------------------------------------------------------------------------------------------


def test_as_many_connections_as_there_are_holds_at_once(five):
    lock = five.lock(sleep=0.001, blocking_timeout=LONG)
    before = [five.admin(each).info("stats")["total_connections_received"] for each in range(5)]

    def work():
        for _ in range(20):
            with lock:
                assert lock.granted

    assert in_threads(*[work] * 4) == []
    for each in range(5):
        assert five.admin(each).info("stats")["total_connections_received"] - before[each] <= 4


def test_one_thread_extends_what_another_releases(five):
    lock = five.lock(thread_local=False)
    for _ in range(50):
        lock.acquire()
        errors = in_threads(*[lambda: [lock.extend(1) for _ in range(3)]] * 2, lock.owned, lock.release)
        assert all(isinstance(error, LockError) for error in errors)
        five.settle()
        assert five.tokens() == [None] * 5


def test_a_signals_handler_may_release_what_it_interrupts(five):
    """Whatever the other then says, nothing is left, and nothing hangs."""
    lock = five.lock(node_timeout=0.2)
    before = signal.signal(signal.SIGALRM, lambda *_: lock.owned() and lock.release())
    try:
        for number in range(20):
            lock.acquire()
            signal.setitimer(signal.ITIMER_REAL, 0.001 + number / 10_000)
            while lock.validity:
                raised(lock.extend, 1)
            five.settle()
            assert five.tokens() == [None] * 5
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_what_a_signals_handler_takes_is_not_given_back_by_what_it_interrupted(five):
    """The first is being extended when the handler gives it back, and takes the other: that needs connections of its own."""
    first = five.lock()
    other = Redlock(first.redis, "other", timeout=LEASE, node_timeout=PATIENT)
    write, signals = Node.write, [signal.SIGALRM]

    def write_and_be_interrupted(node, ballot):
        written = write(node, ballot)
        if signals:
            signal.raise_signal(signals.pop())
        return written

    before = signal.signal(signal.SIGALRM, lambda *_: first.release() or other.acquire())
    try:
        first.acquire()
        with mock.patch.object(Node, "write", write_and_be_interrupted):
            assert isinstance(raised(first.extend, 1), LockNotOwnedError)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert other.validity and other.owned()
    other.release()


# Interrupts ---------------------------------------------------------------------------------------------------------


def test_an_interrupt_leaves_nothing_on_any_server(five):
    """Beyond what the contract asks for: not on a minority, and not on one that stands still."""
    lock = five.connected(node_timeout=0.1)

    def use():
        lock.acquire()
        lock.extend(1)
        lock.release()

    with five.silent(4):
        for number in each_place(use, 9):
            if lock.validity:  # before release() had begun
                raised(lock.release)
            five.settle(0, 1, 2, 3)
            assert five.tokens(0, 1, 2, 3) == [None] * 4, number
            lock.locked()  # connects

    def nothing_is_left():
        lock.acquire()
        lock.release()
        return five.tokens(4) == [None]

    wait_for(nothing_is_left, seconds=2 * SOON)  # connecting to it is tried again two seconds after it was in vain


def test_an_interrupt_while_too_few_answer(five, interrupted):
    lock = five.connected()
    with five.silent(0, 1, 2):
        assert interrupted(lock.acquire)
        assert five.tokens(3, 4) == [None] * 2
    five.settle()
    assert five.tokens() == [None] * 5
    assert lock.acquire()


# Arguments ----------------------------------------------------------------------------------------------------------


def test_it_takes_what_the_other_locks_take():
    """In the same order, so that it may take their place; and one more."""
    ours, theirs = (list(inspect.signature(kind).parameters.values()) for kind in (Redlock, LeaseLock))
    assert [(each.name, each.default) for each in ours[1:-1]] == [(each.name, each.default) for each in theirs[1:]]
    assert ours[-1].name == "node_timeout" and ours[-1].default == 0.1


def test_one_client_is_no_list():
    client = redis.Redis()
    for wrong in (client, None, "redis://localhost", {client}):
        with pytest.raises(TypeError, match="list of clients, one for each of its servers"):
            Redlock(wrong, NAME)
    with pytest.raises(TypeError, match="list of clients"):
        client.lock(NAME, timeout=10, lock_class=Redlock)
    with pytest.raises(ValueError, match="this one is empty"):
        Redlock([], NAME)
    with pytest.raises(TypeError, match="Pass a redis.Redis"):
        Redlock([client, types.SimpleNamespace()], NAME)


def test_databases_of_one_server_are_no_servers():
    class Watching(Sentinel):
        def __init__(self, *ports):
            super().__init__([("localhost", port) for port in ports])

    here, there = redis.Redis(), redis.Redis(port=6380)
    for others in (
        [redis.Redis(db=3)],
        [redis.Redis(unix_socket_path="/a"), redis.Redis(unix_socket_path="/a", db=1)],
        [Watching(1, 2).master_for("a"), Watching(1, 2).master_for("a")],
    ):
        with pytest.raises(ValueError, match=r"clients \d and \d of the list are for the same server, .*fail together"):
            Redlock([there, here, *others], NAME)
    Redlock([here, there, Watching(1).master_for("a"), Watching(1).master_for("b"), Watching(2).master_for("a")], NAME)


@pytest.mark.parametrize("wrong", [None, 0, -1, "0.1", float("nan"), 5.1])
def test_a_server_is_given_time_far_below_the_lease(five, wrong):
    with pytest.raises(ValueError, match="node_timeout"):
        five.lock(timeout=10, node_timeout=wrong)
    with pytest.raises(ValueError, match="node_timeout .0.1 s. must be far below the lease"):
        Redlock([redis.Redis()], NAME, timeout=0.15)


@pytest.mark.parametrize("servers", [1, 2, 4])
def test_any_number_of_servers_will_do(five, servers):
    lock = five.lock(five.clients()[:servers])
    with lock:
        assert lock.owned() and len(lock.granted) >= servers // 2 + 1
        assert five.lock(five.clients()[:servers]).acquire(blocking=False) is False


# Time and memory ----------------------------------------------------------------------------------------------------


def test_the_pause_is_random_and_on_average_what_was_asked_for(five):
    five.take(*range(5))
    pauses = []
    with mock.patch("time.sleep", pauses.append):
        five.lock(sleep=0.5).acquire(blocking_timeout=0.5)
    assert len(set(pauses)) == len(pauses) > 10 and min(pauses) >= 0 and max(pauses) <= 1
    assert 0.2 < statistics.mean(Redlock._pause(0.5) for _ in range(1000)) < 0.8


def test_connections_go_with_the_clients_pool(five):
    clients = [redis.Redis(unix_socket_path=server.socket) for server in five.servers]
    pools = [weakref.ref(client.connection_pool) for client in clients]
    lock = five.lock(clients)
    assert lock._stocks == [stock_of(client) for client in clients]
    with lock:
        pass
    nodes = [weakref.ref(stock._free[-1]) for stock in lock._stocks]
    del lock, clients
    gc.collect()
    assert [each() for each in (*pools, *nodes)] == [None] * 10
