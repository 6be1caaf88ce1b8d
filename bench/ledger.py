"""A number in a database that several processes increment, with a fence before it, and an account of what became of each.

To increment is to read, to work, and to write one more than was read, whatever is there by then. What a fencing token has
to do with it: each transaction shows the token of its hold, and the database refuses one that is lower than the highest it
has seen. One statement compares and keeps the higher, in the same transaction as what is done then.

It matters what is compared. At 0.0 s A takes the lock, token 1, reads 5, and is paused. At 0.2 s its lease is over; B takes
the lock, token 2, and reads 5. At 0.3 s A wakes and writes 6. If tokens come with writes alone, 1 is the highest so far:
accepted. At 0.4 s B writes 6, token 2: accepted. No token was out of order, and A's increment is lost. So whoever reads in
order to write shows the token at the read already. Then the database knows of B when A's write comes, and refuses it.

Then no update can be lost, as long as no two holds have the same token. Take a write that is accepted, and the read that it
is based on. What is accepted in between has a token at least as high, because the read has left it there; and none that is
higher, or the write would have been refused. So it is of the same hold, which does one thing after another. That the token
is higher for each new holder is what keeps the new one from being refused instead of the old.
"""

import contextlib
import itertools
import sqlite3
from dataclasses import dataclass
from typing import NamedTuple

READ, WRITE = "READ", "WRITE"
FENCED, WRITES_ALONE, UNFENCED = "reads+writes", "writes", "nothing"
FENCES = {FENCED: (READ, WRITE), WRITES_ALONE: (WRITE,), UNFENCED: ()}  # what shows its token, and may be refused


class Entry(NamedTuple):
    """One transaction: its ``turn`` (1, 2, … in the order of the database), ``who``, the ``operation``, the fencing ``token``.

    ``based_on`` is the number that a write's process had read before (None of a read), ``found`` the one that was there.
    """

    turn: int
    who: int
    operation: str
    token: int
    based_on: int | None
    found: int
    accepted: bool


class Ledger:
    """The database at ``path``, for one process. ``fence``: a key of FENCES. Use it as a context manager."""

    def __init__(self, path, fence):
        self._compared = FENCES[fence]
        self._db = _connected(path)

    @staticmethod
    def make(path):
        """Make the database, with the number 0 in it."""
        with contextlib.closing(_connected(path)) as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("CREATE TABLE data (number, token)")  # the highest token seen
            db.execute("INSERT INTO data VALUES (0, 0)")
            db.execute(
                "CREATE TABLE account (turn INTEGER PRIMARY KEY, who, operation, token, based_on, found, accepted)"
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._db.close()

    def read(self, who, token):
        """The number, read in order to write; None where that was refused."""
        return self._transact(who, READ, token)

    def write(self, who, token, based_on):
        """Make the number one more than ``based_on``, which was read before. Returns it; None where that was refused."""
        found = self._transact(who, WRITE, token, based_on)
        return None if found is None else based_on + 1

    def _transact(self, who, operation, token, based_on=None):
        """Returns the number found; None where it was refused."""
        with self._db as db:
            db.execute("BEGIN IMMEDIATE")  # one at a time, from here to the end
            accepted = operation not in self._compared or self._pass(token)
            found = db.execute("SELECT number FROM data").fetchone()[0]
            if accepted and operation == WRITE:
                db.execute("UPDATE data SET number = ?", (based_on + 1,))
            entry = (who, operation, token, based_on, found, accepted)
            db.execute("INSERT INTO account VALUES (NULL, ?, ?, ?, ?, ?, ?)", entry)
        return found if accepted else None

    def _pass(self, token):
        """Let ``token`` pass the fence, and return whether it was let through; from now on, no lower one is."""
        return self._db.execute("UPDATE data SET token = ? WHERE token <= ?", (token, token)).rowcount == 1

    def account(self):
        """The Account until now."""
        entries = self._db.execute("SELECT * FROM account ORDER BY turn").fetchall()
        number = self._db.execute("SELECT number FROM data").fetchone()[0]
        return Account(number, tuple(Entry(*entry[:-1], bool(entry[-1])) for entry in entries))


def _connected(path):
    db = sqlite3.connect(path, timeout=30, isolation_level=None)
    db.execute("PRAGMA synchronous=OFF")  # processes are killed here, and the machine is not
    return db


@dataclass(frozen=True)
class Account:
    """The final ``number``, and all ``entries`` in the order in which the database took them."""

    number: int
    entries: tuple

    @property
    def writes(self):
        """The entries of writes that were accepted."""
        return [entry for entry in self.entries if entry.operation == WRITE and entry.accepted]

    @property
    def refused(self):
        """The entries that were refused."""
        return [entry for entry in self.entries if not entry.accepted]

    @property
    def lost(self):
        """Lost updates: accepted writes, each of which added one, less what the number has grown by.

        None makes up for another: once the number is behind, it never catches up, for no write adds more than one to a
        number that was there.
        """
        return len(self.writes) - self.number

    @property
    def overwriting(self):
        """The accepted writes that were based on another number than the one that they replaced."""
        return [entry for entry in self.writes if entry.based_on != entry.found]

    @property
    def out_of_order(self):
        """The accepted writes with a lower token than one accepted before."""
        highest = itertools.accumulate((entry.token for entry in self.writes), max)
        return [entry for entry, most in zip(self.writes, highest, strict=True) if entry.token < most]
