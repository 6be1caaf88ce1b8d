"""A node of each server, to which one hold's questions are put: all are written before any reply is awaited."""

import select
import threading
import time

from course_tasks.locks.ballot import Ballot, majority


class Panel:
    """A Node from each of ``stocks``, for one hold from its first question until it is given back. Close it then.

    A server is given ``limit`` seconds to answer a question. ``undo`` (Packed) is what gives the hold back. Several threads
    may ask, one after the other.
    """

    def __init__(self, stocks, limit, undo=None):
        self._stocks, self._limit, self.undo = stocks, limit, undo
        self.quorum = majority(len(stocks))
        self.nodes = [stock.take() for stock in stocks]
        self._mutex = threading.Lock()

    def ask(self, ballot, limit=None):
        """Put ``ballot`` to every server; return it when it is decided, at the latest after ``limit`` seconds."""
        with self._mutex:
            self._write(ballot)
            self._hear(ballot, self._limit if limit is None else limit)
        return ballot

    def tell(self, ballot):
        """Put ``ballot`` to every server, and wait for no answer."""
        with self._mutex:
            self._write(ballot)

    def close(self):
        """Put the nodes back, with what they owe. Who asks now asks nobody."""
        with self._mutex:
            nodes, self.nodes = self.nodes, []
            for stock, node in zip(self._stocks, nodes, strict=False):
                stock.put_back(node)

    @property
    def holders(self):
        """How many servers may have the hold, as far as one knows."""
        return sum(node.undo is self.undo for node in self.nodes)

    def _write(self, ballot):
        """To those that are connected first: connecting takes its time, and meanwhile they can answer."""
        poll, nodes = self._sockets(select.POLLIN | select.POLLOUT)
        for descriptor, event in poll.poll(0):
            node = nodes[descriptor]
            if event & ~select.POLLOUT:
                node.read()
            if event & select.POLLOUT and node.socket:  # otherwise to write would block
                self._put(ballot, node)
        for node in self.nodes:
            if not node.socket and (not ballot.undoing or node.undo is self.undo) and node.connect(self._limit):
                self._put(ballot, node)

    def _put(self, ballot, node):
        """Write to ``node``, which is connected, what is due there: the ballot, if it wasn't yet and nothing is in its way."""
        if node in ballot.asked:
            return
        if ballot.undoing:
            if node.undo is not self.undo or (node.owed and node.owed[-1].undoing):
                return
        elif node.owed:
            return
        elif node.undo not in (None, self.undo):  # an earlier hold's, from a connection that broke
            node.write(Ballot(node.undo, undoing=True))
            return
        ballot.asked.add(node)
        node.write(ballot)

    def _hear(self, ballot, limit):
        poll, nodes = self._sockets(select.POLLIN)
        deadline = time.monotonic() + limit
        while self._is_open(ballot):
            events = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if not events:
                return
            for descriptor, _ in events:
                node = nodes[descriptor]
                node.read()
                if node.socket:
                    self._put(ballot, node)  # it may have had to answer something else first
                else:
                    poll.unregister(descriptor)

    def _is_open(self, ballot):
        """Whether there is no majority yet, and those whose answer can still be expected could make one."""
        if ballot.votes >= self.quorum:
            return False
        since = ballot.began - self._limit
        late = [node for node in self.nodes if node.owed and node.owed[0].began >= since]
        expected = sum(ballot in node.owed or not ballot.undoing or node.undo is self.undo for node in late)
        return ballot.votes + expected >= self.quorum

    def _sockets(self, events):
        poll, nodes, now = select.poll(), {}, time.monotonic()
        for node in self.nodes:
            if node.is_usable(now):
                descriptor = node.socket.fileno()
                nodes[descriptor] = node
                poll.register(descriptor, events)
        return poll, nodes
