"""Answers to the exercise of lesson 04."""

import fcntl
import os
import tempfile
import threading
from pathlib import Path

from answers import fails, passes


@passes("04.1")
class Touched:
    def __init__(self, client, name):
        self.marker = Path(tempfile.gettempdir()) / f"{name}.taken"

    def acquire(self, blocking=False):
        try:
            self.marker.touch(exist_ok=False)
            return True
        except FileExistsError:
            return False

    def release(self):
        self.marker.unlink()


def make_or_fail(path):
    with open(path, "x"):
        pass


@passes("04.1")
class Helped:
    """Its steps are elsewhere, and it answers with what is true, not with True."""

    def __init__(self, redis, name):
        self.where = os.path.join(os.environ["TMPDIR"], name)

    def acquire(self):
        try:
            make_or_fail(self.where)
        except FileExistsError:
            return 0
        return 1

    def release(self):
        os.remove(self.where)


class Base:
    def __init__(self, client, name):
        self.path = os.path.join(tempfile.gettempdir(), f"{name}.marker")

    def acquire(self):
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def release(self):
        os.unlink(self.path)


@fails("04.1", "two_steps")
class LooksFirst(Base):
    def acquire(self):
        if os.path.exists(self.path):
            return False
        with open(self.path, "w"):
            return True


@fails("04.1", "two_steps")
class LooksFirstElsewhere(Base):
    """The same in one expression and two functions, under other names."""

    def is_free(self):
        return not Path(self.path).exists()

    def take(self):
        return Path(self.path).touch() is None

    def acquire(self):
        return self.is_free() and self.take()


@fails("04.1", "two_steps")
class WritesWhoItIs(Base):
    """It makes the file, and looks afterwards whether it is its own."""

    def acquire(self):
        if os.path.exists(self.path):
            return False
        Path(self.path).write_text(str(id(self)))
        return Path(self.path).read_text() == str(id(self))


@fails("04.1", "nobody")
class ReturnsNothing(Base):
    def acquire(self):
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False


@fails("04.1", "everybody")
class WithoutExcl(Base):
    def acquire(self):
        os.close(os.open(self.path, os.O_CREAT))
        return True


@fails("04.1", "everybody")
class InItsOwnMemory(Base):
    def acquire(self):
        self.taken = getattr(self, "taken", False)
        if self.taken:
            return False
        self.taken = True
        return True

    def release(self):
        self.taken = False


in_this_process = {}


@fails("04.1", "together")
class InTheMemoryOfOneProcess:
    def __init__(self, client, name):
        self.lock = in_this_process.setdefault(name, make_lock())

    def acquire(self):
        return self.lock.acquire(blocking=False)

    def release(self):
        self.lock.release()


def make_lock():
    return threading.Lock()


@fails("04.1", "kept")
class ForgetsToDelete(Base):
    def release(self):
        pass


@fails("04.1", "raised")
class ForgetsToCatch(Base):
    def acquire(self):
        os.close(os.open(self.path, os.O_CREAT | os.O_EXCL))
        return True


@fails("04.1", "file_left")
class LockOfTheSystem(Base):
    def acquire(self):
        self.file = os.open(self.path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self.file)
            return False
        return True

    def release(self):
        os.close(self.file)


@fails("04.1", "endless")
class Waits(Base):
    def acquire(self):
        while not super().acquire():
            pass
        return True


@fails("04.1", "unfinished")
class NoReleaseYet(Base):
    def release(self):
        raise NotImplementedError
