"""Several clients and one lock, in whatever order: the lock does what a model of ten lines does."""

import pytest
import redis.lock
from conftest import THOROUGH
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from hypothesis.strategies import floats, sampled_from
from lock_contract import NAME, Ground, Kind, raised
from test_locks_contract import LOCKS, DeletesAnyones, ExtendsAnyones, ExtendsBySetting

from course_tasks.locks import LockError, LockNotOwnedError

CLIENTS = 3
LEASE = 30.0  # seconds: none ends by itself in an example; see lease_ends()


class Clients(RuleBasedStateMachine):
    """Each client is a lock object of its own; the model is who thinks that it holds the lock, and who does."""

    def __init__(self, kind, servers):
        super().__init__()
        self.ground = Ground(kind, servers)
        self.ground.end_lease()
        self.locks = [self.ground.lock(timeout=LEASE) for _ in range(CLIENTS)]
        self.acquired = set()  # who acquired it, and has not released it since
        self.holder = None  # whose lease runs
        self.tokens = set()
        self.most = 0.0  # seconds that the lease may have at most

    def teardown(self):
        self.ground.close()

    who = sampled_from(range(CLIENTS))

    @rule(who=who)
    def acquire(self, who):
        given = self.locks[who].acquire(blocking=False)
        assert given == (self.holder is None)
        if given:
            self.holder, self.most = who, LEASE
            self.acquired.add(who)
            assert self.ground.token() not in self.tokens
            self.tokens.add(self.ground.token())

    @rule(who=who)
    def release(self, who):
        error = raised(self.locks[who].release)
        if who not in self.acquired:
            assert isinstance(error, LockError)
        elif who != self.holder:
            assert isinstance(error, LockNotOwnedError)
        else:
            assert error is None
            self.holder = None
        self.acquired.discard(who)

    @rule(who=who, seconds=floats(LEASE - 10, 100), replace=sampled_from([True, False]))
    def extend(self, who, seconds, replace):
        error = raised(self.locks[who].extend, seconds, replace_ttl=replace)
        if who not in self.acquired:
            assert isinstance(error, LockError)
        elif who != self.holder:
            assert isinstance(error, LockNotOwnedError)
        else:
            assert error is None
            self.most = max(self.most, seconds) if replace else self.most + seconds

    @rule()
    def lease_ends(self):
        self.ground.end_lease()
        self.holder = None

    @invariant()
    def the_server_agrees(self):
        assert self.locks[0].locked() == (self.holder is not None)
        assert [lock.owned() for lock in self.locks] == [who == self.holder for who in range(CLIENTS)]
        left = self.ground.left()
        if self.holder is not None:
            assert 0 < left <= self.most
            assert getattr(self.locks[self.holder], "validity", 0) <= left


def run(kind, servers, examples, **options):
    run_state_machine_as_test(
        lambda: Clients(kind, servers),
        settings=settings(max_examples=examples, stateful_step_count=20, deadline=None, **options),
    )


@pytest.mark.parametrize("kind", LOCKS.values(), ids=LOCKS)
def test_every_lock_does_what_the_model_does(kind, servers):
    run(kind, servers, 200 if THOROUGH else 30)


class ForgetsTheHolder(redis.lock.Lock):
    """Gives the lock to whoever asks when its lease could have ended."""

    def do_acquire(self, token):
        return self.redis.set(NAME, token, px=int(self.timeout * 1000))


@pytest.mark.parametrize(
    "wrong", [ForgetsTheHolder, DeletesAnyones, ExtendsAnyones, ExtendsBySetting], ids=lambda wrong: wrong.__name__
)
def test_the_model_notices(wrong, servers):
    with pytest.raises(AssertionError):
        run(Kind(wrong), servers, 200, phases=[Phase.generate], database=None, report_multiple_bugs=False)
