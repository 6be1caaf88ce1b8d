"""The exercises of lesson 08, keeping the lease."""

import contextlib
import itertools
import threading
import time

from course_tasks.exercises import renewals
from course_tasks.exercises.definition import Exercise, not_yet, passed
from course_tasks.exercises.wording import short
from course_tasks.locks import LockNotOwnedError, RenewingLock

# Renew only your own ----------------------------------------------------------------------------------------------------


def renew(client, name, token, lease):
    script = """
        if redis.call('get', KEYS[1]) ~= ARGV[1] then
            return 0
        end
        if redis.call('pttl', KEYS[1]) < tonumber(ARGV[2]) then
            redis.call('pexpire', KEYS[1], ARGV[2])
        end
        return 1
    """
    return client.eval(script, 1, name, token, int(lease * 1000)) == 1


def check_renew(answer, bench):
    """It lengthens one's own lease to as much as was asked for, and nobody else's, wherever that lease ends."""
    wrong, places = renewals.renews_only_its_own(bench, answer)
    return wrong or passed(
        "It renewed what was its own, and left alone what was gone or another's, also where the lease ended at one of the "
        f"{places} places before and after its commands."
    )


# Work that listens ------------------------------------------------------------------------------------------------------


def send_all(mails, lock, send, gap):
    for number, mail in enumerate(mails):
        if lock.lost.wait(gap):
            return mails[number:]
        send(mail)
    return []


MAILS = ["mail 1", "mail 2", "mail 3", "mail 4", "mail 5"]
GAP = 0.05  # seconds
LONG_GAP, EARLY = 2.0, 0.2  # seconds: a gap in the middle of which the lock is lost, and when
AT_ONCE = 1.2  # seconds from the beginning of that gap in which whoever stops "at once" is back


def check_send_all(answer, bench):
    """It keeps the gaps, and stops where the lock is lost: before it begins, during a mail, in a gap; and for real."""
    found = bench.call(_listened, answer, bench.client, seconds=8.0, what="Your function")
    if isinstance(found, tuple):
        return not_yet(*found)
    return passed(
        "It stopped where the lock was lost before the first mail, while one went out, and in a gap. Then the key of a real "
        f"lock was deleted while the third of 60 mails went out: {found} had gone out when the work ended."
    )


class Post:
    """Where mails are sent: ``sent`` is which were, ``at`` when (``time.monotonic()``); calls ``during(number)`` meanwhile."""

    def __init__(self, during=lambda number: None):
        self.sent, self.at, self.during = [], [], during

    def __call__(self, mail):
        self.sent.append(mail)
        self.at.append(time.monotonic())
        self.during(len(self.sent))


def _listened(send_all, client):
    """(finding, what was seen) for the first thing that is wrong; how many of 60 mails were sent where all is right."""
    for try_one in (_nothing_lost, _lost_before, _lost_during, _lost_in_a_gap):
        lock = RenewingLock(client, try_one.__name__, timeout=30)
        lock.acquire()
        try:
            if wrong := try_one(send_all, lock):
                return wrong
        finally:
            _release(lock)
    return _lost_for_real(send_all, client)


def _nothing_lost(send_all, lock):
    post, began = Post(), time.monotonic()
    rest = send_all(list(MAILS), lock, post, GAP)
    if post.sent != MAILS:
        return "all", f"The lock was kept, and of {short(MAILS)} your function sent {short(post.sent)}."
    moments = [began, *post.at]
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    if min(gaps) < 0.9 * GAP:
        number = gaps.index(min(gaps)) + 1
        return "gap", f"The gap was to be {GAP} s. Before {MAILS[number - 1]} your function waited {min(gaps):.3f} s."
    return _rest(rest, [], "The lock was kept, and all mails were sent")


