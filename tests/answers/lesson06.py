"""Answers to the exercises of lesson 06."""

import math
import os

import redis

from answers import fails, given, passes
from course_tasks.exercises.lesson06 import history_of
from course_tasks.lab.run import Run

# 06.1, another lock with a lease ------------------------------------------------------------------------------------


class Base:
    def __init__(self, client, name, timeout=2):
        self.client, self.name, self.timeout = client, name, timeout

    def release(self):
        self.client.delete(self.name)


@passes("06.1")
class SetnxInAScript(Base):
    def acquire(self):
        take = (
            "if redis.call('setnx', KEYS[1], 1) == 1 then return redis.call('pexpire', KEYS[1], ARGV[1]) end return 0"
        )
        return bool(self.client.register_script(take)([self.name], [int(self.timeout * 1000)]))


@passes("06.1")
class WatchedFirst(Base):
    def acquire(self, blocking=False):
        with self.client.pipeline() as pipe:
            pipe.watch(self.name)
            if pipe.exists(self.name):
                return False
            pipe.multi()
            pipe.setex(self.name, self.timeout, os.getpid())
            try:
                pipe.execute()
            except redis.WatchError:
                return False
            return True


@passes("06.1")
class OnlyWhereThereIsNone(Base):
    """Whoever is the first on the list has the lock, and the list has a lease."""

    def acquire(self):
        script = "if redis.call('rpush', KEYS[1], ARGV[1]) == 1 then redis.call('expire', KEYS[1], ARGV[2]) return 1 end return 0"
        return self.client.eval(script, 1, self.name, "me", self.timeout) == 1


@fails("06.1", "lessons")
class SetWithNxAndEx(Base):
    def acquire(self):
        return self.client.set(self.name, os.getpid(), nx=True, ex=self.timeout) is True


@fails("06.1", "lessons")
class TheSameInAnotherPlace:
    """Under other names, and in milliseconds."""

    def __init__(self, redis, lock, timeout=2):
        self.redis, self.lock, self.lease = redis, lock, {"px": timeout * 1000}

    def take(self):
        return self.redis.set(self.lock, "taken", **self.lease, nx=True)

    def acquire(self):
        return self.take() is not None

    def release(self):
        self.redis.delete(self.lock)


@fails("06.1", "no_lease")
class ForEver(Base):
    def acquire(self):
        return self.client.incr(self.name) == 1


@fails("06.1", "no_lease")
class LeaseOnAnotherKey(Base):
    def acquire(self):
        script = (
            "if redis.call('setnx', KEYS[1], 1) == 0 then return 0 end redis.call('expire', ARGV[1], ARGV[2]) return 1"
        )
        return self.client.eval(script, 1, self.name, f"lock:{self.name}", self.timeout)


@fails("06.1", "late_lease")
class SetnxThenExpire(Base):
    def acquire(self):
        if not self.client.setnx(self.name, os.getpid()):
            return False
        self.client.expire(self.name, self.timeout)
        return True


@fails("06.1", "late_lease")
class IncrThenExpire(Base):
    """The same with a count, and in two functions."""

    def count(self):
        return self.client.incr(self.name)

    def acquire(self):
        first = self.count() == 1
        return first and self.client.pexpire(self.name, self.timeout * 1000)


@fails("06.1", "late_lease")
class Finally(Base):
    """Whoever is killed runs no ``finally``."""

    def acquire(self):
        taken = False
        try:
            taken = self.client.set(self.name, "me", nx=True)
        finally:
            if taken:
                self.client.pexpire(self.name, self.timeout * 1000)
        return bool(taken)


@fails("06.1", "late_lease")
class Repaired(Base):
    """Whoever finds a lock without a lease gives it one."""

    def acquire(self):
        if self.client.setnx(self.name, 1):
            self.client.expire(self.name, self.timeout)
            return True
        if self.client.ttl(self.name) == -1:
            self.client.expire(self.name, self.timeout)
        return False


@fails("06.1", "late_lease")
class PipelineWithoutMulti(Base):
    def acquire(self):
        pipe = self.client.pipeline(transaction=False)
        return pipe.setnx(self.name, 1).expire(self.name, self.timeout).execute()[0]


