"""The exercises of lesson 07, not your lock."""

import functools
import secrets

from redis.exceptions import LockNotOwnedError

from course_tasks.exercises import killing, leases, locking
from course_tasks.exercises.definition import Exercise, not_yet, passed
from course_tasks.exercises.wording import short

# A lock that deletes only its own -----------------------------------------------------------------------------------


class TokenLock:
    COMPARE_AND_DELETE = """
        if redis.call('get', KEYS[1]) == ARGV[1] then
            return redis.call('del', KEYS[1])
        end
        return 0
    """

    def __init__(self, client, name, timeout=2.5):
        self.client, self.name, self.timeout = client, name, timeout

    def acquire(self):
        token = secrets.token_hex(16)
        if not self.client.set(self.name, token, nx=True, px=int(self.timeout * 1000)):
            return False
        self.token = token
        return True

    def release(self):
        if not self.client.eval(self.COMPARE_AND_DELETE, 1, self.name, self.token):
            raise LockNotOwnedError("Somebody else's by now, or nobody's", self.name)


def check_token_lock(lock, bench):
    """It has a lease from the first command on; and wherever the lease ends, it deletes nobody else's lock, and says so."""
    long = functools.partial(lock, timeout=killing.LONG)
    if wrong := locking.in_turn(bench, long) or locking.one_step(bench, long):
        return wrong
    if wrong := killing.frees_itself(bench, lock) or leases.deletes_only_its_own(bench, lock):
        return wrong
    if wrong := leases.has_a_token_of_its_own(bench, lock):
        return wrong
    run = bench.run(functools.partial(lock, timeout=2.5))
    if run.verdict.outcome != "valid":
        return not_yet("together", run.verdict.sentence, run)
    return passed(
        "Its lease ended before release(), and between any two of its commands: it deleted nobody else's lock, and the one "
        "that came too late was told. Here it is at work, one at a time.",
        run,
    )


# Whose lock was it? -------------------------------------------------------------------------------------------------


def deleted(events):
    found, holder, until = [], None, 0.0
    for event in events.itertuples():
        if event.kind == "acquired":
            holder, until = event, event.t + event.lease
        elif event.kind == "released":
            if holder is not None and event.t < until and event.task != holder.task:
                found.append((event.lane, holder.lane, event.t))
            holder = None
    return found


TOLERANCE = 0.1  # seconds: "left" is another event, a moment before

# Small histories, each with what it takes to get it right: (finding, what it is, what happens). A lease is 2.5 s.
HISTORIES = [
    ("own", "everybody in time", "0 1 gets, 1 2 skips, 2 1 releases, 3 2 gets, 4 2 releases"),
    (
        "chain",
        "the chain of the lesson",
        "0 1 gets, 3 2 gets, 3.5 1 releases, 4 3 gets, 6.4 2 releases",
    ),
    ("nobodys", "late, and nobody came in between", "0 1 gets, 3.5 1 releases, 4 2 gets, 5 2 releases"),
    ("over", "late, and the second one's lease is over as well", "0 1 gets, 3 2 gets, 6 1 releases, 7 2 releases"),
    ("gone", "two are late, and one lock is there", "0 1 gets, 3 2 gets, 6 3 gets, 7 1 releases, 8 2 releases"),
    ("back", "late, and the second one is done before", "0 1 gets, 3 2 gets, 4 2 releases, 4.5 1 releases"),
    ("lost", "a lock with a token", "0 1 gets, 3 2 gets, 3.5 1 loses, 4 3 skips, 4.8 2 releases"),
]


def history_of(story):
    """The events of a ``story`` as a DataFrame like ``run.events``."""
    from course_tasks.history.reading import frame

    events = [{"t": 0.0, "kind": "began", "lane": "lab"}]
    for step in story.split(", "):
        at, who, does = step.split()
        fields = {"t": float(at), "lane": f"worker{who}", "task": f"task{who}", "name": "tasks.send_mail_from_queue"}
        kinds = {
            "gets": ("acquired", "entered"),
            "releases": ("left", "released"),
            "loses": ("left", "lost"),
            "skips": ("skipped",),
        }
        events += [fields | {"kind": kind} | ({"lease": 2.5} if kind == "acquired" else {}) for kind in kinds[does]]
    return frame([*events, {"t": 9.0, "kind": "ended", "lane": "lab"}])