def _lost_before(send_all, lock):
    lock.lost.set()
    post = Post()
    rest = send_all(list(MAILS), lock, post, GAP)
    if post.sent:
        return "goes_on", f"The lock was lost before the first mail, and your function sent {short(post.sent)}."
    return _rest(rest, MAILS, "The lock was lost before the first mail")


def _lost_during(send_all, lock):
    post = Post(lambda number: lock.lost.set() if number == 3 else None)
    rest = send_all(list(MAILS), lock, post, GAP)
    if post.sent != MAILS[:3]:
        return "goes_on", f"The lock was lost while mail 3 was going out. Your function sent {short(post.sent)}."
    return _rest(rest, MAILS[3:], "The lock was lost while mail 3 was going out")


def _lost_in_a_gap(send_all, lock):
    post, began = Post(), time.monotonic()
    loses = threading.Timer(EARLY, lock.lost.set)
    loses.daemon = True
    loses.start()
    rest = send_all(MAILS[:2], lock, post, LONG_GAP)
    took = time.monotonic() - began
    if post.sent:
        return "stale", f"The lock was lost in the gap before mail 1, and your function sent {short(post.sent)}."
    if took > AT_ONCE:
        lost = f"The lock was lost {EARLY} s after the beginning of a gap of {LONG_GAP:g} s."
        return "sleeps", f"{lost} Your function sent no more, and came back after {took:.1f} s."
    return _rest(rest, MAILS[:2], "The lock was lost in the gap before mail 1")


def _rest(rest, unsent, when):
    if not isinstance(rest, list | tuple) or list(rest) != unsent:
        said = short(rest) if isinstance(rest, list | tuple) else repr(rest)
        return "rest", f"{when}. Your function returned {said}; {short(unsent)} was right."
    return None


def _lost_for_real(send_all, client):
    lock = RenewingLock(client, "real", timeout=0.6)
    lock.acquire()
    post = Post(lambda number: client.delete("real") if number == 3 else None)
    mails = [f"mail {number}" for number in range(1, 61)]
    try:
        send_all(mails, lock, post, GAP)
    finally:
        _release(lock)
    if len(post.sent) == len(mails):
        return (
            "goes_on",
            "The key of a real lock was deleted while mail 3 went out. Your function sent all of 60 mails.",
        )
    return len(post.sent)


def _release(lock):
    with contextlib.suppress(LockNotOwnedError):
        lock.release()


EXERCISES = [
    Exercise(
        "08.1",
        "Renew only your own",
        check_renew,
        renew,
        hints=(
            "Compare and lengthen in one step on the server: client.eval(script, 1, name, token, milliseconds) has them there "
            "as KEYS[1], ARGV[1] and ARGV[2], and returns what the script returns.",
            "redis.call('pexpire', KEYS[1], ARGV[2]) sets the time to live, in whole milliseconds. Before that, compare "
            "redis.call('get', KEYS[1]) with ARGV[1].",
            "redis.call('pttl', KEYS[1]) is what is left, in milliseconds. tonumber(ARGV[2]) makes a number of the text.",
        ),
        findings=renewals.HINTS,
    ),
    Exercise(
        "08.2",
        "Work that listens",
        check_send_all,
        send_all,
        hints=(
            "lock.lost is a threading.Event. is_set() says whether the lock is lost.",
            "An Event can be waited for: lock.lost.wait(gap) comes back when it is set, at once, with True; or after gap "
            "seconds, with False.",
            "for number, mail in enumerate(mails): … mails[number:] are those from this one on.",
        ),
        findings={
            "all": "As long as the lock isn't lost, every mail goes out, once, in its order.",
            "gap": "Before each mail, also before the first, wait for gap seconds.",
            "goes_on": "Look at lock.lost before each mail, not only once.",
            "stale": "You looked, then waited, then sent. What you saw was true before the gap. Look after it.",
            "sleeps": "time.sleep() hears nothing. Wait for the loss instead: lock.lost.wait(gap).",
            "rest": "Return the list of the mails that were not sent: those from the one on that was next.",
        },
    ),
]
