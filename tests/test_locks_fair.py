"""FairLock: who comes first is served first, whatever happens to the others who wait. With real processes."""

import contextlib
import threading
import time

import pytest
import redis
from fair_workers import (
    LENIENT,
    NAME,
    NAMES,
    QUEUE,
    Patient,
    Worker,
    altered,
    count_anew,
    entered,
    everybody_listens,
    holder,
    nothing_left,
    questions,
)
from labs import LONG, CellError, wait_for

from course_tasks.breakpoints import Breakpoint, Trace, watched
from course_tasks.locks import FairLock, LockOutcomeUnknown, RenewingLock


@pytest.fixture(scope="module")
def crew(tmp_path_factory):
    """Returns so many workers that do nothing at present; those that a test has ended, or left in the middle, are replaced."""
    staff = []

    def of(count):
        for worker in [worker for worker in staff if worker.busy or worker.halted]:
            worker.__exit__()
            staff.remove(worker)
        while len(staff) < count:
            staff.append(Worker(tmp_path_factory.mktemp("worker")))
        return staff[:count]

    yield of
    for worker in staff:
        worker.__exit__()


@pytest.fixture
def client(server):
    return server.client()


# Order, and being woken ---------------------------------------------------------------------------------------------


def test_served_in_the_order_in_which_they_came(client, server, crew):
    lock = holder(client)
    workers = [worker.ready(server, f"worker{number}") for number, worker in enumerate(crew(5))]
    for worker in (order := [workers[number] for number in (3, 0, 4, 1, 2)]):
        worker.queue()
    lock.release()
    for number, worker in enumerate(order):
        assert worker.answer()
        assert not lock.acquire(blocking=False)
        assert entered(client) == [each.name for each in order[: number + 1]]
        worker.release()
    assert lock.acquire(blocking=False)
    lock.release()
    nothing_left(client)


def test_woken_by_the_release_and_by_nothing_else(client, server, crew):
    """Nobody looks again within 60 s: when rung, each claims, and leaves. Were they not rung, this would take minutes."""
    lock = holder(client, Patient)
    workers = [worker.ready(server, f"worker{number}", "Patient") for number, worker in enumerate(crew(5))]
    for worker in workers:
        worker.queue()
    everybody_listens(client, 5)
    count_anew(client)
    lock.release()
    for worker in workers:
        assert worker.answer()
        worker.release()
    assert questions(client) == 1 + 5 * 2
    nothing_left(client)


def test_a_waiter_that_is_not_rung_does_not_move(client, server, crew):
    """The negative control of the one before: the same, where the release rings nobody."""

    class Silent(Patient):
        LEAVE = altered("LEAVE", "redis.call('rpush', queue .. ':' .. first, 'your turn')", "")

    (worker,) = crew(1)
    lock = holder(client, Silent)
    worker.ready(server, "worker", "Patient").queue()
    everybody_listens(client, 1)
    count_anew(client)
    lock.release()
    assert questions(client) == 1
    turn = client.get(NAME)
    with pytest.raises(AssertionError, match="no answer within"):
        worker.answer(0.5)
    client.rpush(b"%b:%b" % (QUEUE.encode(), turn), "your turn")
    assert worker.answer()


def test_waiting_longer_than_the_socket_timeout(client, server):
    """A client that waits 50 ms for a reply waits as long as it must for its turn."""
    lock = holder(client)
    answers = []
    with server.client(socket_timeout=0.05) as impatient:
        waiter = threading.Thread(target=lambda: answers.append(FairLock(impatient, NAME).acquire()))
        waiter.start()
        wait_for(lambda: client.llen(QUEUE))
        count_anew(client)
        wait_for(lambda: questions(client) >= 4)  # it has looked twice, so it has waited for more than CLAIM_WITHIN
        lock.release()
        waiter.join(LONG)
    assert answers == [True]


# Waiters that die, and waiters that are paused ----------------------------------------------------------------------

# What a waiter sends: it joins, looks when to look again, listens, and claims its turn.
SENT = ["EVALSHA", "EVALSHA", "BLPOP", "EVALSHA"]
PLACES = [
    {moment: command, "nth": SENT[: number + 1].count(command)}
    for number, command in enumerate(SENT)
    for moment in ("before", "after")
]


