"""Redlock and servers that stand still, die, come back, or lose a connection: what they cost, and that nothing stale is left."""

import contextlib
import select
import time
from unittest import mock

import pytest
import redis
from fives import LEASE, SHORT, SOON
from labs import wait_for
from lock_contract import raised
from servers import Link, playing

from course_tasks.breakpoints import Breakpoint, watched
from course_tasks.locks import LockNotOwnedError, Redlock, node, panel
from course_tasks.locks.node import Node
from course_tasks.locks.panel import Panel

# Standing still -----------------------------------------------------------------------------------------------------


def a_server_that_stands_still_is_asked_once(five, holds=300):
    """One question and one release wait for it, however often the others are asked. Then it takes part again."""
    lock = five.connected()
    five.admin(2).config_resetstat()
    with five.silent(2):
        for _ in range(holds):
            assert lock.acquire(blocking=False)
            lock.release()
    five.settle()
    assert five.tokens() == [None] * 5
    assert five.calls(2, "set") == 1
    five.take(0, 1)
    assert lock.acquire(blocking=False) and lock.granted == (2, 3, 4)


def test_ten_thousand_holds_while_a_server_stands_still(five):
    a_server_that_stands_still_is_asked_once(five, holds=10_000)


def who_stands_still_costs_nothing_while_the_others_answer(five):
    lock = five.connected(node_timeout=1)
    start = time.monotonic()
    with five.silent(2):
        for _ in range(10):
            assert lock.acquire(blocking=False) and lock.extend(1)
            lock.release()
            assert time.monotonic() - start < 1


def nor_when_the_others_have_said_no(five):
    lock = five.connected(node_timeout=1)
    five.take(0, 1, 3)
    start = time.monotonic()
    with five.silent(2):
        for _ in range(10):
            assert lock.acquire(blocking=False) is False
            assert time.monotonic() - start < 1


def whoever_answers_late_still_votes_in_the_same_round(five):
    """It owes a reply to the question before, and to its release. They come when all others have voted; it is asked at once."""
    resume = Breakpoint(five.servers[4].resume, after="SET", nth=8)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(watched(five.admin(each), resume)) for each in range(4)]
        lock = five.connected([*clients, five.clients()[4]])
        with five.silent(4):
            lock.acquire()
            lock.release()
            five.take(0, 1)
            assert lock.acquire(blocking=False) and resume.struck
        assert lock.granted == (2, 3, 4)
        lock.release()


def what_is_owed_for_long_is_waited_for_by_nobody(five):
    lock = five.connected(node_timeout=2)
    with five.silent(4):
        lock.acquire()
        silent = lock._hold.remedy.nodes[4]
        lock.release()
        five.take(0, 1)
        for each in silent.owed:
            each.began -= 2
        start = time.monotonic()
        assert lock.acquire(blocking=False) is False
        assert time.monotonic() - start < 1


def a_connection_that_is_silent_for_very_long_is_given_up(five):
    lock = five.connected(node_timeout=0.05)
    with five.silent(4):
        lock.acquire()
        before = lock._hold.remedy.nodes[4].connection._sock
        lock.release()
        with mock.patch.object(node, "PATIENCE", 0):
            lock.acquire()
            after = lock._hold.remedy.nodes[4]
            assert before.fileno() == -1 and not after.owed and "Timeout" in str(after.error)
            lock.release()
    five.settle()
    assert five.tokens() == [None] * 5
    five.take(0, 1)
    assert lock.acquire() and lock.granted == (2, 3, 4)


def a_connection_that_was_answered_is_kept_however_late_that_is_read(five):
    """Whoever is not waited for has answered at once: that is found out by the next hold only."""
    lock = five.connected()
    lock.acquire()
    lock.release()
    nodes = [stock._free[-1] for stock in lock._stocks]
    sockets = [each.connection._sock for each in nodes]
    unread = [each.descriptor for each in nodes if each.owed]
    assert len(unread) == 2
    wait_for(lambda: select.select(unread, [], [], 0)[0] == unread)
    with mock.patch.object(node, "PATIENCE", 0):
        lock.acquire()
        assert [each.connection._sock for each in lock._hold.remedy.nodes] == sockets
    lock.release()


