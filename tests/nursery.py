"""Processes that hold a lock, and that a test kills or pauses: forked from one that has everything imported, in milliseconds.

A process is started for a *deed*, a function in this file that takes a lock, the Breakpoint in its client, if any, and a client.
"""

import importlib
import json
import os
import signal
import subprocess
import sys

import redis
from conftest import ROOT

from course_tasks.breakpoints import Breakpoint, watched

# What a process does at a breakpoint; SIGKILL and SIGSTOP reach exactly itself, and there.
SIGNALS = {"kill": signal.SIGKILL, "pause": signal.SIGSTOP}


def one_hold(lock, breakpoint, _):
    """Acquire, extend, release. Returns for each: its name, what came of it, the validity then, whether the breakpoint struck."""
    told = []
    for step in ("acquire", "extend", "release"):
        use = {"acquire": lambda: lock.acquire(blocking=False), "extend": lambda: lock.extend(lock.timeout, True)}
        try:
            outcome = use.get(step, lock.release)() is not False
        except redis.exceptions.LockError as error:
            outcome = type(error).__name__
        told.append([step, outcome, getattr(lock, "validity", 0), breakpoint.struck])
    return told


def many_holds(lock, _, counter):
    """Acquire and release 25 times. Returns how many were inside at once at most, as far as this process saw."""
    most = 0
    for _ in range(25):
        with lock:
            most = max(most, counter.incr("inside"))
            counter.decr("inside")
    return most


class Nursery:
    """Starts processes and waits for them. Use it as a context manager; what it started ends with it."""

    def __enter__(self):
        path = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", __file__],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def start(self, deed, kind, servers, **options):
        """Start a process that does ``deed`` with a lock of ``kind`` (lock_contract's Kind) on ``servers``; return its pid.

        ``options`` are the lock's, and may have ``what`` ("kill" or "pause") and ``place``, where it does that to itself.
        """
        lock_class, sockets = kind.lock_class, [server.socket for server in servers[: kind.servers]]
        spec = {"deed": deed.__name__, "kind": [lock_class.__module__, lock_class.__qualname__], "sockets": sockets}
        return self._ask("start", {**spec, "options": options})

    def wait(self, pid):
        """Wait until the process ``pid`` has stopped ("paused"), was killed ("killed"), or has done its deed: what it returns."""
        return self._ask("wait", pid)

    def _ask(self, *question):
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def _serve():
    """The nursery itself: a line of JSON in, a line of JSON out."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    children = {}  # pid -> the end of the pipe from which it is read what the child returns
    for line in sys.stdin:
        what, about = json.loads(line)
        if what == "start":
            reading, writing = os.pipe()
            if not (pid := os.fork()):
                _live(about, writing)
            os.close(writing)
            children[pid], answer = reading, pid
        else:
            answer = _wait(about, children)
        print(json.dumps(answer), file=answers, flush=True)
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _wait(pid, children):
    _, status = os.waitpid(pid, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        return "paused"
    with os.fdopen(children.pop(pid)) as told:
        return "killed" if os.WIFSIGNALED(status) else json.load(told)


def _live(spec, writing):
    """The life of a child."""
    status = 1
    try:
        module, name = spec["kind"]
        options = spec["options"]
        place, action = options.pop("place", {"before": "NOTHING"}), SIGNALS.get(options.pop("what", None))
        breakpoint = Breakpoint(lambda: os.kill(os.getpid(), action), **place)
        clients = [redis.Redis(unix_socket_path=socket, socket_timeout=30) for socket in spec["sockets"]]
        seen = [watched(client, breakpoint) for client in clients]
        lock_class = getattr(importlib.import_module(module), name)
        lock = lock_class(seen if len(seen) > 1 else seen[0], "mail", **options)
        os.write(writing, json.dumps(globals()[spec["deed"]](lock, breakpoint, clients[0])).encode())
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    importlib.import_module("test_locks_contract")  # once, for all children
    _serve()
