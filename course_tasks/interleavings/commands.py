"""The steps that a client can take: commands of Redis, commands of a database, and the two ends of the critical section.

A command is a small value. ``run`` executes it on a :class:`~course_tasks.interleavings.store.Store` for a client, and
returns what redis-py returns with ``decode_responses=True``; a test compares the two, answer by answer, on a real server.
"""

from dataclasses import dataclass

from course_tasks.interleavings.store import Key, Refused


@dataclass(frozen=True)
class Command:
    """A step. ``str`` of it is what one would type: ``SET lock client1 NX PX 2000``."""

    @property
    def name(self):
        """The command's name, as breakpoints take it too: ``pause(2, after="GET")``."""
        return type(self).__name__

    def words(self):
        """What stands behind the name."""
        return vars(self).values()

    def __str__(self):
        return " ".join(map(str, (self.name, *self.words())))

    def __bool__(self):
        raise TypeError(f"{self!r} was not sent, so there is no answer yet: write (yield {self!r}), with the brackets")


@dataclass(frozen=True)
class Marker(Command):
    """What a client does by itself, without any server."""

    text: str

    def __reduce__(self):
        return self.text  # pickled by its name: ENTER is told by identity, also in another process

    @property
    def name(self):
        return self.text

    def words(self):
        return ()

    def run(self, store, client):
        return None


ENTER = Marker("ENTER")
"""The client is inside the critical section from here on. No step of its own: it comes with the command before it."""
LEAVE = Marker("LEAVE")
"""The client has left the critical section. No step of its own: it comes with the command after it."""


@dataclass(frozen=True)
class OnKey(Command):
    """A command of Redis about one ``key``, a string."""

    key: str

    def __post_init__(self):
        if not isinstance(self.key, str):
            raise TypeError(f'{self.name}: a key is a string, such as "lock", and not {self.key!r}')
        if "value" in vars(self) and type(self.value) not in (str, int):
            raise TypeError(f"{self.name}: a value is a string or a whole number, and not {self.value!r}")
        for unit in ("ex", "px", "seconds", "milliseconds"):
            length = vars(self).get(unit)
            if length is not None and (type(length) is not int or length <= 0):
                raise ValueError(f"{self.name}: {unit} is a whole number above 0, and not {length!r}")


@dataclass(frozen=True)
class GET(OnKey):
    """The value of ``key``, a string; None where there is none."""

    def run(self, store, client):
        return store.keys[self.key].value if self.key in store.keys else None


@dataclass(frozen=True)
class EXISTS(OnKey):
    """1 if there is a ``key``, else 0."""

    def run(self, store, client):
        return int(self.key in store.keys)


@dataclass(frozen=True)
class SET(OnKey):
    """Set ``key`` to ``value``; True. With ``nx`` only if there is no such key, else None and nothing changes.

    ``ex`` (seconds) or ``px`` (milliseconds) give it a lease; without, it has none, even if it had one before.
    """

    value: str | int
    nx: bool = False
    ex: int | None = None
    px: int | None = None

    def words(self):
        lengths = [f"{unit} {length}" for unit, length in (("EX", self.ex), ("PX", self.px)) if length is not None]
        return [self.key, self.value, *["NX"] * self.nx, *lengths]

    def run(self, store, client):
        if self.ex is not None and self.px is not None:
            raise Refused("syntax error: EX or PX, not both")
        if self.nx and self.key in store.keys:
            return None
        store.put(self.key, self.value, client, leased=(self.ex or self.px) is not None)
        return True


@dataclass(frozen=True)
class SETNX(OnKey):
    """Set ``key`` to ``value`` if there is no such key; True if so, else False. It has no lease."""

    value: str | int

    def run(self, store, client):
        if self.key in store.keys:
            return False
        store.put(self.key, self.value, client, leased=False)
        return True


@dataclass(frozen=True)
class EXPIRE(OnKey):
    """Give ``key`` a lease of so many ``seconds``, in place of any that it has; True, or False if there is no such key."""

    seconds: int

    def run(self, store, client):
        return store.give_lease(self.key)


@dataclass(frozen=True)
class PEXPIRE(OnKey):
    """Give ``key`` a lease of so many ``milliseconds``; otherwise like EXPIRE."""

    milliseconds: int

    def run(self, store, client):
        return store.give_lease(self.key)


@dataclass(frozen=True)
class DEL(OnKey):
    """Remove ``key``, whoever set it: 1 if there was one, else 0."""

    def run(self, store, client):
        return int(store.keys.pop(self.key, None) is not None)


@dataclass(frozen=True)
class DELIFEQ(OnKey):
    """Remove ``key`` if its value is ``value``, all in one step: 1 if so, else 0. (Valkey 9; elsewhere an EVAL.)"""

    value: str | int

    def run(self, store, client):
        mine = self.key in store.keys and store.keys[self.key].value == str(self.value)
        return DEL(self.key).run(store, client) if mine else 0


@dataclass(frozen=True)
class INCR(OnKey):
    """Add 1 to the number at ``key``, which is 0 if there is none, and return it. A lease stays as it is."""

    def run(self, store, client):
        before = store.keys.get(self.key, Key("0", False, None))
        if not _is_number(before.value):
            raise Refused("value is not an integer or out of range")
        number = int(before.value) + 1
        store.keys[self.key] = before._replace(value=str(number))
        return number


@dataclass(frozen=True)
class OnRow(Command):
    """A command of the database about one ``row``, a string."""

    row: str

    def __post_init__(self):
        if not isinstance(self.row, str):
            raise TypeError(f'{self.name}: a row is a string, such as "mail", and not {self.row!r}')
        if type(vars(self).get("token", 0)) is not int:
            raise TypeError(f"{self.name}: a token is a whole number, and not {self.token!r}")


@dataclass(frozen=True)
class READ(OnRow):
    """The token of the last write to ``row`` that was accepted; 0 if there was none."""

    def run(self, store, client):
        return store.rows[self.row].token if self.row in store.rows else 0


@dataclass(frozen=True)
class WRITE(OnRow):
    """Write to ``row``, together with ``token``; True. With ``compare``, in the same step and before it writes, the database
    compares: a token lower than that of the write before is refused, which is False.
    """

    token: int = 0
    compare: bool = False

    def words(self):
        return [self.row, *[self.token] * bool(self.token), *["COMPARE"] * self.compare]

    def run(self, store, client):
        if self.compare and self.token < READ(self.row).run(store, client):
            return False
        store.write(self.row, self.token, client)
        return True


def _is_number(value):
    """Whether Redis can add 1 to this string: written as Redis would, no zero or plus in front, and within 64 bits."""
    digits = value.removeprefix("-")
    return digits.isascii() and digits.isdigit() and str(int(value)) == value and -(2**63) <= int(value) < 2**63 - 1
