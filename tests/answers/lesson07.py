"""Answers to the exercises of lesson 07."""

import os
import random
import uuid

from redis.exceptions import LockNotOwnedError, ResponseError, WatchError

from answers import fails, given, passes
from course_tasks.exercises.lesson07 import history_of
from course_tasks.lab.run import Run
from course_tasks.locks import LeaseLock

# 07.1, a lock that deletes only its own -----------------------------------------------------------------------------


class Leased:
    """What the answers below have in common: a token of one's own, and a lease from the first command on."""

    def __init__(self, client, name, timeout=2.5):
        self.client, self.name, self.timeout = client, name, timeout

    def acquire(self):
        self.token = uuid.uuid4().bytes
        return bool(self.client.set(self.name, self.token, nx=True, px=int(self.timeout * 1000)))


@passes("07.1")
class Transaction(Leased):
    def release(self):
        with self.client.pipeline() as pipe:
            try:
                pipe.watch(self.name)
                if pipe.get(self.name) != self.token:
                    raise LockNotOwnedError("gone")
                pipe.multi()
                pipe.delete(self.name)
                pipe.execute()
            except WatchError as error:
                raise LockNotOwnedError("taken away at the last moment") from error


@passes("07.1")
class Registered:
    """A script object, made when it is needed; a lease by PEXPIRE, in the script that takes the lock."""

    def __init__(self, redis, key, timeout=2.5):
        self.redis, self.key, self.lease = redis, key, round(timeout * 1000)

    def acquire(self, blocking=True):
        self.mine = str(random.SystemRandom().getrandbits(128))
        take = "if redis.call('setnx', KEYS[1], ARGV[1]) == 1 then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0"
        return self.redis.register_script(take)([self.key], [self.mine, self.lease])

    def release(self):
        give = "return redis.call('get', KEYS[1]) == ARGV[1] and redis.call('del', KEYS[1])"
        if self.redis.register_script(give)([self.key], [self.mine]) is None:
            raise LockNotOwnedError("not mine")


@passes("07.1")
class OneCommand(Leased):
    """With DELIFEQ where the server has it."""

    def release(self):
        try:
            gone = self.client.execute_command("DELIFEQ", self.name, self.token)
        except ResponseError:
            gone = self.client.eval(
                "return redis.call('get', KEYS[1]) == ARGV[1] and redis.call('del', KEYS[1])", 1, self.name, self.token
            )
        if not gone:
            raise LockNotOwnedError("not mine")


@passes("07.1")
class Shipped(LeaseLock):
    """The course's own: its commands go over connections of its own, and each thread sees its own hold only."""

    def __init__(self, client, name, timeout=2.5):
        super().__init__(client, name, timeout, blocking=False)


@fails("07.1", "theirs")
class TokenForNothing(Leased):
    def release(self):
        self.client.delete(self.name)


@fails("07.1", "theirs")
class GetAndDelete(Leased):
    """GETDEL is one step, but it deletes first, and then looks."""

    def release(self):
        was = self.client.getdel(self.name)
        if was != self.token:
            if was:
                self.client.set(self.name, was, px=int(self.timeout * 1000))
            raise LockNotOwnedError("not mine: put back")


@fails("07.1", "same_value")
class PlainDelete(Leased):
    def acquire(self):
        return bool(self.client.set(self.name, "taken", nx=True, px=int(self.timeout * 1000)))

    def release(self):
        self.client.delete(self.name)


COMPARE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class Compared(Leased):
    def release(self):
        if not self.client.eval(COMPARE, 1, self.name, self.token):
            raise LockNotOwnedError("not mine")


@fails("07.1", "same_value")
class OneForTheClass(Compared):
    token = uuid.uuid4().hex

    def acquire(self):
        return self.client.set(self.name, self.token, nx=True, px=int(self.timeout * 1000)) is True


@fails("07.1", "same_value")
class NamedAfterTheProcess(Compared):
    def acquire(self):
        self.token = f"worker-{os.getpid()}"
        return self.client.set(self.name, self.token, nx=True, px=int(self.timeout * 1000)) is True


@fails("07.1", "same_token")
class NamedAfterItsAddress(Compared):
    def acquire(self):
        self.token = hex(id(self))
        return self.client.set(self.name, self.token, nx=True, px=int(self.timeout * 1000)) is True


@fails("07.1", "same_token")
class NamedAfterItsProcessAndItsAddress(Compared):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.token = f"{os.getpid()}:{id(self)}"

    def acquire(self):
        return self.client.set(self.name, self.token, nx=True, px=int(self.timeout * 1000)) is True


