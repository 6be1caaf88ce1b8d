"""The outbox: a queue of mails in an SQLite file, and the fence before it, which refuses the writes of overtaken lock holders."""

import contextlib
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from course_tasks.history.recording import unheard

RECIPIENT = "reader@example.email"


@dataclass(frozen=True)
class Mail:
    """One mail of the outbox: its ``number`` (1, 2, 3 …), whom it goes ``to``, its ``subject``."""

    number: int
    to: str
    subject: str


class Outbox:
    """A queue of mails in an SQLite file at ``path``, made if it is missing.

    SQLite's write-ahead log lets one process write while others read. Nothing here stops two processes from reading
    the same unsent mail: that is the lesson.

    ``fencing``: whether writes are compared by their fencing tokens (see :meth:`mark_sent`). ``record`` is the recorder
    of the task that writes, which hears of every write with a token; by default, nobody does.
    """

    def __init__(self, path, fencing=True, record=unheard):
        self.path, self.fencing, self.record = Path(path), fencing, record
        if not self.path.exists():
            self._make()

    def _make(self):
        """Make the file beside its place and link it there, so that of several processes which do so one comes first.

        (SQLite has no such way: two that turn the log on at once are told that the database is locked.)
        """
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        with _open(beside) as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("CREATE TABLE mail (number INTEGER PRIMARY KEY, recipient, subject, sent_by)")
            db.execute("CREATE TABLE fence (resource PRIMARY KEY, token)")  # the highest token seen, for each resource
        try:
            os.link(beside, self.path)
        except FileExistsError:
            pass
        finally:
            beside.unlink()

    def write(self, count, only_first=False):
        """Put ``count`` new, unsent mails into the outbox; with ``only_first``, if there never was any."""
        with _open(self.path) as db:
            db.execute("BEGIN IMMEDIATE")  # or two writers would give out the same numbers
            last = db.execute("SELECT coalesce(max(number), 0) FROM mail").fetchone()[0]
            if last and only_first:
                return
            rows = [(number, RECIPIENT, f"Your order no. {number}") for number in range(last + 1, last + 1 + count)]
            db.executemany("INSERT INTO mail (number, recipient, subject) VALUES (?, ?, ?)", rows)

    def oldest_unsent(self):
        """The oldest Mail that is not marked as sent; None where every mail is."""
        with _open(self.path) as db:
            row = db.execute(
                "SELECT number, recipient, subject FROM mail WHERE sent_by IS NULL ORDER BY number LIMIT 1"
            ).fetchone()
        return Mail(*row) if row else None

    def mark_sent(self, number, by, token=None):
        """Note that mail ``number`` was sent, and ``by`` whom (a process's name); return whether that was accepted.

        With a fencing ``token`` (an int), it is refused where a higher one was seen before: whoever wrote with that one
        got the lock later. The same token may come again: its holder may write more than once. Without a token, or
        without fencing, everything is accepted.
        """
        with _open(self.path) as db:
            db.execute("BEGIN IMMEDIATE")  # one writer at a time, from here on until all of it is written
            seen, accepted = self._pass(db, token) if token is not None else (None, True)
            if accepted:
                db.execute("UPDATE mail SET sent_by = ? WHERE number = ?", (by, number))
        if token is not None:
            # Two processes may record their writes in another order than that in which the database took them. So each
            # tells what the database had seen before it, as read in the same transaction: nothing depends on that order.
            detail = None if seen is None else {"seen": seen}
            self.record("written" if accepted else "refused", mail=number, token=token, detail=detail)
        return accepted

    def _pass(self, db, token):
        """Let ``token`` pass the fence: return the highest one seen before (None: none) and whether it was let through."""
        seen = db.execute("SELECT token FROM fence WHERE resource = 'mail'").fetchone()
        passed = db.execute(
            """
            INSERT INTO fence VALUES ('mail', :token)
            ON CONFLICT (resource) DO UPDATE SET token = max(token, :token) WHERE :token >= token OR NOT :fencing
            """,
            {"token": token, "fencing": self.fencing},
        )
        return seen and seen[0], passed.rowcount == 1

    def unsent(self):
        """The numbers of the mails that are not marked as sent, oldest first."""
        with _open(self.path) as db:
            return [row[0] for row in db.execute("SELECT number FROM mail WHERE sent_by IS NULL ORDER BY number")]


@contextlib.contextmanager
def _open(path):
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as db, db:
        yield db