def test_the_places_are_all_there_are(client):
    count_anew(client)
    lock, trace = holder(client), Trace()
    with watched(client, trace, Breakpoint(lock.release, before="BLPOP")) as other:
        assert FairLock(other, NAME, timeout=1).acquire()
    assert trace.commands == SENT


@pytest.fixture
def struck(client, server, crew):
    """``struck(action, place)``: two workers wait, the first is struck there, and the lock is released.

    Returns both, and the time of the release. The lease of the first is half a second, that of the second a minute.
    """

    def strike(action, place):
        count_anew(client)
        first, second = crew(2)
        lock = holder(client)
        first.ready(server, "first", timeout=0.5, action=action, **place).queue()
        second.ready(server, "second").queue()
        released = time.monotonic()
        lock.release()
        wait_for(lambda: first.halted, "for the breakpoint")
        return first, second, released

    return strike


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_waiter_that_is_killed(client, struck, place):
    _, second, released = struck("die", place)
    assert second.answer() - released < LENIENT
    second.release()
    for key in client.keys():
        assert key == b"entered" or 0 < client.pttl(key) <= FairLock.KEEP * 1000, key


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_waiter_that_is_paused_and_comes_back(client, struck, place):
    first, second, released = struck("stop", place)
    assert second.answer() - released < LENIENT
    first.go_on()
    wait_for(lambda: client.llen(QUEUE) == 1, "for the first to queue anew")
    assert entered(client) == ["second"]
    second.release()
    assert first.answer()
    assert entered(client) == ["second", "first"]
    first.release()
    nothing_left(client)


def test_a_claim_that_does_not_look_whose_turn_it_is_lets_two_in(client, server, crew):
    """The negative control: a waiter that takes having been rung for having the lock, paused and come back."""
    count_anew(client)
    first, second = crew(2)
    lock = holder(client)
    first.ready(server, "first", "Credulous", action="stop", before="EVALSHA", nth=3).queue()
    second.ready(server, "second").queue()
    lock.release()
    assert second.answer()
    first.go_on()
    assert first.answer()
    assert entered(client) == ["second", "first"]
    with pytest.raises(CellError, match="LockNotOwnedError"):
        second.release()


@pytest.mark.parametrize("place", PLACES[-4:], ids=str)
def test_a_waiter_that_comes_back_in_time_keeps_its_turn(client, server, crew, place):
    count_anew(client)
    first, second = crew(2)
    lock = holder(client, Patient)
    first.ready(server, "first", "Patient", action="stop", **place).queue()
    second.ready(server, "second", "Patient").queue()
    lock.release()
    wait_for(lambda: first.halted, "for the breakpoint")
    first.go_on()
    assert first.answer()
    first.release()
    assert second.answer()
    second.release()
    nothing_left(client)


def test_several_that_die_side_by_side(client, server, crew):
    """Nobody living was rung; the one behind them all has to find out."""
    lock = holder(client)
    *dead, living = [worker.ready(server, f"worker{number}") for number, worker in enumerate(crew(4))]
    for worker in (*dead, living):
        worker.queue()
    for worker in dead:
        worker.kill()
    released = time.monotonic()
    lock.release()
    assert living.answer() - released < len(dead) * FairLock.CLAIM_WITHIN + LENIENT
    living.release()


def test_a_holder_that_is_killed(client, server, crew):
    """The first in the queue is in when the lease is over, although there is nobody to ring."""
    first, second, third = (worker.ready(server, name) for worker, name in zip(crew(3), NAMES, strict=True))
    first.cell("_ = enter('first')")
    second.queue()
    third.queue()
    first.kill()
    client.pexpire(NAME, 1000)  # its lease is now as if it had been one of a second, and had begun here
    began = time.monotonic()
    assert 0.9 < second.answer() - began < 1 + LENIENT
    second.release()
    assert third.answer()
    third.release()
    assert entered(client) == ["first", "second", "third"]
    nothing_left(client)