@fails("06.1", "lengthened")
class Transaction(Base):
    """EXPIRE is also for those who were refused."""

    def acquire(self):
        return self.client.pipeline().setnx(self.name, 1).expire(self.name, self.timeout).execute()[0]


@fails("06.1", "lengthened")
class Counted(Base):
    def acquire(self):
        count, _ = self.client.pipeline().incr(self.name).pexpire(self.name, self.timeout * 1000).execute()
        return count == 1


@fails("06.1", "lengthened")
class CountedInAScript(Base):
    def acquire(self):
        script = "local count = redis.call('incr', KEYS[1]) redis.call('expire', KEYS[1], ARGV[1]) return count"
        return self.client.eval(script, 1, self.name, self.timeout) == 1


@fails("06.1", "everybody")
class WithoutNx(Base):
    def acquire(self):
        return self.client.set(self.name, os.getpid(), ex=self.timeout)


@fails("06.1", "everybody")
class ZeroIsTrue(Base):
    """In Lua it is."""

    def acquire(self):
        script = "if redis.call('setnx', KEYS[1], 1) then return redis.call('expire', KEYS[1], ARGV[1]) end return 0"
        return self.client.eval(script, 1, self.name, self.timeout)


@fails("06.1", "kept")
class CountsDown(Base):
    def acquire(self):
        script = (
            "local n = redis.call('incr', KEYS[1]) if n == 1 then redis.call('expire', KEYS[1], ARGV[1]) end return n"
        )
        return self.client.eval(script, 1, self.name, self.timeout) == 1

    def release(self):
        self.client.decr(self.name)


@fails("06.1", "raised")
class SelfInAScript(Base):
    def acquire(self):
        script = "if redis.call('setnx', KEYS[1], 1) == 1 then redis.call('expire', KEYS[1], self.timeout) return 1 end return 0"
        return self.client.eval(script, 1, self.name)


@fails("06.1", "longer")
class LeasedByTheNextOne(Base):
    """EXPIRE finds no key yet where the lock is taken, and so it is only whoever asks next that gives it a lease."""

    def acquire(self):
        return self.client.pipeline().expire(self.name, self.timeout).setnx(self.name, 1).execute()[1]


@fails("06.1", "no_lease")
class SecondsForMilliseconds(Base):
    """A thousand times as long."""

    def acquire(self):
        script = "return redis.call('sadd', KEYS[1], 1) == 1 and redis.call('expire', KEYS[1], ARGV[1] * 1000)"
        return self.client.eval(script, 1, self.name, self.timeout)


@fails("06.1", "together")
class CleansUpFirst(Base):
    """The lock of a dead process may be left: away with it."""

    def __init__(self, client, name, timeout=2):
        super().__init__(client, name, timeout)
        client.delete(name)

    def acquire(self):
        return self.client.set(self.name, 1, nx=True, ex=self.timeout)


@fails("06.1", "two_steps")
class LooksFirst(Base):
    def acquire(self):
        if self.client.get(self.name):
            return False
        return self.client.setex(self.name, self.timeout, "me")


class Scripted(Base):
    def acquire(self):
        script = (
            "if redis.call('setnx', KEYS[1], 1) == 1 then redis.call('pexpire', KEYS[1], ARGV[1]) return 1 end return 0"
        )
        return self.client.eval(script, 1, self.name, self.lease()) == 1


@fails("06.1", "longer")
class AlwaysTwoSeconds(Scripted):
    def lease(self):
        return 2000


@fails("06.1", "short")
class Hundredths(Scripted):
    def lease(self):
        return self.timeout * 100


@fails("06.1", "short")
class MillisecondsForSeconds(Scripted):
    def lease(self):
        return self.timeout


@fails("06.1", "together")
class AKeyForEachProcess(Scripted):
    def __init__(self, client, name, timeout=2):
        super().__init__(client, f"{name}-{os.getpid()}", timeout)

    def lease(self):
        return self.timeout * 1000


taken = {}


@fails("06.1", "unseen")
class InTheMemoryOfOneProcess(Base):
    def acquire(self):
        return taken.setdefault(self.name, self) is self

    def release(self):
        taken.pop(self.name)


