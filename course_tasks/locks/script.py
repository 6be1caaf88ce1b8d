"""Lua scripts, and how a command, of which a script is one, is written to a connection and its reply read."""

import contextlib
import hashlib

from redis.exceptions import NoScriptError


class Script:
    """A Lua script; ``(script, number of keys, *keys, *arguments)`` is a command as ``("GET", key)`` is one."""

    def __init__(self, text):
        self.text = text
        self.sha = hashlib.sha1(text.encode()).hexdigest()


def write(connection, command, whole=False):
    """Write ``command``; a script by its hash unless ``whole``, which needs no second round where the server lacks it."""
    first, *rest = command
    if isinstance(first, Script):
        command = ("EVAL", first.text, *rest) if whole else ("EVALSHA", first.sha, *rest)
    connection.send_command(*command, check_health=False)


def read(connection, command):
    """The reply to ``command``; a script that the server doesn't know (restarted, flushed) has not run, and is sent whole."""
    with contextlib.suppress(NoScriptError):
        return connection.read_response(disconnect_on_error=False)
    write(connection, command, whole=True)
    return connection.read_response(disconnect_on_error=False)
