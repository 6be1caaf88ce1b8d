"""What an acquire and a release cost when nobody else wants the lock: ours beside redis-py's and python-redis-lock.

All take turns in short blocks, in an order that changes, each twice: the second time is the control. What the same code
differs by from itself is what a difference between two locks has to exceed before it says anything.
"""

import contextlib
import random
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import redis
import redis_lock

from course_tasks import kinship
from course_tasks.lab import servers
from course_tasks.locks import FairLock, FencedLock, LeaseLock, RenewingLock
from course_tasks.place import Place

BLOCK = 50  # acquires and releases in a row
ROUNDS = 60
LEASE = 10  # seconds
BASIS = "redis-py's Lock"


@contextlib.contextmanager
def serving():
    """A server of the benchmark's own, on a Unix socket in a private directory: yields the path of that socket.

    It ends with the ``with``, and with this process, however that ends.
    """
    with tempfile.TemporaryDirectory(prefix="course-") as directory:
        where = Place(Path(directory))
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        server = subprocess.Popen(servers.command(where, "lock"), preexec_fn=kinship.die_with_parent, **quiet)
        try:
            socket = str(where.socket("lock"))
            with redis.Redis(unix_socket_path=socket) as client:
                while not _answers(client):
                    assert server.poll() is None, "the server ended while it started"
            yield socket
        finally:
            server.kill()
            server.wait()


def _answers(client):
    with contextlib.suppress(redis.ConnectionError):
        return client.ping()


def raw(client):
    """The two commands that any such lock needs, and nothing else."""
    give_back = client.script_load("return redis.call('get', KEYS[1]) == ARGV[1] and redis.call('del', KEYS[1]) or 0")

    def use():
        client.set("raw", "token", nx=True, px=LEASE * 1000)
        client.evalsha(give_back, 1, "raw", "token")

    return use


def used(lock):
    def use():
        lock.acquire()
        lock.release()

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


def timed(use):
    """Microseconds for one ``use()``, the mean of a block."""
    begin = time.perf_counter()
    for _ in range(BLOCK):
        use()
    return (time.perf_counter() - begin) / BLOCK * 1e6


def rounds(socket):
    """(lock, 0 or 1 for the first or the second time) -> its figures, one for each round."""
    with contextlib.ExitStack() as stack:
        uses, order = {}, random.Random(0)
        for name, make in LOCKS.items():
            for time_ in (0, 1):
                client = stack.enter_context(redis.Redis(unix_socket_path=socket))
                uses[name, time_] = make(client)
                timed(uses[name, time_])
        figures = {key: [] for key in uses}
        for _ in range(ROUNDS):
            for key in order.sample(list(uses), len(uses)):
                figures[key].append(timed(uses[key]))
    return figures


def ratio(over, under):
    """The median of the ratios, round by round."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def measure():
    """Rows (what, figure): each lock's median, and its ratio to redis-py's Lock in the same round."""
    with serving() as socket:
        figures = rounds(socket)
    controls = [ratio(figures[name, 0], figures[name, 1]) for name in LOCKS]
    rows = [
        (
            f"{name}: acquire and release, nobody else",
            f"{statistics.median(figures[name, 0] + figures[name, 1]):.0f} µs, "
            f"{ratio(figures[name, 0], figures[BASIS, 0]):.2f} and {ratio(figures[name, 1], figures[BASIS, 1]):.2f} "
            f"of {BASIS}",
        )
        for name in LOCKS
    ]
    return [*rows, ("the same code against itself, all of them", f"{min(controls):.2f} to {max(controls):.2f}")]


if __name__ == "__main__":
    for what, figure in measure():
        print(f"{what:<60} {figure}")
