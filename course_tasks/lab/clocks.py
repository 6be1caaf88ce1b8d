"""Whether the clocks of a lab's servers can be moved on this machine: tried, before anything depends on it."""

import contextlib
import dataclasses
import functools
import time
from pathlib import Path

import redis

from course_tasks import place
from course_tasks.lab import directory, faketime, servers
from course_tasks.lab.errors import LabError, last_lines
from course_tasks.lab.line import Line

PATIENCE = 5.0  # seconds until a server that does not answer counts as stuck; it takes a twentieth of a second
LEAP = 3600  # seconds by which a clock is moved to see whether it moves
NONE_FOUND = (
    "No libfaketime was found. On Linux with an x86-64 processor, `make setup` installs it; elsewhere install it yourself: "
    "`sudo apt install libfaketime` on Debian and Ubuntu, `brew install libfaketime` on macOS."
)


@dataclasses.dataclass(frozen=True)
class Clocks:
    """The outcome of :func:`movable_clocks`: true where clocks can be moved, and shown in words either way.

    ``library`` is the path of the libfaketime that moves them; None where none does, and ``why_not`` says why, line by line.
    """

    library: Path | None
    why_not: tuple = ()

    def __bool__(self):
        return self.library is not None

    def __repr__(self):
        if self:
            return f"The clocks of a lab's servers can be moved here, by {self.library}."
        return "\n".join(["The clocks of a lab's servers can't be moved here.", *self.why_not])


def movable_clocks():
    """Try whether the clock of a lab's server can be moved on this machine; return :class:`Clocks`, which is true or false.

    A server is started with libfaketime, and its clock moved: once in this process, for each libfaketime that is found.
    """
    binary, why_not = servers.binary(), []
    for library in faketime.candidates():
        if not (why := _why_not(library, binary)):
            return Clocks(library)
        why_not.append(f"{library}: {why}")
    return Clocks(None, tuple(why_not or [NONE_FOUND]))


def clock_mover():
    """The path of the libfaketime that moves clocks here, for a lab that needs one. Raises LabError where there is none."""
    clocks = movable_clocks()
    if not clocks:
        raise LabError(repr(clocks))
    return clocks.library


@functools.cache
def _why_not(library, binary):
    """None if ``library`` moves the clock of the server ``binary`` (paths); else what it was seen to do instead."""
    where = place.Place(directory.choose())
    line = Line(where)  # with a warden of its own: nothing outlives the kernel, whenever that dies
    try:
        line.open()
        line.call("status")  # answered when the directory is there
        faketime.lay_ready(where, library)
        faketime.set_ahead(where, "lock", 0)
        pid = line.call("start", name="lock", argv=faketime.carrying(where, "lock", servers.command(where, "lock")))
        with redis.Redis(unix_socket_path=str(where.socket("lock")), retry=None, socket_timeout=PATIENCE) as client:
            if not _answers(client, line):
                return (
                    f"{Path(binary).name} does not start with it. Where a server has an allocator of its own, jemalloc, that is "
                    f"so; the built-in server has none. The last lines:\n{last_lines(where.log('lock').read_bytes(), 3)}"
                )
            faketime.forget(pid)
            faketime.set_ahead(where, "lock", LEAP)
            moved = faketime.noticed(client, LEAP, LEAP)
        return None if moved else f"the clock stays as it is. {_complaint(where)}"
    finally:
        line.close()


def _answers(client, line):
    deadline = time.monotonic() + PATIENCE
    while line.call("status")["lock"] is None and time.monotonic() < deadline:
        with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
            return client.ping()
        time.sleep(0.01)
    return False


def _complaint(where):
    """What the system said of a library that it could not load: it goes on without."""
    lines = where.log("lock").read_text(errors="replace").splitlines()
    return " ".join(line for line in lines if "preload" in line)
