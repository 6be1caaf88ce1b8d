"""Redlock: what a majority makes of five servers' answers, and that nothing is left where it was asked.

What it has in common with the other locks is in the contract.
"""

import contextlib
import logging
import time
import types
from unittest import mock

import pytest
import redis
from fives import LEASE, NAME, SHORT, SOON
from labs import wait_for
from lock_contract import raised

from course_tasks.breakpoints import Breakpoint, Trace, watched
from course_tasks.locks import LockNotOwnedError, LockOutcomeUnknown, Redlock, base, hold, holder, panel, redlock
from course_tasks.locks.ballot import Ballot, Census, Packed, majority
from course_tasks.locks.lease import LeaseLock

# A majority ---------------------------------------------------------------------------------------------------------


def test_a_majority_is_more_than_half():
    assert [majority(servers) for servers in range(1, 8)] == [1, 2, 2, 3, 3, 4, 4]


def three_of_five_are_enough_and_two_are_not(five):
    five.take(1, 3)
    lock = five.lock()
    assert lock.acquire(blocking=False) is True and lock.granted == (0, 2, 4)
    lock.release()
    assert lock.granted == ()
    five.take(1, 3, 4)
    assert lock.acquire(blocking=False) is False and lock.granted == () and lock.validity == 0.0


def two_that_overlap_do_not_both_have_it(five):
    """The second is granted two of five: all that the first doesn't have."""
    first, second = five.lock(), five.lock()
    five.take(3, 4)
    assert first.acquire(blocking=False)
    five.forget(3, 4)
    assert second.acquire(blocking=False) is False
    assert first.owned() and not second.owned()


def who_gets_no_majority_leaves_nothing(five):
    five.take(0, 1, 2)
    lock = five.lock()
    assert lock.acquire(blocking=False) is False
    five.settle()
    assert five.tokens() == [b"other"] * 3 + [None] * 2


def somebody_holds_it_where_a_majority_names_the_same(five):
    lock = five.lock()
    five.take(0, 1)
    five.take(2, 3, token=b"another")
    assert lock.locked() is False
    five.take(2)
    assert lock.locked() is True and lock.owned() is False


def too_few_answers_say_nothing(five):
    lock = five.lock(node_timeout=SHORT)
    assert lock.acquire() and lock.owned()  # that has connections of its own
    with five.silent(2, 3, 4):
        for look in (lock.locked, lock.owned):
            error = raised(look)
            assert type(error) is redis.ConnectionError and "2 of 5 servers answer, and 3 have to" in str(error)
    five.settle()
    assert lock.owned()


# Time ---------------------------------------------------------------------------------------------------------------

ROUNDED = 1e-6  # seconds: what differences of a clock's large numbers may be off by, and more


def its_validity_leaves_room_for_clocks(five):
    lock = five.lock(timeout=20)
    assert lock.acquire()
    lasts = lock._hold.until - lock._hold.asked
    assert 19 < lasts <= 20 * 0.99 - 0.002 + ROUNDED and lasts - 5 < lock.validity <= lasts
    before = time.monotonic()
    lock.extend(100, replace_ttl=True)
    assert 97 < lock._hold.until - before <= 100 * 0.99 - 0.002 + time.monotonic() - before + ROUNDED


def its_validity_counts_from_before_the_first_question(five):
    five.take(3, 4)  # so that the slow one's answer is needed
    pause = Breakpoint(lambda: time.sleep(0.3), after="SET")
    with watched(five.admin(0), pause) as slow:
        lock = five.lock([slow, *five.clients()[1:]], timeout=3, node_timeout=1)
        assert lock.acquire() and pause.struck
        assert lock.validity <= 2.7


def its_validity_follows_no_clock_that_is_set(five):
    lock = five.lock()
    now = time.time()
    with mock.patch("time.time", return_value=now):
        assert lock.acquire()
        before = lock.validity
    with mock.patch("time.time", return_value=now + LEASE / 2):
        assert before - 5 < lock.validity <= before


# Giving it back -----------------------------------------------------------------------------------------------------


def every_server_that_was_asked_is_asked_to_give_it_back(five):
    """Whether it granted the lock, refused it, or has not answered yet."""
    traces = [Trace() for _ in range(5)]
    clients = [watched(client, trace) for client, trace in zip(five.clients(), traces, strict=True)]
    lock = five.connected(clients)
    five.take(1)
    for trace in traces:
        trace.clear()
    with five.silent(2):
        assert lock.acquire() and lock.granted == (0, 3, 4)
        lock.release()
    assert [trace.commands for trace in traces] == [["SET", "EVAL"]] * 5
    assert lock.locked() is False
    five.settle()
    assert five.tokens() == [None, b"other", None, None, None]
    for client in clients:
        client.close()


