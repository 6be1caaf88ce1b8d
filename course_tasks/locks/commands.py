"""Commands sent exactly once, and what can still be said when an answer does not come.

redis-py sends a command again, up to ten times and without a word, when its reply is lost. A lock can't have that. At 0.0 s
a client sends SET NX, and the server stalls; at 0.5 s the client gives up waiting and sends the same SET NX anew; at 1.0 s
the server carries out both. The first is granted and its reply has nobody to read it; the second finds the key taken, by
its own token. The client hears "no", and its lock stands until the lease ends, with nobody inside.

So lock commands go over connections of their own: made as the given client makes its own, with its connection class and
all its settings, but without retries and with replies as bytes. A command then ends in one of three ways:

- a reply, or an error that the server replied with;
- an error of the client's before the last byte was written: the server has no whole command, and will not carry one out;
- :class:`ReplyLost`: written and not answered. Whether it was, or is yet to be, carried out is open.

What settles the third is another command behind it on the *same* connection: a server takes one connection's commands in
the order in which they were written, so the second can't overtake the first, however late both are. On another connection
it can. Only where the connection is broken a new one is used, and its answer counts for less.
"""

import contextlib
import hashlib
import os
import weakref

from redis import ConnectionPool
from redis.exceptions import (
    ConnectionError,
    InvalidResponse,
    NoScriptError,
    RedisError,
    ResponseError,
    TimeoutError,
)
from redis.sentinel import SentinelConnectionPool

from course_tasks.locks.likeness import likeness

# Errors with which no reply came. Exactly these types: a server's own refusals (LOADING, NOAUTH) are subclasses.
UNANSWERED = {ConnectionError, TimeoutError, InvalidResponse}


class ReplyLost(RedisError):
    """A command was written whole, and no reply came in time. Its cause is the error of the client.

    ``replies`` is what was heard afterwards, of the command itself and of its remedy (see :meth:`Commands.send`): ``()``
    is nothing; ``(second,)`` the remedy's reply on a new connection, which the command may still follow; ``(first,
    second)`` both replies, late but in order on one connection, so that nothing is open any more. A reply that is an
    error stands there as the exception.
    """

    def __init__(self, replies):
        super().__init__("a command was sent and its reply never came")
        self.replies = replies

    @property
    def undone(self):
        """Whether a remedy that answers 1 where it undid something, else 0, has for certain left nothing of the command."""
        return self.replies == (1,) or (len(self.replies) == 2 and self.replies[1] in (0, 1))


class Script:
    """A Lua script; ``(script, number of keys, *keys, *arguments)`` is a command as ``("GET", key)`` is one."""

    def __init__(self, text):
        self.text = text
        self.sha = hashlib.sha1(text.encode()).hexdigest()


class Commands:
    """Sends commands, each once, over connections made as those of ``pool`` (a client's connection pool) are.

    Several threads may send at once; a process that was forked makes connections of its own. A reply is waited for as
    long as the client's ``socket_timeout`` says, or ``likeness.BOUND`` seconds where it says nothing.
    """

    def __init__(self, pool):
        self._make_pool = likeness(pool)
        self._pool, self._pid = self._make_pool(), os.getpid()
        self.encode = self._pool.get_encoder().encode

    def send(self, *command, remedy=None):
        """Send ``command`` (its words; the first may be a Script) and return the reply, text in it as bytes.

        ``remedy`` is a command, with a Script first, that may safely follow a lost reply; it is sent then, and waited for
        once more as long. After an interrupt (Ctrl-C, Celery's soft time limit) it is written and not waited for.

        Raises ReplyLost, ResponseError where the server refuses, and redis-py's other errors where nothing was sent.
        """
        pool = self.pool
        connection = pool.get_connection()
        try:
            connection.check_health()
            _write(connection, command)
            try:
                return _read(connection, command)
            except Exception as error:
                if type(error) not in UNANSWERED:
                    raise
                in_order = type(error) is TimeoutError and connection.is_connected
                raise ReplyLost(_settle(connection, remedy, in_order)) from error
            except BaseException:
                if remedy:
                    with contextlib.suppress(RedisError):
                        _write(connection, remedy, whole=True)
                raise
        except (ResponseError, ReplyLost):
            raise
        except BaseException:
            connection.disconnect()  # a reply may still come, which the next user would take for its own
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
        # One made before a fork may have been copied in the middle of another thread's use, its mutex held for ever.
        if self._pid != os.getpid():
            self._pool, self._pid = self._make_pool(), os.getpid()  # in this order: who sees the pid sees the pool
        return self._pool


def _write(connection, command, whole=False):
    """Write ``command``; a script by its hash unless ``whole``, which needs no second round where the server lacks it."""
    first, *rest = command
    if isinstance(first, Script):
        command = ("EVAL", first.text, *rest) if whole else ("EVALSHA", first.sha, *rest)
    connection.send_command(*command, check_health=False)


def _read(connection, command):
    """The reply to ``command``; a script that the server doesn't know (restarted, flushed) has not run, and is sent whole."""
    try:
        return connection.read_response(disconnect_on_error=False)
    except NoScriptError:
        _write(connection, command, whole=True)
        return connection.read_response(disconnect_on_error=False)


def _settle(connection, remedy, in_order):
    """Send ``remedy`` after a lost reply and return the replies as ReplyLost has them.

    ``in_order``: the connection still stands, so the remedy goes behind the command.
    """
    try:
        if remedy and in_order:
            _write(connection, remedy, whole=True)
            return _late(connection), _late(connection)
        connection.disconnect()
        if remedy:
            connection.connect()
            _write(connection, remedy, whole=True)
            return (_late(connection),)
    except RedisError:
        connection.disconnect()
    return ()


def _late(connection):
    try:
        return connection.read_response(disconnect_on_error=False)
    except ResponseError as error:
        return error


_of_pools = weakref.WeakKeyDictionary()  # a client's pool -> its Commands, for as long as the pool lives


def commands_of(client):
    """The Commands for ``client`` (a ``redis.Redis``), the same for all clients that share a connection pool.

    Raises TypeError where the client has no pool of connections to one server: RedisCluster, asyncio, a Sentinel's replica.
    """
    pool = getattr(client, "connection_pool", None)
    if not isinstance(pool, ConnectionPool):
        raise TypeError(
            f"a lock lives on one server, and a {type(client).__module__}.{type(client).__name__} has no connection_pool to "
            "one that could be used here. Pass a redis.Redis; of a cluster the node's that has the key: "
            "cluster.get_redis_connection(cluster.get_node_from_key(name))."
        )
    if isinstance(pool, SentinelConnectionPool) and not pool.is_master:
        raise TypeError("a lock can't be taken from a replica: pass sentinel.master_for(...), not slave_for(...).")
    # Two threads at once may make one each, and one of them is dropped, with no connection made. A mutex against that could
    # be copied by a fork while it is held.
    return _of_pools.get(pool) or _of_pools.setdefault(pool, Commands(pool))
