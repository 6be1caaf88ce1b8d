"""Breakpoints: an action at an exact place among the commands that a Redis client sends.

A signal from outside lands up to a dozen commands after what triggered it. What the client does itself lands exactly
where it should: before a command, when nothing of it has been sent; or after it, when its reply has been read and nothing
has been done about it yet::

    client = watched(redis, Breakpoint(lambda: redis.delete("lock"), before="EXPIRE"))
    Lock(client, "lock").acquire()          # finds its key gone when it comes to EXPIRE

An action may be anything: change a key, stop the process, raise an error. ``redis.ConnectionError`` raised ``after=`` a
command is a reply that was lost: the server carried the command out, and the client never hears of it.

To try every place there is, have them listed first::

    for boundary in boundaries(redis, use):     # use(client) takes a lock and gives it back
        use(watched(redis, Breakpoint(action, **boundary)))

All of it sits in the connection's class. So it also works for the clients that a lock derives from the one it was given,
by the same class and arguments of the pool. What is not seen: the commands inside a script, which the server runs as one;
and those by which a connection is set up or looked after (HELLO, CLIENT SETINFO, SELECT, the PING of a health check).

The commands of a pipeline count one by one, also inside MULTI: they are sent one by one, and so a breakpoint before one
of them finds those before it sent. Their replies are read when all have been sent, as always; inside MULTI a command's
own reply only says that it is queued.
"""

import collections
import contextlib
import re
import threading

import redis

BEFORE, AFTER = "before", "after"


class Breakpoint:
    """Calls ``action()`` before or after the ``nth`` occurrence of one command, once.

    ``before`` or ``after``, one of the two, is the command's name as it is sent, in any case: "SET", "evalsha"; of a name
    in two words ("SCRIPT LOAD") the first. It may differ from the client's method: ``incr()`` sends INCRBY. ``struck`` is
    whether its moment came. Occurrences are counted over all connections of the client; what the action itself sends
    counts too. Raises TypeError or ValueError for anything else.
    """

    def __init__(self, action, *, before=None, after=None, nth=1):
        if (before is None) == (after is None):
            raise ValueError("say either before= or after=, with the name of a command")
        if not isinstance(nth, int) or nth < 1:
            raise ValueError(f"nth is a whole number that counts from 1, not {nth!r}")
        self.action = action
        self.moment = BEFORE if after is None else AFTER
        self.command = command_name(self.moment, before if after is None else after)
        self.struck = False
        self._left = nth
        self._counting = threading.Lock()  # a lock that renews itself sends from two threads

    def __call__(self, moment, command):
        if (moment, command) != (self.moment, self.command):
            return
        with self._counting:
            self._left -= 1
            self.struck = self.struck or self._left == 0
            mine = self._left == 0
        if mine:
            self.action()


class Trace(list):
    """The (moment, command) of everything that a client came by, in order: a moment is "before" or "after"."""

    def __call__(self, moment, command):
        self.append((moment, command))

    @property
    def commands(self):
        """The names of the commands that were sent, in order."""
        return [command for moment, command in self if moment == BEFORE]


def watched(client, *watchers):
    """A client for the same server as ``client``, a ``redis.Redis``, whose every command is told to the ``watchers``.

    A watcher is a :class:`Breakpoint`, a :class:`Trace`, or any callable that takes (moment, command): "before" or "after",
    and the command's name in capitals. It runs in the thread that sends the command, and an error that it raises is what
    the command raises. ``client`` itself stays as it is. The new one has connections of its own: close it when done.

    They come from a plain pool, whatever that of ``client`` is: where a BlockingConnectionPool would wait for a free one,
    it raises ``redis.ConnectionError``. Clients made by Sentinel, whose connections ask their pool, are not supported.
    """
    pool = client.connection_pool
    base = pool.connection_class
    kind = type(f"Watched{base.__name__}", (_Watched, base), {"watchers": watchers})
    # redis-py's handler of maintenance notifications, among what it hands to connections, belongs to the pool it was made by.
    options = {name: value for name, value in pool.connection_kwargs.items() if not name.startswith("maint_")}
    return redis.Redis.from_pool(redis.ConnectionPool(kind, max_connections=pool.max_connections, **options))


