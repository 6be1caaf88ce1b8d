"""What the clients share: a model of one Redis and of one database, and what only an onlooker knows about them.

A value that Redis keeps is a string. How long a lease lasts is not modelled, only that a key has one: it may end at any
later step, or never. The onlooker notes who set a key, in which order, and whose lease has ended; no command sees that.
"""

from typing import NamedTuple


class Key(NamedTuple):
    """One key: its ``value``, whether it has a lease, and the client that set it (None: INCR made it)."""

    value: str
    leased: bool
    owner: str | None


class Row(NamedTuple):
    """One row of the database: the ``token`` of the last write that was accepted, and its writer's :attr:`Store.grants`."""

    token: int
    grant: int


class Frozen(NamedTuple):
    """A Store as nested tuples in a fixed order, to be compared and hashed; ``Store(*frozen)`` makes a Store of it again."""

    keys: tuple = ()
    rows: tuple = ()
    grants: tuple = ()
    overdue: tuple = ()
    stale: bool = False


class Refused(Exception):
    """The server answers with an error instead of executing the command."""


class Store:
    """The state of server and database, changed by one command at a time.

    ``keys`` and ``rows`` have :class:`Key` and :class:`Row` by name. ``grants``: client -> a number, the greater the later
    it set a key that was not its own; that is taken for being granted the lock. ``overdue`` are the clients whose lease
    has ended since. ``stale``: whether the database has accepted a stale write.
    """

    def __init__(self, keys=(), rows=(), grants=(), overdue=(), stale=False):
        self.keys, self.rows, self.grants = dict(keys), dict(rows), dict(grants)
        self.overdue, self.stale = set(overdue), stale

    def frozen(self):
        """The same as :class:`Frozen`. Only the order of grants matters, so they are numbered anew: else equals would differ."""
        numbers = sorted({0, *self.grants.values(), *(row.grant for row in self.rows.values())})
        rank = {number: index for index, number in enumerate(numbers)}
        rows = sorted((name, row._replace(grant=rank[row.grant])) for name, row in self.rows.items())
        grants = sorted((client, rank[number]) for client, number in self.grants.items())
        keys, overdue = sorted(self.keys.items()), sorted(self.overdue)
        return Frozen(tuple(keys), tuple(rows), tuple(grants), tuple(overdue), self.stale)

    def put(self, key, value, client, leased):
        """Set ``key``, whatever was there."""
        before = self.keys.get(key)
        if before is None or before.owner != client:
            numbers = [0, *self.grants.values(), *(row.grant for row in self.rows.values())]
            self.grants[client] = max(numbers) + 1
            self.overdue.discard(client)
        self.keys[key] = Key(str(value), leased, client)

    def give_lease(self, key):
        """Give ``key`` a lease; whether there is such a key."""
        if key in self.keys:
            self.keys[key] = self.keys[key]._replace(leased=True)
        return key in self.keys

    def leased(self):
        """The keys that have a lease, in alphabetical order."""
        return sorted(name for name, key in self.keys.items() if key.leased)

    def end_lease(self, key):
        """The server removes ``key``, and tells nobody."""
        owner = self.keys.pop(key).owner
        if owner is not None:
            self.overdue.add(owner)

    def write(self, row, token, client):
        """Accept a write. It is stale if its token is lower than the one before, or its writer was granted the lock earlier."""
        before, grant = self.rows.get(row, Row(token, 0)), self.grants.get(client, 0)
        self.stale = self.stale or token < before.token or grant < before.grant
        self.rows[row] = Row(token, grant)

    def forget(self, client):
        """``client`` is done, or dead: when it was granted the lock matters to nobody any more."""
        self.grants.pop(client, None)
        self.overdue.discard(client)
