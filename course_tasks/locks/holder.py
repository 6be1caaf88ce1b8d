"""What a lock object knows of its holds: one for each thread, from the moment when it asks until it has given back."""

import functools
import os
import threading
import time
import types

from redis.exceptions import LockError, LockNotOwnedError, RedisError

from course_tasks.locks.errors import LockOutcomeUnknown
from course_tasks.locks.hold import milliseconds


def undone_if_interrupted(acquire):
    """Let ``acquire``, a method that takes a lock, leave none behind where it doesn't return (Ctrl-C, a soft time limit)."""

    @functools.wraps(acquire)
    def wrapper(lock, *args, **options):
        earlier = lock._hold
        try:
            return acquire(lock, *args, **options)
        except BaseException:
            hold = lock._hold
            if hold and hold is not earlier and hold.taker is threading.current_thread():
                lock._forsake(hold)
            raise

    return wrapper


class Holder:
    """The holds of the lock ``name``, of ``timeout`` seconds each, and how they come, grow and go.

    Four steps are left to subclasses, which know where the lock is kept:

    - ``_ask(hold, *how)`` asks for it with the hold's token; None where it is not given, else what is kept as its ``answer``;
    - ``_lengthen(hold, span, replace)``: to ``span`` milliseconds from now, or without ``replace`` by so many more than are
      left; returns whether it is still held;
    - ``_give_back(hold)`` returns whether it was still held;
    - ``_drop(hold)`` gives back what may have been given, hardly waits for that, and raises none of redis-py's errors:
      something was interrupted.

    The first three raise LockOutcomeUnknown where that is so, and redis-py's other errors where nothing was done.
    """

    def __init__(self, name, timeout, thread_local):
        milliseconds(timeout, "timeout")
        self.name = name
        self.timeout = timeout
        self.thread_local = bool(thread_local)
        self._here = threading.local() if thread_local else types.SimpleNamespace()

    @property
    def validity(self):
        """Seconds for which the lock is certainly still held, as far as the holder's clock can tell; 0.0 where it isn't."""
        hold = self._hold
        return hold.validity if hold else 0.0

    @property
    def _hold(self):
        """The Hold of this thread and process, or None."""
        hold = getattr(self._here, "hold", None)
        return hold if hold and not hold.ended and hold.pid == os.getpid() else None

    def _own(self, what):
        hold = getattr(self._here, "hold", None)
        if hold is None or hold.ended:
            raise LockError(f"Cannot {what} a lock that's not owned or is already unlocked", self.name)
        if hold.pid != os.getpid():
            raise LockNotOwnedError(f"Cannot {what} a lock that process {hold.pid} took before it forked", self.name)
        return hold

    def _try(self, hold, *how):
        """Ask for the lock once, with ``hold``, and return whether it was given; then that is this thread's."""
        try:
            given = self._is_given(hold, *how)
            if given:
                self._here.hold = hold
            return given
        except RedisError:
            raise
        except BaseException:
            self._forsake(hold)
            raise

    def _is_given(self, hold, *how):
        asked, lease = time.monotonic(), milliseconds(self.timeout, "timeout") / 1000
        answer = self._ask(hold, *how)
        if answer is None:
            return False
        hold.is_granted(answer, lease, asked)
        if hold.validity:
            return True
        try:
            self._give_back(hold)
        except RedisError as error:
            what = "it was acquired too late; whether it was given back"
            raise self._unknown(what, hold.clears_in) from error
        return False

    def _extend(self, hold, seconds, replace):
        span = milliseconds(seconds, "additional_time")
        with hold.mutex:
            if hold.over:
                raise LockNotOwnedError("Cannot extend a lock that was lost", self.name)
            asked, until = time.monotonic(), hold.until
            if not self._lengthen(hold, span, replace):
                hold.over = True
                raise LockNotOwnedError("Cannot extend a lock that's no longer owned", self.name)
            hold.is_longer(span / 1000, asked if replace else max(asked, until))
        if not hold.validity:
            raise LockNotOwnedError("The lock was extended too late: that lease is over as well", self.name)
        return True

    def _forsake(self, hold):
        """Have no more to do with a Hold, or with what was to be one: something was interrupted. It may be None, or ended."""
        if hold and not hold.ended:
            hold.ended = True
            self._drop(hold)

    def _unknown(self, what, clears_in):
        return LockOutcomeUnknown(
            f"The lock {self.name!r}: {what} is unknown, for no answer came. It is free in {clears_in:.3f} s at the latest.",
            self.name,
            clears_in,
        )
