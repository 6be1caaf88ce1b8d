"""A loop that calls back when a socket is ready, or when a moment has come."""

import heapq
import itertools
import select
import selectors
import time

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Loop:
    """Calls back, one at a time. Moments are those of ``time.monotonic()``."""

    def __init__(self):
        self._selector = selectors.DefaultSelector()
        self._moments = []  # a heap of (moment, number, callback)
        self._numbers = itertools.count()  # callbacks of one moment come in the order in which they were asked for

    def watch(self, sock, events, callback):
        """Call ``callback(events)`` whenever ``sock`` is ready for one of ``events`` (READ, WRITE, both; 0 for no more)."""
        watched = sock in self._selector.get_map()
        if not events:
            if watched:
                self._selector.unregister(sock)
        elif watched:
            self._selector.modify(sock, events, callback)
        else:
            self._selector.register(sock, events, callback)

    def at(self, moment, callback):
        """Call ``callback()`` at that ``moment``, once."""
        heapq.heappush(self._moments, (moment, next(self._numbers), callback))

    def turn(self):
        """Wait until there is something to do, and do it."""
        for key, events in self._ready():
            key.data(events)
        while self._moments and self._moments[0][0] <= time.monotonic():
            heapq.heappop(self._moments)[2]()

    def _ready(self):
        if not self._moments:
            return self._selector.select()
        # epoll counts in milliseconds, select() in microseconds; and a selector is a descriptor that select() can wait for.
        select.select([self._selector.fileno()], [], [], max(0.0, self._moments[0][0] - time.monotonic()))
        return self._selector.select(0)
