"""A lock that serves its waiters in the order in which they came, and wakes each when its turn has come."""

import functools
import math
import time

from redis.exceptions import LockError

from course_tasks.locks.bell import Bell
from course_tasks.locks.hold import Hold, milliseconds, new_token
from course_tasks.locks.holder import undone_if_interrupted
from course_tasks.locks.keys import beside
from course_tasks.locks.lease import LeaseLock
from course_tasks.locks.turns import ASK, LEAVE, LOOK


class FairLock(LeaseLock):
    """A LeaseLock with a queue: who comes first is served first, and is woken the moment the lock is given back.

    The races that it closes, besides those of LeaseLock:

    - At 0 ms six workers want the lock, and each tries again every 100 ms. Worker 1 gives it back at 5 ms and takes it again
      at 5.1 ms, when nobody is looking; at 10.1 ms once more. Worker 6 waits for seconds. So who finds the lock taken
      queues, and who gives it back hands it to the first in the queue, in one step: it is never free for whoever comes by.
    - At 0 s it is worker 2's turn, and worker 2 was killed while it waited. Nobody is inside, and all others wait for the end
      of a lease of 10 s. So a turn is first offered, for 0.2 s. The lease starts when it is claimed; if it is not,
      the next in the queue has the turn.
    - At 0.0 s worker 2 is sent word that it has the turn, and is paused. At 0.2 s the turn is worker 3's. At 1 s worker 2
      wakes, and reads that it has the turn. If it believed that, two would be inside. So the word is only a reason to ask
      again, and one script looks whose turn it is and grants the lease. Worker 2 lost its place, and queues anew.
    - At 0 s worker 2 gives up waiting, and at the same moment it is given the turn. So leaving looks for both in one step,
      and passes the turn on.

    What it does not promise, besides what LeaseLock doesn't: the order is that in which questions reach the server, and a
    waiter that takes longer than 0.2 s to claim its turn (paused, or behind a slow network) loses its place, each time.
    Several that die side by side cost the others 0.2 s each. Where the server forgets the queue (as it may forget the
    lock), the waiters queue anew, in any order. A LeaseLock of the same name is not in the queue: it takes the lock
    whenever it finds it free, and doesn't hand it on. Where a connection breaks while one waits, acquire() raises redis-py's
    ConnectionError, and one has lost one's place.

    Arguments as LeaseLock's. ``sleep`` changes nothing: no turn waits for somebody to try again. A waiter asks every 0.2 s
    all the same, because everybody before it may be dead, or because the holder may be; it needs a second connection while
    it waits, and as many can wait in one process as the client's pool has connections. ``acquire(blocking=False)`` doesn't
    jump the queue: it is False while anybody waits, and where the lock is free just then, its only effect is that the first
    in the queue is called. ``locked()`` is True as well while somebody has the turn.

    No clock is compared with another: a turn and a lease are expiries of the lock's key, which the server counts down.

    The keys: the lock is ``name``, which holds the token of whoever has the turn or the lock. ``{name}:queue`` lists the
    tokens of those who wait; ``{name}:queue:<token>`` is where one is told of its turn. The scripts find these from
    the tokens in the queue and can't name them beforehand, as Redis Cluster asks for; they are all in the lock's slot.
    A queue in which nobody asks any more is gone after KEEP seconds. Needs Redis 6.0.6 or newer (LPOS).
    """

    CLAIM_WITHIN = 0.2  # seconds for which a turn is offered
    KEEP = 10.0  # seconds after the last question until the server forgets the queue
    ASK, LOOK, LEAVE = ASK, LOOK, LEAVE  # the scripts, see turns.py

    @undone_if_interrupted
    def acquire(self, sleep=None, blocking=None, blocking_timeout=None, token=None):
        """Take the lock when it is one's turn, and return True; False where that didn't come within ``blocking_timeout``.

        Without ``blocking``, False also while others wait. Otherwise arguments and errors are LeaseLock's. However this
        ends, one waits no longer, and a turn that came too late is passed on.
        """
        blocking = self.blocking if blocking is None else blocking
        stop = self._end_of(self.blocking_timeout if blocking_timeout is None else blocking_timeout)
        outcome = None
        while outcome is None:
            hold = Hold(new_token() if token is None else self._encoded(token))
            outcome = self._wait(hold, stop) if blocking else self._try(hold, "try")
        return outcome

    def _wait(self, hold, stop):
        """Queue for ``hold``. True when the lock is given; False when it is too late; None when the place was lost."""
        try:
            with Bell(self._commands.bells, self._queue + b":" + hold.token) as bell:
                outcome = self._come_in(hold, stop, bell)
            if outcome is False:
                self._drop(hold)
            elif outcome is None:
                # And hear the answer: where the caller named the token, it joins anew, and what leaves must not come after that.
                self._give_back(hold)
            return outcome
        except LockError:
            raise  # what could be tried to settle it has been
        except BaseException:
            # If this can't be told to the server, it is as with somebody who dies while waiting: a turn is offered in vain.
            self._drop(hold)
            raise

    def _come_in(self, hold, stop, bell):
        # A token joins once. What it sends later only claims, so if that arrives after all is over, it finds nothing to do.
        how = "join"
        while not self._try(hold, how):
            how = "claim"
            left = stop - time.monotonic()
            if left <= 0:
                return False
            expires = self._commands.look(self.LOOK, *self._place(hold.token))
            if expires is None:
                return None
            bell.wait(min(left, self.CLAIM_WITHIN, math.inf if expires < 0 else (expires + 1) / 1000))
        return True

    @functools.cached_property
    def _queue(self):
        return beside(self._encoded(self.name), b"queue")

    def _acquire_command(self, token, how):
        return self.ASK, *self._place(token), *self._spans, milliseconds(self.timeout, "timeout"), how

    def _release_command(self, token):
        return self.LEAVE, *self._place(token), *self._spans

    def _place(self, token):
        return 2, self.name, self._queue, token

    @property
    def _spans(self):
        return milliseconds(self.CLAIM_WITHIN, "CLAIM_WITHIN"), milliseconds(self.KEEP, "KEEP")