def a_lock_that_was_lost_on_a_majority_was_lost(five):
    lock = five.lock()
    lock.acquire()
    five.settle()
    five.forget(0, 1)
    lock.release()
    five.settle()
    lock.acquire()
    five.settle()
    five.forget(0, 1, 2)
    assert isinstance(raised(lock.release), LockNotOwnedError)
    five.settle()
    assert five.tokens() == [None] * 5


def a_release_that_too_few_answer(five):
    lock = five.lock(node_timeout=SHORT)
    lock.acquire()
    with five.silent(0, 1):
        lock.release()
    five.settle()
    lock.acquire()
    with five.silent(0, 1, 2):
        unknown = raised(lock.release)
        assert isinstance(unknown, LockOutcomeUnknown) and LEASE - 1 < unknown.clears_in < LEASE * 1.01 + 1
        assert five.tokens(3, 4) == [None, None]
    five.settle()
    assert five.tokens() == [None] * 5  # the release was behind the question


def a_release_after_which_nobody_can_hold_it(five):
    """Two give it back, two never had it, and one is silent: it alone is no majority."""
    five.take(3, 4)
    lock = five.lock(node_timeout=SHORT)
    assert lock.acquire() and lock.granted == (0, 1, 2)
    with five.silent(2):
        unknown = raised(lock.release)
    assert isinstance(unknown, LockOutcomeUnknown) and unknown.clears_in == 0.0


def a_release_that_nobody_can_be_sent_may_be_tried_again(five):
    lock = five.lock()
    lock.acquire()
    with five.unreachable(*range(5)):
        for use in (lock.release, lambda: lock.extend(10)):
            assert type(raised(use)) is redis.ConnectionError
        assert lock.validity > 0
    wait_for(lambda: raised(lock.extend, 10) is None)  # connecting is not tried again at once
    lock.release()
    five.settle()
    assert five.tokens() == [None] * 5


# More time ----------------------------------------------------------------------------------------------------------


def every_server_of_the_majority_has_the_whole_extension(five):
    """Two extensions that two different majorities hear of."""
    lock = five.lock(timeout=10, node_timeout=5)
    lock.acquire()
    nodes = lock._hold.remedy.nodes
    for others in ((3, 4), (0, 1)):
        five.settle()
        with five.unreachable(*others):
            lock.extend(10)
        wait_for(lambda: all(node._due < time.monotonic() for node in nodes), "until connecting is tried again")
    left = sorted(five.left(each) for each in range(5))
    assert 20 < lock.validity <= left[2]


def an_extension_needs_a_majority_too(five):
    lock = five.lock(node_timeout=SHORT)
    lock.acquire()
    validity = lock.validity
    with five.silent(0, 1, 2):
        unknown = raised(lock.extend, 1000)
        assert isinstance(unknown, LockOutcomeUnknown) and unknown.clears_in > 1000
        assert 0 < lock.validity <= validity
    five.settle()
    lock.release()
    five.settle()
    assert five.tokens() == [None] * 5


def an_extension_that_was_heard_of_late_is_reckoned_with(five):
    """What is added is added from when a server hears of it: a second later, for all that is known."""
    lock = five.lock(timeout=10, node_timeout=1)
    lock.acquire()
    with five.silent(0, 1, 2):
        unknown = raised(lock.extend, 10)
        assert isinstance(unknown, LockOutcomeUnknown) and lock.validity + 1 + 10 <= unknown.clears_in < 20 * 1.01 + 1


def an_extension_takes_nothing_that_was_lost(five):
    lock = five.lock()
    lock.acquire()
    five.settle()
    five.forget(0, 1)
    assert lock.extend(10) is True
    five.forget(2)
    assert isinstance(raised(lock.extend, 10), LockNotOwnedError)
    assert lock.validity == 0.0 and five.tokens(0, 1, 2) == [None] * 3


def who_never_had_it_does_not_say_that_it_was_lost(five):
    """Two servers were never asked for it, and two that granted it are silent: that is no loss yet."""
    traces = [Trace(), Trace()]
    clients = [*five.clients()[:3], *(watched(five.admin(each), traces[each - 3]) for each in (3, 4))]
    lock = five.lock(clients, node_timeout=SHORT)
    with five.unreachable(3, 4):
        assert lock.acquire()
    wait_for(lambda: lock.extend(1) and all(trace.commands for trace in traces))
    with five.silent(1, 2):
        assert isinstance(raised(lock.extend, 10), LockOutcomeUnknown)
    assert lock.validity > 0
    lock.release()
    for client in clients[3:]:
        client.close()


