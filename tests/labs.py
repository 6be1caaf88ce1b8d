"""What the tests of the lab share: waiting, a process that plays the notebook's kernel, and the hunt for what is left."""

import contextlib
import inspect
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import ClassVar

import psutil
import pytest
from conftest import ROOT, THOROUGH, on_this_machine
from until import LONG, contend_until, run_until

__all__ = ["LONG", "contend_until", "run_until"]

from course_tasks import kinship
from course_tasks.history.recording import stream

GONE_WITHIN = 3.0  # seconds after the kernel's death until nothing may be left

# Where Celery and Redis clients would go if a lab listened to the environment.
MISLEADING = (
    "CELERY_BROKER_URL CELERY_BROKER_READ_URL CELERY_BROKER_WRITE_URL CELERY_RESULT_BACKEND REDIS_URL BROKER_URL VALKEY_URL"
).split()


def misleading(url):
    """An environment in which every variable of the kind points to the Redis at ``url``."""
    host, port = url.removeprefix("redis://").partition("/")[0].split(":")
    return {**dict.fromkeys(MISLEADING, url), "REDIS_HOST": host, "REDIS_PORT": port}


def wait_for(question, what="", seconds=LONG):
    """Ask ``question()`` until its answer is true, and return the answer; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain {what or question}"
        time.sleep(0.01)
    return answer


# A kernel of our own ------------------------------------------------------------------------------------------------

PLAYER = """
import json, os, signal, sys

from course_tasks.lab.lab import Lab
from course_tasks import kill, pause
from until import contend_until, run_until

answers = os.dup(1)
os.dup2(2, 1)
while True:
    try:
        line = sys.stdin.readline()
        if not line:
            break
        cell = json.loads(line)
        try:
            os.write(answers, b"begun\\n")
            exec(compile(cell, "<cell>", "exec"), globals())
            answer = {"value": globals().get("_")}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        except KeyboardInterrupt:
            answer = {"error": "KeyboardInterrupt"}
        globals()["_"] = None
        os.write(answers, json.dumps(answer).encode() + b"\\n")
    except KeyboardInterrupt:
        pass
"""


class CellError(Exception):
    """A cell raised: "the error's type: its message"."""


class Kernel:
    """A process that plays a notebook's kernel: cells go in one at a time, and what a cell assigns to ``_`` comes out.

    It leads a process group of its own, as a kernel does. ``cwd`` is where it runs and leaves its log. ``source``
    replaces the player by a plain script. Use it as a context manager: it is killed on leaving.
    """

    made: ClassVar[list] = []  # all of them

    def __init__(self, cwd, env=None, source=PLAYER, python=()):
        script = cwd / "kernel.py"
        script.write_text(source)
        environ = {
            **os.environ,
            "COURSE_TASKS_LIVE": "0",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
            **(env or {}),
        }
        self.log = cwd / "kernel.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", *python, str(script)],
                cwd=cwd,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._pending = b""
        self.made.append(self)

    @property
    def pid(self):
        return self.process.pid

    def start(self, cell):
        """Begin to execute ``cell`` (Python source); return when it has begun."""
        self.process.stdin.write(json.dumps(cell).encode() + b"\n")
        self.process.stdin.flush()
        assert self._line(LONG) == b"begun"

    def answer(self, seconds=LONG):
        """What the cell that was started assigned to ``_``. Raises CellError if it raised."""
        answer = json.loads(self._line(seconds))
        if "error" in answer:
            raise CellError(answer["error"])
        return answer["value"]

    def _line(self, seconds):
        deadline = time.monotonic() + seconds
        while b"\n" not in self._pending:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"no answer within {seconds} s\n{self.log.read_text()}"
            data = os.read(self.process.stdout.fileno(), 65536)
            assert data, f"the kernel ended with {self.process.wait()}\n{self.log.read_text()}"
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def cell(self, cell, seconds=LONG):
        """Execute ``cell`` and return what it assigned to ``_``."""
        self.start(cell)
        return self.answer(seconds)

    def interrupt(self):
        """What Jupyter does for "Interrupt": SIGINT to the kernel's whole process group."""
        os.killpg(self.pid, signal.SIGINT)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.process.stdin.close()
        self.process.stdout.close()


# The hunt -----------------------------------------------------------------------------------------------------------


