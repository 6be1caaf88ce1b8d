"""The exercises of lesson 09, the paused holder."""

import contextlib
import sqlite3

from course_tasks.exercises import fencing
from course_tasks.exercises.definition import Exercise, not_yet, passed
from course_tasks.exercises.wording import short

# The database compares ------------------------------------------------------------------------------------------------


def accept(path, number, worker, token):
    change = """
        UPDATE mail SET sent_by = :worker, token = :token
        WHERE number = :number AND :token >= (SELECT max(token) FROM mail)
    """
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        return db.execute(change, {"worker": worker, "token": token, "number": number}).rowcount == 1


def check_accept(answer, bench):
    """Right when asked in turn, also by new processes; wherever another one comes in between; and nothing stays locked."""
    for part in (fencing.in_turn, fencing.leaves_nothing_locked, fencing.one_step, fencing.together):
        if wrong := part(bench, answer):
            return wrong
    return passed(
        "Lower tokens were refused, equal ones accepted. At each call that accept() makes, another process came with a higher "
        "token: nothing older was written after it. Then eight wrote at once; and nothing stayed locked."
    )


# When was it overdue? ---------------------------------------------------------------------------------------------------


def overdue(events):
    until, late = {}, []
    for event in events.itertuples():
        renewed = event.kind == "renewed" and event.task in until
        if event.kind == "acquired" or renewed:
            until[event.task] = event.lane, event.t + event.lease
        elif event.kind == "left":
            lane, lease_ended = until.pop(event.task)
            if event.t > lease_ended:
                late.append((lane, lease_ended))
        elif event.kind == "ended":
            late += [(lane, lease_ended) for lane, lease_ended in until.values() if event.t > lease_ended]
    return late


TOLERANCE = 0.02  # seconds

# Small histories, each with what it takes to get it right: (finding, what it is, what happens). A lease is 2.5 s, and the run
# ends at 9 s.
HISTORIES = [
    ("late", "one stays for 4 s", "0 1 gets, 4 1 leaves, 4 1 loses"),
    (
        "in_time",
        "everybody in time",
        "0 1 gets, 1 2 skips, 2 1 leaves, 2 1 releases, 3 2 gets, 4 2 leaves, 4 2 releases",
    ),
    ("renewed", "renewed once, and in time", "0 1 gets, 1 1 renews, 3 1 leaves, 3 1 releases"),
    ("newest", "renewed twice, then paused", "0 1 gets, 1 1 renews, 2 1 renews, 6 1 leaves, 6 1 loses"),
    (
        "whose",
        "another one renews meanwhile",
        "0 1 gets, 3 2 gets, 4 2 renews, 5 1 leaves, 5 1 loses, 6 2 leaves, 6 2 releases",
    ),
    (
        "left",
        "done in time, and then slow to release",
        "0 1 gets, 2 1 leaves, 3 1 loses, 4 2 gets, 5 2 leaves, 5 2 releases",
    ),
    ("open", "the run ends before anybody leaves", "0 1 gets, 3 2 gets, 4 2 renews, 6 2 renews, 8 2 renews"),
]


def history_of(story):
    """The events of a ``story`` as a DataFrame like ``run.events``."""
    from course_tasks.history.reading import frame

    kinds = {
        "gets": ("acquired", "entered"),
        "renews": ("renewed",),
        "leaves": ("left",),
        "releases": ("released",),
        "loses": ("lost",),
        "skips": ("skipped",),
    }
    events = [{"t": 0.0, "kind": "began", "lane": "lab"}]
    for step in story.split(", "):
        at, who, does = step.split()
        fields = {"t": float(at), "lane": f"worker{who}", "task": f"task{who}", "name": "tasks.send_mail_from_queue"}
        leased = {"lease": 2.5} if does in ("gets", "renews") else {}
        events += [fields | leased | {"kind": kind} for kind in kinds[does]]
    return frame([*events, {"t": 9.0, "kind": "ended", "lane": "lab"}])


