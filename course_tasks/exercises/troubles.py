"""One call of what takes a lock on several servers, some of which are in trouble; and what came of it.

What befalls a server befalls the client that leads to it, at its first command or at each. So it is the same for whatever
commands the answer sends, one after the other or all at once.
"""

import contextlib
import datetime
import functools
import pickle
import time
from dataclasses import dataclass

import redis

from course_tasks.breakpoints import AFTER, BEFORE, Breakpoint, watched
from course_tasks.exercises.wording import short
from course_tasks.history.wording import listing
from course_tasks.lab.packing import pack

NAME = "mail"
OURS, THEIRS = b"8c1f-ours", b"47e0-theirs"
AN_HOUR = 3600.0  # seconds

TAKEN, DOWN, UNHEARD, OVERTAKEN = "taken", "down", "unheard", "overtaken"
SLOW = 0.3  # seconds; a number is for how long a server's first answer is under way
TELL = {
    TAKEN: "had given the lock to another one",
    DOWN: "could not be reached",
    UNHEARD: "did as it was told, but its answer was lost",
    OVERTAKEN: "gave the lock to another one right after your GET, as your lease was over",
    SLOW: f"answered {SLOW} s late",
}


@dataclass(frozen=True)
class Trial:
    """What came of one call, with so many servers ``there`` (a sentence's beginning).

    ``said`` is what was returned, or the redis.RedisError that was raised; ``took`` seconds. ``ours`` are the seconds that each
    server which has our token would have kept it for, from the return on at most; ``strays`` those of them whose answer was
    lost, as numbers; ``robbed`` the numbers of those on which another one's lock is gone; ``endless`` whether one has no lease.
    """

    there: str
    said: object
    took: float
    ours: list
    strays: list
    robbed: list
    endless: bool

    def __str__(self):
        if isinstance(self.said, redis.RedisError):
            return f"{self.there} Your function raised {type(self.said).__name__}: {str(self.said).rstrip('.')}."
        return f"{self.there} Your function returned {short(self.said)}."


def tried(take, clients, troubles, lease):
    """The Trial of one call. ``troubles``: number of a server -> what befalls it, seconds of delay, or a function."""
    theirs, befallen = set(), []
    for number, client in enumerate(clients, 1):
        trouble, another_one = troubles.get(number), functools.partial(_another_one, client, number, theirs)
        client.delete(NAME)
        if trouble == TAKEN:
            another_one()
        befallen.append(watched(client, *_befalls(trouble, another_one)))
    began = time.monotonic()
    try:
        said = take(befallen, NAME, OURS, lease)
    except redis.RedisError as error:
        said = error
    ended = time.monotonic()
    ours, strays, robbed, endless = [], [], [], False
    for number, client in enumerate(clients, 1):
        value, left = client.get(NAME), client.pttl(NAME)
        robbed += [number] if number in theirs and value != THEIRS else []
        if value == OURS:
            endless |= left < 0 or left > lease * 1000
            ours.append(left / 1000 + time.monotonic() - ended)
            strays += [number] if troubles.get(number) == UNHEARD else []
    for client in befallen:
        client.close()
    return Trial(_told(len(clients), troubles), said, ended - began, ours, strays, robbed, endless)


def _another_one(client, number, theirs):
    """Gets the lock on this server, whose ``number`` joins ``theirs``."""
    client.set(NAME, THEIRS, px=60_000)
    theirs.add(number)


def _befalls(trouble, another_one):
    """The watchers that let ``trouble`` befall a client."""
    if trouble == OVERTAKEN:
        return [Breakpoint(another_one, after="GET")]
    first = iter([True])

    def watcher(moment, command):
        if (moment, trouble) == (BEFORE, DOWN):
            raise redis.ConnectionError("the server could not be reached")
        if moment == AFTER and next(first, False):
            if trouble == UNHEARD:
                raise redis.TimeoutError("no answer came")
            elif callable(trouble):
                trouble()
            else:
                time.sleep(trouble)

    return [watcher] if trouble and trouble != TAKEN else []


def names(numbers):
    """What the servers with these ``numbers`` are called, as a sentence says it."""
    return listing([f"lock{number}" for number in numbers])


def _told(servers, troubles):
    """The beginning of a sentence about so many servers, of which some were in trouble."""
    told = [
        f"{names(those)} {said}"
        for what, said in TELL.items()
        if (those := [number for number, trouble in troubles.items() if trouble == what])
    ]
    of = f"Of {servers} servers" if servers > 1 else "Of one server"
    return f"{of}, {'; '.join(told) or 'all were free'}."


@contextlib.contextmanager
def moving_clock(take):
    """``take``, with a clock on the wall that can be moved, and what sets it back by an hour. For this process."""
    packed, ahead = pack(take), [0.0]
    real, real_ns, kind = time.time, time.time_ns, datetime.datetime

    class Moved(kind):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(time.time(), tz)

        @classmethod
        def utcnow(cls):
            return cls.now(datetime.UTC).replace(tzinfo=None)

    time.time, time.time_ns = lambda: real() + ahead[0], lambda: real_ns() + int(ahead[0] * 1e9)
    datetime.datetime = Moved
    try:
        yield pickle.loads(packed), lambda: ahead.__setitem__(0, -AN_HOUR)  # what it has imported is looked up anew
    finally:
        time.time, time.time_ns, datetime.datetime = real, real_ns, kind
