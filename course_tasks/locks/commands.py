"""Commands sent exactly once.

redis-py sends a command again, up to ten times and without a word, when its reply is lost. A lock can't have that. At 0.0 s
a client sends SET NX, and the server stalls; at 0.5 s the client gives up waiting and sends the same SET NX anew; at 1.0 s
the server carries out both. The first is granted and its reply has nobody to read it; the second finds the key taken, by
its own token. The client hears "no", and its lock stands until the lease ends, with nobody inside.

So lock commands go over connections of their own: made as the given client makes its own, with its connection class and
all its settings, but without retries and with replies as bytes. A command then ends in one of three ways:

- a reply, or an error that the server replied with;
- an error of the client's before the last byte was written: the server has no whole command, and will not carry one out;
- :class:`~course_tasks.locks.lost.ReplyLost`: written and not answered.
"""

import contextlib
import os
import weakref

from redis.exceptions import RedisError, ResponseError

from course_tasks.locks.likeness import likeness, pool_of
from course_tasks.locks.lost import ReplyLost, is_unanswered, settle
from course_tasks.locks.script import read, write


class Commands:
    """Sends commands, each once, over connections made as those of ``pool`` (a client's connection pool) are.

    Several threads may send at once; a process that was forked makes connections of its own. A reply is waited for as
    long as the client's ``socket_timeout`` says, or ``likeness.BOUND`` seconds where it says nothing. An interrupt between two
    steps of redis-py's own may cost a connection, one of as many as the pool may have, but never leaves a pool that hangs:
    the mutex of a ConnectionPool is taken and given back in C, and a BlockingConnectionPool's queue is a Stack.
    """

    def __init__(self, pool):
        self._make_pool = likeness(pool)
        self._pools, self._pid = (self._make_pool(), self._make_pool()), os.getpid()
        self.encode = self.pool.get_encoder().encode

    def send(self, *command, remedy=None):
        """Send ``command`` (its words; the first may be a Script) and return the reply, text in it as bytes.

        Where the reply is lost, ``remedy`` (a Remedy) is sent, and waited for once more as long. After an interrupt (Ctrl-C,
        Celery's soft time limit) while the reply was awaited it is sent, and waited for only briefly.

        Raises ReplyLost, ResponseError where the server refuses, and redis-py's other errors where nothing was done.
        """
        pool = self.pool
        connection = pool.get_connection()
        try:
            connection.check_health()
            if remedy:
                remedy.due = True
            write(connection, command)
            try:
                return read(connection, command)
            except RedisError as error:
                if not is_unanswered(error):
                    raise
                raise ReplyLost(settle(connection, remedy, error)) from error
            except BaseException:
                if remedy:
                    with contextlib.suppress(RedisError):
                        remedy.hurry(connection, replies=2)
                raise
        except (ResponseError, ReplyLost):
            raise
        except BaseException:
            connection.disconnect()  # a reply may still come, which the next user would take for its own
            raise
        finally:
            pool.release(connection)

    def post(self, remedy):
        """Send ``remedy`` if it is due, and hardly wait for it: something was interrupted. Never mind if that fails.

        Where no connection is free, one has to be made first, and that takes as long as the client allows.
        """
        if not remedy.due:
            return
        pool = self.pool
        with contextlib.suppress(RedisError):
            connection = pool.get_connection()
            try:
                remedy.hurry(connection, replies=1)
            except BaseException:
                connection.disconnect()
                raise
            finally:
                pool.release(connection)

    def look(self, *command):
        """Send ``command``, which changes nothing, so that a lost reply is an error like any other of redis-py's."""
        try:
            return self.send(*command)
        except ReplyLost as lost:
            raise lost.__cause__ from None

    @property
    def pool(self):
        """The pool that this process's connections come from."""
        return self._pools_of_this_process()[0]

    @property
    def bells(self):
        """The pool of connections on which somebody waits to be woken: many who wait must leave some to who is to release."""
        return self._pools_of_this_process()[1]

    def _pools_of_this_process(self):
        # One made before a fork may have been copied in the middle of another thread's use, its mutex held for ever.
        if self._pid != os.getpid():
            pools = self._make_pool(), self._make_pool()
            self._pools, self._pid = pools, os.getpid()  # in this order: who sees the pid sees the pools
        return self._pools


_of_pools = weakref.WeakKeyDictionary()  # a client's pool -> its Commands, for as long as the pool lives


def commands_of(client):
    """The Commands for ``client`` (a ``redis.Redis``), the same for all clients that share a connection pool.

    Raises TypeError as pool_of() does.
    """
    pool = pool_of(client)
    # Two threads at once may make one each, and one of them is dropped, with no connection made. A mutex against that could
    # be copied by a fork while it is held.
    return _of_pools.get(pool) or _of_pools.setdefault(pool, Commands(pool))
