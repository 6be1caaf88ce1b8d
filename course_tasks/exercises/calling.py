"""One call of the learner's code, in a process of its own: whatever it does, the caller goes on, and in time.

The process is a fork, made where there is a single thread, so that a call costs milliseconds. It has a process group
of its own, a directory of its own, and no way to the caller but two pipes: one for what it returns or raises, one for
what it prints, of which the last lines are kept.
"""

import contextlib
import os
import pickle
import resource
import select
import signal
import struct
import sys
import tempfile
import time
from dataclasses import dataclass

import cloudpickle

from course_tasks import kinship
from course_tasks.exercises import traces

LARGEST = 8 * 2**20  # bytes of what may be returned
MEMORY = 2 * 2**30  # bytes that a call may take beyond what the process has
KEPT = 2000  # characters of what was printed
LENGTH = struct.Struct("<q")


@dataclass(frozen=True)
class Answer:
    """What came of a call.

    ``kind`` is "returned" (``value``: what), "raised" (``value``: the exception's class's name, ``trace``), "ended" (the
    process is gone; ``value``: its exit status, negative for a signal), "endless" (it went on when the time was up),
    "large" (``value``: how many bytes) or "unsendable" (``value``: of what type the returned object is). ``printed`` is the
    last of what it printed.
    """

    kind: str
    value: object = None
    trace: traces.Trace | None = None
    printed: str = ""


class Call:
    """A process that calls ``function(*args)`` as soon as ``go``, a pipe's end, is closed by the others who have it.

    ``scratch`` is the directory that it works in.
    """

    def __init__(self, function, args, scratch, go):
        self.results, results = os.pipe()
        self.prints, prints = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _become(function, args, scratch, go, results, prints)
        os.close(results)
        os.close(prints)
        with contextlib.suppress(OSError):  # both do it, so that it is done whoever comes first
            os.setpgid(self.pid, self.pid)
        self.came, self.printed, self.open = b"", b"", {self.results, self.prints}

    def read(self, descriptor):
        """Take what ``descriptor``, which is one of ``open``, has."""
        data = os.read(descriptor, 65536)
        if not data:
            self.open.discard(descriptor)
        elif descriptor == self.results:
            self.came += data
        else:
            self.printed = (self.printed + data)[-4 * KEPT :]

    @property
    def over(self):
        """Whether the answer is complete, or can't come any more."""
        return self._body() is not None or self.results not in self.open

    def _body(self):
        if len(self.came) < LENGTH.size:
            return None
        end = LENGTH.size + LENGTH.unpack_from(self.came)[0]
        return self.came[LENGTH.size : end] if len(self.came) >= end else None

    def end(self):
        """Kill the process and what it forked, and return the :class:`Answer`."""
        over, body = self.over, self._body()
        if over and body is None:  # its end of the pipe is closed: it is ending by itself, if it isn't gone
            deadline = time.monotonic() + 1
            while (
                not os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) and time.monotonic() < deadline
            ):
                time.sleep(0.001)
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        for _ in range(64):  # what it had printed; not for ever, since a fork of its own may go on
            if self.prints in self.open and select.select([self.prints], [], [], 0)[0]:
                self.read(self.prints)
        os.close(self.results)
        os.close(self.prints)
        printed = self.printed.decode(errors="replace")[-KEPT:]
        if body is not None:
            kind, value, trace = pickle.loads(body)
            return Answer(kind, value, trace, printed)
        return Answer("ended", status, None, printed) if over else Answer("endless", None, None, printed)


def call(function, args, seconds, scratch):
    """Call ``function(*args)`` for ``seconds`` at most, in the directory ``scratch``; return the :class:`Answer`."""
    return together(function, [args], seconds, scratch)[0]


def together(function, arguments, seconds, scratch):
    """Call ``function(*args)`` for each of the tuples ``arguments``, each in its own process and all at the same moment.

    After ``seconds`` those that go on are ended. Returns the :class:`Answer` of each, in that order.
    """
    wait, go = os.pipe()
    calls = []
    try:
        for args in arguments:
            calls.append(Call(function, args, scratch, (wait, go)))
        os.close(go)
        deadline = time.monotonic() + seconds
        while (waiting := [call for call in calls if not call.over]) and (left := deadline - time.monotonic()) > 0:
            where = {descriptor: call for call in waiting for descriptor in call.open}
            for descriptor in select.select(list(where), [], [], left)[0]:
                where[descriptor].read(descriptor)
    finally:
        os.close(wait)
        answers = [call.end() for call in calls]
    return answers


# In the process -----------------------------------------------------------------------------------------------------


def _become(function, args, scratch, go, results, prints):
    """Be the process of a call; never returns."""
    try:
        me = os.getpid()
        os.setpgid(0, 0)
        kinship.die_with_parent()
        os.dup2(prints, 1)
        os.dup2(prints, 2)
        os.chdir(scratch)
        os.environ["TMPDIR"], tempfile.tempdir = str(scratch), None
        _limit()
        wait, others = go
        os.close(others)
        os.read(wait, 1)  # nothing ever comes: it returns when the last one has closed the other end
        body = _body(function, args)
        if os.getpid() != me:
            os._exit(0)  # a fork of theirs, which has come back too
        sys.stdout.flush()
        sys.stderr.flush()
        _send(results, body)
    finally:
        os._exit(0)


def _limit():
    """Let a call that takes ever more memory be the one that runs out of it, and not the machine."""
    with contextlib.suppress(OSError, ValueError, FileNotFoundError):  # Linux only
        pages = int(open("/proc/self/statm").read().split()[0])  # noqa: SIM115
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)


def _body(function, args):
    """What is sent for this call: pickled (kind, value, trace)."""
    try:
        value = function(*args)
    except SystemExit as end:
        return pickle.dumps(
            ("ended", end.code if isinstance(end.code, int) else int(end.code is not None), traces.of(end))
        )
    except BaseException as error:
        return pickle.dumps(("raised", kind(error), traces.of(error)))
    try:
        body = cloudpickle.dumps(("returned", value, None))
    except Exception:
        return pickle.dumps(("unsendable", type(value).__name__, None))
    return body if len(body) <= LARGEST else pickle.dumps(("large", len(body), None))


def kind(error):
    """The name of the exception's class; of a kind of NotImplementedError, that one's."""
    return "NotImplementedError" if isinstance(error, NotImplementedError) else type(error).__name__


def _send(descriptor, body):
    message = LENGTH.pack(len(body)) + body
    while message:
        message = message[os.write(descriptor, message) :]