def check_deleted(answer, bench):
    """Right for small histories, each of which has something that one can miss, and for the learner's own run."""
    (run,) = bench.given
    stories = [(finding, f"the history “{what}”", history_of(story)) for finding, what, story in HISTORIES]
    stories.append(("chain", "your run", run.events))
    for (finding, what, events), got in zip(stories, bench.calls(answer, [each[2:] for each in stories]), strict=True):
        wanted = deleted(events)
        rows = [(str(who), str(whose), float(when)) for who, whose, when in got]
        if [row[:2] for row in rows] != [row[:2] for row in wanted]:
            return not_yet(finding, f"In {what}, your function finds {short(rows)}; there is {short(wanted)} to find.")
        if any(abs(row[2] - right[2]) > TOLERANCE for row, right in zip(rows, wanted, strict=True)):
            return not_yet("when", f"In {what}, your function finds {short(rows)}; there is {short(wanted)} to find.")
    times = "once" if len(wanted) == 1 else f"{len(wanted)} times"
    return passed(f"Right for {len(HISTORIES)} small histories. In your run, somebody else's lock was deleted {times}.")


EXERCISES = [
    Exercise(
        "07.1",
        "A lock that deletes only its own",
        check_token_lock,
        TokenLock,
        hints=(
            "acquire() makes a token and keeps it: secrets.token_hex(16). One command sets the key to it, if there is none, "
            "together with the lease: client.set(name, token, nx=True, px=...), in whole milliseconds.",
            "release() must compare and delete in one step on the server. client.eval(script, 1, key, token) runs a script "
            "in Lua that has them as KEYS[1] and ARGV[1], and returns what it returns.",
            "Where the script answers that the key was not yours, raise LockNotOwnedError: it comes from redis.exceptions.",
            "With a transaction: WATCH the key, GET it, and if it is yours MULTI, DEL, EXEC. redis-py raises WatchError where "
            "somebody touched the key since WATCH.",
        ),
        findings={
            "raised": "Read those lines from the last one upwards. px= takes an int, whole milliseconds. If it is your own "
            "LockNotOwnedError, though nobody came in between: the client answers in bytes, and b'x' == 'x' is False.",
            "kept": "release() must delete the key where it has your token. The client answers in bytes, and "
            "b'x' == 'x' is False.",
            **killing.HINTS,
            "no_lease": "px= is the lease in milliseconds, a whole number; timeout is in seconds.",
            "late_lease": "A holder can die between two commands. Set the key and its lease by one: SET with NX and PX.",
            "theirs": "Delete the key only if it has your token. If not, it is somebody else's, or nobody's.",
            "same_value": "Both had written the same into the key, so a release can't tell whose it is. Make a new random "
            "token in each acquire().",
            "same_token": "id() is an address, which is used again when its object is gone. So is the number of a process, and "
            "other machines have the same ones. What nobody ever had is random: secrets.token_hex(16), in each acquire().",
            "between": "You look, then the lease ends and somebody else gets the lock, then you delete. It has to be one step "
            "on the server: a script, DELIFEQ, or a transaction that watches the key from before you look.",
            "silent": "Whoever comes too late must learn it: raise LockNotOwnedError, from redis.exceptions. What does the "
            "server answer then? 0 is not None.",
            "together": "All workers have to use the same key: the one that is called name.",
        },
    ),
    Exercise(
        "07.2",
        "Whose lock was it?",
        check_deleted,
        deleted,
        hints=(
            "Go through the events in their order, and keep in mind whose key is there: nobody's at first.",
            "At “acquired”, the key is that lane's, until t + lease. At “released”, the key is gone.",
            "for event in events.itertuples(): has event.kind, event.lane, event.t, event.lease.",
        ),
        findings={
            "own": "Who releases a lock that is their own has not deleted anybody else's.",
            "chain": "At each “released”: whose key is there, and is its lease still running? (who released, whose it was, t).",
            "nobodys": "When a lease is over, the key is gone. Who releases after that, with nobody in between, deletes nothing.",
            "over": "The second one's lease ends, too: t + lease.",
            "gone": "A key that was deleted is not there any more. The next release finds none, until somebody gets the lock.",
            "back": "The second one has released its own lock. Then there is no key.",
            "lost": "Where a lock compares its token, a late one deletes nothing; the history says “lost”, not “released”.",
            "when": "The time is that of the deletion, t of the event “released”.",
            "nonsense": "Return a list with (who, whose, when), three values, for each lock that was deleted by another one; an "
            "empty list where there was none.",
        },
        given=("late",),
    ),
]