def an_extension_that_comes_too_late_is_none(five):
    slow = Breakpoint(lambda: time.sleep(0.6), after="EVAL")
    with watched(five.admin(0), slow) as client:
        lock = five.lock([client, *five.clients()[1:]], timeout=0.5, node_timeout=0.25)
        five.take(3, 4)
        assert wait_for(lock.acquire) and lock.granted == (0, 1, 2)
        assert isinstance(raised(lock.extend, 0.5, replace_ttl=True), LockNotOwnedError)
        assert slow.struck


# One server's error -------------------------------------------------------------------------------------------------


def one_servers_error_is_no_error(five):
    def refuse():
        raise redis.BusyLoadingError("the server is loading its data")

    full, loading = five.lock(), Breakpoint(refuse, after="SET")
    for each in (0, 1):
        five.admin(each).config_set("maxmemory", 1)
    try:
        assert full.acquire(blocking=False) and full.granted == (2, 3, 4)
        assert full.owned() and full.extend(1)
        full.release()
    finally:
        for each in (0, 1):
            five.admin(each).config_set("maxmemory", 0)
    with watched(five.admin(4), loading) as client:
        for last in (
            client,
            redis.Redis(unix_socket_path="/nowhere/at/all"),
            redis.Redis(unix_socket_path=five.servers[4].socket, password="wrong"),
        ):
            lock = five.lock([*five.clients()[:4], last])
            assert lock.acquire(blocking=False) and lock.owned()
            assert wait_for(lambda lock=lock: lock.extend(1) and loading.struck)  # that one may be heard later
            lock.release()
            five.settle()


def what_is_refused_for_one_lock_is_not_in_the_way_of_another(five):
    """Of a key that holds a list, a server says that it is taken; and that it can't be given back, however often it is asked."""
    only = five.clients()[:1]
    five.admin(0).rpush(NAME, "not a lock's")
    assert five.lock(only).acquire(blocking=False) is False
    other = Redlock(only, "other", node_timeout=SHORT, blocking_timeout=SOON)
    assert other.acquire()
    other.release()


def a_release_that_was_refused_is_tried_again(five):
    lock = five.lock()
    lock.acquire()
    five.settle()
    five.admin(0).config_set("min-replicas-to-write", 1)
    try:
        lock.release()
        five.settle()
        assert five.tokens() == [mock.ANY, None, None, None, None] and five.left(0) > 0
    finally:
        five.admin(0).config_set("min-replicas-to-write", 0)
    five.take(1, 2)
    assert lock.acquire(blocking=False) and lock.granted == (0, 3, 4)


def test_too_few_votes_are_no_error_but_are_told_once(five, caplog):
    lock = five.lock()
    caplog.set_level(logging.WARNING)
    for told in (1, 2):
        with five.unreachable(0, 1, 2):
            for _ in range(3):
                assert lock.acquire(blocking=False) is False
        assert len(caplog.messages) == told
        lock.acquire()
        lock.release()
    assert "can't be acquired, for 2 of 5 servers answer, and 3 have to" in caplog.messages[0]
    assert "No such file" in caplog.messages[0]
    five.take(*range(5))
    assert lock.acquire(blocking=False) is False  # that is an answer
    assert len(caplog.messages) == 2


# Known to be wrong --------------------------------------------------------------------------------------------------


def changed(where, **names):
    """``where`` (a module or a class) with other things under these names."""
    return mock.patch.multiple(where, **names)


def instead(wrong):
    """``wrong``, a class, in the place of Redlock."""
    return mock.patch.object(redlock, "Redlock", wrong)


class ReleasesWhereGranted(Redlock):
    def _give_back(self, hold):
        for where, node in enumerate(hold.remedy.nodes):
            if where not in self.granted:
                node.undo = None
        return super()._give_back(hold)


class BelievesInSilence(Redlock):
    """Takes what it isn't told for a yes."""

    def _give_back(self, hold):
        with contextlib.suppress(LockOutcomeUnknown):
            super()._give_back(hold)
        return True

    def _lengthen(self, hold, span, replace):
        with contextlib.suppress(LockOutcomeUnknown):
            super()._lengthen(hold, span, replace)
        return True


class Guesses(Redlock):
    def _look(self, ballot):
        with contextlib.suppress(redis.ConnectionError):
            return super()._look(ballot)
        return False


class ForgetsFirst(Redlock):
    def _give_back(self, hold):
        try:
            return super()._give_back(hold)
        finally:
            self._part(hold)


class AddsOnEachServer(Redlock):
    def _lengthen(self, hold, span, replace):
        add = Packed("EVAL", LeaseLock.EXTEND.text, 1, self._key, hold.token, span, 0)
        with mock.patch.object(self, "_extend_command", return_value=add):
            return super()._lengthen(hold, span, replace)


class CountsFromTheAnswer(hold.Hold):
    def is_granted(self, answer, lease, asked):
        super().is_granted(answer, lease, time.monotonic())

    def is_longer(self, seconds, start):
        super().is_longer(seconds, time.monotonic())


