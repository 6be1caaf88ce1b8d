"""Every lock keeps every promise of the contract, and the contract notices a lock that does not."""

import contextlib
import time

import pytest
import redis.lock
from lock_contract import PROMISES, Ground, Kind
from servers import SEVERAL

from course_tasks.locks import FairLock, FencedLock, LeaseLock, Redlock, RenewingLock


class Patient(Redlock):
    """Gives each server as long as can be to answer; a busy machine may need that."""

    def __init__(self, clients, name, timeout=10, **options):
        super().__init__(clients, name, timeout, node_timeout=0.001, **options)
        self.node_timeout = timeout / 2


LOCKS = {
    "LeaseLock": Kind(LeaseLock),
    "FairLock": Kind(FairLock),
    "FencedLock": Kind(FencedLock),
    "RenewingLock": Kind(RenewingLock, max_hold=0.001),
    "Redlock": Kind(Patient, servers=SEVERAL),
}


@pytest.fixture
def ground(request, servers):
    ground = Ground(request.param, servers)
    yield ground
    ground.close()


@pytest.mark.parametrize("promise", PROMISES)
@pytest.mark.parametrize("ground", LOCKS.values(), ids=LOCKS, indirect=True)
def test_every_lock(promise, ground):
    PROMISES[promise](ground)


# Locks that don't ---------------------------------------------------------------------------------------------------


class NoLease(redis.lock.Lock):
    """SETNX, and nothing else."""

    def do_acquire(self, token):
        return self.redis.setnx(self.name, token)


class LeaseAfterwards(redis.lock.Lock):
    """SETNX, and then EXPIRE."""

    def do_acquire(self, token):
        return self.redis.setnx(self.name, token) and self.redis.pexpire(self.name, int(self.timeout * 1000))


class LooksFirst(redis.lock.Lock):
    """GET, and then SET."""

    def do_acquire(self, token):
        return not self.redis.exists(self.name) and self.redis.set(self.name, token, px=int(self.timeout * 1000))


class AlwaysYes(redis.lock.Lock):
    def do_acquire(self, token):
        return True


class DeletesAnyones(redis.lock.Lock):
    def do_release(self, expected_token):
        self.redis.delete(self.name)


class ComparesThenDeletes(redis.lock.Lock):
    """GET, and then DEL."""

    def do_release(self, expected_token):
        if self.redis.get(self.name) != expected_token:
            raise redis.exceptions.LockNotOwnedError
        self.redis.delete(self.name)


class ExtendsAnyones(redis.lock.Lock):
    def do_extend(self, additional_time, replace_ttl):
        return self.redis.pexpire(self.name, int(additional_time * 1000))


class ExtendsBySetting(redis.lock.Lock):
    """Takes a lock again that was lost."""

    def do_extend(self, additional_time, replace_ttl):
        return self.redis.set(self.name, self.local.token, px=int(additional_time * 1000))


class OneToken(redis.lock.Lock):
    """Its token is made once, and before any fork."""

    TOKEN = b"mine"

    def acquire(self, *args, token=None, **options):
        return super().acquire(*args, token=self.TOKEN, **options)


class EntersAnyway(redis.lock.Lock):
    def __enter__(self):
        self.acquire()
        return self


class SaysNothing(redis.lock.Lock):
    def __exit__(self, *error):
        with contextlib.suppress(redis.exceptions.LockError):
            self.release()


class ForgetsToRelease(redis.lock.Lock):
    def release(self):
        self.local.token = None


class ForgetsEveryHold(LeaseLock):
    """Also one that is not what it released."""

    def release(self):
        super().release()
        self._here.hold = None


class CountsFromTheAnswer(LeaseLock):
    """Its lease begins when it hears of it."""

    def _try(self, hold):
        given = super()._try(hold)
        if given:
            self._hold.until = time.monotonic() + self.timeout
        return given


class CountsOnMore(LeaseLock):
    @property
    def validity(self):
        return super().validity + 0.5


class CountsOnEveryExtension(LeaseLock):
    """Believes in an extension that nobody confirmed."""

    def extend(self, additional_time, replace_ttl=False):
        self._hold.until += additional_time
        return super().extend(additional_time, replace_ttl)