# Dying and coming back ----------------------------------------------------------------------------------------------


def a_minority_may_die_and_come_back(five):
    lock = five.connected()
    with five.dead(3, 4):
        for _ in range(3):
            assert lock.acquire(blocking=False) and lock.extend(1) and lock.granted == (0, 1, 2)
            lock.release()
    five.take(0, 1)
    assert lock.acquire() and lock.granted == (2, 3, 4)


def while_a_majority_is_dead_nobody_enters(five):
    """Who waits for the lock gets it when the servers are back."""

    class Waiting(Redlock):
        def _pause(self, sleep):
            if dead:
                assert wait_for(lambda: five.tokens(3, 4) == [None] * 2)  # what they granted was given back
                while dead:
                    five.servers[dead.pop()].start()
            return sleep

    lock, waiting = five.connected(), Waiting(five.clients(), "mail", sleep=0.01)
    assert lock.acquire()
    lock.release()
    dead = [0, 1, 2]
    for each in dead:
        five.servers[each].kill()
    try:
        assert lock.acquire(blocking=False) is False
        assert waiting.acquire() and not dead
    finally:
        while dead:
            five.servers[dead.pop()].start()
    waiting.release()


def test_all_may_die_and_forget(five):
    lock = five.connected()
    lock.acquire()
    with five.dead(*range(5)):
        assert five.lock().acquire(blocking=False) is False
        assert type(raised(lock.locked)) is redis.ConnectionError
        assert type(raised(lock.release)) is redis.ConnectionError
    error = wait_for(lambda: (error := raised(lock.release)) and type(error) is not redis.ConnectionError and error)
    assert isinstance(error, LockNotOwnedError)
    with lock:
        assert lock.owned()


# Connections that break ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def linked(five):
    """A link to the last server, and a lock that reaches it by that."""
    with Link(five.servers[4]) as link:
        last = five.servers[4].client(unix_socket_path=link.socket)
        yield link, five.connected([*five.clients()[:4], last])


def whoever_closed_its_connections_is_connected_to_anew_at_once(five):
    lock = five.connected()
    for use in (lambda: lock.acquire(blocking=False), lambda: lock.extend(1), lambda: lock.release() is None):
        for each in range(5):
            five.admin(each).client_kill_filter(_type="normal", skipme=True)
        assert use()
    five.settle()
    assert five.tokens() == [None] * 5
    five.take(0, 1)
    assert lock.acquire(blocking=False)


def a_question_whose_connection_broke_is_undone_on_another(five):
    with linked(five) as (link, lock):
        link.cut(b"SET")  # carried out, and never answered
        assert lock.acquire()
        wait_for(lambda: five.tokens(4) != [None], seconds=SOON)
        lock.extend(1)
        lock.release()
        wait_for(lambda: five.tokens() == [None] * 5, seconds=SOON)


def a_release_that_was_lost_is_sent_again_before_anything_else(five):
    with linked(five) as (link, lock):
        lock.acquire()
        stale = wait_for(lambda: five.tokens(4)[0])
        link.hold(b"EVAL")
        lock.release()
        assert five.tokens(4) == [stale]
        five.take(0, 1)
        assert lock.acquire() and lock.granted == (2, 3, 4)
        link.deliver()
        assert lock.owned()
        lock.release()


def test_a_question_that_arrives_after_all_stands_for_a_lease(five):
    """What the docstring says that nothing can settle: the release came first, over a new connection."""
    with linked(five) as (link, lock):
        link.hold(b"SET")
        lock.acquire()
        wait_for(lambda: link._kept)
        five.admin(4).config_resetstat()
        lock.release()
        wait_for(lambda: five.calls(4, "eval"))
        link.deliver()
        assert five.tokens() == [None] * 4 + [mock.ANY] and 0 < five.left(4) <= LEASE
        assert lock.acquire(blocking=False)  # it is one vote


