"""A lease lock that numbers its holds, so that whoever guards the data can refuse a holder that came too late."""

import functools

from course_tasks.locks.hold import milliseconds
from course_tasks.locks.keys import beside
from course_tasks.locks.lease import LeaseLock
from course_tasks.locks.script import Script


class FencedLock(LeaseLock):
    """A LeaseLock that gives each hold a fencing token: a number higher than that of every hold before (some are left out).

    The race that it lets others close: at 0 s worker 1 takes the lock for 10 s, token 33, and is paused. At 10 s the lease is
    over; at 11 s worker 2 takes the lock, token 34, writes, and the database keeps "34" beside the data. At 12 s worker 1
    wakes in the middle of its work, knows of nothing, and writes as well. The database compares, in the same step as it
    writes: 33 is lower than 34. Refused. (Equal is accepted: a holder may write more than once.)

    The race that it closes itself: with SET NX and then a separate INCR, worker 1 is paused between the two. Its lease ends,
    worker 2 takes the lock and counts to 1, and worker 1 wakes and counts to 2: the stale holder has the higher token. So
    one script does both.

    What it does not promise: anything, where nobody compares. A check by the holder, or one apart from the write, leaves the
    same gap open. What can't compare (a mail that is sent) can't be fenced.

    Nor is it enough to compare when something is written, where what is written depends on what was read. At 0 s worker 1,
    token 33, reads a stock of 5, and is paused. At 11 s worker 2, token 34, reads 5 as well. At 12 s worker 1 wakes and
    writes 4: the database has seen no 34 yet. At 13 s worker 2 writes 4. Every token was in order, and one sale is lost. So
    show the token when you read, too, and have the database keep it from then on; or have it write only if what was read is
    still there.

    The counter has a key of its own, which never expires and is not deleted on release. It lasts as long as the server's
    data: with ``appendonly yes`` and ``appendfsync always`` each token is on disk before it is given; with less, a crash
    may take the last ones back; and without persistence, after FLUSHALL, where memory is short and the policy evicts any key
    (``allkeys-…``), or on failover to a replica that lags, the count starts anew, or is behind. Then a new holder's token
    is lower than what the database has seen: it is refused although it holds the lock, and a paused holder from before would
    be accepted. Until somebody sets the counter above the highest token seen, nothing is in order.

    The keys: the lock is ``name``, as every lock here has it; the counter is ``{name}:fence``, whose braces make a cluster
    keep it on the same node (a name with a ``{tag}`` of its own keeps that one). Arguments as LeaseLock's.
    """

    # KEYS[1]: the lock. KEYS[2]: the counter. ARGV[1]: the token. ARGV[2]: the lease in milliseconds.
    # Returns the fencing token, or nil if somebody holds the lock.
    # Counts first: a counter that holds no number is an error, after which nothing has been set.
    # Reads the counter as text: a number of Lua's is exact up to 2^53 only, and somebody may count on from a clock's.
    ACQUIRE = Script("""
        if redis.call('exists', KEYS[1]) == 1 then
            return false
        end
        redis.call('incr', KEYS[2])
        redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2])
        return redis.call('get', KEYS[2])
    """)

    def __init_subclass__(cls):
        for step in ("_ask", "_acquire_command", "_release_command"):
            if getattr(cls, step) is not getattr(FencedLock, step):
                raise TypeError(
                    f"{cls.__name__} would take the lock, or give it back, in another way than FencedLock, whose script "
                    "counts: it would have no fence."
                )

    @property
    def fence(self):
        """The fencing token (int) of this hold, also when its lease is over; None where the lock is not acquired."""
        hold = self._hold
        return int(hold.answer) if hold else None

    def _acquire_command(self, token):
        return self.ACQUIRE, 2, self.name, self._counter, token, milliseconds(self.timeout, "timeout")

    @functools.cached_property
    def _counter(self):
        return beside(self._encoded(self.name), b"fence")
