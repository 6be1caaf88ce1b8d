"""Answers to the exercises of lesson 09."""

import sqlite3
from contextlib import closing

from answers import fails, given, passes
from course_tasks.exercises.lesson09 import history_of
from course_tasks.lab.run import Run

# 09.1, the database compares ------------------------------------------------------------------------------------------


@passes("09.1")
def begins_immediately(path, number, worker, token):
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("BEGIN IMMEDIATE")
        highest = db.execute("SELECT max(token) FROM mail").fetchone()[0]
        accepted = token >= highest
        if accepted:
            db.execute("UPDATE mail SET sent_by = ?, token = ? WHERE number = ?", (worker, token, number))
        db.execute("COMMIT")
        return accepted
    finally:
        db.close()


class Database:
    """Writes first, so that nobody else does; then looks; and takes it back."""

    def __init__(self, where):
        self.db = sqlite3.connect(where, timeout=10)

    def mark(self, mail, by, fence):
        self.db.execute("UPDATE mail SET sent_by = ?, token = max(token, ?) WHERE number = ?", (by, fence, mail))
        newer = self.db.execute("SELECT 1 FROM mail WHERE token > ? LIMIT 1", [fence]).fetchone()
        if newer:
            self.db.rollback()
        else:
            self.db.commit()
        return newer is None


@passes("09.1")
def elsewhere(database, mail, me, fencing_token):
    box = Database(database)
    with closing(box.db):
        return box.mark(mail, me, fencing_token)


@passes("09.1")
def in_a_statement_with_changes(path, number, worker, token):
    """One statement, and its connection left to the garbage collector."""
    db = sqlite3.connect(path)
    with db:
        db.execute(
            "UPDATE mail SET (sent_by, token) = (?1, ?2) "
            "WHERE number = ?3 AND NOT EXISTS (SELECT * FROM mail AS other WHERE other.token > ?2)",
            (worker, token, number),
        )
        (changed,) = db.execute("SELECT changes()").fetchone()
    return changed


def compared(path, number, worker, token, where):
    with closing(sqlite3.connect(path)) as db, db:
        change = f"UPDATE mail SET sent_by = :worker, token = :token WHERE number = :number AND {where}"
        return db.execute(change, {"worker": worker, "token": token, "number": number}).rowcount == 1


@fails("09.1", "higher")
def the_wrong_way_round(path, number, worker, token):
    return compared(path, number, worker, token, ":token <= (SELECT max(token) FROM mail)")


@fails("09.1", "equal")
def only_higher(path, number, worker, token):
    return compared(path, number, worker, token, ":token > (SELECT max(token) FROM mail)")


@fails("09.1", "lower")
def everything(path, number, worker, token):
    return compared(path, number, worker, token, "true")


@fails("09.1", "lower")
def by_the_name(path, number, worker, token):
    """Whoever has sent it may mark it again."""
    return compared(path, number, worker, token, "(sent_by IS NULL OR token <= :token OR sent_by != :worker)")


@fails("09.1", "own_row")
def its_own_row(path, number, worker, token):
    return compared(path, number, worker, token, "token <= :token")


HIGHEST = 0


@fails("09.1", "memory")
def remembers(path, number, worker, token):
    global HIGHEST
    if token < HIGHEST:
        return False
    HIGHEST = token
    return compared(path, number, worker, token, "true")


@fails("09.1", "memory")
def a_list_of_its_own(path, number, worker, token, seen=[0]):  # noqa: B006
    """The same without a global variable."""
    seen.append(token)
    return token == max(seen) and compared(path, number, worker, token, "true")


@fails("09.1", "uncommitted")
def without_commit(path, number, worker, token):
    db = sqlite3.connect(path)
    change = "UPDATE mail SET sent_by = ?, token = ? WHERE number = ? AND ? >= (SELECT max(token) FROM mail)"
    return db.execute(change, (worker, token, number, token)).rowcount == 1


@fails("09.1", "uncommitted")
def swallows_errors(path, number, worker, token):
    try:
        return compared(path, number, worker, token, ":token >= (SELECT max(token) FROM mail)")
    except sqlite3.Error:
        return True


