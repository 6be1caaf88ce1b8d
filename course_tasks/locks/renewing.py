"""A lease lock that renews its lease for as long as it is held, and says when that failed."""

import threading

from course_tasks.locks.hold import milliseconds
from course_tasks.locks.keeper import Keeper
from course_tasks.locks.lease import LeaseLock


class RenewingLock(LeaseLock):
    """A LeaseLock for work whose length nobody knows: a thread extends the lease to a whole one, each third of it.

    The race that it closes: at 0 s worker 1 takes the lock for 10 s, for work that takes 3 s as a rule. Today it takes 14 s. At
    10 s the lease is over, at 11 s worker 2 takes the lock, and until 14 s both are inside. Here the lease is extended at
    3.3 s, 6.7 s, 10 s and 13.3 s, and ends with the release at 14 s. If worker 1 is killed at 5 s, the lock is free at 13.3 s:
    a long lease is no longer the price for long work.

    The race that it does not close: a renewer is paused with its process. At 0 s worker 1 takes the lock, and at 2 s it is
    paused, by SIGSTOP, a full machine, a snapshot. At 10 s the lease is over; at 11 s worker 2 takes the lock. At 15 s worker
    1 goes on where it was, inside, until its own threads have noticed: renewal makes that window rare, and does not shut
    it. See FencedLock. (Both in one: ``class Both(RenewingLock, FencedLock)``.)

    What tells the work to stop is ``lost``. It is set when a renewal finds that the lock is another's, or gone; and at the
    latest when the lease is over by this process's clock, also while the server does not answer. A renewal that fails
    while the lease runs is logged and tried again, each tenth of a lease. Whoever holds the lock has to look at ``lost``, or
    be told by ``on_lost``: nothing stops the work from outside. release() then raises LockNotOwnedError.

    Renewing ends with the release, before anything is sent for that; with the loss; with the thread that acquired the lock,
    where no other one can release it (``thread_local``); with the process, and does not go on in a forked child; and
    ``max_hold`` seconds after the lock was acquired. Otherwise work that hangs, or forgot to release, would keep the lock for
    ever. The lease then runs out, the lock counts as lost, and is free after ``max_hold`` and
    one ``timeout`` at the latest. An hour, the default, is also when Celery gives a task up for lost and runs it elsewhere.

    Beside LeaseLock's arguments: ``max_hold`` in seconds. ``on_lost`` is called once for each hold that is lost, with the
    lock, and ``on_renewed`` after each renewal, with the lock: from threads of their own, and while it runs nothing is
    renewed. What they raise is logged. release() waits for a renewal under way, and for its ``on_renewed``.
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
        max_hold=3600,
        on_lost=None,
        on_renewed=None,
    ):
        super().__init__(redis, name, timeout, sleep, blocking, blocking_timeout, thread_local, raise_on_release_error)
        milliseconds(max_hold, "max_hold")
        self.max_hold = max_hold
        self.on_lost = on_lost
        self.on_renewed = on_renewed
        self._newest = threading.Event()

    @property
    def validity(self):
        """As LeaseLock's, and 0.0 once ``lost`` is set, whoever set it."""
        return 0.0 if self.lost.is_set() else super().validity

    @property
    def lost(self):
        """The ``threading.Event`` that is set when the present hold is lost; each acquire() makes a new one.

        After the release it is that of the last hold. A thread that never acquired the lock sees that of the newest hold.
        """
        return getattr(self._here, "lost", self._newest)

    def _try(self, hold, *how):
        if not super()._try(hold, *how):
            return False
        if earlier := getattr(self._here, "keeper", None):  # if it still kept a hold, that is lost: here is another
            earlier.lose()
        keeper = Keeper(self, hold)
        self._here.keeper, self._here.lost = keeper, keeper.lost
        self._newest = keeper.lost
        try:
            keeper.start()
        except RuntimeError:  # no thread can be started: better no lock than one that nobody keeps
            self.release()
            raise
        return True

    def _give_back(self, hold):
        if keeper := self._keeper_of(hold):
            keeper.stop()
        was_lost = hold.over  # as soon as this is answered, another thread may have a hold, and count this one as lost
        return super()._give_back(hold) and not was_lost

    def _forsake(self, hold):
        if keeper := self._keeper_of(hold):
            keeper.halt()
        super()._forsake(hold)

    def _keeper_of(self, hold):
        keeper = getattr(self._here, "keeper", None)
        return keeper if keeper and keeper.hold is hold else None

    def _adopt(self, keeper):
        """Let this thread, one of the keeper's, see the hold as the thread sees it that acquired the lock."""
        if self.thread_local:
            self._here.keeper, self._here.lost, self._here.hold = keeper, keeper.lost, keeper.hold
