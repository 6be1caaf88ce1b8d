"""What an error in the learner's code says: the error itself, and the lines of theirs that it came through.

The error happens in another process, which has the code and not its source. So what travels is where each line is,
and the kernel, which knows its cells, looks up what it says.
"""

import linecache
import re
import traceback
from dataclasses import dataclass
from pathlib import Path

from course_tasks.lab.packing import INSTALLED, STANDARD_LIBRARY

PACKAGE = Path(__file__).parent.parent
DEEPEST = 4  # how many of the learner's lines are told, the innermost ones
LONGEST = 400  # characters of an error's message
IN_LOG = re.compile(r'^  File "(.+)", line (\d+), in (.+)$', re.MULTILINE)


@dataclass(frozen=True)
class Trace:
    """``error`` is what was raised, "ZeroDivisionError: division by zero"; ``frames`` are the learner's own lines on the
    way to it, each ``(file, line, function)``, the innermost last.
    """

    error: str
    frames: tuple = ()

    def lines(self):
        """The learner's lines and the error, as text to read from the last line upwards."""
        return [*(_told(*frame) for frame in self.frames), self.error]


def of(error):
    """The :class:`Trace` of the exception ``error``."""
    frames = [(frame.filename, frame.lineno, frame.name) for frame in traceback.extract_tb(error.__traceback__)]
    return Trace(told(error), _theirs(frames))


def told(error):
    """The exception ``error`` in one line."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:  # theirs may be of any kind
        text = ""
    return f"{name}: {text[:LONGEST]}" if text else name


def in_log(log, task):
    """The :class:`Trace` of the error that the task with the id ``task`` raised, as a worker wrote it to its ``log``; where
    the task isn't named, as a contender's isn't, the last one there. None where there is none.
    """
    begin = log.find(f"[{task}] raised unexpected")
    if begin < 0:
        begin = log.rfind("Traceback (most recent call last)")
    if begin < 0:
        return None
    text = re.split(r"^\[\d{4}-", log[begin:], maxsplit=1, flags=re.MULTILINE)[0]
    frames = [(file, int(line), function) for file, line, function in IN_LOG.findall(text)]
    return Trace(text.strip().splitlines()[-1][:LONGEST], _theirs(frames))


def is_learners(file):
    """Whether ``file``, as code objects name it, is the learner's: a cell, or a file that is not installed."""
    path = Path(file)
    if file.startswith("<frozen") or INSTALLED & set(path.parts):
        return False
    return not any(path.is_relative_to(where) for where in (STANDARD_LIBRARY, PACKAGE))


def came_through(error, *rooms):
    """Whether the exception ``error`` came from one of these ``rooms`` of the course, or from what they called."""
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    return any(file.is_relative_to(PACKAGE / name) for file in files for name in rooms)


def _theirs(frames):
    return tuple(frame for frame in frames if is_learners(frame[0]))[-DEEPEST:]


def _told(file, line, function):
    where = "" if "ipykernel_" in file or file.startswith("<") else f"{Path(file).name}, "
    source = linecache.getline(file, line).strip()
    return f"{where}line {line}, in {function}{f':  {source}' if source else ''}"
