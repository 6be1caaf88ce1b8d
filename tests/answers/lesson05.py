"""Answers to the exercises of lesson 05."""

import os
import threading

import redis

from answers import fails, passes
from course_tasks.interleavings import DEL, ENTER, EXISTS, GET, LEAVE, SET, SETNX

# 05.1, look and take in one step ------------------------------------------------------------------------------------


class Base:
    def __init__(self, client, name):
        self.client, self.name = client, name

    def acquire(self):
        return bool(self.client.set(self.name, os.getpid(), nx=True))

    def release(self):
        self.client.delete(self.name)


@passes("05.1")
class SetNx(Base):
    def acquire(self, blocking=False):
        return self.client.set(self.name, "taken", nx=True, ex=60) is True


@passes("05.1")
class FieldOfAHash(Base):
    def acquire(self):
        return self.client.hsetnx("locks", self.name, os.getpid())

    def release(self):
        self.client.hdel("locks", self.name)


@passes("05.1")
class Swapped(Base):
    """It writes in any case; the old value says who was first."""

    def acquire(self):
        return self.client.getset(self.name, "taken") in (None, b"free")

    def release(self):
        self.client.set(self.name, "free")


@passes("05.1")
class Counted(Base):
    """Who was refused takes its count back."""

    def acquire(self):
        if self.client.incr(self.name) > 1:
            self.client.decr(self.name)
            return False
        return True

    def release(self):
        self.client.decr(self.name)


@passes("05.1")
class Watched(Base):
    def acquire(self):
        with self.client.pipeline() as pipe:
            pipe.watch(self.name)
            if pipe.exists(self.name):
                return False
            pipe.multi()
            pipe.set(self.name, os.getpid())
            try:
                pipe.execute()
            except redis.WatchError:
                return False
            return True


@passes("05.1")
class Transaction(Base):
    """SET does not depend on EXISTS, and need not: both are one step, and the first answer says who came first."""

    def acquire(self):
        was_there, _ = self.client.pipeline().exists(self.name).set(self.name, "taken").execute()
        return not was_there


TAKE = """
if redis.call("exists", KEYS[1]) == 1 then
    return 0
end
redis.call("set", KEYS[1], ARGV[1])
return 1
"""


@passes("05.1")
class Script(Base):
    def acquire(self):
        return self.client.register_script(TAKE)(keys=[self.name], args=[os.getpid()]) == 1


@fails("05.1", "two_steps")
class ExistsThenSet(Base):
    def acquire(self):
        if self.client.exists(self.name):
            return False
        return self.client.set(self.name, 1)


@fails("05.1", "two_steps")
class LooksElsewhere(Base):
    """The same in other words and in functions of its own."""

    def is_free(self):
        return self.name.encode() not in self.client.keys(self.name)

    def acquire(self):
        return self.is_free() and self.client.mset({self.name: "mine"})


@fails("05.1", "two_steps")
class LooksAgain(Base):
    """It sets its own name, and then reads whether it stands there."""

    def acquire(self):
        me = f"{os.getpid()}-{id(self)}"
        if self.client.get(self.name):
            return False
        self.client.set(self.name, me)
        return self.client.get(self.name) == me.encode()


@fails("05.1", "two_steps")
class PipelineWithoutMulti(Base):
    def acquire(self):
        was_there, _ = self.client.pipeline(transaction=False).exists(self.name).set(self.name, "taken").execute()
        return not was_there


@fails("05.1", "two_steps")
class WatchedInVain(Base):
    """Between WATCH and EXEC it would have been noticed; this SET is sent by itself."""

    def acquire(self):
        with self.client.pipeline() as pipe:
            pipe.watch(self.name)
            if pipe.get(self.name):
                return False
            return pipe.set(self.name, "taken")


@fails("05.1", "raised")
class WatchedAndSurprised(Base):
    """It watches, and does not expect to be told."""

    def acquire(self):
        with self.client.pipeline() as pipe:
            pipe.watch(self.name)
            if self.client.get(self.name) is not None:
                return False
            pipe.multi()
            pipe.set(self.name, "taken")
            return pipe.execute()


@fails("05.1", "everybody")
class IgnoresTheAnswer(Base):
    def acquire(self):
        self.client.set(self.name, "taken", nx=True)
        return True


@fails("05.1", "everybody")
class IsNotFalse(Base):
    def acquire(self):
        return self.client.set(self.name, "taken", nx=True) is not False


@fails("05.1", "everybody")
class AtLeastOne(Base):
    def acquire(self):
        return self.client.incr(self.name) >= 1


@fails("05.1", "everybody")
class LastWins(Base):
    """It sets its own name first, and reads it back."""

    def acquire(self):
        self.client.set(self.name, id(self))
        return int(self.client.get(self.name)) == id(self)


@fails("05.1", "nobody")
class CountsFromZero(Base):
    def acquire(self):
        return self.client.incr(self.name) == 0


@fails("05.1", "kept")
class CountsDownOnce(Base):
    """All who were refused counted up too."""

    def acquire(self):
        return self.client.incr(self.name) == 1

    def release(self):
        self.client.decr(self.name)


@fails("05.1", "kept")
class ReleasesAnother(Base):
    def release(self):
        self.client.delete(f"lock:{self.name}")


@fails("05.1", "freed")
class CleansUpWhenRefused(Base):
    def acquire(self):
        if self.client.incr(self.name) == 1:
            return True
        self.release()
        return False


@fails("05.1", "freed")
class ReleasesTwice(Base):
    def release(self):
        super().release()
        super().release()


@fails("05.1", "locked")
class LeavesATrace(Base):
    """Who was refused is in the list too, and stays there if that came after the release had counted."""

    def acquire(self):
        return self.client.rpush(self.name, "me") == 1

    def release(self):
        waiting = self.client.llen(self.name)
        for _ in range(waiting):
            self.client.lpop(self.name)


