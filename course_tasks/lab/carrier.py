"""The lab's end of the line to the process that carries its links: start it when it is first needed, ask it, notice its death."""

import contextlib
import json
import socket
import time

from course_tasks.lab.errors import LabError, ended

NAME = "links"
PATIENCE = 5.0  # seconds


def told(asked, op, **arguments):
    """What the relay that listens at ``asked`` (a path) answers to ``op``: see ``relay.control``.

    Raises OSError or ValueError where it is gone.
    """
    with _line(asked) as line, line.makefile() as answer:
        line.sendall(json.dumps({"op": op, **arguments}).encode() + b"\n")
        return json.loads(answer.readline())


def listens(asked):
    """Whether a relay listens at ``asked`` (a path)."""
    with contextlib.suppress(OSError), _line(asked):
        return True
    return False


def _line(asked):
    line = socket.socket(socket.AF_UNIX)
    try:
        line.connect(asked)
    except BaseException:
        line.close()
        raise
    return line


class Carrier:
    """Starts the relay (:mod:`course_tasks.lab.relay`) of the lab ``crew``, under the name "links", and asks it for things.

    ``started`` is whether it was: from then on, a lab without it is none.
    """

    def __init__(self, crew):
        self._crew = crew
        self._asked = str(crew.place.socket(NAME))
        self.started = self._answers = False

    def start(self):
        """See to it that it runs, and answers."""
        if not self._answers:
            self.started = True
            command = ["python", "-m", "course_tasks.lab.relay", self._asked]
            self._crew.start_answering(NAME, command, lambda: listens(self._asked))
            self._answers = True

    def ask(self, op, **arguments):
        """Have it carry out ``op``, one of the operations of ``relay.control``, and return the result when it is in force.

        Raises LabError where it is gone, or could not.
        """
        try:
            answer = told(self._asked, op, **arguments)
        except (OSError, ValueError) as error:
            raise self._ended() from error
        if "error" in answer:
            raise LabError(f"The process that carries the links could not {op}: {answer['error']}")
        return answer["result"]

    def check(self):
        """Raise LabError where it has ended."""
        if self._crew.exit_status(NAME) is not None:
            raise self._ended()

    def _ended(self):
        """The LabError that says so. It is cut off a moment before its end is known."""
        deadline = time.monotonic() + PATIENCE
        while (status := self._crew.exit_status(NAME)) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        return ended(NAME, status, self._crew.place.log(NAME))
