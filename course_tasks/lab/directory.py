"""The lab's private directory: a place where sockets fit, that nobody else can read, and that does not stay behind."""

import contextlib
import os
import secrets
import shutil
import sqlite3
import tempfile
from pathlib import Path

import psutil

from course_tasks.lab.errors import LabError

PREFIX = "course-lab-"
SHORT = "/tmp"  # where sockets go if the temporary directory's name is too long for them
SOCKET_PATH_LIMIT = 100  # bytes; the system's own limit is 104 on macOS and 108 on Linux
LONGEST = f"{PREFIX}4194304-01234567/contender32-lock9.sock"
NEEDED = 32 * 2**20  # bytes: logs, a few SQLite files, the mail
REMEDY = "make room there, or set TMPDIR to another directory before you start Python"


def choose():
    """The path of a new lab's directory, which is not made yet; removes what dead labs have left beside it.

    It lies in TMPDIR, or where the system keeps temporary files; in /tmp if that name is too long for a socket. The
    warden makes it (mode 0700) and removes it, so that there is none without somebody to remove it. Raises LabError
    where nothing can be written there, or where it is full.
    """
    base = Path(os.environ.get("TMPDIR") or tempfile.gettempdir()).absolute()
    if len(os.fsencode(base / LONGEST)) > SOCKET_PATH_LIMIT:
        base = Path(SHORT)
    with writing(base):
        if (free := shutil.disk_usage(base).free) < NEEDED:
            raise LabError(
                f"The temporary directory {base} is full: {free / 2**20:.1f} MB are free and a lab needs "
                f"{NEEDED // 2**20}; {REMEDY}."
            )
        tempfile.TemporaryFile(dir=base).close()
        _sweep(base)
        return base / f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}"


@contextlib.contextmanager
def writing(path):
    """``with writing(path):`` turns an error of the file system, or of SQLite, into a LabError that names ``path``."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        why = getattr(error, "strerror", None) or error
        raise LabError(f"The temporary directory {path} cannot be written ({why}): {REMEDY}.") from error


def _sweep(base):
    """Remove the directories of labs whose kernel is gone: both it and its warden were killed at one stroke."""
    for path in base.glob(f"{PREFIX}*-*"):
        owner = path.name.removeprefix(PREFIX).partition("-")[0]
        try:
            orphaned = owner.isdigit() and _began_after(int(owner), path.stat().st_ctime)
            if orphaned and path.stat().st_uid == os.getuid():
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue  # it went while we looked


def _began_after(pid, moment):
    """Whether no process ``pid`` is there, or one that began after ``moment`` (its pid was used again)."""
    try:
        return psutil.Process(pid).create_time() > moment + 1
    except psutil.NoSuchProcess:
        return True
