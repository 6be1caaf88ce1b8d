"""A lock with a lease: whatever happens to its holder, it is free again when the lease is over."""

from course_tasks.locks.hold import milliseconds
from course_tasks.locks.script import Script
from course_tasks.locks.single import SingleServerLock


class LeaseLock(SingleServerLock):
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
    - At 0.00 s worker 1 sends SET NX PX. At 0.01 s, before it has heard of the answer, Ctrl-C or Celery's soft time limit ends
      its acquire(). Nobody would give back what may have been given. So acquire() does, before it lets the interrupt pass.

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
    ``lock.local.token``             not there                             a hold is more than its token: thread, process, clock
    a lost reply: sent again         sent once, over own connections       the second try finds the first one's key, and says no
    ``client.close()``               leaves them; they go with the client  redis-py doesn't tell, and uses a closed client again
    a client without socket_timeout  waits 5 s                             an acquire() that hangs can't say that it is late
    a longer socket_connect_timeout  no longer than socket_timeout         it is part of the same wait
    a cluster, an asyncio client     TypeError                             a lock lives on one server, and its methods block
    ``blocking_timeout``             one more try at its end               there, up to ``sleep`` of it is given away
    a reply after the lease          is undone and does not count          the lock may be somebody else's by then
    no reply in acquire()            undone; else LockOutcomeUnknown       a lock nobody knows of stands until its lease ends
    an interrupt in acquire()        undone                                so does that one
    an interrupt in release()        gives back all the same               there, the token is forgotten first
    no reply in release()            asked again; LockOutcomeUnknown       the lock may stand for the rest of its lease
    no reply in extend()             LockOutcomeUnknown                    the lock is held, for how long is open
    release() that wasn't sent       may be called again                   the same
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

    def _acquire_command(self, token):
        return "SET", self.name, token, "NX", "PX", milliseconds(self.timeout, "timeout")

    def _release_command(self, token):
        return self.RELEASE, 1, self.name, token

    def _extend_command(self, token, span, replace):
        return self.EXTEND, 1, self.name, token, span, int(replace)
