"""What keeps one hold of a RenewingLock: a thread that renews its lease, and one that watches the clock."""

import logging
import math
import threading
import time

from course_tasks.locks.errors import LockNotOwnedError

logger = logging.getLogger(__name__)


class Keeper:
    """Keeps ``hold`` of ``lock``, a RenewingLock, until it is stopped, or the hold is lost.

    There are two threads because one may be stuck in a command, with a server that does not answer, just when the lease
    ends. The watcher sends nothing, so that it can say so in time. ``lost`` (a threading.Event) is set by the watcher alone.
    """

    def __init__(self, lock, hold):
        self.lost = threading.Event()
        self._lock, self._hold = lock, hold
        self._over = threading.Event()  # stopped or lost: nothing more is renewed
        self._look = threading.Event()  # the watcher is to look before the lease's end
        self._mutex = threading.Lock()  # either stopped or lost, whichever comes first
        # Daemons: an interpreter that ends does not wait for them. Nor does a forked child have them.
        self._renewer = threading.Thread(target=self._renew, name=f"renews {lock.name!r}", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name=f"watches {lock.name!r}", daemon=True)

    def start(self):
        """Start to keep the hold, which was granted just now."""
        self._watcher.start()
        self._renewer.start()

    def stop(self):
        """Renew no more; return whether the hold was lost before. When this returns, the renewer has ended."""
        with self._mutex:
            self._over.set()
        self._look.set()
        if self._renewer.ident and self._renewer is not threading.current_thread():
            self._renewer.join()
        return self.lost.is_set()

    def lose(self):
        """Count the hold as lost: it was found to be, by whoever calls this."""
        self._hold.until = -math.inf
        self._look.set()

    def _renew(self):
        lock, lease = self._lock, self._lock.timeout
        lock._adopt(self, self._hold)
        last = time.monotonic() + lock.max_hold
        pause = lease / 3
        while not self._over.wait(pause):
            if time.monotonic() >= last:
                logger.warning("The lock %r was held for %s s, and is not renewed any more", lock.name, lock.max_hold)
                return
            try:
                lock._extend(self._hold, lease, replace=True)
            except LockNotOwnedError:
                self.lose()
                return
            except Exception as error:  # whatever it is: the lease still runs, and the watcher knows until when
                logger.warning(
                    "The lock %r could not be renewed, %.3f s left: %s", lock.name, self._hold.validity, error
                )
                pause = lease / 10
            else:
                pause = lease / 3
                self._call(lock.on_renewed)

    def _watch(self):
        self._lock._adopt(self, self._hold)
        while True:
            self._look.wait(self._hold.validity)
            with self._mutex:
                if self._over.is_set():
                    return
                if not self._hold.validity:  # else it was renewed meanwhile
                    self.lost.set()
                    self._over.set()
                    break
        logger.warning("The lock %r was lost while it was held", self._lock.name)
        self._call(self._lock.on_lost)

    def _call(self, callback):
        if callback is None:
            return
        try:
            callback(self._lock)
        except Exception:
            logger.exception("%r failed, called for the lock %r", callback, self._lock.name)
