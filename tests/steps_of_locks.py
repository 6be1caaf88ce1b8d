"""Locks as steps, right and wrong ones, and what a search has to find in each."""

from dataclasses import dataclass, field

from course_tasks.interleavings import (
    DEL,
    DELIFEQ,
    ENTER,
    EVAL,
    EXPIRE,
    GET,
    INCR,
    LEAVE,
    READ,
    SET,
    SETNX,
    WRITE,
)

LEASE = 100_000  # milliseconds; on a real server too it ends only when a test ends it


def get_then_set(me):
    if (yield GET("lock")) is None:
        yield SET("lock", me)
        yield ENTER
        yield LEAVE
        yield DEL("lock")


def setnx(me):
    if (yield SETNX("lock", me)):
        yield ENTER
        yield LEAVE
        yield DEL("lock")


def setnx_then_expire(me):
    if (yield SETNX("lock", me)):
        yield EXPIRE("lock", 100)
        yield ENTER
        yield LEAVE
        yield DEL("lock")


def never_released(me):
    if (yield SETNX("lock", me)):
        yield ENTER
        yield LEAVE


def released_too_early(me):
    if (yield SETNX("lock", me)):
        yield ENTER
        yield DEL("lock")
        yield LEAVE


def unconditional_del(me):
    if (yield SET("lock", me, nx=True, px=LEASE)):
        yield ENTER
        yield LEAVE
        yield DEL("lock")


def get_then_del(me):
    if (yield SET("lock", me, nx=True, px=LEASE)):
        yield ENTER
        yield LEAVE
        if (yield GET("lock")) == me:
            yield DEL("lock")


def token_and_lease(me):
    if (yield SET("lock", me, nx=True, px=LEASE)):
        yield ENTER
        yield LEAVE
        yield DELIFEQ("lock", me)


def compare_and_delete(key, value):
    if (yield GET(key)) == value:
        return (yield DEL(key))
    return 0


def token_and_script(me):
    if (yield SET("lock", me, nx=True, px=LEASE)):
        yield ENTER
        yield LEAVE
        yield EVAL(compare_and_delete, "lock", me)


def three_attempts(me):
    for _ in range(3):
        if (yield SET("lock", me, nx=True, px=LEASE)):
            yield ENTER
            yield LEAVE
            yield DELIFEQ("lock", me)
            return


def take(key, counter, value):
    if (yield SET(key, value, nx=True, px=LEASE)):
        return (yield INCR(counter))
    return None


def unfenced(me):
    if (yield SET("lock", me, nx=True, px=LEASE)):
        yield ENTER
        yield WRITE("mail")
        yield LEAVE
        yield DELIFEQ("lock", me)


def check_then_write(me):
    token = yield EVAL(take, "lock", "fence", me)
    if token is not None:
        yield ENTER
        if (yield READ("mail")) <= token:
            yield WRITE("mail", token)
        yield LEAVE
        yield DELIFEQ("lock", me)


def token_apart_from_lock(me):
    if (yield SET("lock", me, nx=True, px=LEASE)):
        token = yield INCR("fence")
        yield ENTER
        yield WRITE("mail", token, compare=True)
        yield LEAVE
        yield DELIFEQ("lock", me)


def fenced(me):
    token = yield EVAL(take, "lock", "fence", me)
    if token is not None:
        yield ENTER
        yield WRITE("mail", token, compare=True)
        yield LEAVE
        yield DELIFEQ("lock", me)


SCRIPTS = {
    compare_and_delete: "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0",
    take: f"if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', {LEASE}) then return redis.call('INCR', KEYS[2]) end return nil",
}
"""The scripts above in Lua, for a real server. The last argument is ARGV[1], those before it are keys."""


@dataclass
class Broken:
    """A search that must find something: the property violated, and ``(who, name)`` of each step of the trace."""

    lock: object
    violated: str
    names: list
    options: dict = field(default_factory=dict)

    def __str__(self):
        return self.lock.__name__


def _steps(told):
    """``"1 GET, 2 GET, LEASE_ENDS"`` as the names in a Broken."""
    words = [step.split() for step in told.split(", ")]
    return [(f"client{word[0]}", word[1]) if len(word) == 2 else ("server", word[0]) for word in words]


OVERDUE_ASIDE = {"lease_ends": True, "count_overdue": False}
MUTUAL_EXCLUSION, NO_DEADLOCK, NO_STALE_WRITE = "mutual exclusion", "no deadlock", "no stale write"

BROKEN = [
    Broken(get_then_set, MUTUAL_EXCLUSION, _steps("1 GET, 2 GET, 1 SET, 2 SET")),
    Broken(setnx, NO_DEADLOCK, _steps("1 SETNX, 1 CRASH, 2 SETNX"), {"crashes": True}),
    Broken(setnx_then_expire, NO_DEADLOCK, _steps("1 SETNX, 1 CRASH, 2 SETNX"), {"crashes": True}),
    Broken(never_released, NO_DEADLOCK, _steps("1 SETNX, 1 LEAVE, 2 SETNX")),
    Broken(released_too_early, MUTUAL_EXCLUSION, _steps("1 SETNX, 1 DEL, 2 SETNX")),
    Broken(token_and_lease, MUTUAL_EXCLUSION, _steps("1 SET, LEASE_ENDS, 2 SET"), {"lease_ends": True}),
    Broken(
        unconditional_del,
        MUTUAL_EXCLUSION,
        _steps("1 SET, LEASE_ENDS, 2 SET, 1 DEL, 3 SET"),
        {"clients": 3, **OVERDUE_ASIDE},
    ),
    Broken(
        get_then_del,
        MUTUAL_EXCLUSION,
        _steps("1 SET, 1 GET, LEASE_ENDS, 2 SET, 1 DEL, 3 SET"),
        {"clients": 3, **OVERDUE_ASIDE},
    ),
    Broken(unfenced, NO_STALE_WRITE, _steps("1 SET, LEASE_ENDS, 2 SET, 2 WRITE, 1 WRITE"), OVERDUE_ASIDE),
    Broken(
        check_then_write,
        NO_STALE_WRITE,
        _steps("1 EVAL, 1 READ, LEASE_ENDS, 2 EVAL, 2 READ, 2 WRITE, 1 WRITE"),
        OVERDUE_ASIDE,
    ),
    Broken(
        token_apart_from_lock,
        NO_STALE_WRITE,
        _steps("1 SET, LEASE_ENDS, 2 SET, 2 INCR, 1 INCR, 2 WRITE, 1 WRITE"),
        OVERDUE_ASIDE,
    ),
]
"""Each with its shortest trace, and of those the one that a search comes to first."""

HOLDING = [
    (setnx, {"clients": 2}),
    (setnx, {"clients": 3}),
    (setnx_then_expire, {"clients": 3}),
    (token_and_lease, {"clients": 2}),
    (token_and_lease, {"clients": 3, "crashes": True}),
    (token_and_lease, {"clients": 3, "crashes": True, **OVERDUE_ASIDE}),
    (token_and_script, {"clients": 3, "crashes": True, **OVERDUE_ASIDE}),
    (three_attempts, {"clients": 2, "crashes": True, **OVERDUE_ASIDE}),
    (fenced, {"clients": 2, **OVERDUE_ASIDE}),
    (fenced, {"clients": 3, "crashes": True, **OVERDUE_ASIDE}),
]
"""Locks, with options of a search in which nothing is to be found."""
