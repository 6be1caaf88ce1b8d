"""A pool of connections that neither a fork nor an interrupt leaves in a state that nobody knows."""

import contextlib
import os

from redis.exceptions import RedisError, ResponseError

from course_tasks.locks.lost import ReplyLost


class Connections:
    """Lends connections of a pool that ``make_pool()`` makes.

    Where an interrupt (Ctrl-C, a soft time limit) comes between two of redis-py's steps, it may have lost a connection, or put
    one back half made: in database 0, where its client's is 1, and a lock that is taken over that one excludes nobody. So
    after an interrupt there is a new pool; and also in a process that was forked.
    """

    def __init__(self, make_pool):
        self._make_pool = make_pool
        self._pool, self._pid = make_pool(), os.getpid()

    @property
    def pool(self):
        """The pool of this process."""
        # One made before a fork may have been copied in the middle of another thread's use, its mutex held for ever.
        if self._pid != os.getpid():
            pool = self._make_pool()
            self._pool, self._pid = pool, os.getpid()  # in this order: who sees the pid sees the pool
        return self._pool

    @contextlib.contextmanager
    def lent(self):
        """A connection, for as long as one is in this context. Raises redis-py's ConnectionError or TimeoutError if it can't."""
        pool = self.pool
        try:
            connection = pool.get_connection()
            try:
                yield connection
            except (ResponseError, ReplyLost):
                raise
            except BaseException:
                connection.disconnect()  # a reply may still come, which the next user would take for its own
                raise
            finally:
                pool.release(connection)
        except RedisError:
            raise
        except BaseException:
            self._pool = self._make_pool()
            raise