@fails("05.1", "setnx")
class AsInTheLesson(Base):
    def acquire(self):
        return self.client.setnx(self.name, os.getpid())


taken = set()


@fails("05.1", "unseen")
class InTheMemoryOfOneProcess(Base):
    def acquire(self):
        if self.name in taken:
            return False
        taken.add(self.name)
        return True

    def release(self):
        taken.discard(self.name)


@fails("05.1", "together")
class OnePlaceForEachProcess(Base):
    """Of one process, only the first is new in the set; of six, each one is."""

    def acquire(self):
        return self.client.sadd(self.name, os.getpid()) == 1

    def release(self):
        self.client.srem(self.name, os.getpid())


in_this_process = {}


@fails("05.1", "together")
class HalfInRedis(Base):
    """Redis is told, and nobody asks it."""

    def __init__(self, client, name):
        super().__init__(client, name)
        self.lock = in_this_process.setdefault(name, make_lock())

    def acquire(self):
        self.client.incr("asked")
        return self.lock.acquire(blocking=False)

    def release(self):
        self.client.delete("asked")
        self.lock.release()


def make_lock():
    return threading.Lock()


@fails("05.1", "unfinished")
class NoReleaseYet(Base):
    def release(self):
        raise NotImplementedError


@fails("05.1", "endless")
class Waits(Base):
    def acquire(self):
        while not super().acquire():
            pass
        return True


# 05.2, look twice -----------------------------------------------------------------------------------------------------


@passes("05.2")
def nested(who):
    if not (yield EXISTS("door")):
        yield SET("door", f"{who}'s")
        if (yield GET("door")) == f"{who}'s":
            yield ENTER
            yield LEAVE
            yield DEL("door")


def value_of(key):
    return (yield GET(key))


@passes("05.2")
def in_parts(me):
    before = yield from value_of("lock")
    if before is None:
        yield SET("lock", me)
        mine = (yield from value_of("lock")) == me
        if mine:
            yield ENTER
            yield LEAVE
            yield DEL("lock")


@fails("05.2", "look")
def sets_first(me):
    yield SET("lock", me)
    if (yield GET("lock")) == me:
        yield ENTER
        yield LEAVE
        yield DEL("lock")


@fails("05.2", "look")
def one_step(me):
    if (yield SETNX("lock", me)):
        yield ENTER
        yield LEAVE
        yield DEL("lock")


@fails("05.2", "look")
def without_yield(me):
    if GET("lock") is None:
        yield SET("lock", me)
        if GET("lock") == me:
            yield ENTER
            yield LEAVE
            yield DEL("lock")


@fails("05.2", "taken")
def the_wrong_way_round(me):
    if (yield GET("lock")) is None:
        return
    yield SET("lock", me)
    if (yield GET("lock")) == me:
        yield ENTER
        yield LEAVE
        yield DEL("lock")


@fails("05.2", "taken")
def looks_and_forgets(me):
    yield GET("lock")
    yield SET("lock", me)
    if (yield GET("lock")) == me:
        yield ENTER
        yield LEAVE
        yield DEL("lock")


@fails("05.2", "take")
def repaired(me):
    """It would hold, and is another lock than the one that was proposed."""
    if (yield GET("lock")) is None:
        yield SET("lock", me, nx=True)
        if (yield GET("lock")) == me:
            yield ENTER
            yield LEAVE
            yield DEL("lock")


@fails("05.2", "take")
def never_takes(me):
    if (yield GET("lock")) is None and (yield GET("lock")) == me:
        yield ENTER
        yield LEAVE
        yield DEL("lock")


@fails("05.2", "name")
def all_alike(me):
    if (yield GET("lock")) is None:
        yield SET("lock", "taken")
        if (yield GET("lock")) == "taken":
            yield ENTER
            yield LEAVE
            yield DEL("lock")


@fails("05.2", "again")
def looks_once(me):
    if (yield GET("lock")) is not None:
        return
    yield SET("lock", me)
    yield ENTER
    yield LEAVE
    yield DEL("lock")


@fails("05.2", "again")
def looks_when_inside(me):
    if (yield GET("lock")) is None:
        yield SET("lock", me)
        yield ENTER
        mine = (yield GET("lock")) == me
        yield LEAVE
        if mine:
            yield DEL("lock")


@fails("05.2", "anyway")
def is_there(me):
    if (yield GET("lock")) is None:
        yield SET("lock", me)
        if (yield GET("lock")) is not None:
            yield ENTER
            yield LEAVE
            yield DEL("lock")


@fails("05.2", "alone")
def deletes_in_any_case(me):
    if (yield GET("lock")) is None:
        yield SET("lock", me)
        if (yield GET("lock")) == me:
            yield ENTER
            yield LEAVE
        yield DEL("lock")


@fails("05.2", "shy")
def as_bytes(me):
    if (yield GET("lock")) is None:
        yield SET("lock", me)
        if (yield GET("lock")) == me.encode():
            yield ENTER
            yield LEAVE
            yield DEL("lock")


@fails("05.2", "give_back")
def keeps_it(me):
    if (yield GET("lock")) is None:
        yield SET("lock", me)
        if (yield GET("lock")) == me:
            yield ENTER
            yield LEAVE


@fails("05.2", "raised")
def two_in_one(me):
    if (yield GET("lock")) is None:
        yield SET("lock", me)
        if (yield GET("lock")) == me:
            yield ENTER, LEAVE
            yield DEL("lock")


@fails("05.2", "raised")
def without_brackets(me):
    if (yield GET("lock")) is None:
        yield SET("lock", me)
        if (yield GET("lock") == me):
            yield ENTER
            yield LEAVE
            yield DEL("lock")