class Hunt:
    """Finds whatever processes and files the labs of one test leave behind; ``directory`` is their TMPDIR.

    Workers overwrite what /proc shows of their environment (setproctitle does), so a process is told by more than its
    environment: by the sessions that were seen below a kernel, and, on Linux, by becoming an orphan: while a hunt is on,
    orphans come to this process.
    """

    def __init__(self, directory):
        self.directory = Path(directory)
        self.sessions, self.kernels = set(), []
        self._spared = {os.getpid(), *(child.pid for child in psutil.Process().children())}

    def _mine(self):
        return self._spared | {kernel.pid for kernel in Kernel.made}

    def kernel(self, cwd, **options):
        """A Kernel in the directory ``cwd`` whose lab is hunted."""
        self.kernels.append(Kernel(cwd, **options))
        return self.kernels[-1]

    def another(self, kernels):
        """One of ``kernels`` (the fixture) whose lab is hunted."""
        self.kernels.append(kernels())
        self.kernels[-1].cell(f"os.environ['TMPDIR'] = {str(self.directory)!r}")
        return self.kernels[-1]

    def spare(self, pid):
        """Don't count the process ``pid`` as left behind: it isn't the lab's."""
        self._spared.add(pid)

    def family(self, pid):
        """The processes below ``pid``, whose sessions are remembered."""
        family = psutil.Process(pid).children(recursive=True)
        for process in family:
            with contextlib.suppress(ProcessLookupError):
                self.sessions.add(os.getsid(process.pid))
        self.sessions -= self._mine()
        return family

    def processes(self):
        """The processes that belong to a lab of this test. Adopted ones that have ended are laid to rest."""
        found, mine = [], self._mine()
        for process in psutil.process_iter():
            if process.pid in mine:
                continue
            with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
                adopted = process.ppid() == os.getpid()
                if process.status() == psutil.STATUS_ZOMBIE:
                    if adopted:
                        with contextlib.suppress(ChildProcessError):
                            os.waitpid(process.pid, os.WNOHANG)
                elif adopted or os.getsid(process.pid) in self.sessions or self._mentioned(process):
                    self.sessions.add(os.getsid(process.pid))
                    found.append(process)
        return found

    def _mentioned(self, process):
        return any(str(self.directory) in text for text in (*process.cmdline(), *process.environ().values()))

    def files(self):
        return sorted(self.directory.iterdir())

    def nothing_left(self, within=GONE_WITHIN, files=True):
        """Fail if a process of a lab, or anything in the directory, is left after ``within`` seconds."""
        deadline = time.monotonic() + on_this_machine(within)
        while (processes := self.processes()) or (files and self.files()):
            if time.monotonic() > deadline:
                told = [f"process {p.pid}: {p.cmdline()}" for p in processes if p.is_running()]
                pytest.fail("\n".join([f"left behind after {within} s:", *told, *map(str, self.files())]))
            time.sleep(0.02)

    def end(self):
        """End what the test has left, so that the next one doesn't find it."""
        for kernel in self.kernels:
            kernel.__exit__()
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()


@pytest.fixture
def hunt(tmp_path, private_tmp):  # in this order: pytest's own directory must not be made in the private one
    """A Hunt in a TMPDIR of the test's own; orphans come to this process while it is on."""
    kinship.adopt_orphans()
    hunt = Hunt(private_tmp)
    yield hunt
    hunt.end()
    kinship._prctl(kinship.PR_SET_CHILD_SUBREAPER, 0)


@pytest.fixture(scope="session")
def kernels(tmp_path_factory):
    """Returns a new kernel whenever it is called; the next one imports the lab meanwhile, which saves a second a test."""
    waiting = []

    def more():
        waiting.append(Kernel(tmp_path_factory.mktemp("kernel")))

    def take():
        if not waiting:
            more()
        more()
        return waiting.pop(0)

    yield take
    for kernel in waiting:
        kernel.__exit__()


@pytest.fixture
def kernel(hunt, kernels):
    """A kernel with ``Lab``, ``kill`` and ``pause``, whose lab is hunted."""
    return hunt.another(kernels)


