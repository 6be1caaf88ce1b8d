"""The exercises of lesson 04, the critical section."""

import os
import tempfile

from course_tasks.exercises import locking
from course_tasks.exercises.definition import Exercise, not_yet, passed
from course_tasks.lab.faults import kill


class MarkerFile:
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


def check_marker(lock, bench):
    """The lock is taken if the file is there: in turn, at every step, and in a run whose last holder dies."""
    if wrong := locking.in_turn(bench, lock) or locking.one_step(bench, lock):
        return wrong
    if left := bench.call(_left, lock, what="acquire() and release()"):
        return not_yet("file_left", f"After release() the file {left} was still there.")
    run = bench.run(lock, seconds=3.0, faults=kill(after=1.6))
    found = run.verdict
    if found.outcome == "invalid":
        said = f"Asked in turn it was right; with real workers, {found.most_inside} were inside together."
        return not_yet("together", said, run)
    if found.skipped == 0 or found.runs < 2:
        return not_yet("unused", f"{found.runs} tasks were inside, and {found.skipped} found the lock taken.", run)
    afterwards = set(run.events.loc[run.events["kind"].eq("fault ended").cumsum() > 0, "kind"])
    if "entered" in afterwards:
        fate = " A holder was killed, and others got in again."
    elif "skipped" in afterwards:
        fate = " A holder was killed. Its file stayed, and nobody got in any more: somebody must clean up."
    else:
        fate = ""
    return passed(f"One at a time, also where another one asks between any two steps of acquire().{fate}", run)


def _left(lock):
    """The name of a file that is there after release() and was not before acquire(); None where there is none."""
    before = set(os.listdir())
    one = lock(None, "left")
    one.acquire()
    one.release()
    return next(iter(set(os.listdir()) - before), None)


EXERCISES = [
    Exercise(
        "04.1",
        "A lock that is a file",
        check_marker,
        MarkerFile,
        hints=(
            "os.open(path, os.O_CREAT | os.O_EXCL) makes the file, or raises FileExistsError where it is there: looking "
            "and making in one step.",
            "acquire() returns True where you made the file, and False where you got FileExistsError. os.open returns a "
            "file descriptor; close it, the file is all you need.",
            "release() deletes the file: os.unlink(self.path).",
        ),
        findings={
            "nobody": "Return True where you made the file. If you did: is it there from a run before? A marker outlives "
            "whoever made it. tempfile.gettempdir() is another directory in every lab.",
            "everybody": "O_EXCL makes os.open raise FileExistsError where the file is there: then return False.",
            "kept": "release() deletes the file.",
            "two_steps": "You look first whether the file is there, and make it then. O_CREAT | O_EXCL is both in one step.",
            "file_left": "In this exercise the lock is taken exactly while the file exists, so that anybody can look. flock "
            "on a file that stays is the lock of the lesson.",
            "together": "Every worker has to look at the same file.",
        },
    ),
]
