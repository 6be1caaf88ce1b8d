"""A queue for a pool of connections that an interrupt can't break."""

import queue


class Stack:
    """A last-in-first-out queue of ``maxsize`` at most, with what redis-py's BlockingConnectionPool asks of one.

    A ``queue.LifoQueue`` is broken as a ``threading.Event`` is (see Flag): its mutex is left taken, and a thread that wants a
    connection next, or brings one back, hangs for ever. Here each step is one call into C: a SimpleQueue has a ticket for
    each thing that is there. An interrupt between two steps costs no more than a ticket.
    """

    def __init__(self, maxsize):
        self.queue = []
        self._maxsize = maxsize
        self._tickets = queue.SimpleQueue()

    def put_nowait(self, thing):
        """Raises queue.Full."""
        if len(self.queue) >= self._maxsize:
            raise queue.Full
        self.queue.append(thing)
        self._tickets.put(None)

    def get(self, block=True, timeout=None):
        """Raises queue.Empty where there is nothing within ``timeout`` seconds."""
        self._tickets.get(block, timeout)
        return self.queue.pop()
