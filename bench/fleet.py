"""Servers of a benchmark's own, each on a Unix socket in a private directory; they end with this process, however that ends."""

import contextlib
import os
import signal
import subprocess
import tempfile
from pathlib import Path

import redis

from course_tasks import kinship
from course_tasks.lab import faketime, servers
from course_tasks.place import Place

FIVE = tuple(f"lock{number}" for number in range(1, 6))
QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
# Processes are killed here, and the machine is not: what a server has written need not be on the disk itself.
UNHURRIED = ("--appendfsync", "no")


class Fleet:
    """The servers called ``names``, at ``where`` (a Place), none of them started yet.

    ``durable``: each writes what changes to a file before it answers, and knows it again when it is restarted. ``library`` is
    the path of a libfaketime, where their clocks are to be moved.
    """

    def __init__(self, where, names, durable=False, library=None):
        self.where, self.names, self.durable, self._library = where, tuple(names), durable, library
        self._processes = {}

    def socket(self, name):
        return str(self.where.socket(name))

    def start(self, name):
        """Start it; it does not answer yet."""
        self._processes[name] = subprocess.Popen(
            self._command(name), cwd=self.where.path, preexec_fn=kinship.die_with_parent, **QUIET
        )

    def _command(self, name):
        command = [*servers.command(self.where, name, self.durable), *(UNHURRIED if self.durable else ())]
        return faketime.carrying(self.where, name, command) if self._library else command

    def answers(self, name):
        """Whether it takes commands."""
        assert self._processes[name].poll() is None, f"{name} ended while it started"
        with contextlib.suppress(redis.ConnectionError), self.client(name) as client:
            client.ping()
            faketime.forget(self._processes[name].pid)
            return True
        return False

    def move_clock(self, name, seconds):
        """Set its wall clock so many ``seconds`` ahead of what it is."""
        faketime.set_ahead(self.where, name, faketime.ahead(self.where, name) + seconds)

    def client(self, name):
        return redis.Redis(unix_socket_path=self.socket(name), retry=None)

    def clear(self):
        """Delete all that they hold."""
        for name in self.names:
            with self.client(name) as client:
                client.flushall()

    def stop(self, name):
        os.kill(self._processes[name].pid, signal.SIGSTOP)

    def resume(self, name):
        os.kill(self._processes[name].pid, signal.SIGCONT)

    def kill(self, name):
        """Kill it; killing it twice does no harm."""
        self._processes[name].kill()
        self._processes[name].wait()

    def __enter__(self):
        """Start all, and return when each answers."""
        if self._library:
            faketime.lay_ready(self.where, self._library)
        for name in self.names:
            if self._library:
                faketime.set_ahead(self.where, name, 0)
            if self.durable:
                self.where.disk(name).mkdir(mode=0o700)
            self.start(name)
        for name in self.names:
            while not self.answers(name):
                pass
        return self

    def __exit__(self, *_):
        for name in self._processes:
            self.kill(name)


@contextlib.contextmanager
def private_place():
    """Yields a Place that is there for as long as the ``with``."""
    with tempfile.TemporaryDirectory(prefix="course-") as directory:
        yield Place(Path(directory))


@contextlib.contextmanager
def serving():
    """One server: yields the path of its socket."""
    with private_place() as where, Fleet(where, ["lock"]) as fleet:
        yield fleet.socket("lock")
