"""Where a waiter hears that its turn has come, without asking again and again."""


class Bell:
    """Where one waiter hears that it is its turn: a connection that waits at the list ``key``. Leave it as a context manager.

    It is this side that waits with a limit: a BLPOP with none would be an error at the client's socket_timeout, and one
    that the server ends comes up to 0.1 s late, for the server looks ten times a second only.
    """

    def __init__(self, commands, key):
        self._commands, self._key = commands, key
        self._connection, self._listening = None, False

    def wait(self, seconds):
        """Return when it rings, or has rung since the last time; at the latest after so many seconds."""
        if not self._connection:
            self._connection = self._commands.bells.get_connection()
        if not self._listening:
            self._listening = True
            self._connection.send_command("BLPOP", self._key, 0)
        if self._connection.can_read(seconds):
            self._connection.read_response()
            self._listening = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._connection:
            if self._listening:
                self._connection.disconnect()
            self._commands.bells.release(self._connection)