def check_overdue(answer, bench):
    """Right for small histories, each of which has something that one can miss, and for the learner's own run."""
    (run,) = bench.given
    stories = [(finding, f"the history “{what}”", history_of(story)) for finding, what, story in HISTORIES]
    stories.append(("late", "your run", run.events))
    for (finding, what, events), got in zip(stories, bench.calls(answer, [each[2:] for each in stories]), strict=True):
        right, found = sorted(overdue(events)), sorted((str(lane), float(when)) for lane, when in got)
        same = [lane for lane, _ in found] == [lane for lane, _ in right]
        if not same or any(abs(when - wanted[1]) > TOLERANCE for (_, when), wanted in zip(found, right, strict=True)):
            return not_yet(finding, f"In {what}, your function finds {short(found)}; there is {short(right)} to find.")
    told = "; ".join(f"{lane} was, from {when:.1f} s on" for lane, when in overdue(run.events)) or "nobody was"
    return passed(f"Right for {len(HISTORIES)} small histories. In your run, {told}.")


EXERCISES = [
    Exercise(
        "09.1",
        "The database refuses the older token",
        check_accept,
        accept,
        hints=(
            "To compare and to write must be one step for all other processes. One statement can do both: UPDATE … WHERE "
            "number = ? AND …, where the token is compared with (SELECT max(token) FROM mail).",
            "Of an UPDATE, cursor.rowcount tells how many rows it has changed: 1 where it was accepted, 0 where it was not.",
            "Or in several statements: BEGIN IMMEDIATE, read, compare, write, COMMIT. With "
            "sqlite3.connect(path, isolation_level=None), Python begins no transaction by itself.",
            "with contextlib.closing(sqlite3.connect(path)) as db, db: commits at the end, takes everything back where there "
            "was an error, and closes the connection in either case.",
        ),
        findings={
            "higher": "A token that is higher than all before comes from the newest holder: accept it, and return True.",
            "equal": "A holder may write more than once, with the same token. Only a lower one is stale.",
            "lower": "A higher token was accepted before, so this one's holder had the lock earlier. Return False, and change "
            "nothing.",
            "own_row": "The lock is for all mails, and so is the token. Compare with the highest in the whole table.",
            "memory": "In one process it is right. But the next process knows nothing of what this one remembers: compare with "
            "what is in the database.",
            "uncommitted": "True means that it was written, and that others see it. Python's sqlite3 begins a transaction by "
            "itself when you write: who commits it?",
            "unkept": "Write the token beside sent_by. Without it, there is nothing to compare the next one with.",
            "touched": "Whoever is refused must not have changed anything; whoever is accepted, this one mail.",
            "left_locked": "End the transaction on every way out, an error included, and close the connection.",
            "apart": "You look, then somebody else writes, and then you act on what you saw. It has to be one step: one UPDATE "
            "that compares, or a transaction that keeps others out before it looks (BEGIN IMMEDIATE).",
            "locked": "A transaction that reads first can't write any more, once another one has written. BEGIN IMMEDIATE keeps "
            "others out from the start; they wait for as long as connect(…, timeout=…) says, 5 seconds by default.",
        },
    ),
    Exercise(
        "09.2",
        "Since when was it overdue?",
        check_overdue,
        overdue,
        hints=(
            "Keep in mind, for each task, until when its lease lasts: t + lease, from “acquired”, and anew from each “renewed”.",
            "At “left”, compare: was the task still inside when its lease was over?",
            "At “ended”, look at those that have not left.",
            "for event in events.itertuples(): has event.kind, event.task, event.lane, event.t, event.lease.",
        ),
        findings={
            "late": "A task is overdue if it leaves (“left”) later than its lease ended. The time is the lease's end: t + lease.",
            "in_time": "Who leaves before its lease is over is not overdue.",
            "renewed": "“renewed” begins a new lease.",
            "newest": "A renewed lease lasts from the newest renewal on: its t + lease. It isn't added to what was left.",
            "whose": "Each renewal is that of one task: compare the column task.",
            "left": "It is about being inside, until “left”. A release that comes too late is another matter.",
            "open": "Some never leave: at “ended”, who is still inside, and whose lease was over by then?",
        },
        given=("careful",),
    ),
]
