"""The lab's private directory: a place where sockets fit, that nobody else can read, and that does not stay behind."""

import os
import shutil
import tempfile
from pathlib import Path

import psutil

from course_tasks.lab.errors import LabError

PREFIX = "course-lab-"
SHORT = "/tmp"  # where sockets go if the temporary directory's name is too long for them
SOCKET_PATH_LIMIT = 100  # bytes; the system's own limit is 104 on macOS and 108 on Linux
LONGEST = f"{PREFIX}4194304-abcdefgh/history.sock"
NEEDED = 32 * 2**20  # bytes: logs, a few SQLite files, the mail


def make():
    """Make the directory of a new lab (mode 0700) and return its path; remove what dead labs have left beside it.

    It lies in TMPDIR, or where the system keeps temporary files; in /tmp if that name is too long for a socket. Raises
    LabError where the directory can't be written or is full.
    """
    base = Path(os.environ.get("TMPDIR") or tempfile.gettempdir()).absolute()
    if len(os.fsencode(base / LONGEST)) > SOCKET_PATH_LIMIT:
        base = Path(SHORT)
    remedy = "make room there, or set TMPDIR to another directory before you start Python"
    try:
        if (free := shutil.disk_usage(base).free) < NEEDED:
            raise LabError(
                f"The temporary directory {base} is full: {free / 2**20:.1f} MB are free and a lab needs "
                f"{NEEDED // 2**20}; {remedy}."
            )
        _sweep(base)
        return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=base))
    except OSError as error:
        raise LabError(f"The temporary directory {base} cannot be written ({error.strerror}): {remedy}.") from error


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
