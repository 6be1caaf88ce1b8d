"""What every lock here promises: each promise a function that tries it on a Ground, and asserts."""

import collections
import contextlib
import json
import math
import os
import signal
import threading
import time
import traceback
import warnings
from multiprocessing.connection import wait

import interrupts
import redis
from conftest import THOROUGH
from labs import LONG

from course_tasks.breakpoints import Breakpoint, Trace, watched
from course_tasks.locks import LockError, LockNotOwnedError, LockOutcomeUnknown

NAME = "mail"
PROMISES = {}  # a promise's name -> its function


def promise(function):
    PROMISES[function.__name__] = function
    return function


class Kind:
    """A class of locks to try: ``lock_class``, on so many ``servers``, and the options with which it doesn't renew its lease."""

    def __init__(self, lock_class, servers=1, **unrenewed):
        self.lock_class, self.servers, self.unrenewed = lock_class, servers, unrenewed


class Ground:
    """Where a Kind of lock is tried, on the first of ``servers``, and what a test may do to it from outside. Close it at the end.

    What a lock is made with is called *clients* here: one client, or where the lock is kept on several servers, a list.
    """

    def __init__(self, kind, servers):
        self.kind, self._servers = kind, servers[: kind.servers]
        self._each = [server.client() for server in self._servers]
        self.clients = self._as_one(self._each)
        self._made = []

    def _as_one(self, clients):
        return clients[0] if self.kind.servers == 1 else clients

    def connect(self, **options):
        """New clients."""
        return self._as_one([server.client(**options) for server in self._servers])

    @contextlib.contextmanager
    def watched(self, *watchers):
        """Yields clients whose commands are told to the watchers."""
        with contextlib.ExitStack() as stack:
            yield self._as_one([stack.enter_context(watched(client, *watchers)) for client in self._each])

    def lock(self, clients=None, lease=None, name=NAME, **options):
        """A new lock of the kind; with ``lease`` it has one of so many seconds, and doesn't renew it."""
        if lease is not None:
            options |= {"timeout": lease, **self.kind.unrenewed}
        lock = self.kind.lock_class(clients or self.clients, name, **{"timeout": 10, "sleep": 0.01, **options})
        self._made.append(lock)
        return lock

    def lock_by_client(self, clients=None, timeout=None):
        """A lock as redis-py's ``client.lock()`` makes one."""
        clients = clients or self.clients
        if self.kind.servers > 1:
            return self.kind.lock_class(clients, NAME, timeout=timeout)
        return clients.lock(NAME, timeout=timeout, lock_class=self.kind.lock_class)

    def end_lease(self):
        """Do to the lock what the end of its lease does."""
        for client in self._each:
            client.delete(NAME)

    def cut_lease(self, seconds):
        """Leave the lease no more than so many seconds."""
        for client in self._each:
            client.pexpire(NAME, int(seconds * 1000))

    def forget_scripts(self):
        for client in self._each:
            client.script_flush()

    @property
    def _majority(self):
        return len(self._each) // 2 + 1

    def token(self):
        """The token with which the lock is held, by a majority; None where it is free."""
        tokens = [client.get(NAME) for client in self._each]
        return next((token for token in tokens if tokens.count(token) >= self._majority), None)

    def left(self):
        """Seconds for which a majority still has the lease; -1 where it has none on some server, -2 where it is free."""
        left = [client.pttl(NAME) for client in self._each]
        if -1 in left:
            return -1
        left = sorted(left)[-self._majority]
        return left / 1000 if left >= 0 else left

    def places(self, use):
        """Every place among the commands that ``use(lock)`` is certain to pass, for ``at``."""
        use(self.lock())  # the servers learn the scripts now, else there are more places the first time
        self.end_lease()
        trace, passed, found = Trace(), collections.Counter(), []
        with self.watched(trace) as clients, contextlib.ExitStack() as stack:
            for number, client in enumerate(self._each):
                client.set(NAME, number)
            self.lock(clients).locked()  # connects; and hears every server, for each names another holder
            self.end_lease()
            trace.clear()
            # Of several servers, the majority is heard. What is passed while another one is silent, is passed always.
            for server in self._servers[self._majority :]:
                stack.enter_context(server.stopped())
            use(self.lock(clients))
        for moment, command in trace:
            passed[moment, command] += 1
            found.append({moment: command, "nth": passed[moment, command]})
        self.end_lease()
        assert found
        return found

    def given_back(self, places):
        """Those of the ``places`` at which a majority has been sent what gives the lock back; that is last in all of them."""
        sent = [number for number, place in enumerate(places) if "before" in place]
        last = sent[-len(self._each) :]
        return places[(last + [last[-1] + 1])[self._majority] :]

    @contextlib.contextmanager
    def at(self, place, action, **options):
        """A new lock that calls ``action()`` at ``place``. Afterwards the lock is free."""
        breakpoint = Breakpoint(action, **place)
        with self.watched(breakpoint) as clients:
            yield self.lock(clients, **options)
        assert breakpoint.struck, place
        self.end_lease()

    def close(self):
        for lock in self._made:
            with contextlib.suppress(Exception):
                lock.release()


