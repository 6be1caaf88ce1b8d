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
        self._mutex = threading.RLock()  # a signal's handler may release what its own thread is extending
        self._asking = False

    def ask(self, ballot, limit=None):
        """Put ``ballot`` to every server; return it when it is decided, or ``limit`` seconds after it was put to the last."""
        with self._mutex:
            outer, self._asking = self._asking, True
            try:
                self._hear(ballot, *self._write(ballot), self._limit if limit is None else limit)
            finally:
                self._asking = outer
        return ballot

    def tell(self, ballot):
        """Put ``ballot`` to every server, and wait for no answer."""
        with self._mutex:
            self._write(ballot)

    def close(self):
        """Put the nodes back, with what they owe. Who asks now asks nobody."""
        with self._mutex:
            nodes, self.nodes = self.nodes, []
            # Where a signal's handler closes it, who was interrupted goes on with these nodes: nobody else may have them.
            if self._asking:
                return
            for stock, node in zip(self._stocks, nodes, strict=False):
                stock.put_back(node)

    def may_hold(self, ballot):
        """How many servers may have the hold, after what they said to ``ballot``: a script's 0 is a no."""
        return sum(node.undo is self.undo and ballot.replies.get(node) != 0 for node in self.nodes)

    def _write(self, ballot):
        """To those that are connected first: connecting takes its time, and meanwhile they can answer.

        Returns what to wait with: a poll object, and the node of each descriptor.
        """
        poll, nodes, now = select.poll(), {}, time.monotonic()
        for node in self.nodes:
            if node.is_usable():
                nodes[node.descriptor] = node
                poll.register(node.descriptor, select.POLLIN)
        self._attend(ballot, poll, nodes, 0)  # who has answered meanwhile, or closed its connection
        for descriptor, node in nodes.items():
            if node.descriptor is not None and node not in ballot.asked:
                if node.is_late(now):
                    node.give_up()
                else:
                    self._put(ballot, node)
                if node.descriptor is None:
                    poll.unregister(descriptor)
        for node in self.nodes:
            if node.descriptor is None and (not ballot.undoing or node.undo is self.undo) and node.connect(self._limit):
                nodes[node.descriptor] = node
                poll.register(node.descriptor, select.POLLIN)
                self._put(ballot, node)
        return poll, nodes

    def _hear(self, ballot, poll, nodes, limit):
        deadline = time.monotonic() + limit
        while self._is_open(ballot):
            if not self._attend(ballot, poll, nodes, deadline - time.monotonic()):
                ballot.silent = ballot.outstanding
                break

    def _attend(self, ballot, poll, nodes, seconds):
        """Wait so long at most until something can be read, and read it; return whether there was anything."""
        events = poll.poll(max(0.0, seconds * 1000))
        for descriptor, _ in events:
            node = nodes[descriptor]
            node.read()
            if node.descriptor is not None and node not in ballot.asked:
                self._put(ballot, node)
            if node.descriptor is None:
                poll.unregister(descriptor)
            elif ballot.votes >= self.quorum:
                break  # what the others answer is read when they are used next
        return events

    def _put(self, ballot, node):
        """Write to ``node``, which is connected, what is due there: the ballot, if nothing is in its way.

        That doesn't block, whatever the server does: one command may be outstanding there, and a socket takes hundreds.
        """
        if ballot.undoing:
            if node.undo is not self.undo or (node.owed and node.owed[-1].undoing):
                return
        elif node.owed:
            return
        elif node.undo not in (None, self.undo):  # an earlier hold's: its connection broke, or the server refused it
            # Who refuses it again is asked all the same. It may be about that lock alone: its key holds a list, say.
            node.write(Ballot(node.undo, undoing=True, last=True))
            return
        if node.write(ballot):
            ballot.asked.add(node)

    def _is_open(self, ballot):
        """Whether it has no majority yet, and may still get one from those whose answers can be expected."""
        if ballot.votes >= self.quorum:
            return False
        expected = ballot.outstanding
        if ballot.votes + expected >= self.quorum:
            return True
        since = ballot.began - self._limit
        late = [node for node in self.nodes if node not in ballot.asked and node.owed and node.owed[0].began >= since]
        expected += sum(not ballot.undoing or node.undo is self.undo for node in late)
        # Who doesn't answer grants nothing; but may have what was granted.
        possible = expected if ballot.undo else len(self.nodes) - ballot.answered
        return expected > 0 and ballot.votes + possible >= self.quorum