@passes("07.1")
class Numbered(Compared):
    """The server counts, so no number comes twice, whoever asks."""

    def acquire(self):
        self.token = str(self.client.incr(f"{self.name}:holds"))
        return self.client.set(self.name, self.token, nx=True, px=int(self.timeout * 1000)) is True


@fails("07.1", "between")
class LookThenDelete(Leased):
    def release(self):
        if self.client.get(self.name) != self.token:
            raise LockNotOwnedError("not mine")
        self.client.delete(self.name)


class Deleter:
    def __init__(self, client, key):
        self.client, self.key = client, key

    def __call__(self):
        self.client.unlink(self.key)


@fails("07.1", "between")
class LookAtTheTimeLeft(Leased):
    """The same in other words: long enough left, so it's safe. And the deleting is done elsewhere."""

    def release(self):
        mine = self.client.get(self.name) == self.token and self.client.pttl(self.name) > 100
        if not mine:
            raise LockNotOwnedError("not mine, or not for long")
        Deleter(self.client, self.name)()


@fails("07.1", "between")
class WatchesTooLate(Leased):
    def release(self):
        if self.client.get(self.name) != self.token:
            raise LockNotOwnedError("not mine")
        with self.client.pipeline() as pipe:
            pipe.watch(self.name)
            pipe.multi()
            pipe.delete(self.name)
            pipe.execute()


@fails("07.1", "silent")
class SaysNothing(Leased):
    def release(self):
        self.client.eval(COMPARE, 1, self.name, self.token)


@fails("07.1", "silent")
class WaitsForNone(Leased):
    """The script answers 0, and DEL too."""

    def release(self):
        if self.client.eval(COMPARE, 1, self.name, self.token) is None:
            raise LockNotOwnedError("not mine")


@fails("07.1", "silent")
class SaysSomethingElse(Leased):
    def release(self):
        assert self.client.eval(COMPARE, 1, self.name, self.token) == 1, "not mine"


@fails("07.1", "no_lease")
class ForEver(Compared):
    def acquire(self):
        self.token = uuid.uuid4().hex
        return bool(self.client.set(self.name, self.token, nx=True))


@fails("07.1", "no_lease")
class SecondsForMilliseconds(Compared):
    """A thousand times as long."""

    def acquire(self):
        self.token = uuid.uuid4().hex
        return bool(self.client.set(self.name, self.token, nx=True, ex=int(self.timeout * 1000)))


@fails("07.1", "late_lease")
class LeaseAfterwards(Compared):
    def acquire(self):
        self.token = uuid.uuid4().hex
        if not self.client.setnx(self.name, self.token):
            return False
        self.client.pexpire(self.name, int(self.timeout * 1000))
        return True


@fails("07.1", "late_lease")
class LeaseAtAnyRate(Compared):
    """Whoever is killed runs no ``finally``."""

    def acquire(self):
        token, taken = uuid.uuid4().hex, False
        try:
            taken = self.client.set(self.name, token, nx=True)
        finally:
            if taken:
                self.client.pexpire(self.name, int(self.timeout * 1000))
        self.token = token
        return bool(taken)


@fails("07.1", "lengthened")
class LeaseForEveryAttempt(Compared):
    """In one transaction, but so do those who are refused."""

    def acquire(self):
        self.token = uuid.uuid4().hex
        pipe = self.client.pipeline()
        return pipe.setnx(self.name, self.token).pexpire(self.name, int(self.timeout * 1000)).execute()[0]


@fails("07.1", "longer")
class ItsOwnDefault(Compared):
    """Whatever was asked for."""

    def acquire(self):
        self.token = uuid.uuid4().hex
        return bool(self.client.set(self.name, self.token, nx=True, px=2500))


@fails("07.1", "short")
class MillisecondsForSeconds(Compared):
    def acquire(self):
        self.token = uuid.uuid4().hex
        return bool(self.client.set(self.name, self.token, nx=True, px=int(self.timeout)))


@fails("07.1", "two_steps")
class LooksFirst(Compared):
    def acquire(self):
        if self.client.exists(self.name):
            return False
        self.token = uuid.uuid4().hex
        return bool(self.client.set(self.name, self.token, px=int(self.timeout * 1000)))


@fails("07.1", "kept")
class BytesAndText(Leased):
    """And it doesn't say so either."""

    def acquire(self):
        self.token = uuid.uuid4().hex
        return bool(self.client.set(self.name, self.token, nx=True, px=int(self.timeout * 1000)))

    def release(self):
        if self.client.get(self.name) == self.token:
            self.client.delete(self.name)


