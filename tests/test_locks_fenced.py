"""Fencing tokens: each higher than all before, whatever comes between, and across a restart where the server persists."""

import pytest
import redis
from hypothesis import given, strategies
from lock_contract import Ground, Kind, in_a_fork, in_a_thread, raised
from redis.crc import key_slot
from servers import serving

from course_tasks.locks import FairLock, FencedLock, LeaseLock, Redlock, RenewingLock
from course_tasks.locks.keys import beside


def fences(lock, count):
    """The tokens of ``count`` holds, one after the other."""
    found = []
    for _ in range(count):
        with lock:
            found.append(lock.fence)
    return found


def test_each_hold_has_a_higher_token(server):
    one, two = FencedLock(server.client(), "mail"), FencedLock(server.client(decode_responses=True), "mail")
    assert [*fences(one, 2), *fences(two, 2), *fences(one, 1)] == [1, 2, 3, 4, 5]
    assert fences(FencedLock(server.client(), "post"), 1) == [1]


def test_it_belongs_to_the_hold(server):
    lock, other = FencedLock(server.client(), "mail"), FencedLock(server.client(), "mail")
    assert lock.fence is None
    lock.acquire()
    assert not other.acquire(blocking=False) and other.fence is None
    assert in_a_thread(lambda: lock.fence) is None and in_a_fork(lambda: lock.fence) is None
    server.client().delete("mail")
    assert other.acquire(blocking=False)
    assert (lock.fence, other.fence) == (1, 2)  # the paused holder goes on with its token, and is refused by it
    raised(lock.release)
    assert lock.fence is None
    other.release()


class FencedAfterwards(LeaseLock):
    """SET NX, and then a separate INCR."""

    fence = None

    def _try(self, hold):
        if not super()._try(hold):
            return False
        self.fence = self._commands.look("INCR", "fence")
        return True


def never_stale(kind, server):
    """Let the lease end, and another have the lock, at every place of acquiring: its token must be the higher one."""
    ground = Ground(Kind(kind), [server])
    for place in ground.places(lambda lock: lock.acquire(blocking=False)):
        other = ground.lock()

        def swap(other=other):
            ground.end_lease()
            other.acquire()

        with ground.at(place, swap) as lock:
            if lock.acquire(blocking=False):
                assert lock.fence < other.fence, place
    ground.close()


def test_a_pause_at_any_moment_leaves_the_order(server):
    never_stale(FencedLock, server)
    with pytest.raises(AssertionError):
        never_stale(FencedAfterwards, server)


def test_the_counter_never_expires_and_stays(server):
    client = server.client()
    with FencedLock(client, "mail"):
        assert set(client.keys()) == {b"{mail}:fence", b"mail"}
        assert client.pttl("{mail}:fence") == -1
    assert client.keys() == [b"{mail}:fence"]


def test_a_counter_that_is_no_number_is_an_error_and_leaves_no_lock(server):
    server.client().set("{mail}:fence", "many")
    lock = FencedLock(server.client(), "mail")
    assert isinstance(raised(lock.acquire), redis.ResponseError)
    assert not lock.locked()


@pytest.mark.parametrize("persisting", [True, False])
def test_a_server_that_is_killed_and_started_again(persisting):
    options = ("--appendonly", "yes", "--appendfsync", "always") if persisting else ()
    with serving(*options) as server:
        lock = FencedLock(server.client(), "mail")
        assert fences(lock, 3) == [1, 2, 3]
        lock.acquire()
        server.kill()
        server.start()
        other = FencedLock(server.client(), "mail")
        if persisting:  # the lock is there as well
            assert other.acquire(blocking=False) is False and lock.owned()
            lock.release()
            assert fences(other, 1) == [5]
        else:  # what the docstring warns of: anybody can have the lock, and a token that was seen before
            assert fences(other, 1) == [1]


def test_renewed_and_fenced(server):
    class Both(RenewingLock, FencedLock):
        pass

    lock = Both(server.client(), "mail", max_hold=60)
    assert fences(lock, 2) == [1, 2]
    with lock:
        assert not lock.lost.is_set() and lock.validity > 0


def test_what_takes_the_lock_in_another_way_is_refused():
    for bases in ((FairLock, FencedLock), (FencedLock, FairLock), (Redlock, FencedLock)):
        with pytest.raises(TypeError, match="Unfenced"):
            type("Unfenced", bases, {})


@given(strategies.text("a{}:", min_size=1, max_size=8), strategies.sampled_from([b"fence", b"queue"]))
def test_further_keys_are_in_the_locks_slot(name, what):
    name = name.encode()
    key = beside(name, what)
    assert key != name and key.endswith(b":" + what)
    tag, closed, _ = name.partition(b"{")[2].partition(b"}")
    if (tag and closed) or not {*b"{}"} & {*name}:
        assert key_slot(key) == key_slot(name)
