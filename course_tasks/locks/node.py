"""One connection to one of several servers, and what that server has not answered yet."""

import collections
import math
import os
import time
import weakref

from redis.exceptions import ConnectionError, RedisError, ResponseError

from course_tasks.locks.likeness import likeness, pool_of

PATIENCE = 60.0  # seconds without an answer after which a connection is given up
# A failed attempt to connect is repeated after so many times as long as it took: a server that refuses is tried again at
# once, and one that is silent costs a twentieth of the time at most.
RESTS = 20


class Node:
    """A connection of its own to a server, made as the client makes its own (``make_pool`` is likeness()'s).

    ``owed`` are the Ballots that were written on it and are not answered, oldest first: at most a request, and behind it
    what undoes it. They are answered in that order. ``undo`` is the command that undoes what the server may have granted;
    None where it certainly has nothing, or has refused that twice. ``descriptor`` is the socket's, None where it isn't
    connected; ``error`` what went wrong last.

    While something is written or read, the node counts as *torn*. An interrupt leaves it so: nobody knows how far that got, and
    the connection is not used again. What there is to undo is noted before it is written, and stays noted until that was
    answered. No method waits, but connect(), and read() for the second half of a reply.
    """

    def __init__(self, make_pool):
        self._pool = make_pool()  # a Sentinel's connection asks it where to connect to
        self.connection = self._pool.make_connection()
        weakref.finalize(self, self.connection.disconnect).atexit = False  # where an interrupt lost the node
        self._limit = self.connection.socket_timeout
        self.owed = collections.deque()
        self.descriptor = self.undo = self.error = None
        self._torn, self._due = False, -math.inf

    def is_usable(self):
        """Whether it is connected; a connection that is torn is given up."""
        if self._torn or self.connection.is_connected == (self.descriptor is None):
            self.give_up()
        return self.descriptor is not None

    def is_late(self, now):
        """Whether it has owed an answer for too long. Read what is there before: maybe nobody did since it was asked."""
        return bool(self.owed) and now - self.owed[0].began > PATIENCE

    def connect(self, limit):
        """Connect, unless it is too soon after an attempt that failed; return whether it is connected.

        Each answer of the server is waited for up to ``limit`` seconds, or as long as the client waits if that is less.
        """
        start = time.monotonic()
        if start < self._due:
            return False
        self.connection.socket_timeout = self.connection.socket_connect_timeout = min(limit, self._limit)
        self._torn = True
        try:
            self.connection.connect()
        except RedisError as error:
            self.drop(error)
            now = time.monotonic()
            self._due = now + RESTS * (now - start)
            return False
        self.error = None
        self.descriptor = self.connection._sock.fileno()  # redis-py has no public way to wait on several connections
        self._torn = False
        return True

    def write(self, ballot):
        """Write what ``ballot`` asks; return whether that could be done."""
        self._torn = True
        self.undo = ballot.undo or self.undo
        self.owed.append(ballot)
        try:
            self.connection.send_packed_command(ballot.command.on(self.connection), check_health=False)
        except RedisError as error:
            self.drop(error)
            return False
        self._torn = False
        return True

    def read(self):
        """Take in what has arrived, when something has: replies, or the connection's end."""
        self._torn = True
        try:
            if not self.owed:
                raise ConnectionError("the server closed the connection")
            self._take_reply()
            while self.owed and self.connection.can_read(0):
                self._take_reply()
        except RedisError as error:
            self.drop(error)
        else:
            self._torn = False

    def _take_reply(self):
        try:
            reply, self.error = self.connection.read_response(disable_decoding=True, disconnect_on_error=False), None
        except ResponseError as error:
            reply = self.error = error
        ballot = self.owed[0]
        if ballot.undoing and (ballot.last or reply in (0, 1)):
            self.undo = None
        ballot.take(self, reply)
        self.owed.popleft()

    def give_up(self):
        """Have no more to do with the connection as it is."""
        self.drop(ConnectionError("the connection was given up"))

    def drop(self, error):
        """Give the connection up, and what was owed on it. What there is to undo is left to do, over the next one."""
        self.error = error
        for ballot in self.owed:
            if self in ballot.asked:
                ballot.take(self, error)
        self.owed.clear()
        self.descriptor = None
        self.connection.disconnect()
        self._torn = False


class Stock:
    """The nodes of one server that are not in use. A process that was forked makes nodes of its own."""

    def __init__(self, pool):
        self._make_pool = likeness(pool)
        self._free, self._pid = collections.deque(), os.getpid()

    def take(self):
        if self._pid != os.getpid():
            self._free, self._pid = collections.deque(), os.getpid()
        try:
            return self._free.pop()  # the one used last: what a silent server owes, it owes to as few as can be
        except IndexError:
            return Node(self._make_pool)

    def put_back(self, node):
        self._free.append(node)


_of_pools = weakref.WeakKeyDictionary()  # a client's pool -> its Stock, for as long as the pool lives


def stock_of(client):
    """The Stock for ``client`` (a ``redis.Redis``), the same for all clients that share a pool. TypeError as pool_of()'s."""
    pool = pool_of(client)
    return _of_pools.get(pool) or _of_pools.setdefault(pool, Stock(pool))
