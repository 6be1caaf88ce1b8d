"""What keeps one hold of a RenewingLock: a thread that renews its lease, and one that watches the clock."""

import logging
import threading
import time

from course_tasks.locks.errors import LockNotOwnedError
from course_tasks.locks.flag import Flag

logger = logging.getLogger(__name__)


class Keeper:
    """Keeps ``hold`` of ``lock``, a RenewingLock, until it is stopped, or the hold is lost.

    There are two threads because one may be stuck in a command, with a server that does not answer, just when the lease
    ends. The watcher sends nothing, so that it can say so in time. ``lost`` (a threading.Event) is set by the watcher alone.
    It starts the renewer when the first renewal is due, a third of a lease after the lock was asked for: many a hold is over
    by then.
    """

    def __init__(self, lock, hold):
        self.lost = threading.Event()
        self.hold = hold
        self._lock = lock
        self._over = Flag()  # stopped or lost: nothing more is renewed
        self._look = Flag()  # the watcher is to look before the lease's end
        # Either stopped or lost, whichever comes first. A signal's handler may release what its own thread is keeping.
        self._mutex = threading.RLock()
        # Daemons: an interpreter that ends does not wait for them. Nor does a forked child have them.
        self._renewer = threading.Thread(target=self._renew, name=f"renews {lock.name!r}", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name=f"watches {lock.name!r}", daemon=True)

    def start(self):
        """Start to keep the hold, which was granted just now. Raises RuntimeError where no thread can be started.

        Thread.start() waits for an Event, so an interrupt in the middle of that may come out as a RuntimeError as well, or
        leave a thread that never gets to its work. That is Python's own; the lock is given back all the same.
        """
        self._watcher.start()

    def stop(self):
        """Renew no more. When this returns, the renewer has ended."""
        self.halt()
        if self._renewer.ident and self._renewer is not threading.current_thread():
            self._renewer.join()

    def halt(self):
        """Renew no more, and don't wait for a renewal that is under way."""
        with self._mutex:
            self._over.set()
        self._look.set()

    def lose(self):
        """Count the hold as lost: it was found to be, by whoever calls this."""
        self.hold.over = True
        self._look.set()

    def _renew(self):
        lock, lease = self._lock, self._lock.timeout
        lock._adopt(self)
        due = time.monotonic()
        while not self._over.wait(due - time.monotonic()):
            if self._is_enough():
                return
            asked = time.monotonic()
            try:
                lock._extend(self.hold, lease, replace=True)
            except LockNotOwnedError:
                self.lose()
                return
            except Exception as error:  # whatever it is: the lease still runs, and the watcher knows until when
                logger.warning(
                    "The lock %r could not be renewed, %.3f s left: %s", lock.name, self.hold.validity, error
                )
                due = time.monotonic() + lease / 10
            else:
                due = asked + lease / 3
                self._call(lock.on_renewed)

    def _is_enough(self):
        """Whether the lease is to run out: it was renewed for long enough, or nobody is left who could release the lock."""
        lock, why = self._lock, None
        if time.monotonic() - self.hold.asked >= lock.max_hold:
            why = f"it was held for {lock.max_hold} s"
        elif lock.thread_local and not self.hold.taker.is_alive():
            why = "the thread that acquired it has ended"
        if why:
            logger.warning("The lock %r is not renewed any more: %s", lock.name, why)
        return bool(why)

    def _watch(self):
        self._lock._adopt(self)
        if not self._look.wait(self.hold.asked + self._lock.timeout / 3 - time.monotonic()):
            self._start_to_renew()
        while not (ended := self._ended()):
            self._look.wait(self.hold.validity)
        if ended == "lost":
            self.lost.set()
            logger.warning("The lock %r was lost while it was held", self._lock.name)
            self._call(self._lock.on_lost)

    def _start_to_renew(self):
        with self._mutex:
            if self._over.up:
                return
            try:
                self._renewer.start()
            except RuntimeError as error:  # no more threads: the hold is as long as one lease, and the watcher says so
                logger.warning("The lock %r can't be renewed: %s", self._lock.name, error)

    def _ended(self):
        """How the hold ended, "stopped" or "lost"; None while it goes on."""
        with self._mutex:
            if self._over.up:
                return "stopped"
            if self.hold.validity:
                return None
            self.hold.over = True  # a renewal whose answer comes now is none
            self._over.set()
            return "lost"

    def _call(self, callback):
        if callback is None:
            return
        try:
            callback(self._lock)
        except Exception:
            logger.exception("%r failed, called for the lock %r", callback, self._lock.name)