@fails("06.1", "unfinished")
class NoReleaseYet(Scripted):
    def lease(self):
        return self.timeout * 1000

    def release(self):
        raise NotImplementedError


# 06.2, who is kept out, and until when? -----------------------------------------------------------------------------


@given("06.2")
def a_run():
    return (Run(1, history_of("0 1 gets, 0.8 1 dies, 1 2 skips, 2 3 skips, 3 2 gets"), None),)


@passes("06.2")
def with_tables(table):
    """From the tables, one row a death."""
    kills = table[[bool(detail) and detail.get("fault") == "kill" for detail in table["detail"]]]
    found = []
    for order, killed in kills[kills["kind"] == "fault ended"].iterrows():
        before = table[(table.index < order) & (table["lane"] == killed["lane"])]
        mine = before[before["kind"].isin(["acquired", "released"])].tail(1)
        for kind, t, lease in mine[["kind", "t", "lease"]].itertuples(index=False):
            if kind == "acquired" and not t + lease < killed["t"]:
                found.append([killed["lane"], killed["t"], None if lease != lease else t + lease])
    return found


@passes("06.2")
def when_it_stood_still(events):
    """By the beginning of the kill, and NaN for a lease that never ends."""
    free, found = {}, []
    for kind, lane, t, lease, detail in events[["kind", "lane", "t", "lease", "detail"]].itertuples(index=False):
        if kind == "acquired":
            free[lane] = t + lease
        if kind == "released":
            del free[lane]
        if kind == "fault began" and detail["fault"] == "kill" and lane in free and not free[lane] < t:
            found.append((lane, t, free[lane]))
    return found


def replay(
    events, ends=("released",), faults=("kill",), until=lambda has, died: has.t + has.lease, late=False, first=False
):
    found, held = [], {}
    for event in events.itertuples():
        if event.kind == "acquired" and not (first and event.lane in held):
            held[event.lane] = event
        elif event.kind in ends:
            held.pop(event.lane, None)
        elif event.kind == "fault ended" and event.detail["fault"] in faults and event.lane in held:
            free = until(held[event.lane], event)
            if late or not free < event.t:
                found.append((event.lane, event.t, None if math.isnan(free) else free))
    return found


@fails("06.2", "from_death")
def from_its_death(events):
    return replay(events, until=lambda has, died: died.t + has.lease)


@fails("06.2", "from_death")
def how_long(events):
    return [(who, died, free and free - died) for who, died, free in replay(events)]


@fails("06.2", "from_death")
def nobody(events):
    return []


@fails("06.2", "no_lease")
def only_with_a_lease(events):
    return [row for row in replay(events) if row[2] is not None]


@fails("06.2", "released")
def whoever_had_it_once(events):
    return replay(events, ends=())


@fails("06.2", "others")
def whoever_dies_while_it_is_taken(events):
    found, free = [], None
    for event in events.itertuples():
        if event.kind == "acquired":
            free = event.t + event.lease
        elif event.kind == "released":
            free = None
        elif event.kind == "fault ended" and event.detail["fault"] == "kill" and free is not None:
            found.append((event.lane, event.t, None if math.isnan(free) else free))
    return found


@fails("06.2", "paused")
def every_fault(events):
    return replay(events, faults=("kill", "pause"))


@fails("06.2", "over")
def late_or_not(events):
    return replay(events, late=True)


@fails("06.2", "last")
def the_first_one(events):
    found = []
    for event in events.itertuples():
        if event.kind == "fault ended" and event.detail["fault"] == "kill":
            mine = events[(events["lane"] == event.lane) & (events.index < event.Index)]
            given, gone = mine[mine["kind"] == "acquired"], mine[mine["kind"] == "released"]
            if len(given) > len(gone):
                first = given.iloc[0]
                if not first["t"] + first["lease"] < event.t:
                    found.append(
                        (event.lane, event.t, None if first["lease"] != first["lease"] else first["t"] + first["lease"])
                    )
    return found


@fails("06.2", "all")
def only_the_first_death(events):
    return replay(events)[:1]


@fails("06.2", "nonsense")
def lanes_only(events):
    return [who for who, _, _ in replay(events)]