@fails("09.1", "unkept")
def keeps_no_token(path, number, worker, token):
    with closing(sqlite3.connect(path)) as db, db:
        change = "UPDATE mail SET sent_by = ? WHERE number = ? AND ? >= (SELECT max(token) FROM mail)"
        return db.execute(change, (worker, number, token)).rowcount == 1


@fails("09.1", "touched")
def writes_first(path, number, worker, token):
    with closing(sqlite3.connect(path)) as db, db:
        (highest,) = db.execute("SELECT max(token) FROM mail").fetchone()
        db.execute("UPDATE mail SET sent_by = ?, token = ? WHERE number = ?", (worker, token, number))
        return token >= highest


@fails("09.1", "touched")
def every_mail(path, number, worker, token):
    """The token into every row, and the name too."""
    with closing(sqlite3.connect(path)) as db, db:
        change = "UPDATE mail SET sent_by = ?, token = ? WHERE ? >= (SELECT max(token) FROM mail)"
        return db.execute(change, (worker, token, token)).rowcount > 0


@fails("09.1", "left_locked")
def returns_early(path, number, worker, token):
    """A connection for the whole process, and a transaction that nobody ends when a write is refused."""
    db = connection(path)
    db.execute("BEGIN IMMEDIATE")
    if token < db.execute("SELECT max(token) FROM mail").fetchone()[0]:
        return False
    db.execute("UPDATE mail SET sent_by = ?, token = ? WHERE number = ?", (worker, token, number))
    db.execute("COMMIT")
    return True


CONNECTIONS = {}


def connection(path):
    if path not in CONNECTIONS:
        CONNECTIONS[path] = sqlite3.connect(path, isolation_level=None)
    return CONNECTIONS[path]


@fails("09.1", "left_locked")
def until_something_fails(path, number, worker, token):
    db = sqlite3.connect(path)
    change = "UPDATE mail SET sent_by = ?, token = ? WHERE number = ? AND ? >= (SELECT max(token) FROM mail)"
    done = db.execute(change, (worker, token, number, token)).rowcount
    db.commit()
    db.close()
    return bool(done)


@fails("09.1", "apart")
def look_then_write(path, number, worker, token):
    """``with db`` begins no transaction: Python does, before the first statement that writes."""
    with closing(sqlite3.connect(path)) as db, db:
        (highest,) = db.execute("SELECT max(token) FROM mail").fetchone()
        if token < highest:
            return False
        db.execute("UPDATE mail SET sent_by = ?, token = ? WHERE number = ?", (worker, token, number))
        return True


def highest_in(path):
    with closing(sqlite3.connect(path)) as db:
        return max(token for (token,) in db.execute("SELECT token FROM mail"))


@fails("09.1", "apart")
def in_two_functions(where, mail, who, fence):
    newest = highest_in(where)
    return fence >= newest and compared(where, mail, who, fence, "true")


@fails("09.1", "apart")
def commits_in_between(path, number, worker, token):
    """Two transactions, each of them a step."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        allowed = db.execute("SELECT max(token) <= ? FROM mail", [token]).fetchone()[0]
        db.execute("COMMIT")
        if allowed:
            db.execute("BEGIN IMMEDIATE")
            db.execute("UPDATE mail SET sent_by = ?, token = ? WHERE number = ?", (worker, token, number))
            db.execute("COMMIT")
        return allowed


@fails("09.1", "apart")
def says_what_it_saw(path, number, worker, token):
    """The right statement, and an answer from another one."""
    allowed = token >= highest_in(path)
    compared(path, number, worker, token, ":token >= (SELECT max(token) FROM mail)")
    return allowed


@fails("09.1", "locked")
def begins_later(path, number, worker, token):
    """BEGIN alone is BEGIN DEFERRED: it keeps nobody out before the first write."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN")
        (highest,) = db.execute("SELECT max(token) FROM mail").fetchone()
        if token >= highest:
            db.execute("UPDATE mail SET sent_by = ?, token = ? WHERE number = ?", (worker, token, number))
        db.execute("COMMIT")
        return token >= highest