def test_a_waiter_looks_when_the_lease_ends(client, server, crew):
    """Nobody rings, and this one would not look for a minute otherwise."""
    (worker,) = crew(1)
    worker.ready(server, "worker", "Patient")
    holder(client, timeout=1)
    began = time.monotonic()
    worker.start("_ = enter('worker')")
    assert worker.answer() - began < 1 + LENIENT
    worker.release()
    nothing_left(client)


def test_a_lease_that_ends_leads_to_no_second_queue(client, server, crew):
    """Whoever comes then finds the lock free, and calls the first in the queue instead of taking it."""
    lock = holder(client, Patient)
    first, late = crew(2)
    first.ready(server, "first", "Patient").queue()
    everybody_listens(client, 1)
    client.delete(NAME)
    late.ready(server, "late", "Patient").start("_ = enter('late')")
    assert first.answer()
    with pytest.raises(redis.exceptions.LockNotOwnedError):
        lock.release()
    first.release()
    assert late.answer()
    late.release()
    nothing_left(client)


# Giving up ----------------------------------------------------------------------------------------------------------


def test_who_gives_up_leaves_the_queue(client, server, crew):
    lock = holder(client)
    first, second = crew(2)
    first.ready(server, "first").queue(blocking_timeout=0.3)
    second.ready(server, "second").queue()
    assert first.answer() is None
    assert client.llen(QUEUE) == 1
    lock.release()
    assert second.answer()
    second.release()
    nothing_left(client)


def test_who_gives_up_is_given_the_turn_and_passes_it_on(client, server, crew):
    """The release comes just before the waiter that gives up leaves. Only by being passed on can the turn be had so soon."""
    (second,) = crew(1)
    lock = holder(client, Patient)

    def meanwhile():
        second.ready(server, "second", "Patient").queue()
        lock.release()
        assert client.get(NAME) not in (None, client.lindex(QUEUE, 0))

    count_anew(client)
    leaving = Breakpoint(meanwhile, before="EVAL")
    with watched(client, leaving) as other:
        assert Patient(other, NAME).acquire(blocking_timeout=0) is False
    assert leaving.struck
    assert second.answer()
    second.release()
    nothing_left(client)


@pytest.mark.parametrize("error", [KeyboardInterrupt, redis.ConnectionError])
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_who_is_interrupted_leaves_the_queue_and_passes_its_turn_on(client, server, crew, place, error):
    def interrupt():
        raise error

    (second,) = crew(1)
    lock = holder(client, Patient)
    second.ready(server, "second", "Patient")
    count_anew(client)
    released = Breakpoint(lambda: (second.queue(), lock.release()), before="BLPOP")
    with watched(client, released, Breakpoint(interrupt, **place)) as other:
        waiter = Patient(other, NAME)
        with pytest.raises(error):
            waiter.acquire()
        if not released.struck:
            second.queue()
            assert client.llen(QUEUE) == 1
            lock.release()
        assert second.answer()
        second.release()
        nothing_left(client)
        assert waiter.acquire(blocking=False)  # its connections are as good as before
        waiter.release()


def test_interrupt_from_the_keyboard(client, server, crew):
    (worker,) = crew(1)
    lock = holder(client)
    worker.ready(server, "worker").queue()
    everybody_listens(client, 1)
    worker.interrupt()
    with pytest.raises(CellError, match="KeyboardInterrupt"):
        worker.answer()
    assert client.keys() == [NAME.encode()]
    lock.release()
    nothing_left(client)


# Not waiting --------------------------------------------------------------------------------------------------------


def test_who_does_not_wait_does_not_jump_the_queue(client, server, crew):
    lock = holder(client)
    first, other = crew(1)[0].ready(server, "first", action="stop", before="BLPOP"), FairLock(client, NAME)
    first.queue()
    wait_for(lambda: first.halted)
    assert other.acquire(blocking=False) is False
    client.delete(NAME)
    assert other.acquire(blocking=False) is False  # the lock is free, and the first has the turn
    assert client.llen(QUEUE) == 0
    first.go_on()
    assert first.answer() or first.halted
    assert lock.validity > 0 and not lock.owned()
    first.release()
    assert other.acquire(blocking=False) is True
    other.release()
    nothing_left(client)