def raised(function, *args, **options):
    """The exception that ``function`` raises, or None where it raises none."""
    try:
        function(*args, **options)
    except BaseException as error:
        return error


def in_a_thread(function):
    """What ``function()`` returns in a thread of its own."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(function()))
    thread.start()
    thread.join(LONG)
    return answers[0]


def in_threads(*works):
    """Call each of ``works`` in a thread of its own; return what they raised."""
    errors = []
    threads = [threading.Thread(target=lambda work=work: errors.append(raised(work))) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert len(errors) == len(works), "a thread hangs"
    return [error for error in errors if error]


def in_a_fork(function):
    """What ``function()`` returns, as JSON has it, in a forked child of this process."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # a fork beside threads is what some of these tests are about
        child = os.fork()
    if not child:
        try:
            os.write(writing, json.dumps(function()).encode())
        except BaseException:
            os.write(writing, json.dumps(traceback.format_exc()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    ready = wait([reading], LONG)  # not select(), which knows no descriptor above 1023
    if not ready:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reading) as answer:
        assert ready, "the child hangs"
        return json.load(answer)


def acquire_once(lock):
    return lock.acquire(blocking=False)


def acquire_and_release(lock):
    if lock.acquire(blocking=False):
        lock.release()


# One at a time ------------------------------------------------------------------------------------------------------


@promise
def one_holds_it_at_a_time(ground):
    mine, other = ground.lock(), ground.lock()
    assert mine.acquire() is True
    assert other.acquire(blocking=False) is False
    assert mine.locked() and other.locked()
    assert mine.owned() and not other.owned()
    mine.release()
    assert not mine.locked() and not mine.owned()
    assert other.acquire(blocking=False) is True


@promise
def nobody_else_is_let_in_at_any_moment_of_acquiring(ground):
    for place in ground.places(acquire_once):
        other = ground.lock()
        others = []
        with ground.at(place, lambda other=other, others=others: others.append(other.acquire(blocking=False))) as lock:
            mine = lock.acquire(blocking=False)
            assert others and not (mine and others[0]), place


@promise
def many_threads_are_never_inside_together(ground):
    inside, most, errors = [], [], []

    def work(lock):
        try:
            for _ in range(10):
                lock.acquire()
                inside.append(lock)
                time.sleep(0)  # let the others run, that they may come in if they can
                most.append(len(inside))
                inside.pop()
                lock.release()
        except Exception as error:
            errors.append(error)

    shared = ground.lock(sleep=0.001)
    threads = [
        threading.Thread(target=work, args=[lock]) for lock in (ground.lock(sleep=0.001), shared, shared, shared)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert errors == []
    assert len(most) == 40 and set(most) == {1}


# The lease ----------------------------------------------------------------------------------------------------------


@promise
def it_has_a_lease(ground):
    lock = ground.lock(timeout=7)
    lock.acquire()
    assert 0 < ground.left() <= 7


@promise
def it_has_a_lease_wherever_its_holder_stops(ground):
    class Stopped(BaseException):
        pass

    def stop():
        raise Stopped

    for place in ground.places(acquire_and_release):
        with ground.at(place, stop) as lock:
            with contextlib.suppress(Stopped):
                acquire_and_release(lock)
            assert ground.left() != -1, place


@promise
def it_accepts_no_lease_that_is_none(ground):
    for timeout in (None, 0, -1, math.nan, math.inf, 1e10, 10**400, 0.0004, "10"):
        assert isinstance(raised(ground.lock, timeout=timeout), ValueError), timeout
    assert isinstance(raised(ground.lock_by_client), ValueError)
    lock = ground.lock()
    lock.acquire()
    for more in (None, 0, -1, math.nan, math.inf, 1e10, 10**400, 0.0004, "10"):
        assert isinstance(raised(lock.extend, more), ValueError), more
    assert lock.owned()


@promise
def it_is_free_again_when_its_lease_is_over(ground):
    lock, other = ground.lock(lease=0.1), ground.lock()
    before = time.monotonic()
    assert lock.acquire()
    assert other.acquire(blocking_timeout=LONG)
    assert time.monotonic() - before > 0.09
    assert lock.validity == 0.0 and not lock.owned()
    assert isinstance(raised(lock.release), LockNotOwnedError)
    assert other.owned()


@promise
def its_validity_is_never_more_than_the_server_has_left(ground):
    lock = ground.lock(timeout=10)
    assert lock.validity == 0.0

    def check(at_least):
        left = ground.left()  # first: both shrink
        assert at_least < lock.validity <= left

    lock.acquire()
    check(5)
    lock.extend(20)
    check(25)
    lock.extend(90, replace_ttl=True)
    check(80)
    lock.extend(10, replace_ttl=True)
    check(80)
    lock.reacquire()
    check(80)
    lock.release()
    assert lock.validity == 0.0
    short = ground.lock(timeout=1)
    short.acquire()
    for _ in range(100):
        short.extend(0.0019)  # of which the server counts whole milliseconds
    left = ground.left()
    assert short.validity <= left


@promise
def its_validity_is_measured_from_before_the_question(ground):
    for place in ground.places(acquire_once):
        with ground.at(place, lambda: time.sleep(0.1), timeout=4) as lock:  # a slow network
            assert lock.acquire(blocking=False)
            assert 0 < lock.validity <= 3.9, place


@promise
def an_answer_after_the_lease_is_no_success(ground):
    for place in ground.places(acquire_once):
        with ground.at(place, lambda: time.sleep(0.05), lease=0.05) as lock:
            assert lock.acquire(blocking=False) is False, place
            assert lock.validity == 0.0
            assert ground.token() is None


# Giving it back -----------------------------------------------------------------------------------------------------


@promise
def only_what_was_acquired_can_be_released(ground):
    lock = ground.lock()
    for forbidden in (lock.release, lambda: lock.extend(1), lock.reacquire):
        assert isinstance(raised(forbidden), LockError)
    lock.acquire()
    lock.release()
    error = raised(lock.release)
    assert isinstance(error, LockError) and error.lock_name == NAME


@promise
def it_never_releases_anothers(ground):
    mine, other = ground.lock(), ground.lock()
    mine.acquire()
    ground.end_lease()
    assert isinstance(raised(mine.release), LockNotOwnedError)
    assert isinstance(raised(mine.release), LockError)
    mine.acquire()
    ground.end_lease()
    other.acquire()
    assert isinstance(raised(mine.release), LockNotOwnedError)
    assert other.owned()


def _at_any_moment(ground, use):
    """Let the lease end, and another have the lock, at each place of ``use(lock)``; yields that other one's lock, after it."""
    for place in ground.places(lambda lock: (lock.acquire(), use(lock))):
        other = ground.lock()

        def swap(other=other):
            ground.end_lease()
            other.acquire()

        with ground.at(place, swap) as lock:
            raised(lock.acquire, blocking=False)
            if ground.token():
                raised(use, lock)
                yield other, place
            raised(other.release)


@promise
def it_never_releases_anothers_at_any_moment(ground):
    for other, place in _at_any_moment(ground, lambda lock: lock.release()):
        assert other.owned(), place


@promise
def every_hold_has_a_token_of_its_own(ground):
    lock, tokens = ground.lock(), set()
    for _ in range(3):
        lock.acquire()
        tokens.add(ground.token())
        lock.release()
    lock.acquire(token="mine")
    tokens.add(ground.token())
    assert len(tokens) == 4 and b"mine" in tokens


# More time ----------------------------------------------------------------------------------------------------------


@promise
def it_can_be_extended(ground):
    lock = ground.lock()
    lock.acquire()
    assert lock.extend(10) is True
    assert 15 < ground.left() <= 20
    assert lock.extend(100, replace_ttl=True) is True
    assert 95 < ground.left() <= 100
    ground.cut_lease(1)
    assert lock.reacquire() is True
    assert 5 < ground.left() <= 10


@promise
def extending_never_shortens(ground):
    lock = ground.lock()
    lock.acquire()
    lock.extend(1, replace_ttl=True)
    assert ground.left() > 5


@promise
def extending_never_takes_a_lock_that_was_lost(ground):
    for extend in (lambda lock: lock.extend(5), lambda lock: lock.extend(5, True), lambda lock: lock.reacquire()):
        lock = ground.lock()
        lock.acquire()
        ground.end_lease()
        assert isinstance(raised(extend, lock), LockNotOwnedError)
        assert ground.token() is None
        assert lock.validity == 0.0
        assert isinstance(raised(lock.release), LockNotOwnedError)


@promise
def extending_never_touches_anothers_at_any_moment(ground):
    for extend in (lambda lock: lock.extend(50), lambda lock: lock.extend(50, True)):
        for other, place in _at_any_moment(ground, extend):
            assert other.owned(), place
            assert ground.left() <= 10, place


@promise
def extensions_at_once_are_each_counted_from_what_was_there(ground):
    """Their answers may be heard in another order than that in which the server carried them out."""
    for mine, other in (([20], [25, True]), ([25, True], [20])):
        for place in ground.places(lambda lock, mine=mine: (lock.acquire(), lock.extend(*mine))):
            locks = []
            thread = threading.Thread(
                target=lambda locks=locks, other=other: raised(lambda: locks[0].extend(*other)), daemon=True
            )

            def meanwhile(thread=thread):
                thread.start()
                thread.join(0.2)  # it may have to wait for this one

            with ground.at(place, meanwhile, thread_local=False) as lock:
                locks.append(lock)
                if lock.acquire(blocking=False):
                    raised(lock.extend, *mine)
                thread.join(LONG)
                left = ground.left()
                assert lock.validity <= left, place
                assert not lock.validity or left <= lock._hold.clears_in, place
            with ground.at(place, lambda locks=locks, other=other: raised(locks[-1].extend, *other)) as lock:
                locks.append(lock)  # as the handler of a signal may do
                if lock.acquire(blocking=False):
                    raised(lock.extend, *mine)
                assert lock.validity <= ground.left(), place


# Waiting ------------------------------------------------------------------------------------------------------------


class AfterTheFirst:
    """A watcher that calls ``action()`` once, after the first command that a client sends."""

    def __init__(self, action):
        self.actions = [action]

    def __call__(self, moment, command):
        if moment == "after" and self.actions:
            self.actions.pop()()


@promise
def it_waits_until_the_lock_is_free(ground):
    lock = ground.lock()
    lock.acquire()
    with ground.watched(AfterTheFirst(lock.release)) as clients:
        other = ground.lock(clients)
        assert other.acquire() is True  # it was told "no" before the release, so it has looked again
        assert other.owned()


@promise
def it_gives_up_when_blocking_timeout_is_over_and_not_before(ground):
    ground.lock().acquire()
    lock = ground.lock(sleep=0.05, blocking_timeout=LONG)
    start = time.monotonic()
    assert lock.acquire(blocking_timeout=0.12) is False
    assert 0.12 <= time.monotonic() - start < LONG / 2
    assert lock.acquire(blocking_timeout=0) is False
    assert lock.acquire(blocking=False) is False
    assert time.monotonic() - start < LONG / 2


@promise
def it_tries_once_more_at_the_end_of_blocking_timeout(ground):
    lock = ground.lock()
    lock.acquire()
    with ground.watched(AfterTheFirst(lock.release)) as clients:
        assert ground.lock(clients, sleep=LONG).acquire(blocking_timeout=0.05) is True


# In a with ----------------------------------------------------------------------------------------------------------


class Boom(Exception):
    """What goes wrong in the body of a ``with``."""


@promise
def a_with_never_enters_without_the_lock(ground):
    entered = []
    with ground.lock() as lock:
        assert lock.owned()

        def enter():
            with ground.lock(blocking=False):
                entered.append(True)

        assert isinstance(raised(enter), LockError)
        assert lock.owned()
    assert entered == [] and ground.token() is None


@promise
def a_with_says_that_the_lock_was_lost(ground):
    def lose(**options):
        with ground.lock(**options):
            ground.end_lease()

    assert isinstance(raised(lose), LockNotOwnedError)
    assert raised(lose, raise_on_release_error=False) is None


@promise
def a_with_never_hides_the_error_of_its_body(ground):
    def fail(before=lambda: None):
        with ground.lock():
            before()
            raise Boom

    assert isinstance(raised(fail), Boom) and ground.token() is None
    assert isinstance(raised(fail, before=ground.end_lease), Boom)


# Replies that don't come --------------------------------------------------------------------------------------------


def lose():
    raise redis.ConnectionError("the connection broke")


@promise
def it_never_says_no_while_it_holds_the_lock(ground):
    for place in ground.places(acquire_once):
        with ground.at(place, lose) as lock:
            answers = []
            error = raised(lambda lock=lock, answers=answers: answers.append(lock.acquire(blocking=False)))
            if isinstance(error, LockOutcomeUnknown):
                assert error.clears_in >= ground.left() and error.lock_name == NAME, place
            elif error:
                assert isinstance(error, redis.ConnectionError) and ground.token() is None, place
            else:
                assert answers == [ground.token() is not None], place


@promise
def a_lost_reply_to_a_release_is_not_taken_for_a_lost_lock(ground):
    for place in ground.places(acquire_and_release):
        with ground.at(place, lose) as lock:
            if raised(lock.acquire, blocking=False) or not lock.owned():
                continue
            error = raised(lock.release)
            assert not isinstance(error, LockNotOwnedError), place
            if isinstance(error, LockOutcomeUnknown):
                assert error.clears_in >= ground.left()
            elif error:  # nothing was sent
                lock.release()
            if not isinstance(error, LockOutcomeUnknown):
                assert ground.token() is None, place


@promise
def a_lost_reply_to_an_extension_adds_no_time_twice(ground):
    for place in ground.places(lambda lock: (lock.acquire(), lock.extend(10))):
        with ground.at(place, lose) as lock:
            if raised(lock.acquire, blocking=False) or not lock.owned():
                continue
            error = raised(lock.extend, 10)
            left = ground.left()
            assert 5 < left <= 20, place
            assert error is None or isinstance(error, redis.RedisError)
            assert getattr(lock, "validity", 0) <= left  # redis-py's Lock has none
            assert lock.owned()


@promise
def an_interrupt_at_any_moment_leaves_no_lock(ground):
    clients = ground.connect()

    def use(lock, done):
        lock.acquire()
        done.append(lock)
        lock.release()

    use(ground.lock(clients), [])
    places = interrupts.count(lambda: use(ground.lock(clients), []))
    for number in range(1, places + 1, 1 if THOROUGH else 3):
        lock, done = ground.lock(clients), []
        lock.locked()  # it is connected
        struck, error = interrupts.at_place(number, lambda lock=lock, done=done: use(lock, done))
        if struck:
            assert isinstance(error, interrupts.Interrupt)
            if done and lock.owned():  # before release() had begun: it may be called again
                lock.release()
            assert ground.token() is None, number
            assert getattr(lock, "validity", 0.0) == 0.0
            assert isinstance(raised(lock.release), LockError)


# Threads, forks, clients, servers -----------------------------------------------------------------------------------


@promise
def a_thread_cannot_release_what_another_acquired(ground):
    lock = ground.lock()
    lock.acquire()
    for use in (lock.release, lambda: lock.extend(1), lock.reacquire):
        assert isinstance(in_a_thread(lambda use=use: raised(use)), LockError)
    assert in_a_thread(lock.owned) is False
    assert lock.owned()
    lock.release()


@promise
def a_thread_can_if_the_lock_is_told_so(ground):
    lock = ground.lock(thread_local=False)
    lock.acquire()
    assert in_a_thread(lock.owned) is True
    assert in_a_thread(lambda: raised(lock.release)) is None
    assert ground.token() is None


@promise
def what_another_thread_acquires_during_a_release_is_kept(ground):
    found = []
    for place in ground.places(acquire_and_release):
        locks, taken = [], []

        def take(locks=locks, taken=taken):
            if ground.token() is None:
                taken.append(in_a_thread(lambda: acquire_once(locks[0])))

        with ground.at(place, take, thread_local=False) as lock:
            locks.append(lock)
            error = raised(acquire_and_release, lock)
            if taken == [True]:
                found.append(place)
                assert error is None and lock.owned() and lock.validity > 0, place
    assert found


@promise
def a_forked_child_does_not_hold_its_parents_lock(ground):
    lock = ground.lock()
    lock.acquire()

    def child():
        errors = [raised(use) for use in (lock.release, lambda: lock.extend(1), lock.reacquire)]
        return [isinstance(error, LockError) for error in errors], lock.owned(), lock.validity

    assert in_a_fork(child) == [[True, True, True], False, 0.0]
    assert lock.owned() and lock.validity > 0
    lock.release()


@promise
def a_forked_child_can_use_the_lock_for_itself(ground):
    lock = ground.lock()
    lock.acquire()
    mine = ground.token()
    lock.release()

    def child():
        lock.acquire()
        token = ground.token()
        lock.release()
        return token.decode()

    theirs = in_a_fork(child).encode()
    assert len({mine, theirs}) == 2
    lock.acquire()
    assert ground.token() not in (mine, theirs)


@promise
def it_works_with_every_kind_of_client(ground):
    for options in (
        {"decode_responses": decode, "protocol": protocol} for decode in (False, True) for protocol in (None, 2, 3)
    ):
        clients = ground.connect(**options)
        lock = ground.lock_by_client(clients, timeout=10)
        assert lock.acquire() and lock.owned() and lock.locked(), options
        assert not ground.lock(clients).acquire(blocking=False)
        assert lock.extend(5) and lock.reacquire()
        assert raised(lock.release) is None and not lock.locked(), options
        with ground.lock(clients, name=NAME.encode()) as lock:
            assert lock.owned(), options


@promise
def it_works_with_a_server_that_forgot_the_scripts(ground):
    lock = ground.lock()
    for _ in range(2):
        for use in (lock.acquire, lambda: lock.extend(1), lock.reacquire, lock.release):
            ground.forget_scripts()
            assert not isinstance(raised(use), redis.RedisError)
        assert ground.token() is None
