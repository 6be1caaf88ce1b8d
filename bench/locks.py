"""What an acquire and a release cost when nobody else wants the lock: ours beside redis-py's and python-redis-lock.

All take turns (bench/turns.py), each beside its control.
"""

import contextlib
import functools
import statistics

import redis
import redis_lock

from bench.fleet import serving
from bench.turns import Turns, used
from course_tasks.locks import FairLock, FencedLock, LeaseLock, RenewingLock

BLOCK = 50  # acquires and releases in a row
ROUNDS = 60
LEASE = 10  # seconds
BASIS = "redis-py's Lock"


def raw(client):
    """The two commands that any such lock needs, and nothing else."""
    give_back = client.script_load("return redis.call('get', KEYS[1]) == ARGV[1] and redis.call('del', KEYS[1]) or 0")

    def use():
        client.set("raw", "token", nx=True, px=LEASE * 1000)
        client.evalsha(give_back, 1, "raw", "token")

    return use


LOCKS = {
    "raw SET NX PX and EVALSHA": raw,
    BASIS: lambda client: used(client.lock("redis-py", timeout=LEASE)),
    "python-redis-lock": lambda client: used(redis_lock.Lock(client, "peer", expire=LEASE)),
    "LeaseLock": lambda client: used(LeaseLock(client, "lease", timeout=LEASE)),
    "FencedLock": lambda client: used(FencedLock(client, "fenced", timeout=LEASE)),
    "FairLock": lambda client: used(FairLock(client, "fair", timeout=LEASE)),
    "RenewingLock": lambda client: used(RenewingLock(client, "renewing", timeout=LEASE)),
}


def turns(socket):
    """The Turns of all LOCKS, each with a client of its own."""
    with contextlib.ExitStack() as stack:

        def made(make):
            return make(stack.enter_context(redis.Redis(unix_socket_path=socket)))

        return Turns({name: functools.partial(made, make) for name, make in LOCKS.items()}, ROUNDS, BLOCK)


def measure():
    """Rows (what, figure): each lock's median, and its ratio to redis-py's Lock in the same round."""
    with serving() as socket:
        found = turns(socket)
    return [*(_row(found, name) for name in LOCKS), found.control]


def _row(found, name):
    first, second = found.ratios(name, BASIS)
    figure = f"{statistics.median(found.both(name)):.0f} µs, {first:.2f} and {second:.2f} of {BASIS}"
    return f"{name}: acquire and release, nobody else", figure


if __name__ == "__main__":
    for what, figure in measure():
        print(f"{what:<60} {figure}")