def test_who_does_not_wait_gets_by_the_dead_in_the_end(client):
    client.rpush(QUEUE, "dead 1", "dead 2")
    lock, refusals = FairLock(client, NAME), 0
    while not lock.acquire(blocking=False):
        refusals += 1
        client.delete(NAME)  # as the end of the turn does
    assert refusals == 2
    lock.release()


# What is lost on the way --------------------------------------------------------------------------------------------


def late_claim(client, server, link, kind=FairLock):
    """Let a waiter's connection break when it claims its turn, and the claim arrive after it has left; return its error."""
    count_anew(client)
    lock = holder(client)
    with server.client(unix_socket_path=link.socket) as far:

        def meanwhile():
            lock.release()
            link.hold(b"EVALSHA")

        with watched(far, Breakpoint(meanwhile, before="BLPOP")) as other:
            with pytest.raises(redis.RedisError) as caught:
                kind(other, NAME).acquire()
            link.deliver()
    return caught.value


def test_a_claim_that_arrives_after_its_waiter_has_left_does_nothing(client, server, link):
    assert isinstance(late_claim(client, server, link), redis.ConnectionError)
    nothing_left(client)


def test_one_that_may_take_what_is_free_would_keep_it(client, server, link):
    """The negative control: a claim that does what joining does. Nobody knows of this hold, for ten seconds."""

    class Greedy(FairLock):
        ASK = altered("ASK", "how ~= 'claim'", "true")

    client.script_load(Greedy.ASK.text)
    late_claim(client, server, link, Greedy)
    assert client.pttl(NAME) > 5000


def test_a_turn_whose_claim_was_answered_too_late_to_be_heard(client, server, link):
    """The claim is granted, and the answer is lost: the lock is given back, and handed on."""
    count_anew(client)
    lock = holder(client, Patient)
    with server.client(unix_socket_path=link.socket) as far:

        def meanwhile():
            lock.release()
            link.cut(b"EVALSHA")

        with (
            watched(far, Breakpoint(meanwhile, before="BLPOP")) as other,
            pytest.raises(redis.ConnectionError),
        ):
            Patient(other, NAME).acquire()
    nothing_left(client)


def test_a_server_that_stops_while_one_waits(client, server):
    """Whether it was acquired is unknown, or it certainly was not; the answer is never False, nor for ever."""
    lock = holder(client)
    with contextlib.ExitStack() as stack, server.client(socket_timeout=0.1) as impatient:
        stopping = Breakpoint(lambda: stack.enter_context(server.stopped()), before="BLPOP")
        with watched(impatient, stopping) as other, pytest.raises((LockOutcomeUnknown, redis.TimeoutError)):
            FairLock(other, NAME).acquire(blocking_timeout=LONG)
        assert stopping.struck
    lock.release()
    wait_for(lambda: client.get(NAME) is None)  # the turn that nobody claims is over
    assert FairLock(client, NAME).acquire(blocking=False)


def test_threads_of_one_process_queue_with_one_lock_object(client):
    lock, order = holder(client), []
    shared = FairLock(client, NAME)

    def enter(number):
        with shared:
            order.append(number)

    threads = [threading.Thread(target=enter, args=[number]) for number in range(4)]
    for number, thread in enumerate(threads):
        thread.start()
        wait_for(lambda number=number: client.llen(QUEUE) == number + 1)
    lock.release()
    for thread in threads:
        thread.join(LONG)
    assert order == [0, 1, 2, 3]
    nothing_left(client)


def test_it_goes_with_renewal(client):
    class Both(RenewingLock, FairLock):
        pass

    renewed = threading.Event()
    first = Both(client, NAME, timeout=0.3, on_renewed=lambda _: renewed.set())
    second = Both(client, NAME, thread_local=False)
    first.acquire()
    assert renewed.wait(LONG)
    waiter = threading.Thread(target=second.acquire)
    waiter.start()
    wait_for(lambda: client.llen(QUEUE))
    first.release()
    waiter.join(LONG)
    assert second.owned() and client.llen(QUEUE) == 0
    second.release()
    nothing_left(client)
