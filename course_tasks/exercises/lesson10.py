"""The exercises of lesson 10, waiting well."""

import contextlib
import functools
import random
import time

from redis.exceptions import LockNotOwnedError

from course_tasks.exercises.definition import Exercise, not_yet, passed
from course_tasks.exercises.wording import short
from course_tasks.lab.faults import kill
from course_tasks.locks import LeaseLock

# Both, or none ----------------------------------------------------------------------------------------------------------


def take_both(one, other):
    first, second = sorted([one, other], key=lambda lock: lock.name)
    if not first.acquire(blocking_timeout=1):
        return False
    if second.acquire(blocking_timeout=1):
        if first.validity > 0:
            return True
        second.release()
    with contextlib.suppress(LockNotOwnedError):  # its lease may have ended while we waited for the second
        first.release()
    return False


LONG, SHORT = 10.0, 0.4  # seconds: a lease that outlasts every case, and one that doesn't
SOON = 0.6  # seconds after which a lock that is taken gets free
WAITS = 0.15  # seconds for which a lock is held by one who waits for another; asking once takes a few milliseconds
REPEATS = 10  # of the two cases that tell in which order the locks are taken: it may be drawn by lot

# What is taken, the leases of one's own, the order in which the two are named; what may come of it.
FREE = [("", LONG, "ab", {True}), ("", LONG, "ba", {True})]
TAKEN = [("b", LONG, "ab", {False}), ("a", LONG, "ba", {False}), ("a", LONG, "ab", {False}), ("b", LONG, "ba", {False})]
FREED = [("b soon", LONG, "ab", {True}), ("a soon", LONG, "ba", {True})]
LOST = [("b soon", SHORT, "ab", {True, False}), ("a soon", SHORT, "ba", {True, False})]
CASES = FREE + TAKEN + FREED + LOST + TAKEN[:2] * (REPEATS - 1)
SAID = {"": "Both were free", "soon": f"{{}} was taken for {SOON} s", "taken": "{} was taken all the time"}


class Watched(LeaseLock):
    """A LeaseLock that knows for how long it was held, in seconds."""

    held, since = 0.0, None

    def acquire(self, *args, **kwargs):
        given = super().acquire(*args, **kwargs)
        self.since = time.monotonic() if given else self.since
        return given

    def release(self):
        if self.since is not None:
            self.held, self.since = max(self.held, time.monotonic() - self.since), None
        super().release()


class Pair:
    """Both locks as one, for contenders that name them in any order."""

    def __init__(self, take, client, name):
        self.take, self.locks = take, [LeaseLock(client, f"{name}-{which}", timeout=1.0) for which in "ab"]

    def acquire(self):
        return self.take(*random.sample(self.locks, 2))

    def release(self):
        for lock in self.locks:
            lock.release()


def check_take_both(take, bench):
    """Both or none, also where a lock is taken, gets free, or is lost meanwhile; one order; then two contend, and one dies."""
    answers = []
    calls = [(take, bench.client, f"case{number}", *case[:3]) for number, case in enumerate(CASES)]
    for some in (calls[:2], calls[2:]):  # an answer that was not written is found before others are waited for
        answers += bench.together(_tried, some, what="take_both(…)")
    for (taken, lease, order, may), (answer, owned, _) in zip(CASES, answers, strict=True):
        if wrong := _what_is_wrong(answer, owned, may, lease):
            said = f"{_situation(taken, lease)}, and take_both({', '.join(order)}) returned {answer!r}"
            return not_yet(wrong, f"{said}. Then {_owned(owned)}.")
    held = {(taken, order): 0.0 for taken, _, order, _ in TAKEN[:2]}
    for (taken, lease, order, _), (*_, seconds) in zip(CASES, answers, strict=True):
        if (taken, order) in held and lease == LONG:
            held[taken, order] = max(held[taken, order], seconds)
    if min(held.values()) > WAITS:
        return not_yet(
            "order",
            "take_both(a, b) held a for {:.1f} s while it waited for b, and take_both(b, a) held b for {:.1f} s while it "
            "waited for a.".format(*held.values()),
        )
    run = bench.contend(
        functools.partial(Pair, take),
        contenders=2,
        holds=0.02,
        seconds=2.0,
        faults=kill("holder", after=0.4),
        may_raise=("LockNotOwnedError",),  # where this machine stood still for longer than their leases
    )
    if run.verdict.outcome == "invalid":
        return not_yet("lost", f"Two contended. {run.verdict.sentence}.", run)
    return passed(
        "Free, taken, freed after a while, lost while it waited: it had both, or neither, and no two that call it can wait "
        "for each other. Here two contended, and one was killed.",
        run,
    )


def _tried(take, client, name, taken, lease, order):
    """What ``take`` returned, which of the locks "a" and "b" it owned then, and for how long it held one that it gave back."""
    which, _, soon = taken.partition(" ")
    if which:
        LeaseLock(client, f"{name}-{which}", timeout=SOON if soon else LONG).acquire()
    locks = {letter: Watched(client, f"{name}-{letter}", timeout=lease) for letter in "ab"}
    answer = take(*(locks[letter] for letter in order))
    owned = "".join(letter for letter, lock in locks.items() if lock.owned())
    return answer, owned, max(lock.held for lock in locks.values())


def _what_is_wrong(answer, owned, may, lease):
    """A finding, or None. True must mean that both are owned, and False that none is."""
    if not isinstance(answer, bool):
        return "answer"
    if answer and owned != "ab":
        return "lost" if lease == SHORT else "half"
    if not answer and owned:
        return "kept"
    return None if answer in may else "impatient"


