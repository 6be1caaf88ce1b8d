"""Getting a lock, and waiting for it if need be; that it is waited for is recorded, also where the lock itself is silent."""

import functools
import inspect
import os
import threading
import time

POLL = 0.05  # seconds between two attempts where a lock's own acquire() does not wait
SILENT = 0.2  # seconds after which an attempt of which nothing was heard counts as waiting


def acquire(lock, *, wait, waiting):
    """Acquire ``lock`` and return whether it was given.

    Without ``wait``, one attempt. With it, ``waiting()`` is called once if the first attempt fails, and then the
    lock's own ``acquire()`` waits, if it takes redis-py's argument ``blocking``; else it is asked again and again.
    """
    try:
        waits_itself = "blocking" in inspect.signature(lock.acquire).parameters
    except ValueError:  # built-in locks (threading.Lock) show no signature, and do take it
        waits_itself = True
    once = functools.partial(lock.acquire, blocking=False) if waits_itself else lock.acquire
    if once():
        return True
    if not wait:
        return False
    waiting()
    if waits_itself:
        return bool(lock.acquire())
    while not once():
        time.sleep(POLL)
    return True


class Attempt:
    """One attempt to get a lock, from when it is made until the ``with`` is left: ``with Attempt(record) as attempt:``.

    ``record`` is the recorder that hears that it waits: where :meth:`waiting` is called; or where the attempt goes on for
    longer than ``SILENT``, because the lock waits inside its ``acquire()`` without being asked to. ``began`` is when it
    began (``time.monotonic()``, seconds), ``waited`` whether it is known to have waited.
    """

    def __init__(self, record):
        self.began, self.waited = time.monotonic(), False
        self._record, self._over = record, False
        self._one_at_a_time = threading.Lock()

    def waiting(self):
        """Record that this attempt waits, and has done so since it began; once, and not when it is over."""
        with self._one_at_a_time:
            if not self.waited and not self._over:
                self.waited = True
                self._record("waiting", t=self.began)

    def __enter__(self):
        _listener(os.getpid()).attempt = self
        return self

    def __exit__(self, *_):
        _listener(os.getpid()).attempt = None
        with self._one_at_a_time:
            self._over = True


class Listener(threading.Thread):
    """Notices when the ``attempt`` of this process that is under way (an Attempt or None) waits without a word.

    One thread for all attempts: to start one for each would take half as long as to acquire a lock.
    """

    def __init__(self):
        super().__init__(name="listener", daemon=True)
        self.attempt = None

    def run(self):
        while True:
            begin = time.monotonic()
            time.sleep(SILENT)
            self.look(time.monotonic() - begin)

    def look(self, since):
        """Look at the attempt, ``since`` seconds after the last time; more of them mean that the process stood still itself."""
        attempt = self.attempt
        if attempt and since < 2 * SILENT and time.monotonic() - attempt.began > SILENT:
            attempt.waiting()


@functools.lru_cache(maxsize=1)
def _listener(pid):
    """The Listener of this process; ``pid`` is in the key because threads stay behind in a fork."""
    listener = Listener()
    listener.start()
    return listener
