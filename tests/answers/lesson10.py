"""Answers to the exercises of lesson 10."""

import contextlib
import random
import time

from redis.exceptions import LockError, LockNotOwnedError

from answers import fails, given, passes
from course_tasks.exercises.lesson10 import history_of
from course_tasks.lab.run import Run

# 10.1, two locks, both or none ----------------------------------------------------------------------------------------


def give_back(*locks):
    for lock in locks:
        with contextlib.suppress(LockNotOwnedError):
            lock.release()


@passes("10.1")
def with_a_stack(one, other):
    """Whatever has been taken is given back, unless all is well. It asks the server whether the first is still its own."""
    with contextlib.ExitStack() as taken:
        for lock in sorted((one, other), key=lambda lock: lock.name, reverse=True):
            if not lock.acquire(blocking_timeout=1):
                return False
            taken.callback(give_back, lock)
        if one.owned() and other.owned():
            taken.pop_all()
            return True
    return False


@passes("10.1")
def asking_itself(a, b):
    """No waiting by the lock; and it begins anew where the first was lost."""
    a, b = (b, a) if b.name < a.name else (a, b)
    mine, until = [], time.monotonic() + 1
    while time.monotonic() < until:
        for lock in (a, b):
            if lock not in mine and (not mine if lock is a else mine) and lock.acquire(blocking=False):
                mine.append(lock)
        if len(mine) == 2 and a.owned():
            return True
        time.sleep(0.02)
    give_back(*mine)
    return False


@fails("10.1", "order")
def as_they_are_named(one, other):
    if not one.acquire(blocking_timeout=1):
        return False
    if other.acquire(blocking_timeout=1) and one.owned():
        return True
    give_back(*(lock for lock in (one, other) if lock.owned()))
    return False


@fails("10.1", "order")
def by_lot(*locks):
    mine = []
    for lock in random.sample(locks, 2):
        if not lock.acquire(blocking_timeout=0.9):
            break
        mine.append(lock)
    if len(mine) == 2 and all(lock.owned() for lock in mine):
        return True
    give_back(*mine)
    return False


@fails("10.1", "kept")
def keeps_the_first(one, other):
    first, second = sorted([one, other], key=lambda lock: lock.name)
    return first.acquire(blocking_timeout=1) and second.acquire(blocking_timeout=1)


@fails("10.1", "kept")
def keeps_the_second(one, other):
    """It sees that the first was lost, and forgets that it has the second."""
    first, second = sorted([one, other], key=lambda lock: lock.name)
    if not first.acquire(blocking_timeout=1):
        return False
    if second.acquire(blocking_timeout=1) and first.validity:
        return True
    give_back(first)
    return False


@fails("10.1", "lost")
def trusts_its_lease(one, other):
    first, second = sorted([one, other], key=lambda lock: lock.name)
    if first.acquire(blocking_timeout=1):
        if second.acquire(blocking_timeout=1):
            return True
        first.release()
    return False


@fails("10.1", "impatient")
def tries_once(one, other):
    """It never waits with a lock in hand, and so needs no order. But it doesn't wait at all."""
    if one.acquire(blocking=False):
        if other.acquire(blocking=False):
            return True
        one.release()
    return False


@fails("10.1", "half")
def one_is_enough(one, other):
    first, second = sorted([one, other], key=lambda lock: lock.name)
    return first.acquire(blocking_timeout=1) or second.acquire(blocking_timeout=1)


@fails("10.1", "half")
def takes_no_notice(one, other):
    for lock in sorted([one, other], key=lambda lock: lock.name):
        lock.acquire(blocking_timeout=1)
    return True


@fails("10.1", "answer")
def says_nothing(one, other):
    first, second = sorted([one, other], key=lambda lock: lock.name)
    if first.acquire(blocking_timeout=1) and not second.acquire(blocking_timeout=1):
        first.release()
        return False


@fails("10.1", "raised")
def releases_what_it_never_had(one, other):
    first, second = sorted([one, other], key=lambda lock: lock.name)
    both = False
    try:
        both = first.acquire(blocking_timeout=1) and second.acquire(blocking_timeout=1)
        return both
    finally:
        if not both:
            first.release()
            second.release()


@fails("10.1", "raised")
def with_statements(one, other):
    """Their error is not caught."""
    first, second = sorted([one, other], key=lambda lock: lock.name)
    first.blocking_timeout = second.blocking_timeout = 1
    first.__enter__()
    try:
        second.__enter__()
    except LockError:
        first.release()
        return False
    return True


@fails("10.1", "endless")
def for_ever(one, other):
    for lock in sorted([one, other], key=lambda lock: lock.name):
        lock.acquire()
    return True


# 10.2, who waited longest? --------------------------------------------------------------------------------------------


@given("10.2")
def a_run():
    return (Run(1, history_of("0 1 gets, 0 2 waits, 0 3 waits, 2 1 leaves, 2.1 3 gets, 4 3 leaves"), None),)


@passes("10.2")
def from_the_table(table):
    waits = table[table["kind"] == "waiting"].set_index("task")
    until = table[table["kind"] == "acquired"].groupby("task")["t"].first()
    end = table.loc[table["kind"] == "ended", "t"].iloc[0]
    lasted = until.reindex(waits.index).fillna(end) - waits["t"]
    return waits.loc[lasted.idxmax(), "lane"], round(lasted.max(), 2)


@passes("10.2")
def by_lane(events):
    """A lane does one thing at a time."""
    longest, since = (0.0, None), {}
    for t, kind, lane in zip(events["t"], events["kind"], events["lane"], strict=True):
        if kind == "waiting":
            since[lane] = t
        for over in [lane] if kind == "acquired" else list(since) if kind == "ended" else []:
            longest = max(longest, (t - since.pop(over, t), over), key=lambda pair: pair[0])
    return longest[::-1]


def replay(events, until="acquired", forget=True, still=True):
    since, waits = {}, []
    for event in events.itertuples():
        if event.kind == "waiting":
            since[event.lane] = event.t
        elif event.kind == until and event.lane in since:
            waits.append((event.lane, event.t - since[event.lane]))
            if forget:
                del since[event.lane]
        elif event.kind == "ended" and still:
            waits += [(lane, event.t - t) for lane, t in since.items()]
    return waits


@fails("10.2", "still")
def only_who_got_in(events):
    return max(replay(events, still=False), key=lambda wait: wait[1])


@fails("10.2", "each")
def all_of_ones_waits(events):
    sums = {}
    for lane, seconds in replay(events):
        sums[lane] = sums.get(lane, 0) + seconds
    return max(sums.items(), key=lambda pair: pair[1])


@fails("10.2", "at_once")
def never_forgets(events):
    return max(replay(events, forget=False, still=False), key=lambda wait: wait[1])


@fails("10.2", "grant")
def until_it_leaves(events):
    return max(replay(events, until="released"), key=lambda wait: wait[1])


@fails("10.2", "grant")
def the_last_one(events):
    ended = events["t"].iloc[-1]
    waits = [(event.lane, ended - event.t) for event in events.itertuples() if event.kind == "waiting"]
    return max(waits, key=lambda wait: wait[1])


@fails("10.2", "nonsense")
def the_seconds_alone(events):
    return max(seconds for _, seconds in replay(events))
