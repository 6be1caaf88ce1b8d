"""Links, and the servers at their far end."""

import contextlib
import socket
import time

from course_tasks.lab.relay import address
from course_tasks.lab.relay.flow import Connection
from course_tasks.lab.relay.loop import READ

AGAIN = 0.01  # seconds between two looks at a server that is not there


class Server:
    """A server at the address ``there``. A connection of the relay's own, on which nothing is said, tells when it dies.

    ``up`` is whether it is there: whether it takes connections. One that is stopped still does. ``links`` lead to it.
    """

    def __init__(self, loop, there):
        self.loop, self.there = loop, there
        self.links, self.up, self._probe = [], False, None
        self._over = False
        self._look()

    def _look(self):
        """Find out whether it is there, and tell the links; where it is not, look again a little later."""
        if self._over:
            return
        self._probe = socket.socket(socket.AF_UNIX)
        try:
            address.connect(self._probe, self.there)
        except OSError:
            self._probe.close()
            self.up = False
            self.loop.at(time.monotonic() + AGAIN, self._look)
        else:
            self.up = True
            self.loop.watch(self._probe, READ, self._heard)
        for link in self.links:
            link.settle()

    def _heard(self, _):
        if self._over:  # since a moment ago, in the same turn
            return
        with contextlib.suppress(OSError):
            if self._probe.recv(1):
                return
        self._hang_up()
        self._look()

    def _hang_up(self):
        self.loop.watch(self._probe, 0, None)
        self._probe.close()

    def close(self):
        """Look for it no more: no link leads there any more."""
        self._over = True
        if self.up:
            self._hang_up()


class Link:
    """The way of one process to one ``server`` (a Server): listens at the address ``here``.

    ``cut`` is whether nothing gets through, ``delay`` how many seconds later it does.
    """

    def __init__(self, loop, here, server, cut=False, delay=0.0):
        self.loop, self.here, self.server = loop, here, server
        self.cut, self.delay = cut, delay
        self.connections = set()
        self._listener = None
        server.links.append(self)
        self.settle()

    def settle(self):
        """Listen; or refuse connections, where the server is not there and the link is whole enough to let that be known."""
        listening = self.cut or self.server.up or isinstance(self.here, int)  # a port that is given up may be lost
        if listening and not self._listener:
            self._listener = address.listen(self.here)
            self.here = self._listener.getsockname()[1] if isinstance(self.here, int) else self.here
            self.loop.watch(self._listener, READ, self._called)
        elif not listening and self._listener:
            self._stop_listening()

    def _stop_listening(self):
        self.loop.watch(self._listener, 0, None)
        self._listener.close()
        self._listener = None

    def _called(self, _):
        if client := self._accept():
            connection = Connection(self, client)
            self.connections.add(connection)
            if self.cut:
                connection.watch()
            else:
                connection.go_on()

    def _accept(self):
        """The next of those who have called, a socket; None where nobody has."""
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            if self._listener:  # else it was closed a moment ago, in the same turn
                client = self._listener.accept()[0]
                address.settle(client)
                return client

    def heal(self):
        """Let through what a cut has held back. What is late stays late."""
        if not self.cut:
            return
        while client := self._accept():  # they called during the cut, and may have given up during it
            self.connections.add(Connection(self, client))
        self.cut = False
        self.settle()
        for connection in list(self.connections):
            if connection.given_up:
                connection.close()
            else:
                connection.go_on()

    def clear(self):
        """Be whole, and not slow. Connections are closed, and what they had not delivered is dropped."""
        self.cut, self.delay = False, 0.0
        for connection in list(self.connections):
            connection.close()
        while client := self._accept():
            client.close()
        self.settle()

    def close(self):
        """Be no more: nobody listens, and all connections are closed."""
        self.clear()
        self.server.links.remove(self)
        if self._listener:
            self._stop_listening()