@pytest.mark.parametrize("rest", [b"K\r\n", None])
def test_half_a_reply_is_waited_for_as_long_as_a_whole_one(rest):
    def part(connection):
        connection.recv(1000)
        connection.sendall(b"+O")
        if rest:
            time.sleep(0.05)
            connection.sendall(rest)
            connection.recv(1000)
            connection.sendall(b":1\r\n")
        connection.recv(1000)

    with playing(part) as client:
        lock = Redlock([client], "mail", node_timeout=LEASE / 10 if rest else SHORT)
        start = time.monotonic()
        assert lock.acquire(blocking=False) is bool(rest)
        if rest:
            lock.release()
        assert time.monotonic() - start < LEASE
        for stock in lock._stocks:
            stock._free[-1].drop(None)


# Known to be wrong --------------------------------------------------------------------------------------------------


def asks_again(panel, ballot, node):
    """Whether it has answered or not."""
    if (node.undo is panel.undo or not ballot.undoing) and node.write(ballot):
        ballot.asked.add(node)


def hopes(panel, ballot):
    """Sees no end before the time is up."""
    return ballot.votes < panel.quorum


def waits_for_no_one_late(panel, ballot):
    return ballot.votes < panel.quorum <= ballot.votes + ballot.outstanding


def waits_for_whoever_owes(panel, ballot):
    return ballot.votes < panel.quorum <= ballot.votes + sum(bool(node.owed) for node in panel.nodes)


def is_never_late(node, now):
    return False


def is_usable(silent):
    """As long as it isn't late, by the clock alone: whether its answer is there, was not looked."""
    if silent.is_late(time.monotonic()):
        silent.give_up()
    return usable(silent)


connect, drop, usable = Node.connect, Node.drop, Node.is_usable


def connects_once(node, limit):
    known, node.known = hasattr(node, "known"), True
    return not known and connect(node, limit)


def drops_all(node, error):
    """What there is to undo, as well."""
    drop(node, error)
    node.undo = None


BROKEN = {
    "asks again": ((Panel, {"_put": asks_again}), [a_server_that_stands_still_is_asked_once]),
    "waits for all": (
        (panel, {"majority": lambda servers: servers}),
        [who_stands_still_costs_nothing_while_the_others_answer],
    ),
    "hopes": ((Panel, {"_is_open": hopes}), [nor_when_the_others_have_said_no]),
    "waits for no one late": (
        (Panel, {"_is_open": waits_for_no_one_late}),
        [whoever_answers_late_still_votes_in_the_same_round],
    ),
    "waits for whoever owes": (
        (Panel, {"_is_open": waits_for_whoever_owes}),
        [what_is_owed_for_long_is_waited_for_by_nobody],
    ),
    "never gives up": ((Node, {"is_late": is_never_late}), [a_connection_that_is_silent_for_very_long_is_given_up]),
    "looks at the clock alone": (
        (Node, {"is_usable": is_usable}),
        [a_connection_that_was_answered_is_kept_however_late_that_is_read],
    ),
    "connects once": (
        (Node, {"connect": connects_once}),
        [a_minority_may_die_and_come_back, whoever_closed_its_connections_is_connected_to_anew_at_once],
    ),
    "half is a majority": (
        (panel, {"majority": lambda servers: servers // 2}),
        [while_a_majority_is_dead_nobody_enters],
    ),
    "drops all": (
        (Node, {"drop": drops_all}),
        [
            a_question_whose_connection_broke_is_undone_on_another,
            a_release_that_was_lost_is_sent_again_before_anything_else,
        ],
    ),
}
CASES = [(what, promise) for what, (_, promises) in BROKEN.items() for promise in promises]


@pytest.mark.parametrize("promise", [promise for _, promise in CASES], ids=lambda promise: promise.__name__)
def test_redlock(promise, five):
    promise(five)


@pytest.mark.parametrize(("what", "promise"), CASES, ids=[f"{what}-{promise.__name__}" for what, promise in CASES])
def test_what_is_wrong_is_noticed(what, promise, five):
    where, names = BROKEN[what][0]
    with mock.patch.multiple(where, **names), pytest.raises((AssertionError, redis.RedisError)):
        promise(five)
