"""The kernel's end of the line to the warden: start it, ask it, notice when it is gone."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import course_tasks
from course_tasks import place
from course_tasks.lab.errors import LabError, last_lines

PACKAGE = Path(course_tasks.__file__).parent.parent
PATIENCE = 15.0  # seconds until a warden that was told to end has ended


class Line:
    """Starts the warden of the lab at ``where`` (a Place) and passes requests to it."""

    def __init__(self, where):
        self.where = where
        self.owner = os.getpid()
        self._number = 0
        self._ends = contextlib.ExitStack()  # what close() closes
        self._socket = self._log = self._process = self._funeral = None

    def open(self):
        """Start the warden. Where that fails or is interrupted, :meth:`close` ends whatever was started."""
        self._socket, theirs = map(self._ends.enter_context, socket.socketpair())
        # Without a name: the warden makes the lab's directory, and may have to say why it could not.
        self._log = self._ends.enter_context(tempfile.TemporaryFile(dir=self.where.path.parent))  # noqa: SIM115
        with theirs:
            self._process = subprocess.Popen(
                # -P: a file of the learner's called redis.py must not be taken for the library
                [sys.executable, "-P", "-m", "course_tasks.lab.warden", str(theirs.fileno()), str(self.owner)],
                pass_fds=[theirs.fileno()],
                cwd=self.where.path.parent,
                env=environment(self.where),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,
            )
        self._funeral = threading.Thread(target=self._bury, name="warden's funeral", daemon=True)
        self._funeral.start()

    def _bury(self):
        """Wait for the warden's end. It removes the directory itself; if it was killed, this does."""
        self._process.wait()
        deadline = time.monotonic() + PATIENCE
        while self.where.path.exists() and time.monotonic() < deadline:
            shutil.rmtree(self.where.path, ignore_errors=True)  # may meet a process that writes its last line there
            time.sleep(0.01)

    @property
    def pid(self):
        return self._process.pid

    def call(self, op, **arguments):
        """Have the warden carry out ``op`` with ``arguments`` and return its result.

        An interrupted call leaves its reply on the line; so requests are numbered, and what does not answer this one
        is passed over. Raises LabError with the warden's words if it could not, or if the warden is gone.
        """
        if os.getpid() != self.owner:
            raise LabError("This lab belongs to the process that started it, not to a fork of it: use it there.")
        self._number += 1
        request = {"id": self._number, "op": op, **arguments}
        try:
            # One write, and a line break before it: whatever an interrupt cut off ends there.
            self._socket.sendall(b"\n" + json.dumps(request).encode() + b"\n")
            reply = self._reply(self._number)
        except OSError as error:
            raise self._gone() from error
        if "error" in reply:
            raise LabError(f"The lab's warden could not {op} {arguments.get('name', '')}: {reply['error']}")
        return reply["result"]

    def _reply(self, number):
        pending = b""
        while True:
            data = self._socket.recv(65536)
            if not data:
                raise self._gone()
            *lines, pending = (pending + data).split(b"\n")
            for text in lines:
                try:
                    reply = json.loads(text)
                except ValueError:
                    continue
                if reply["id"] == number:
                    return reply

    def _gone(self):
        said = b"" if self._log.closed else os.pread(self._log.fileno(), 2**20, 0)
        return LabError(
            "The lab is closed, or its warden was ended from outside: run the cell that starts the lab again."
            + (f" The last lines that the warden wrote are\n{last_lines(said)}" if said else "")
        )

    def close(self):
        """Hang up, and return once the warden has ended every process and removed the directory."""
        self._ends.close()
        if self._funeral and os.getpid() == self.owner:
            with contextlib.suppress(RuntimeError):  # it has been started, unless an interrupt came just before
                self._funeral.start()
            self._funeral.join(PATIENCE)


def environment(where):
    """The environment of a lab's processes: this one's, less what would lead them to servers that are not the lab's."""
    environ = {name: value for name, value in os.environ.items() if name not in place.foreign_settings(os.environ)}
    environ[place.VARIABLE] = str(where.path)
    environ["TMPDIR"] = str(where.path)  # a worker that is killed leaves its temporary files (billiard's pymp-…)
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PACKAGE), environ.get("PYTHONPATH")]))
    return environ
