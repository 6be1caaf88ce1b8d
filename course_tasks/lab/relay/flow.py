"""A connection through a link: two flows of bytes, each in order, each held back or late as the link says."""

import collections
import contextlib
import functools
import socket
import time

from course_tasks.lab.relay import address
from course_tasks.lab.relay.loop import READ, WRITE

CHUNK = 2**16  # bytes that are read at once
ROOM = 2**20  # bytes that a flow keeps before it stops reading; TCP's receive window has a few times that at most


class Flow:
    """One way through a ``connection``: what the socket ``source`` says is passed on to the socket ``sink``.

    ``gone`` is whether the source has closed altogether, and so hears nothing any more either; ``done`` whether the sink has
    been told all there was to tell, or is gone.
    """

    def __init__(self, connection, source, sink):
        self.connection, self.source, self.sink = connection, source, sink
        self.gone = self.done = False
        self._kept = collections.deque()  # (moment before which it does not arrive, bytes); no bytes: the end
        self._size = 0  # bytes in it
        self._ended = False  # the source has said its last
        self._stuck = False  # the sink takes nothing at present

    @property
    def reading(self):
        """Whether it wants to hear more of the source."""
        return not self._ended and not self.done and self._size < ROOM

    @property
    def waiting(self):
        """Whether it waits until the sink takes more."""
        return self._stuck and not self.done

    def read(self):
        """Take what the source says, and pass it on when its time has come."""
        try:
            data = self.source.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:  # it closed with something unread
            data = b""
        delay = self.connection.link.delay
        moment = time.monotonic() + delay
        self._kept.append((moment, data))
        self._size += len(data)
        if not data:
            self._ended, self.gone = True, closed(self.source)
        if delay:
            self.connection.link.loop.at(moment, self.write)
            self.connection.watch()
        else:
            self.write()

    def write(self):
        """Pass on what is due, as far as the link lets it through and the sink takes it."""
        self._stuck, now = False, time.monotonic()
        while self._kept and self._kept[0][0] <= now and self.connection.passable:
            moment, data = self._kept.popleft()
            try:
                sent = self.sink.send(data) if data else 0
            except BlockingIOError:
                sent, self._stuck = 0, True
            except OSError:  # nobody is there; the other flow hears of it from the sink itself
                self._finish()
                break
            self._size -= sent
            if not data:
                self._finish()
            elif sent < len(data):
                self._kept.appendleft((moment, data[sent:]))
            if self._stuck:
                break
        self.connection.watch()

    def forget(self):
        """Drop what is kept."""
        self._kept.clear()

    def _finish(self):
        self.done = True
        self.forget()
        if self.gone:
            self.connection.close()
        with contextlib.suppress(OSError):
            self.sink.shutdown(socket.SHUT_WR)


class Connection:
    """What a process called ``client`` (a socket) on ``link``, and the connection from there to the link's server."""

    def __init__(self, link, client):
        self.link, self.client, self.server = link, client, socket.socket(socket.AF_UNIX)
        self.there, self.back = Flow(self, client, self.server), Flow(self, self.server, client)
        self._connected, self._open = False, True
        self._watched = {client: 0, self.server: 0}  # socket -> the events that the loop looks for

    @property
    def passable(self):
        """Whether bytes get through at present."""
        return self._connected and not self.link.cut

    @property
    def given_up(self):
        """Whether the client has left before it was connected."""
        return not self._connected and closed(self.client)

    def go_on(self):
        """The link is whole: connect to the server, unless that is done, and pass on what was held back."""
        if not self._connected:
            try:
                address.connect(self.server, self.link.server.there)
            except OSError:
                self.close()
                return
            self._connected = True
        self.there.write()
        self.back.write()

    def watch(self):
        """Have the loop look for what matters now."""
        if not self._open:
            return
        if (self.there.done and self.back.done) or (self.there.gone and not self._connected):
            self.close()
            return
        self._watch(self.client, self.there, self.back)
        if self._connected:
            self._watch(self.server, self.back, self.there)

    def _watch(self, sock, out, into):
        events = READ * out.reading | WRITE * into.waiting
        if events != self._watched[sock]:
            self._watched[sock] = events
            self.link.loop.watch(sock, events, functools.partial(self._ready, out, into))

    def _ready(self, out, into, events):
        if events & READ and self._open:  # else it was closed a moment ago, by the other side
            out.read()
        if events & WRITE and self._open:
            into.write()

    def close(self):
        """Close both sides; what was not delivered is dropped."""
        if self._open:
            self._open = False
            self.link.connections.discard(self)
            for sock, flow in ((self.client, self.there), (self.server, self.back)):
                self.link.loop.watch(sock, 0, None)
                sock.close()
                flow.forget()


def closed(sock):
    """Whether the other end of ``sock``, a Unix socket, has closed altogether, and not only finished what it says."""
    try:
        sock.send(b"")  # fails where nobody is there, and sends nothing where somebody is
    except OSError:
        return True
    return False
