"""What a write must do that a database compares by its fencing token: tried on real files, by real processes.

Each function takes the bench and the learner's ``accept(path, number, worker, token)``, and returns the Outcome of a wrong
answer, or None.
"""

import contextlib
import shutil
import sqlite3

from course_tasks.exercises import visiting
from course_tasks.exercises.definition import not_yet
from course_tasks.exercises.traces import Trace
from course_tasks.exercises.wording import short

TABLE = "CREATE TABLE mail (number INTEGER PRIMARY KEY, sent_by TEXT, token INTEGER NOT NULL DEFAULT 0)"
UNMARKED = None, 0  # sent_by and token of a mail that is not marked
MAILS = 4
FULL = 4  # a mail that can't be written

# What is asked in turn, each time by a new process: (finding where the answer is wrong, mail, worker, token, right answer).
IN_TURN = [
    ("higher", 1, "worker1", 5, True),
    ("equal", 1, "worker1", 5, True),
    ("higher", 1, "worker2", 9, True),
    ("lower", 1, "worker1", 5, False),
    ("own_row", 2, "worker1", 5, False),
    ("equal", 2, "worker2", 9, True),
    ("higher", 3, "worker3", 10, True),
    ("lower", 1, "worker2", 9, False),
]
TOGETHER = [3, 7, 1, 8, 5, 2, 6, 4]  # the tokens of processes that write at the same moment


def in_turn(bench, accept):
    """Lower tokens are refused, equal and higher ones accepted, whichever mail they are for and whichever process asks.

    Findings: "higher", "equal", "lower", "own_row", "memory", "uncommitted", "unkept", "touched".
    """
    path = _make(bench.directory / "turn.sqlite")
    before = _rows(path)
    for count, (finding, number, worker, token, right) in enumerate(IN_TURN, start=1):
        called = f"accept(path, {number}, {worker!r}, {token})"
        answer = bench.call(accept, str(path), number, worker, token, what=called)
        rows = _rows(path)
        if bool(answer) != right:
            if not right and bench.call(_right_in_one_process, accept, bench.directory, count):
                finding = "memory"
            highest = max(seen for _, seen in before.values())
            return not_yet(finding, f"The highest token so far was {highest}. {called} returned {short(answer)}.")
        if rows != before | ({number: (worker, token)} if right else {}):
            changed = {mail: row for mail, row in rows.items() if row != before[mail]}
            told = f"these rows have changed: {changed}" if changed else "nothing has changed"
            finding = "touched" if changed else "uncommitted"
            if right and set(changed) == {number} and rows[number][0] == worker:
                finding = "unkept"
            return not_yet(finding, f"{called} returned {short(answer)}, and in the database {told}.")
        before = rows
    return None


def leaves_nothing_locked(bench, accept):
    """Others can write when a call is over, even if it failed, and even if its process goes on. Finding: "left_locked".

    And "uncommitted", where it failed and says that it was accepted.
    """
    path = _make(bench.directory / "locked.sqlite")
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        for change in ("UPDATE", "INSERT"):
            fails = f"WHEN new.number = {FULL} BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
            db.execute(f"CREATE TRIGGER full_at_{change} BEFORE {change} ON mail {fails}")
    for what, number, token in (("was accepted", 1, 5), ("was refused", 1, 4), ("failed: the disk was full", FULL, 6)):
        answer, free = bench.call(_goes_on, accept, path, number, token, what="accept(…)")
        if not free:
            said = f"A write {what}. The process went on with something else, and no other one could write any more."
            return not_yet("left_locked", said)
        if number == FULL and answer:
            return not_yet("uncommitted", f"A write {what}. And accept(…) returned {short(answer)}.")
    return None


def one_step(bench, accept):
    """Wherever one process stands between two of its steps, another one with a higher token can come, and wins.

    Findings: "apart", "locked".
    """
    _make(bench.directory / "unmarked.sqlite")
    found = bench.call(
        _visited, accept, bench.directory, seconds=9.0, what="accept(…), halted before each of its calls,"
    )
    if found is None:
        return None
    finding, said, place = found
    here = Trace("Here one process was halted, with token 1; another one came, with token 2.", (place,))
    return not_yet(finding, said, trace=here)


def together(bench, accept):
    """Of many that write at the same moment, the highest token stays. Finding: "apart"."""
    path, highest = _make(bench.directory / "together.sqlite"), max(TOGETHER)
    calls = [(str(path), 1, f"worker{token}", token) for token in TOGETHER]
    answers = bench.together(accept, calls, seconds=8.0, what="accept(…), called by eight processes at once,")
    row = _rows(path)[1]
    if answers[TOGETHER.index(highest)] and row == (f"worker{highest}", highest):
        return None
    return not_yet(
        "apart", f"Eight processes wrote at once, with tokens from 1 to {highest}. In the end the row is {row}."
    )


# In a process of its own ----------------------------------------------------------------------------------------------


def _right_in_one_process(accept, directory, count):
    """Whether the last of the first ``count`` questions is answered rightly by a process that was asked all of them."""
    path = _make(directory / "one.sqlite")
    answers = [bool(accept(str(path), *question)) for _, *question, _ in IN_TURN[:count]]
    return answers[-1] == IN_TURN[count - 1][-1]


def _goes_on(accept, path, number, token):
    """What the call returned, and whether others can write then, while its process is still there."""
    try:
        answer = accept(str(path), number, "worker1", token)
    except Exception:  # looked at in here: whoever logs an error keeps it for a while, and with it all that is open
        return False, _is_free(path)
    return bool(answer), _is_free(path)


def _visited(accept, directory):
    """(finding, what was seen, the place) for the first step at which another process comes, and it goes wrong; or None."""

    def file(number):
        return directory / f"visit{number}.sqlite"

    def make(number):
        path = shutil.copyfile(directory / "unmarked.sqlite", file(number))
        halted, visitor = (str(path), 1, "worker1", 1), (str(path), 1, "worker2", 2)
        return lambda: accept(*halted), lambda: (_rows(path)[1], bool(accept(*visitor)))

    for number, visit in enumerate(visiting.visits(make, directory)):
        if wrong := _wrong(visit, file(number)):
            return *wrong, visit.place
    return None


def _wrong(visit, path):
    for answer in (visit.own, visit.other):
        if answer.kind != "returned":
            error = answer.trace.error if answer.trace else f"no answer ({answer.kind})"
            finding = "locked" if "locked" in error or answer.trace is None else "raised"
            return finding, f"Two processes wrote, the second between two steps of the first. One of them got {error}."
    (row_before, second), row = visit.other.value, _rows(path)[1]
    if not second:
        return "apart", "Token 2 was refused, and no other token had been there than 1."
    if row != ("worker2", 2):
        return "apart", f"Token 2 was accepted, and then token 1 was written. Now the mail's row is {row}."
    if visit.own.value and row_before == UNMARKED and not visit.waited:
        return "apart", "Token 2 was accepted, and then accept(…) returned True for token 1, and had not written it."
    return None


# The file -------------------------------------------------------------------------------------------------------------


def _make(path):
    """Make a database with mails that are not marked, at ``path``, and return that."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(TABLE)
        db.executemany("INSERT INTO mail (number) VALUES (?)", [(number,) for number in range(1, MAILS + 1)])
    return path


def _rows(path):
    """Mail number -> (sent_by, token), as others see it."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return {number: (by, token) for number, by, token in db.execute("SELECT number, sent_by, token FROM mail")}


def _is_free(path):
    """Whether somebody else can begin to write."""
    with contextlib.closing(sqlite3.connect(path, timeout=0)) as db:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
    return True
