"""The face of every lock here: the names and arguments of redis-py's Lock, wherever the lock is kept."""

import logging
import math
import time

from redis.exceptions import LockError, LockNotOwnedError, RedisError

from course_tasks.locks.hold import LONGEST, Hold, new_token, not_negative
from course_tasks.locks.holder import Holder, undone_if_interrupted

logger = logging.getLogger(__name__)


class BaseLock(Holder):
    """A lock with a lease. Arguments as LeaseLock's. Where it is kept, a subclass knows. To the steps that Holder leaves open
    it adds ``locked()`` and ``owned()``, ``_reach(redis)``, which gets ready to ask there, and ``_encoded(token)`` (bytes).
    """

    def __init__(
        self,
        redis,
        name,
        timeout=10,
        sleep=0.1,
        blocking=True,
        blocking_timeout=None,
        thread_local=True,
        raise_on_release_error=True,
    ):
        if timeout is None:
            raise ValueError(
                "timeout=None would be a lock without a lease: if its holder died, it would be taken for ever. Give it a "
                "number of seconds. (client.lock(name, lock_class=...) passes None unless it is told: add timeout=10.)"
            )
        super().__init__(name, timeout, thread_local)
        self.redis = redis
        self.sleep = not_negative(sleep, "sleep", LONGEST)
        self.blocking = blocking
        self.blocking_timeout = blocking_timeout
        self._end_of(blocking_timeout)
        self.raise_on_release_error = raise_on_release_error
        self._reach(redis)

    @undone_if_interrupted
    def __enter__(self):
        if not self.acquire():
            raise LockError("Unable to acquire lock within the time specified", self.name)
        return self

    def __exit__(self, kind, error, traceback):
        hold = self._hold
        try:
            self.release()
        except RedisError as problem:
            if error is None and (self.raise_on_release_error or not isinstance(problem, LockError)):
                raise
            logger.warning("Leaving the lock %r: %s", self.name, problem)
        except BaseException:
            self._forsake(hold)  # it may have been interrupted before release() had begun
            raise

    @undone_if_interrupted
    def acquire(self, sleep=None, blocking=None, blocking_timeout=None, token=None):
        """Take the lock and return True; False where somebody else had it, at the last try (or the answer came too late).

        ``sleep``, ``blocking`` and ``blocking_timeout`` are the lock's own unless given. ``token`` (bytes or str) takes the
        place of a random one for each try; it must be one that no other hold has, before or after: a release that is still
        under way would end that one too.

        Each try waits for the server no longer than the client's socket_timeout, and as long again to undo one that was
        not answered; beside that, for a connection where there is none. Raises LockOutcomeUnknown where that failed too;
        redis-py's ConnectionError or TimeoutError where certainly nothing was acquired. Whatever else ends it (Ctrl-C, a
        soft time limit), what it had acquired is given back by one more message; if that is lost, its lease ends it.
        """
        sleep = self.sleep if sleep is None else not_negative(sleep, "sleep", LONGEST)
        blocking = self.blocking if blocking is None else blocking
        stop = self._end_of(self.blocking_timeout if blocking_timeout is None else blocking_timeout)
        token = None if token is None else self._encoded(token)
        while not self._try(Hold(new_token() if token is None else token)):
            left = stop - time.monotonic()
            if not blocking or left <= 0:
                return False
            time.sleep(min(self._pause(sleep), left))
        return True

    def release(self):
        """Give the lock back. Raises LockNotOwnedError where it had been lost, and LockError where it was not acquired.

        Raises LockOutcomeUnknown where no answer came, to a second attempt neither. Where redis-py's ConnectionError or
        TimeoutError says that nothing could be sent, the lock is still held, and release() may be called again. Where it is
        interrupted, the lock is given back nevertheless.
        """
        hold = self._own("release")
        try:
            released = self._give_back(hold)
            hold.ended = True
        except RedisError as error:
            hold.ended = isinstance(error, LockError)  # otherwise nothing was done
            raise
        except BaseException:
            self._forsake(hold)
            raise
        if not released:
            raise LockNotOwnedError("Cannot release a lock that's no longer owned", self.name)

    def extend(self, additional_time, replace_ttl=False):
        """Lengthen the lease by ``additional_time`` seconds, or with ``replace_ttl`` to so many from now; return True.

        A lease that has more time left than that keeps it. A lock that was lost is not taken again: LockNotOwnedError.
        Raises LockOutcomeUnknown where no answer came: then the lease is what it was, or longer.
        """
        return self._extend(self._own("extend"), additional_time, replace_ttl)

    def reacquire(self):
        """Lengthen the lease to a whole ``timeout`` from now; see extend()."""
        return self._extend(self._own("reacquire"), self.timeout, True)

    @staticmethod
    def _pause(sleep):
        """Seconds to wait between two tries, where ``sleep`` was asked for."""
        return sleep

    @staticmethod
    def _end_of(blocking_timeout):
        """When that ends if it begins now, by ``time.monotonic()``."""
        return time.monotonic() + (
            math.inf if blocking_timeout is None else not_negative(blocking_timeout, "blocking_timeout")
        )
