"""What is done about a reply that doesn't come, and what can be said then.

A command was written whole. Whether the server carried it out, or is yet to do so, is open. What settles that is another
command behind it on the *same* connection: a server takes one connection's commands in the order in which they were
written, so the second can't overtake the first, however late both are. On another connection it can. Only where the
connection is broken a new one is used, and its answer counts for less.
"""

import contextlib
import time

from redis.exceptions import ConnectionError, InvalidResponse, RedisError, ResponseError, TimeoutError

from course_tasks.locks.script import write

BRIEFLY = 0.1  # seconds: somebody was interrupted, and is wanted elsewhere

# Errors with which no reply came. Exactly these types: a server's own refusals (LOADING, NOAUTH) are subclasses.
UNANSWERED = {ConnectionError, TimeoutError, InvalidResponse}
# The text of a ConnectionError for all that: what a Sentinel's connection makes of a refusal by what is a replica by now.
DEMOTED = "The previous master is now a slave"


class ReplyLost(RedisError):
    """A command was written whole, and no reply came in time. Its cause is the error of the client.

    ``replies`` is what was heard afterwards, of the command itself and of its Remedy: ``()`` is nothing; ``(second,)`` the
    remedy's reply on a new connection, which the command may still follow; ``(first, second)`` both replies, late but in
    order on one connection, so that nothing is open any more. A reply that is an error stands there as the exception.
    """

    def __init__(self, replies):
        super().__init__("a command was sent and its reply never came")
        self.replies = replies

    @property
    def undone(self):
        """Whether a remedy that answers 1 where it undid something, else 0, has for certain left nothing of the command."""
        return self.replies == (1,) or (len(self.replies) == 2 and self.replies[1] in (0, 1))


class Remedy:
    """A command, with a Script first, that may safely follow one whose reply nobody heard.

    ``due`` says whether it is to be sent if something goes wrong: from when the other may have been written, until it was.
    """

    def __init__(self, *command):
        self.command = command
        self.due = False

    def write(self, connection):
        write(connection, self.command, whole=True)
        self.due = False

    def hurry(self, connection, replies):
        """Write it, and wait BRIEFLY for so many replies, whatever they are.

        Not to wait at all may be in vain: a server that finds the connection closed when it answers the command before does
        not read on.
        """
        self.write(connection)
        deadline = time.monotonic() + BRIEFLY
        for _ in range(replies):
            late(connection, deadline)


def is_unanswered(error):
    """Whether ``error``, one of redis-py's, means that no reply came to what was written."""
    return type(error) in UNANSWERED and str(error) != DEMOTED


def settle(connection, remedy, error):
    """Send ``remedy`` (None: there is none) after a reply was lost with ``error``; return the replies as ReplyLost has them."""
    in_order = type(error) is TimeoutError and connection.is_connected
    deadline = time.monotonic() + connection.socket_timeout
    with contextlib.suppress(RedisError):
        if remedy and in_order:
            remedy.write(connection)
            return late(connection, deadline), late(connection, deadline)
        connection.disconnect()
        if remedy:
            connection.connect()
            remedy.write(connection)
            return (late(connection, deadline),)
    connection.disconnect()
    return ()


def late(connection, deadline):
    """A reply that comes before ``deadline``, by ``time.monotonic()``; one that is an error as the exception."""
    left = max(0.001, deadline - time.monotonic())
    try:
        return connection.read_response(disconnect_on_error=False, timeout=left)
    except ResponseError as error:
        return error