class WaitsForNoOther(LeaseLock):
    """Extends while another thread does."""

    def _extend(self, hold, seconds, replace):
        hold.mutex = contextlib.nullcontext()
        return super()._extend(hold, seconds, replace)


class LooksOnce(LeaseLock):
    """Never waits."""

    def acquire(self, sleep=None, blocking=None, blocking_timeout=None, token=None):
        return super().acquire(sleep, False, blocking_timeout, token)


class OneThread(LeaseLock):
    """Knows its hold in the thread that acquired it, whatever it is told."""

    def __init__(self, *args, thread_local=True, **options):
        super().__init__(*args, **options)


class OneScript(LeaseLock):
    """Sends scripts by their hash alone."""

    def release(self):
        if not self._commands.look("EVALSHA", self.RELEASE.sha, 1, self.name, self._hold.token):
            raise redis.exceptions.LockNotOwnedError


BROKEN = {
    redis.lock.Lock: (
        "it_accepts_no_lease_that_is_none",
        "an_answer_after_the_lease_is_no_success",
        "extending_never_shortens",
        "it_gives_up_when_blocking_timeout_is_over_and_not_before",
        "it_tries_once_more_at_the_end_of_blocking_timeout",
        "a_with_never_hides_the_error_of_its_body",
        "it_never_says_no_while_it_holds_the_lock",
        "a_lost_reply_to_a_release_is_not_taken_for_a_lost_lock",
        "a_lost_reply_to_an_extension_adds_no_time_twice",
        "an_interrupt_at_any_moment_leaves_no_lock",
        "a_thread_cannot_release_what_another_acquired",
        "a_forked_child_does_not_hold_its_parents_lock",
    ),
    NoLease: ("it_has_a_lease", "it_has_a_lease_wherever_its_holder_stops"),
    LeaseAfterwards: ("it_has_a_lease_wherever_its_holder_stops",),
    LooksFirst: ("nobody_else_is_let_in_at_any_moment_of_acquiring",),
    AlwaysYes: ("one_holds_it_at_a_time", "many_threads_are_never_inside_together"),
    DeletesAnyones: ("it_never_releases_anothers", "it_never_releases_anothers_at_any_moment"),
    ComparesThenDeletes: ("it_never_releases_anothers_at_any_moment", "it_works_with_every_kind_of_client"),
    ExtendsAnyones: ("extending_never_touches_anothers_at_any_moment", "it_can_be_extended"),
    ExtendsBySetting: (
        "extending_never_takes_a_lock_that_was_lost",
        "extending_never_touches_anothers_at_any_moment",
    ),
    OneToken: ("every_hold_has_a_token_of_its_own", "a_forked_child_can_use_the_lock_for_itself"),
    EntersAnyway: ("a_with_never_enters_without_the_lock",),
    SaysNothing: ("a_with_says_that_the_lock_was_lost",),
    ForgetsToRelease: ("one_holds_it_at_a_time", "only_what_was_acquired_can_be_released"),
    ForgetsEveryHold: ("what_another_thread_acquires_during_a_release_is_kept",),
    CountsFromTheAnswer: ("its_validity_is_measured_from_before_the_question",),
    CountsOnMore: (
        "it_is_free_again_when_its_lease_is_over",
        "its_validity_is_never_more_than_the_server_has_left",
    ),
    CountsOnEveryExtension: ("a_lost_reply_to_an_extension_adds_no_time_twice",),
    WaitsForNoOther: ("extensions_at_once_are_each_counted_from_what_was_there",),
    LooksOnce: ("it_waits_until_the_lock_is_free",),
    OneThread: ("a_thread_can_if_the_lock_is_told_so",),
    OneScript: ("it_works_with_a_server_that_forgot_the_scripts",),
}


@pytest.mark.parametrize(
    ("ground", "promise"),
    [(Kind(wrong), promise) for wrong, promises in BROKEN.items() for promise in promises],
    ids=[f"{wrong.__name__}-{promise}" for wrong, promises in BROKEN.items() for promise in promises],
    indirect=["ground"],
)
def test_the_contract_notices(ground, promise):
    with pytest.raises(AssertionError):
        PROMISES[promise](ground)


def test_every_promise_is_broken_by_a_lock():
    assert {promise for promises in BROKEN.values() for promise in promises} == set(PROMISES)