def _situation(taken, lease):
    which, _, soon = taken.partition(" ")
    said = SAID[soon or (which and "taken")].format(which)
    return f"{said}, longer than the lease of {'ab'.replace(which, '')}, {lease} s" if lease == SHORT else said


def _owned(owned):
    return {"": "neither was held", "ab": "both were held"}.get(owned, f"only {owned} was held")


# Who waited longest? ----------------------------------------------------------------------------------------------------


def longest_wait(events):
    began, waits = {}, []
    for event in events.itertuples():
        if event.kind == "waiting":
            began[event.task] = event
        elif event.kind == "acquired" and event.task in began:
            wait = began.pop(event.task)
            waits.append((event.t - wait.t, wait.lane))
        elif event.kind == "ended":
            waits += [(event.t - wait.t, wait.lane) for wait in began.values()]
    seconds, lane = max(waits)
    return lane, seconds


TOLERANCE = 0.011  # seconds: rounded to a hundredth, or a moment's difference between two events

# Small histories, each with what it takes to get it right: (finding, what it is, what happens). They end after 9 s.
HISTORIES = [
    ("grant", "one waits", "0 1 gets, 1 2 waits, 3 1 leaves, 3.5 2 gets, 5 2 leaves"),
    ("each", "one waits often, another one long", "0 1 waits, 1 1 gets, 1.1 1 leaves, 2 1 waits, 3 1 gets, 3.1 1 leaves, "
     "4 1 waits, 5 1 gets, 5.1 1 leaves, 6 2 waits, 8 2 gets, 8.1 2 leaves"),
    ("at_once", "one need not wait the second time", "0 1 waits, 1 1 gets, 2 1 leaves, 4 2 waits, 6 2 gets, 7 2 leaves, "
     "8 1 gets, 8.5 1 leaves"),
    ("still", "one waits to the end", "0 1 waits, 2 1 gets, 3 1 leaves, 4 2 waits, 5 3 gets"),
]  # fmt: skip


def history_of(story):
    """The events of a ``story`` as a DataFrame like ``run.events``: each attempt is a task of its own."""
    from course_tasks.history.reading import frame

    kinds = {"waits": ["waiting"], "gets": ["acquired", "entered"], "leaves": ["left", "released"]}
    events, attempts = [{"t": 0.0, "kind": "began", "lane": "lab"}], {}
    for step in story.split(", "):
        at, who, does = step.split()
        fields = {"t": float(at), "lane": f"contender{who}", "task": f"contender{who}-{attempts.setdefault(who, 1)}"}
        events += [fields | {"kind": kind} for kind in kinds[does]]
        attempts[who] += does == "leaves"
    return frame([*events, {"t": 9.0, "kind": "ended", "lane": "lab"}])


def check_longest_wait(answer, bench):
    """Right for small histories, each of which has something that one can miss, and for the learner's own run."""
    (run,) = bench.given
    stories = [(finding, f"the history “{what}”", history_of(story)) for finding, what, story in HISTORIES]
    stories.append(("still", "your run", run.events))
    for (finding, what, events), got in zip(stories, bench.calls(answer, [each[2:] for each in stories]), strict=True):
        wanted = longest_wait(events)
        lane, seconds = got
        if str(lane) != wanted[0] or abs(float(seconds) - wanted[1]) > TOLERANCE:
            told, right = short((str(lane), round(float(seconds), 2))), (wanted[0], round(wanted[1], 2))
            return not_yet(finding, f"For {what}, your function returns {told}; it is {right}.")
    return passed(
        f"Right for {len(HISTORIES)} small histories. In your run, {wanted[0]} waited longest: {wanted[1]:.2f} s."
    )


EXERCISES = [
    Exercise(
        "10.1",
        "Two locks, both or none",
        check_take_both,
        take_both,
        hints=(
            "First put the two into an order that doesn't depend on who calls: sorted([one, other], key=lambda lock: lock.name).",
            "Take the first; if that fails, return False. Take the second; if that fails, release the first and return False.",
            "When you have the second, look whether you still have the first: first.validity > 0. If not, release the second.",
            "A lock whose lease is over can't be released: LockNotOwnedError. Then there is nothing to give back.",
        ),
        findings={
            "answer": "Return True or False, on every way.",
            "half": "True means both. Ask for the second as well, and look at what acquire() answers.",
            "kept": "Where you return False, give back whatever you have: nobody else will.",
            "impatient": "acquire(blocking_timeout=1) asks for up to a second.",
            "lost": "While you waited for the second, the lease of the first went on. Look whether it is still yours.",
            "order": "Two of them, one each way, would wait for each other. Sort the locks first, so that it is one way for all.",
        },
    ),
    Exercise(
        "10.2",
        "Who waited longest?",
        check_longest_wait,
        longest_wait,
        hints=(
            "Go through the events, and remember for each task when it began to wait: for event in events.itertuples(), with "
            "event.kind, event.task, event.lane and event.t.",
            "At “acquired”, its wait is over: event.t minus the time at which it began. Forget it then.",
            "What is left at “ended” has waited until then, and may be the longest of all.",
        ),
        findings={
            "grant": "From “waiting” to “acquired” of the same task. Return the lane and the seconds, in this order.",
            "each": "It is the longest single wait that is asked for, and not the sum of all waits of one contender.",
            "at_once": "Who is given the lock at once has not waited: there is no “waiting” for that task.",
            "still": "Who never got in has waited, too, until “ended”. Leave those out, and you don't see the worst case.",
        },
        given=("poll",),
    ),
]  # fmt: skip
