"""The critical section in which tasks do their work: who may enter, and what the history hears of it."""

import contextlib
import os
import threading
import time

from redis.exceptions import LockNotOwnedError, RedisError

from course_tasks import experiment
from course_tasks.waiting import Attempt, acquire

WHOLE = 0.97  # the share of a lease from which on it is whole: a holder may count a hundredth less, for drift


class Inside:
    """What a task inside the section knows of its lock, of which there may be none.

    ``fence`` is the fencing token of this stay, where the lock has one (an int, its attribute ``fence``); else None. It
    is noted when the lock is given: a lock that is lost has no token any more, and the task must not come without.
    """

    def __init__(self, lock=None):
        self.fence = _attribute(lock, "fence", int)
        self._lost = _attribute(lock, "lost", threading.Event)
        self.told = False  # whether the task knows that its lock is lost

    def work(self, seconds):
        """Work for so many seconds, and return True; or return False as soon as the lock says that it is lost.

        A lock says so by its attribute ``lost``, a ``threading.Event``; others say nothing, and the work is done.
        """
        if self._lost is None:
            time.sleep(seconds)
        else:
            self.told = self._lost.wait(seconds)
        return not self.told


@contextlib.contextmanager
def critical_section(name, present, record):
    """The section that must be alone: ``with critical_section(...) as inside:`` is an :class:`Inside`, or False: skipped.

    ``name`` is the lock's name, ``present`` the Experiment, ``record`` the recorder of this task, which a lock that renews
    itself calls from a thread of its own. Without a lock everybody walks in. The task's own exception is never hidden
    by an error on release; an error of ``acquire()`` is the task's.
    """
    if not present.lock:
        with _staying(record):
            yield Inside()
        return
    pid = os.getpid()
    lock = experiment.lock_factory(present.run, pid)(experiment.lock_clients(present, pid), name)
    with _overheard(lock, record) as lost:
        with Attempt(record) as attempt:
            given = acquire(lock, wait=present.if_locked == "wait", waiting=attempt.waiting)
        if not given:
            record("skipped")
            yield False
            return
        inside = Inside(lock)
        try:
            record(
                "acquired", lease=_lease(lock, attempt), token=inside.fence, detail=_granted(lock, present.lock_servers)
            )
            with _staying(record):
                yield inside
        except BaseException:
            with contextlib.suppress(Exception):
                _give_back(lock, record, lost)
            raise
        try:
            _give_back(lock, record, lost)
        except LockNotOwnedError:
            if not inside.told:  # to a task that has drawn its conclusions it is no news
                raise


@contextlib.contextmanager
def _staying(record):
    record("entered")
    try:
        yield
    finally:
        record("left")


@contextlib.contextmanager
def _overheard(lock, record):
    """Record what ``lock`` tells its callbacks ``on_renewed`` and ``on_lost``, where it has them, at once.

    They are called with the lock, from the thread that renews it; one's own callbacks are called too, and are back
    in their places afterwards. Yields what records the loss, if it was not recorded before.
    """
    first = threading.Lock()  # taken by whoever tells of the loss first: the renewing thread, or the task on release

    def lost(**fields):
        if first.acquire(blocking=False):
            record("lost", **fields)

    def renewed():
        record("renewed", lease=_attribute(lock, "timeout", int | float))

    def overhear(tell, callback):
        def both(lock):
            tell()
            if callback is not None:
                callback(lock)

        return both

    tells = {"on_renewed": renewed, "on_lost": lost}
    own = {name: getattr(lock, name) for name in tells if hasattr(lock, name)}
    for name, callback in own.items():
        setattr(lock, name, overhear(tells[name], callback))
    try:
        yield lost
    finally:
        for name, callback in own.items():
            setattr(lock, name, callback)


def _lease(lock, attempt):
    """Seconds until ``lock`` frees itself, as far as it says so; else None. ``attempt`` is the Attempt that got it.

    A lock says for how long it asks the server (``timeout``), and may say how much of that is left (``validity``). Else
    the clock does, where the lock was not waited for. Less than the whole is left where the process was paused on its way
    out of ``acquire()``.
    """
    timeout, left = _attribute(lock, "timeout", int | float), _attribute(lock, "validity", int | float)
    if timeout is None:
        return None
    if left is None:
        left = timeout if attempt.waited else timeout - (time.monotonic() - attempt.began)
    return timeout if left > WHOLE * timeout else max(0.0, left)


def _granted(lock, servers):
    """What the history is told of who granted ``lock``: names of ``servers``; or None, where the lock doesn't say.

    A lock says so by its attribute ``granted``, a tuple of positions among the clients that it was made with. Of one that says
    nothing it is known where there are replicas: it was the primary.
    """
    granted = _attribute(lock, "granted", tuple)
    if granted is None and (primary := experiment.primary()):
        return {"granted": [primary]}
    if granted is None or not all(type(position) is int and position in range(len(servers)) for position in granted):
        return None
    return {"granted": [servers[position] for position in granted]}


def _attribute(lock, name, kind):
    """The attribute ``name`` of ``lock``, where it is of this kind; else None."""
    value = getattr(lock, name, None)
    return value if isinstance(value, kind) else None


def _give_back(lock, record, lost):
    """Release ``lock``, and record how that went: "released", "lost", or "unanswered" where nobody knows whether it was done."""
    try:
        lock.release()
    except LockNotOwnedError as error:
        lost(detail={"error": str(error)})
        raise
    except RedisError as error:
        record("unanswered", detail={"error": str(error)})
        raise
    record("released")
