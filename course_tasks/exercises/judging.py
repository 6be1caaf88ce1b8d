"""The kernel's side of a check: send the answer into processes of its own, wait, and end them all.

A warden is started as for a lab, and under it the examiner, which runs the check. So nothing of the learner's code
runs in the kernel; their own lab is another one; and whatever happens, an interrupt or the kernel's death included,
the warden ends every process and removes every file of the check.
"""

import contextlib
import os
import pickle
import signal
import time

import cloudpickle

from course_tasks.exercises.definition import NOT_ATTEMPTED, Outcome, not_yet
from course_tasks.exercises.wording import ended
from course_tasks.lab import directory
from course_tasks.lab.errors import LabError, last_lines
from course_tasks.lab.interrupts import held_back
from course_tasks.lab.line import Line
from course_tasks.lab.packing import pack
from course_tasks.place import Place

LIMIT = 13.0  # seconds for a check; each thing in it has a limit of its own, so that none comes near
LIMIT_WHEN_BUSY = 23.0  # where the machine has more to do than it has processors for
LOOK = 0.01  # seconds between two looks for the outcome
LOOK_AT_PROCESS = 0.2  # seconds between two questions whether the examiner is alive
NAME = "examiner"

_line = None  # to the warden of the check that is going on


def judge(exercise, answer, given=(), waiting=lambda words: None):
    """Check ``answer``, a function or class, for ``exercise``, and return the :class:`Outcome`. Raises nothing of theirs.

    ``given`` is what stood after the exercise's id; where a part of it is None, nothing has been attempted yet.
    ``waiting`` is called with a few words on what is going on.
    """
    if any(part is None for part in given):
        missing = [name for name, part in zip(exercise.given, given, strict=True) if part is None]
        return Outcome(NOT_ATTEMPTED, f"{' and '.join(missing)} must be there first: run the cells above.")
    if not callable(answer):
        return not_yet("nonsense", f"A function or a class belongs below @exercise({exercise.id!r}).")
    try:
        packed = {"check": pack(exercise.check), "answer": pack(answer), "given": cloudpickle.dumps(tuple(given))}
    except Exception as error:  # theirs may refuse in any way
        return not_yet("unsendable", str(error))
    try:
        return _examined(packed, waiting)
    except LabError as error:
        return not_yet("stopped", f"The check could not be carried out. {error}")


def _examined(packed, waiting):
    global _line
    if _line is not None:  # two interrupts at the same moment may have left it
        _line.close()
    line = _line = Line(Place(directory.choose()))
    under_way = False
    try:
        line.open()
        line.call("status")  # the warden answers when it has made the directory
        for name, content in packed.items():
            (line.where.path / f"{name}.pkl").write_bytes(content)
        under_way = True
        line.call("start", name=NAME, argv=["python", "-m", "course_tasks.exercises.examiner"])
        outcome = _awaited(line, waiting)
        under_way = outcome.finding == "stopped"
        return outcome
    finally:
        with held_back():  # a second interrupt, which would leave everything running
            if under_way:  # gently first, so that the check's own lab can still remove its directory
                with contextlib.suppress(LabError):
                    line.call("end", names=[NAME], number=signal.SIGTERM)
            line.close()
            _line = None


def _awaited(line, waiting):
    outcome, stage = line.where.path / "outcome.pkl", line.where.path / "stage"
    began = asked = time.monotonic()
    limit = LIMIT_WHEN_BUSY if os.getloadavg()[0] > os.cpu_count() else LIMIT
    said = None
    while not outcome.exists():
        now = time.monotonic()
        if now > asked + LOOK_AT_PROCESS:
            asked = now
            status = line.call("status")[NAME]
            if status is not None and not outcome.exists():
                return _gone(line, status)
        if stage.exists() and (words := stage.read_text()) != said:
            said = words
            waiting(said)
        if now > began + limit:
            return not_yet(
                "stopped", f"The check was ended after {limit:.0f} s, at this point: {said or 'its beginning'}."
            )
        time.sleep(LOOK)
    with held_back():  # it may hold tables, and half an import of pandas can't be repaired
        return pickle.loads(outcome.read_bytes())


def _gone(line, status):
    """The outcome where the examiner has ended without one."""
    log = line.where.log(NAME)
    told = last_lines(log.read_bytes() if log.exists() else b"")
    return not_yet("stopped", f"The check's own process ended {ended(status)}. The last lines it wrote are\n{told}")