# A lab in this process ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def module_tmp(tmp_path_factory):
    """Like private_tmp, for as long as a module's tests go on."""
    tmp_path_factory.getbasetemp()  # pytest's own directory must not be made in this one
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="course-") as directory:
        patch.setenv("TMPDIR", directory)
        patch.setattr(tempfile, "tempdir", None)
        patch.setenv("COURSE_TASKS_LIVE", "0")
        yield Path(directory)


@pytest.fixture(scope="module")
def lab(module_tmp):
    """A lab of three workers that a module's tests share."""
    from course_tasks import Lab

    with Lab(workers=3) as lab:
        yield lab
    assert list(module_tmp.glob("course-lab-*")) == []


@pytest.fixture(scope="session")
def movable():
    """What movable_clocks() found. Skips where clocks can't be moved; with COURSE_TESTS=all, that is a failure."""
    from course_tasks import movable_clocks

    found = movable_clocks()
    if not found and not THOROUGH:
        pytest.skip(repr(found))
    assert found, repr(found)
    return found


def pid_of(lab, name):
    """The pid of the lab's process called ``name``."""
    return next(pid for each, _, pid, _ in lab.processes.rows if each == name)


def tree(lab, worker):
    """The processes of ``worker``: the one that receives, and its pool process."""
    process = psutil.Process(pid_of(lab, worker))
    return [process, *process.children(recursive=True)]


# Servers of the test's own ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def redis_on_tcp(directory):
    """A Redis that belongs to the test and not to a lab, on a free TCP port: yields a client."""
    import redis

    from course_tasks.lab import servers

    binary = servers.binary()
    for _ in range(20):  # another process may take the port between our looking and the server's binding
        port = free_port()
        with (directory / "redis.log").open("wb") as log:
            command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
            server = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        client = redis.Redis(port=port)
        try:
            if wait_for(lambda server=server, client=client: server.poll() is not None or _answers(client)) is True:
                continue
            client.url = f"redis://127.0.0.1:{port}/0"
            yield client
            return
        finally:
            client.close()
            server.kill()
            server.wait()
    pytest.fail("no free TCP port in 20 attempts")


def _answers(client):
    import redis

    with contextlib.suppress(redis.ConnectionError):
        return client.ping() and "it answers"


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# Locks --------------------------------------------------------------------------------------------------------------


class Setnx:
    """The simplest lock that works as long as nobody dies."""

    def __init__(self, client, name):
        self.client, self.name = client, name

    def acquire(self):
        return bool(self.client.setnx(self.name, 1))

    def release(self):
        self.client.delete(self.name)


SETNX = inspect.getsource(Setnx)  # for a cell


class GetThenSet(Setnx):
    """The obvious lock, which is none."""

    def acquire(self):
        if self.client.get(self.name):
            return False
        self.client.set(self.name, 1)
        return True


class SetnxThenExpire(Setnx):
    """Two commands for what should be one."""

    def acquire(self):
        if not self.client.setnx(self.name, 1):
            return False
        self.client.expire(self.name, 60)
        return True


# Histories ----------------------------------------------------------------------------------------------------------


def kinds(run, lane=None):
    """The kinds of events of ``run`` in order, of one ``lane`` or of all."""
    events = run.events if lane is None else run.events[run.events["lane"] == lane]
    return list(events["kind"])


def faults_of(run):
    """(kind, lane, fault) of each fault's beginning and end in ``run``."""
    told = run.events[run.events["kind"].str.startswith("fault")]
    return [
        (kind, lane, detail["fault"])
        for kind, lane, detail in zip(told["kind"], told["lane"], told["detail"], strict=True)
    ]


class Recorded(list):
    """The events (dicts) of ``run`` so far, in the lab whose directory is ``path``, which may be another process's."""

    def __init__(self, path, run):
        import redis

        with redis.Redis(unix_socket_path=f"{path}/history.sock") as client:
            super().__init__(json.loads(entry[b"e"]) for _, entry in client.xrange(stream(run)))


def kinds_so_far(path, run):
    """How often each kind of event has come in ``run`` of the lab whose directory is ``path``: a Counter."""
    return Counter(event["kind"] for event in Recorded(path, run))


def most_inside(run):
    """How many were inside the critical section at once at most, by the order of the stream alone."""
    inside = most = 0
    for kind in kinds(run):
        inside += {"entered": 1, "left": -1}.get(kind, 0)
        most = max(most, inside)
    return most
