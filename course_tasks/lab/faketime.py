"""libfaketime: a library that answers a program when it asks what time it is, and adds to the truth what a file says.

It is loaded before the program's own libraries, which is decided when the program starts. The wall clock moves as soon as the
file is another; the monotonic clock, by which a server runs its timers, stays as it is.

libfaketime is GPLv2. The course contains nothing of it and links nothing to it: it names, to a server that it starts, a
library that lies on the learner's machine.
"""

import contextlib
import importlib.util
import os
import sys
import time
from pathlib import Path

# What loads a library into a program that starts. In a lab that is a link in its directory, which is where the warden starts
# programs: a path with a space or a colon in it can't be said there.
LINK = "libfaketime.so.1"
LOADING = (
    (f"DYLD_INSERT_LIBRARIES=./{LINK}", "DYLD_FORCE_FLAT_NAMESPACE=1")
    if sys.platform == "darwin"
    else (f"LD_PRELOAD=./{LINK}",)
)
NAME = "libfaketime.1.dylib" if sys.platform == "darwin" else "libfaketime.so.1"
SYSTEM = ("/usr/lib/*", "/usr/lib*", "/usr/local/lib", "/opt/homebrew/lib")  # Debian, Fedora, one's own, Homebrew

# Seconds for a server to notice that its clock was moved. Valkey takes a millisecond: where the processor counts time, it asks
# the system for it no more often, and counts on in between.
NOTICED = 1.0


def candidates():
    """The paths at which there is a libfaketime: the package's, conda's, the system's; whether one works, it must show."""
    package = importlib.util.find_spec("libfaketime")
    if package and package.origin:  # a mere directory of that name has none
        yield from Path(package.origin).parent.glob(f"vendor/libfaketime/src/{NAME}")
    yield from Path(sys.prefix).glob(f"lib/faketime/{NAME}")
    for directory in SYSTEM:
        yield from Path("/").glob(f"{directory[1:]}/faketime/{NAME}")


def lay_ready(where, library):
    """Let the lab at ``where`` (a Place) find the ``library`` (a path)."""
    with contextlib.suppress(FileExistsError):
        (where.path / LINK).symlink_to(library)


def carrying(where, name, command):
    """The ``command`` (a list) of the server called ``name``, so that it carries the library, and reads its clock's file.

    ``env`` becomes the server: the process stays the same. Whoever starts it has something to :func:`forget`, once it answers.
    """
    # Without a cache of its own, which would keep a clock for up to a second, it reads the file whenever it is asked.
    options = (f"FAKETIME_TIMESTAMP_FILE={where.clock(name)}", "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1")
    return ["/usr/bin/env", *LOADING, *options, *command]


def set_ahead(where, name, seconds):
    """Set the clock of the server called ``name`` so many ``seconds`` ahead of the true time; less than 0 for behind it."""
    new = where.clock(name).with_suffix(".new")
    new.write_text(f"{seconds:+f}\n")
    os.replace(new, where.clock(name))  # in one step: no reader sees half of it, or none


def ahead(where, name):
    """How many seconds the clock of the server called ``name`` is ahead of the true time."""
    return float(where.clock(name).read_text())


def noticed(client, ahead, leap):
    """Wait until the server of ``client`` goes by a clock that is so many seconds ``ahead``, and return whether it does.

    ``leap`` is by how many seconds the clock was moved. A second is enough: then the clock doesn't move there.
    """
    deadline = time.monotonic() + NOTICED
    while time.monotonic() < deadline:
        seconds, microseconds = client.time()
        if abs(seconds + microseconds / 1e6 - time.time() - ahead) < leap / 2:
            return True
    return False


def forget(pid):
    """Remove what libfaketime set up for the process ``pid`` as it started, and leaves behind when that is killed.

    A semaphore and a piece of shared memory, which have names all over the system. Once the process is up it needs the names
    no longer. Where there is nothing, nothing is done.
    """
    # CPython's own, on every Unix; the public ways to these functions can't name what somebody else has made.
    import _multiprocessing
    import _posixshmem

    for unlink, name in ((_multiprocessing.sem_unlink, "sem"), (_posixshmem.shm_unlink, "shm")):
        with contextlib.suppress(FileNotFoundError):
            unlink(f"/faketime_{name}_{pid}")