def boundaries(client, operation):
    """Every place among the commands of ``operation``: a list of dictionaries, the arguments of a :class:`Breakpoint`.

    ``operation`` takes a client and is carried out once, with one made from ``client``. The places come in the order in
    which they were passed: ``{"before": "SET", "nth": 1}, {"after": "SET", "nth": 1}, …``. A script that the server
    doesn't know yet takes a few commands more than the next time.
    """
    trace, passed = Trace(), collections.Counter()
    with watched(client, trace) as own:
        operation(own)
    found = []
    for moment, command in trace:
        passed[moment, command] += 1
        found.append({moment: command, "nth": passed[moment, command]})
    return found


def command_name(argument, text):
    """``text`` in capitals, if it could be the name of a command; else TypeError or ValueError that names ``argument``."""
    if not isinstance(text, str):
        raise TypeError(f'{argument} is the name of a command, such as "EXPIRE", not {text!r}')
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]*", text):
        raise ValueError(f'{argument} must be the name of a command, one word such as "EXPIRE", not {text!r}')
    return text.upper()


class _Packed(list):
    """Packed commands, as a connection sends them; ``commands`` are (name, what is sent of it)."""

    def __init__(self, commands):
        self.commands = list(commands)
        super().__init__(chunk for _, chunks in self.commands for chunk in chunks)


class _Watched:
    """Mixed into a connection's class: tells the class's ``watchers`` of each command."""

    watchers = ()

    def __init__(self, *args, **kwargs):
        self._unanswered = collections.deque()  # the names of commands that were sent, and whose replies were not read
        self._busy_with_itself = 0  # setting up the connection, or looking whether it is alive
        super().__init__(*args, **kwargs)

    def connect_check_health(self, *args, **kwargs):
        with self._unwatched():
            return super().connect_check_health(*args, **kwargs)

    def check_health(self):
        with self._unwatched():
            return super().check_health()

    def disconnect(self, *args, **kwargs):
        self._unanswered.clear()
        super().disconnect(*args, **kwargs)

    def pack_command(self, *args):
        return self.pack_commands([args])

    def pack_commands(self, commands):
        pack = super().pack_command
        return _Packed((_name(command[0]), pack(*command)) for command in commands)

    def send_command(self, *args, **kwargs):
        self.send_packed_command(self.pack_command(*args), check_health=kwargs.get("check_health", True))

    def send_packed_command(self, command, check_health=True):
        if self._busy_with_itself or not isinstance(command, _Packed):
            super().send_packed_command(command, check_health)
            return
        for number, (name, chunks) in enumerate(command.commands):
            self._tell(BEFORE, name)
            if number and not self.is_connected:  # on another connection the rest would mean something else
                raise redis.ConnectionError("The connection was closed in the middle of a pipeline.")
            super().send_packed_command(chunks, check_health and not number)
            self._unanswered.append(name)

    def read_response(self, *args, **kwargs):
        try:
            reply = super().read_response(*args, **kwargs)
        except redis.ResponseError:  # an error is a reply too
            self._answered()
            raise
        self._answered()
        return reply

    def _answered(self):
        if self._unanswered and not self._busy_with_itself:
            self._tell(AFTER, self._unanswered.popleft())

    def _tell(self, moment, command):
        try:
            for watcher in self.watchers:
                watcher(moment, command)
        except BaseException:
            if self._unanswered:  # the replies that are still to come must not be taken for another command's
                self.disconnect()
            raise

    @contextlib.contextmanager
    def _unwatched(self):
        self._busy_with_itself += 1
        try:
            yield
        finally:
            self._busy_with_itself -= 1


def _name(word):
    """The name of a command from what a client calls it: ``"SCRIPT"`` for ``"SCRIPT LOAD"`` and ``b"script"``."""
    text = word.decode() if isinstance(word, bytes) else str(word)
    return text.partition(" ")[0].upper()