@fails("07.1", "raised")
class BytesAndTextAndAnError(BytesAndText):
    def release(self):
        if self.client.get(self.name) != self.token:
            raise LockNotOwnedError("not mine")
        self.client.delete(self.name)


@fails("07.1", "raised")
class AFractionOfAMillisecond(Compared):
    def acquire(self):
        self.token = uuid.uuid4().hex
        return bool(self.client.set(self.name, self.token, nx=True, px=self.timeout * 1000))


@fails("07.1", "together")
class AKeyForEachProcess(Compared):
    def __init__(self, client, name, timeout=2.5):
        super().__init__(client, f"{name}-{os.getpid()}", timeout)


# 07.2, whose lock was it? -------------------------------------------------------------------------------------------


@given("07.2")
def a_run():
    return (Run(1, history_of("0 1 gets, 1 2 skips, 3 2 gets, 3.5 1 releases, 4 3 gets, 6.4 2 releases"), None),)


@passes("07.2")
def from_the_intervals(table):
    """The last one that was given the lock before, unless the key went since."""
    given, gone = table[table["kind"] == "acquired"], table[table["kind"] == "released"]
    found = []
    for order, release in gone.iterrows():
        before = given[given.index < order]
        if before.empty or ((gone.index < order) & (gone.index > before.index[-1])).any():
            continue
        last = before.iloc[-1]
        if last["task"] != release["task"] and release["t"] < last["t"] + last["lease"]:
            found.append((release["lane"], last["lane"], release["t"]))
    return found


@passes("07.2")
def by_lanes(events):
    found, key = [], None
    for kind, lane, t, lease in events[["kind", "lane", "t", "lease"]].itertuples(index=False):
        if kind == "acquired":
            key = lane, t + lease
        if kind == "released" and key and t < key[1] and lane != key[0]:
            found.append([lane, key[0], t])
        if kind == "released":
            key = None
    return found


def replay(events, wanted=("released",), until=True, forget=True, ours=False, when=lambda event: event.t):
    found, key = [], None
    for event in events.itertuples():
        if event.kind == "acquired":
            key = event.lane, event.t + event.lease
        elif event.kind in wanted and key:
            if (ours or event.lane != key[0]) and (not until or event.t < key[1]):
                found.append((event.lane, key[0], when(event)))
            key = None if forget else key
    return found


@fails("07.2", "own")
def every_release(events):
    return replay(events, ours=True)


@fails("07.2", "chain")
def the_other_way_round(events):
    return [(whose, who, when) for who, whose, when in replay(events)]


@fails("07.2", "chain")
def only_the_first(events):
    return replay(events)[:1]


@fails("07.2", "nobodys")
def whoever_is_late(events):
    found, since, last = [], {}, None
    for event in events.itertuples():
        if event.kind == "acquired":
            since[event.task], last = event.t + event.lease, event.lane
        if event.kind == "released" and event.t > since[event.task]:
            found.append((event.lane, last, event.t))
    return found


@fails("07.2", "over")
def for_ever(events):
    return replay(events, until=False)


@fails("07.2", "gone")
def whose_lease_still_runs(events):
    given, found = events[events["kind"] == "acquired"], []
    for order, release in events[events["kind"] == "released"].iterrows():
        for _, one in given[(given.index < order) & (given["task"] != release["task"])].tail(1).iterrows():
            own = given[given["task"] == release["task"]].iloc[0]
            if release["t"] < one["t"] + one["lease"] and own["t"] < one["t"]:
                found.append((release["lane"], one["lane"], release["t"]))
    return found


@fails("07.2", "back")
def keeps_the_key_of_who_releases_its_own(events):
    found, key, gone = [], None, False
    for event in events.itertuples():
        if event.kind == "acquired":
            key, gone = event, False
        elif event.kind == "released" and key is not None and event.task != key.task and not gone:
            if event.t < key.t + key.lease:
                found.append((event.lane, key.lane, event.t))
            gone = True
    return found


@fails("07.2", "lost")
def whoever_leaves(events):
    return replay(events, wanted=("left",))


@fails("07.2", "when")
def when_it_was_given(events):
    return replay(events, when=lambda event: events.query("task == @event.task")["t"].min())


@fails("07.2", "nonsense")
def lanes_only(events):
    return [whose for _, whose, _ in replay(events)]