class CountsFromTheQuestion(hold.Hold):
    """As if every server heard of an extension at once; here it follows the question on its heels."""

    def may_be_longer(self, seconds, replace):
        self.by = max(self.by, self.asked + self._at_most(seconds))


class CountsAnybody(Census):
    def take(self, node, reply):
        self.replies[node] = reply
        self.votes = sum(isinstance(each, bytes) for each in self.replies.values())


class Raises(Ballot):
    """An error of one is an error."""

    def take(self, node, reply):
        if isinstance(reply, Exception):
            raise LookupError from reply
        super().take(node, reply)


def never_the_last(*arguments, last=False, **options):
    return Ballot(*arguments, **options)


def always_the_last(*arguments, **options):
    return Ballot(*arguments, **{**options, "last": True})


def counts_whoever_refuses(panel, ballot):
    holders = sum(node.undo is panel.undo for node in panel.nodes)
    return holders - sum(reply == 0 for reply in ballot.replies.values())


@contextlib.contextmanager
def by_the_wall_clock():
    wall = types.SimpleNamespace(monotonic=lambda: time.time(), sleep=time.sleep)
    with changed(hold, time=wall), changed(holder, time=wall):
        yield


BROKEN = {
    "half is a majority": (
        lambda: changed(panel, majority=lambda servers: servers // 2),
        [three_of_five_are_enough_and_two_are_not, two_that_overlap_do_not_both_have_it],
    ),
    "no drift": (lambda: changed(hold, DRIFT=0), [its_validity_leaves_room_for_clocks]),
    "no rounding": (lambda: changed(redlock, ROUNDING=0), [its_validity_leaves_room_for_clocks]),
    "validity from the answer": (
        lambda: changed(base, Hold=CountsFromTheAnswer),
        [its_validity_counts_from_before_the_first_question, an_extension_that_comes_too_late_is_none],
    ),
    "wall clock": (by_the_wall_clock, [its_validity_follows_no_clock_that_is_set]),
    "release only where granted": (
        lambda: instead(ReleasesWhereGranted),
        [every_server_that_was_asked_is_asked_to_give_it_back],
    ),
    "keeps a minority": (lambda: changed(panel.Panel, tell=lambda *_: None), [who_gets_no_majority_leaves_nothing]),
    "raises on one error": (lambda: changed(redlock, Ballot=Raises), [one_servers_error_is_no_error]),
    "asks who refuses for ever": (
        lambda: changed(panel, Ballot=never_the_last),
        [what_is_refused_for_one_lock_is_not_in_the_way_of_another],
    ),
    "asks who refuses once": (
        lambda: changed(redlock, Ballot=always_the_last),
        [a_release_that_was_refused_is_tried_again],
    ),
    "any token is a vote": (
        lambda: changed(redlock, Census=CountsAnybody),
        [somebody_holds_it_where_a_majority_names_the_same],
    ),
    "guesses": (lambda: instead(Guesses), [too_few_answers_say_nothing]),
    "silence is a yes": (
        lambda: instead(BelievesInSilence),
        [
            a_lock_that_was_lost_on_a_majority_was_lost,
            a_release_that_too_few_answer,
            a_release_after_which_nobody_can_hold_it,
            an_extension_needs_a_majority_too,
            an_extension_takes_nothing_that_was_lost,
        ],
    ),
    "forgets a hold that it could not release": (
        lambda: instead(ForgetsFirst),
        [a_release_that_nobody_can_be_sent_may_be_tried_again],
    ),
    "adds to what each server has": (
        lambda: instead(AddsOnEachServer),
        [every_server_of_the_majority_has_the_whole_extension],
    ),
    "an extension from when it was asked for": (
        lambda: changed(base, Hold=CountsFromTheQuestion),
        [an_extension_that_was_heard_of_late_is_reckoned_with],
    ),
    "counts whoever refuses": (
        lambda: changed(panel.Panel, may_hold=counts_whoever_refuses),
        [who_never_had_it_does_not_say_that_it_was_lost],
    ),
}
PROMISES = [promise for _, promises in BROKEN.values() for promise in promises]


@pytest.mark.parametrize("promise", dict.fromkeys(PROMISES), ids=lambda promise: promise.__name__)
def test_redlock(promise, five):
    promise(five)


@pytest.mark.parametrize(
    ("wrong", "promise"),
    [
        pytest.param(wrong, promise, id=f"{what}-{promise.__name__}")
        for what, (wrong, promises) in BROKEN.items()
        for promise in promises
    ],
)
def test_what_is_wrong_is_noticed(wrong, promise, five):
    with wrong(), pytest.raises((AssertionError, LookupError)):
        promise(five)
