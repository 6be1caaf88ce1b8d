"""Where a waiter hears that its turn has come, without asking again and again."""

import contextlib


class Bell:
    """Where one waiter hears that it is its turn: a connection that waits at the list ``key``. Use it as a context manager.

    It is this side that waits with a limit: a BLPOP with none would be an error at the client's socket_timeout, and one
    that the server ends comes up to 0.1 s late, for the server looks ten times a second only.
    """

    def __init__(self, connections, key):
        self._connections, self._key = connections, key
        self._lent = contextlib.ExitStack()
        self._connection, self._listening = None, False

    def wait(self, seconds):
        """Return when it rings, or has rung since the last time; at the latest after so many seconds."""
        if not self._connection:
            self._connection = self._lent.enter_context(self._connections.lent())
        if not self._listening:
            self._listening = True
            self._connection.send_command("BLPOP", self._key, 0)
        if self._connection.can_read(seconds):
            self._connection.read_response()
            self._listening = False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self._listening:
            self._connection.disconnect()
        self._lent.__exit__(*error)
