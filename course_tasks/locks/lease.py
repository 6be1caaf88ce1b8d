"""A lock with a lease: whatever happens to its holder, it is free again when the lease is over."""

import logging
import math
import os
import threading
import time
import types

from redis.exceptions import RedisError

from course_tasks.locks.commands import ReplyLost, Script, commands_of
from course_tasks.locks.errors import LockError, LockNotOwnedError, LockOutcomeUnknown
from course_tasks.locks.hold import Hold, milliseconds, new_token, not_negative

logger = logging.getLogger(__name__)


class LeaseLock:
    """A lock that one holder has at a time, for no longer than a lease.

    The races that it closes:

    - At 0.0 s worker 1 sets the key, and at 0.1 s it is killed before it could set an expiry. The lock is taken for ever. So
      key and expiry are set by one command, SET NX PX, and there is no lock here without a lease.
    - At 0 s worker 1 takes the lock for 10 s and stalls. At 10 s the lease is over; at 11 s worker 2 takes the lock. At 12 s
      worker 1 wakes, finishes, and deletes the key: worker 2's. At 13 s worker 3 walks in beside worker 2. So each hold has a
      random token, and only a script that compares the token, in one step with what it does then, deletes or extends.
    - At 0.0 s worker 1 sends SET NX PX, and the server stalls. At 0.5 s the client gives up; the lock may be granted at any
      moment from now on, with nobody to release it. So the release is sent behind it at once, over the same connection, where
      it can't arrive first. Whether that settled it is in what acquire() raises, which never answers False then.
    - At 0 s worker 1 asks for a lease of 10 s. The server grants it at once, and the answer arrives at 12 s. So the lease is
      measured from before the question, and such an answer is no success.

    What it does not promise: between 10 s and 12 s of the second story two workers were inside. No lock with a lease can
    prevent that alone; see FencedLock. A server that forgets the key (restart without persistence, failover to a replica
    that lacked it, eviction, a wall clock set forward) gives the lock away early. A monotonic clock stands still while the
    machine is suspended. The lock is not fair, and taking one's own lock again waits for oneself.

    ``redis`` is a ``redis.Redis``; ``name`` the key. ``timeout`` is the lease, ``sleep`` the pause between two tries of an
    acquire() that waits, ``blocking_timeout`` how long it tries at most (None: for ever); all in seconds. ``thread_local``:
    each thread sees its own hold only, so that one can't release what another took through the same object; False lets
    a thread release what another acquired. ``raise_on_release_error``: whether leaving a ``with`` whose lock had been lost
    raises, or only logs. One object may be used by several threads, and made before a fork.

    It takes redis-py's arguments and answers as redis-py's Lock does, so ``client.lock("mail", timeout=10,
    lock_class=LeaseLock)`` makes one. Where it deviates:

    ===============================  ====================================  ======================================================
    redis-py's Lock                  LeaseLock                             because
    ===============================  ====================================  ======================================================
    ``timeout=None``: no expiry      10 s unless given; None is an error   a holder that dies would keep the lock for ever
    ``timeout`` of 0, NaN, 1 µs      ValueError                            0 means "no expiry" there, 1 µs an error of the server
    token: uuid1, a time and a host  16 random bytes, in hexadecimal       machines that are copies of one another have one host
    a lost reply: sent again         sent once, over own connections       the second try finds the first one's key, and says no
    a client without socket_timeout  waits 5 s                             an acquire() that hangs can't say that it is late
    a cluster, an asyncio client     TypeError                             a lock lives on one server, and its methods block
    ``blocking_timeout``             one more try at its end               there, up to ``sleep`` of it is given away
    a reply after the lease          is undone and does not count          the lock may be somebody else's by then
    no reply in acquire()            undone; else LockOutcomeUnknown       a lock nobody knows of stands until its lease ends
    no reply in release()            asked again; LockOutcomeUnknown       the lock may stand for the rest of its lease
    no reply in extend()             LockOutcomeUnknown                    the lock is held, for how long is open
    release() that wasn't sent       may be called again                   there, the token is forgotten first
    extend() to less than is left    leaves the lease as it is             a late command can't cut a lease that is counted on
    extend() without an expiry       sets one again                        there, such a lock can be neither extended nor lost
    release() in another thread      LockError                             there, an AttributeError
    after a fork, both hold it       the child holds nothing               they would be inside together
    ``with``: error on release       never hides the body's exception      that one says what went wrong
    nothing says what is left        ``validity``: seconds left, less 1 %  the holder must know when to stop, by its own clock
    ===============================  ====================================  ======================================================
    """

    # KEYS[1]: the lock. ARGV[1]: the token.
    # Returns 1 if the lock was held with this token and is now free, otherwise 0.
    RELEASE = Script("""
        if redis.call('get', KEYS[1]) ~= ARGV[1] then
            return 0
        end
        return redis.call('del', KEYS[1])
    """)

    # KEYS[1]: the lock. ARGV[1]: the token. ARGV[2]: milliseconds.
    # ARGV[3]: '1' for so many from now, '0' for so many more than are left.
    # Returns 1 if the lock is held with this token, and its lease is now as long as that or was longer; otherwise 0.
    EXTEND = Script("""
        if redis.call('get', KEYS[1]) ~= ARGV[1] then
            return 0
        end
        local left = redis.call('pttl', KEYS[1])
        local wanted = tonumber(ARGV[2])
        if ARGV[3] == '0' then
            wanted = wanted + left
        end
        if wanted > left then
            redis.call('pexpire', KEYS[1], wanted)
        end
        return 1
    """)

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
        milliseconds(timeout, "timeout")
        self.redis = redis
        self.name = name
        self.timeout = timeout
        self.sleep = not_negative(sleep, "sleep")
        self.blocking = blocking
        self.blocking_timeout = blocking_timeout
        if blocking_timeout is not None:
            not_negative(blocking_timeout, "blocking_timeout")
        self.thread_local = bool(thread_local)
        self.raise_on_release_error = raise_on_release_error
        self._commands = commands_of(redis)
        self._here = threading.local() if thread_local else types.SimpleNamespace()

    def __enter__(self):
        if not self.acquire():
            raise LockError("Unable to acquire lock within the time specified", self.name)
        return self

    def __exit__(self, kind, error, traceback):
        try:
            self.release()
        except Exception as problem:
            if error is None and (self.raise_on_release_error or not isinstance(problem, LockError)):
                raise
            logger.warning("Leaving the lock %r: %s", self.name, problem)

    def acquire(self, sleep=None, blocking=None, blocking_timeout=None, token=None):
        """Take the lock and return True; False where somebody else had it, at the last try.

        ``sleep``, ``blocking`` and ``blocking_timeout`` are the lock's own unless given. ``token`` (bytes or str) takes the
        place of a random one for each try; it must be one that no other hold has, before or after: a release that is still
        under way would end that one too.

        Each try waits for the server no longer than the client's socket_timeout, and as long again to undo one that was
        not answered. Raises LockOutcomeUnknown where that failed too; redis-py's ConnectionError or TimeoutError
        where certainly nothing was acquired.
        """
        sleep = self.sleep if sleep is None else not_negative(sleep, "sleep")
        blocking = self.blocking if blocking is None else blocking
        blocking_timeout = self.blocking_timeout if blocking_timeout is None else blocking_timeout
        token = None if token is None else self._commands.encode(token)
        patience = math.inf if blocking_timeout is None else not_negative(blocking_timeout, "blocking_timeout")
        stop = time.monotonic() + patience
        while not self._try(new_token() if token is None else token):
            left = stop - time.monotonic()
            if not blocking or left <= 0:
                return False
            time.sleep(min(sleep, left))
        return True

    def release(self):
        """Give the lock back. Raises LockNotOwnedError where it had been lost, and LockError where it was not acquired.

        Raises LockOutcomeUnknown where no answer came, to a second attempt neither. Where redis-py's ConnectionError or
        TimeoutError says that nothing could be sent, the lock is still held, and release() may be called again.
        """
        hold = self._own("release")
        self._here.hold = None
        try:
            released = self._give_back(hold)
        except LockError:
            raise
        except RedisError:
            self._here.hold = hold
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

    def locked(self):
        """Whether anybody holds the lock."""
        return self._commands.look("EXISTS", self.name) == 1

    def owned(self):
        """Whether the server says that this lock object (in this thread, with ``thread_local``) holds the lock."""
        hold = self._hold
        return hold is not None and self._commands.look("GET", self.name) == hold.token

    @property
    def validity(self):
        """Seconds for which the lock is certainly still held, as far as the holder's clock can tell; 0.0 where it isn't."""
        hold = self._hold
        return hold.validity if hold else 0.0

    # What a lock of another kind may do otherwise: three commands. The first answers nil where the lock is not given;
    # anything else is kept as the hold's ``answer``. The second also follows a first that was not answered: it may come
    # when nothing was acquired, and answers 1 where it found something of this token's to undo, otherwise 0.

    def _acquire_command(self, token):
        return "SET", self.name, token, "NX", "PX", milliseconds(self.timeout, "timeout")

    def _release_command(self, token):
        return self.RELEASE, 1, self.name, token

    def _extend_command(self, token, span, replace):
        return self.EXTEND, 1, self.name, token, span, int(replace)

    @property
    def _hold(self):
        """The Hold of this thread and process, or None."""
        hold = getattr(self._here, "hold", None)
        return hold if hold and hold.pid == os.getpid() else None

    def _own(self, what):
        hold = getattr(self._here, "hold", None)
        if hold is None:
            raise LockError(f"Cannot {what} a lock that's not owned or is already unlocked", self.name)
        if hold.pid != os.getpid():
            raise LockNotOwnedError(f"Cannot {what} a lock that process {hold.pid} took before it forked", self.name)
        return hold

    def _try(self, token, *how):
        """Ask for the lock once, and return whether it was given; then there is a Hold."""
        asked = time.monotonic()
        try:
            answer = self._commands.send(*self._acquire_command(token, *how), remedy=self._release_command(token))
        except ReplyLost as lost:
            if lost.undone:
                raise lost.__cause__ from None
            raise self._unknown("whether it was acquired", self.timeout) from lost.__cause__
        if answer is None:
            return False
        hold = Hold.granted(token, os.getpid(), answer, milliseconds(self.timeout, "timeout") / 1000, asked)
        if not hold.validity:
            try:
                self._give_back(hold)
            except RedisError as error:
                raise self._unknown("it was acquired too late; whether it was given back", hold.clears_in) from error
            return False
        self._here.hold = hold
        return True

    def _give_back(self, hold):
        """Free the lock if it is still this hold's; return whether it was."""
        command = self._release_command(hold.token)
        try:
            return self._commands.send(*command, remedy=command) == 1
        except ReplyLost as lost:
            # The late first reply; or the second command's, whose 1 says that the first had done nothing yet.
            if lost.undone and lost.replies[0] in (0, 1):
                return lost.replies[0] == 1
            if lost.replies == (0,):
                raise self._unknown("it is not held any more; whether it was until now", 0.0) from lost.__cause__
            raise self._unknown("whether it was released", hold.clears_in) from lost.__cause__

    def _extend(self, hold, seconds, replace):
        span = milliseconds(seconds, "additional_time")
        asked = time.monotonic()
        try:
            extended = self._commands.send(*self._extend_command(hold.token, span, replace))
        except ReplyLost as lost:
            hold.may_be_longer(seconds, replace)
            raise self._unknown("whether its lease was extended", hold.clears_in) from lost.__cause__
        if not extended:
            hold.until = -math.inf
            raise LockNotOwnedError("Cannot extend a lock that's no longer owned", self.name)
        hold.may_be_longer(seconds, replace)
        hold.is_longer(seconds, replace, asked)
        if not hold.validity:
            raise LockNotOwnedError("The lock was extended too late: that lease is over as well", self.name)
        return True

    def _unknown(self, what, clears_in):
        return LockOutcomeUnknown(
            f"The lock {self.name!r}: {what} is unknown, for no answer came. It is free in {clears_in:.3f} s at the latest.",
            self.name,
            clears_in,
        )
