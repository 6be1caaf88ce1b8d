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
import weakref

from redis.exceptions import RedisError

from course_tasks.locks.connections import Connections
from course_tasks.locks.likeness import likeness, pool_of
from course_tasks.locks.lost import ReplyLost, is_unanswered, settle
from course_tasks.locks.script import read, write


class Commands:
    """Sends commands, each once, over connections made as those of ``pool`` (a client's connection pool) are.

    Several threads may send at once; a process that was forked makes connections of its own. A reply is waited for as
    long as the client's ``socket_timeout`` says, or ``likeness.BOUND`` seconds where it says nothing.
    """

    def __init__(self, pool):
        make_pool = likeness(pool)
        self._connections = Connections(make_pool)
        # On these somebody waits to be woken: many who wait must leave some to who is to release.
        self.bells = Connections(make_pool)
        self.encode = self.pool.get_encoder().encode

    def send(self, *command, remedy=None):
        """Send ``command`` (its words; the first may be a Script) and return the reply, text in it as bytes.

        Where the reply is lost, ``remedy`` (a Remedy) is sent, and waited for once more as long. After an interrupt (Ctrl-C,
        Celery's soft time limit) while the reply was awaited it is sent, and waited for only briefly.

        Raises ReplyLost, ResponseError where the server refuses, and redis-py's other errors where nothing was done.
        """
        with self._connections.lent() as connection:
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

    def post(self, remedy):
        """Send ``remedy`` if it is due, and hardly wait for it: something was interrupted. Never mind if that fails.

        Where no connection is free, one has to be made first, and that takes as long as the client allows.
        """
        if remedy.due:
            with contextlib.suppress(RedisError), self._connections.lent() as connection:
                remedy.hurry(connection, replies=1)

    def look(self, *command):
        """Send ``command``, which changes nothing, so that a lost reply is an error like any other of redis-py's."""
        try:
            return self.send(*command)
        except ReplyLost as lost:
            raise lost.__cause__ from None

    @property
    def pool(self):
        """The pool that the connections come from."""
        return self._connections.pool


_of_pools = weakref.WeakKeyDictionary()  # a client's pool -> its Commands, for as long as the pool lives


def commands_of(client):
    """The Commands for ``client`` (a ``redis.Redis``), the same for all clients that share a connection pool.

    Raises TypeError as pool_of() does.
    """
    pool = pool_of(client)
    # Two threads at once may make one each, and one of them is dropped, with no connection made. A mutex against that could
    # be copied by a fork while it is held.
    return _of_pools.get(pool) or _of_pools.setdefault(pool, Commands(pool))
