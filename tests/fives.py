"""Five servers for a Redlock, of which any may be silent, dead, out of reach, or have given the lock to somebody else."""

import contextlib
import os

import pytest
from servers import emptied, serving

from course_tasks.locks import redlock

NAME = "mail"
LEASE = 30.0  # seconds; none ends by itself
PATIENT = 10.0  # seconds that servers are given which will answer, however busy the machine is
SOON = 3.0  # ... within which what can be had is had; a lease is longer
SHORT = 0.5  # ... that they are given where they won't


class Five:
    """Five servers, told by their positions 0 to 4, and what may happen to them."""

    def __init__(self, servers):
        self.servers = servers
        self._own = self.clients()
        self._admins = self.clients()

    def clients(self, **options):
        """New clients, one for each server."""
        return [server.client(**options) for server in self.servers]

    def lock(self, clients=None, **options):
        """A new lock; it is patient unless told."""
        options = {"timeout": LEASE, "sleep": 0.01, "blocking_timeout": SOON, "node_timeout": PATIENT, **options}
        return redlock.Redlock(clients or self._own, NAME, **options)

    def connected(self, clients=None, **options):
        """A new lock that is connected to every server; nothing is outstanding."""
        lock = self.lock(clients, **options)
        lock.locked()
        self.settle()
        return lock

    def admin(self, position):
        return self._admins[position]

    def tokens(self, *positions):
        """What the lock's key holds on these servers, by default on all."""
        return [self._admins[each].get(NAME) for each in positions or range(5)]

    def left(self, position):
        """Seconds that the lock's key has left there."""
        return self._admins[position].pttl(NAME) / 1000

    def take(self, *positions, token=b"other"):
        """Let somebody else have the lock on these servers."""
        for each in positions:
            self._admins[each].set(NAME, token, px=60_000)

    def forget(self, *positions):
        """Let the lease end on these servers, by default on all."""
        for each in positions or range(5):
            self._admins[each].delete(NAME)

    def calls(self, position, command):
        """How often that server has carried out ``command`` ("set") since its statistics were reset."""
        return self._admins[position].info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0)

    def settle(self, *positions):
        """Return when these servers, by default all, have carried out what they had been sent."""
        for each in positions or range(5):
            self._admins[each].ping()

    @contextlib.contextmanager
    def silent(self, *positions):
        """These servers stand still inside; what is sent to them waits in their sockets."""
        with contextlib.ExitStack() as stack:
            for each in positions:
                stack.enter_context(self.servers[each].stopped())
            yield

    @contextlib.contextmanager
    def dead(self, *positions):
        """These servers are killed, and started again afterwards, with nothing in them."""
        for each in positions:
            self.servers[each].kill()
        try:
            yield
        finally:
            for each in positions:
                self.servers[each].start()

    @contextlib.contextmanager
    def unreachable(self, *positions):
        """Nobody reaches these servers inside: every connection is broken, and a new one is refused. They forget nothing."""
        with contextlib.ExitStack() as stack:
            for each in positions:
                self._admins[each].ping()  # is connected, and stays so
                socket = self.servers[each].socket
                os.rename(socket, f"{socket}.away")
                stack.callback(os.rename, f"{socket}.away", socket)
                self._admins[each].client_kill_filter(_type="normal", skipme=True)
            yield


@pytest.fixture(scope="module")
def started_five():
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(serving()) for _ in range(5)]


@pytest.fixture
def five(started_five):
    """A Five, with nothing on the servers."""
    with contextlib.ExitStack() as stack:
        yield Five([stack.enter_context(emptied(server)) for server in started_five])