@fails("09.1", "locked")
def does_not_wait(path, number, worker, token):
    with closing(sqlite3.connect(path, timeout=0)) as db, db:
        db.execute("BEGIN IMMEDIATE")
        (highest,) = db.execute("SELECT max(token) FROM mail").fetchone()
        change = "UPDATE mail SET sent_by = ?, token = ? WHERE number = ? AND ? >= ?"
        return db.execute(change, (worker, token, number, token, highest)).rowcount == 1


@fails("09.1", "raised")
def another_table(path, number, worker, token):
    with closing(sqlite3.connect(path)) as db, db:
        return db.execute("UPDATE fence SET token = ? WHERE token <= ?", (token, token)).rowcount == 1


# 09.2, since when was it overdue? -----------------------------------------------------------------------------------


@given("09.2")
def a_run():
    return (
        Run(1, history_of("0 1 gets, 0.5 1 renews, 3.5 2 gets, 4 2 leaves, 4 2 releases, 5 1 leaves, 5 1 loses"), None),
    )


@passes("09.2")
def from_the_table(table):
    """Task by task."""
    found = []
    for _, mine in table.dropna(subset="task").groupby("task", sort=False):
        leases = mine[mine["kind"].isin(["acquired", "renewed"])]
        if leases.empty:
            continue
        left = mine[mine["kind"] == "left"]
        until = left["t"].iloc[0] if len(left) else table["t"].iloc[-1]
        newest = leases[leases["t"] <= until].iloc[-1]
        if newest["t"] + newest["lease"] < until:
            found.append([newest["lane"], newest["t"] + newest["lease"]])
    return found


@passes("09.2")
def from_the_end(events):
    """Backwards: the first lease that one meets is the newest."""
    left, done, found, last = {}, set(), [], events["t"].iloc[-1]
    for event in events[::-1].itertuples():
        if event.kind == "left":
            left[event.task] = event.t
        elif event.kind in ("acquired", "renewed") and event.task not in done:
            if event.t > left.get(event.task, last):
                continue
            done.add(event.task)
            if event.t + event.lease < left.get(event.task, last):
                found.insert(0, (event.lane, event.t + event.lease))
    return found


def walk(
    events,
    key="task",
    at="left",
    renew="newest",
    ended=True,
    late=lambda now, end: now > end,
    when=lambda now, end: end,
):
    found, until = [], {}
    for event in events.itertuples():
        who = getattr(event, key, "everybody")
        if event.kind == "acquired":
            until[who] = event.lane, event.t + event.lease
        elif event.kind == "renewed" and who in until:
            end = {"newest": event.t + event.lease, "sum": until[who][1] + event.lease, "never": until[who][1]}[renew]
            until[who] = until[who][0], end
        elif event.kind in at and who in until:
            lane, end = until.pop(who)
            if late(event.t, end):
                found.append((lane, when(event.t, end)))
        elif event.kind == "ended" and ended:
            found += [(lane, when(event.t, end)) for lane, end in until.values() if late(event.t, end)]
    return found


@fails("09.2", "late")
def when_it_left(events):
    return walk(events, when=lambda now, end: now)


@fails("09.2", "late")
def the_loss(events):
    return [(event.lane, event.t) for event in events.itertuples() if event.kind == "lost"]


@fails("09.2", "in_time")
def everybody(events):
    return walk(events, late=lambda now, end: True)


@fails("09.2", "renewed")
def without_renewals(events):
    return walk(events, renew="never")


@fails("09.2", "newest")
def adds_them_up(events):
    return walk(events, renew="sum")


@fails("09.2", "whose")
def one_lease_for_all(events):
    found, end = [], 0.0
    for event in events.itertuples():
        if event.kind in ("acquired", "renewed"):
            end = event.t + event.lease
        elif event.kind in ("left", "ended") and event.t > end:
            found.append((event.lane, end))
    return [each for each in found if each[0] != "lab"]


@fails("09.2", "left")
def until_the_release(events):
    return walk(events, at=("released", "lost"))


@fails("09.2", "open")
def only_those_who_left(events):
    return walk(events, ended=False)


@fails("09.2", "nonsense")
def lanes_only(events):
    return [lane for lane, _ in walk(events)]
