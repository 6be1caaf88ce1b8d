"""Real processes, killed and paused before and after every command of acquiring, extending and releasing a lock."""

import os
import signal

import pytest
import redis.lock
from labs import LONG
from lock_contract import Ground, Kind
from nursery import Nursery, many_holds, one_hold
from test_locks_contract import LOCKS, DeletesAnyones, LeaseAfterwards

LEASE = 0.5  # seconds, with room for a busy machine: a hold that is not paused must be over sooner


@pytest.fixture(scope="module")
def nursery():
    with Nursery() as nursery:
        yield nursery


def places(ground):
    """Every place of one hold, and whether the lock has been given back, or as good as, before it."""

    def use(lock):
        lock.acquire(blocking=False)
        lock.extend(lock.timeout, replace_ttl=True)
        lock.release()

    found = ground.places(use)
    return [(place, place in ground.given_back(found)) for place in found]


def killed_anywhere(kind, nursery, servers):
    """However the holder dies, the lock is free when its lease is over."""
    ground = Ground(kind, servers)
    try:
        for place, _ in places(ground):
            pid = nursery.start(one_hold, kind, servers, timeout=LEASE, what="kill", place=place)
            assert nursery.wait(pid) == "killed"
            left = ground.left()
            assert left == -2 or 0 <= left <= LEASE, place
            with ground.lock(blocking_timeout=LONG) as lock:
                assert lock.owned()
    finally:
        ground.close()


def paused_anywhere(kind, nursery, servers):
    """A holder that was paused for longer than its lease finds out, whatever it does next, and leaves the next one's alone."""
    ground = Ground(kind, servers)
    try:
        for place, given_back in places(ground):
            pid = nursery.start(one_hold, kind, servers, timeout=LEASE, what="pause", place=place)
            assert nursery.wait(pid) == "paused"
            with ground.lock(blocking_timeout=LONG) as lock:
                os.kill(pid, signal.SIGCONT)
                for step, outcome, validity, paused in nursery.wait(pid):
                    if paused and not given_back:
                        assert outcome is not True and validity == 0.0, (place, step)
                assert lock.owned() and ground.left() <= lock.timeout, place
    finally:
        ground.close()


@pytest.mark.parametrize("kind", LOCKS.values(), ids=LOCKS)
def test_killed_anywhere(kind, nursery, servers):
    killed_anywhere(kind, nursery, servers)


@pytest.mark.parametrize("kind", LOCKS.values(), ids=LOCKS)
def test_paused_anywhere(kind, nursery, servers):
    paused_anywhere(kind, nursery, servers)


@pytest.mark.parametrize("kind", LOCKS.values(), ids=LOCKS)
def test_processes_are_never_inside_together(kind, nursery, servers):
    pids = [nursery.start(many_holds, kind, servers, sleep=0.001) for _ in range(4)]
    assert [nursery.wait(pid) for pid in pids] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("what", "wrong"),
    [(killed_anywhere, LeaseAfterwards), (paused_anywhere, redis.lock.Lock), (paused_anywhere, DeletesAnyones)],
)
def test_wrong_locks_are_noticed(what, wrong, nursery, servers):
    with pytest.raises(AssertionError):
        what(Kind(wrong), nursery, servers)
