"""The warden: the one process that starts everything in a lab, and ends everything when the kernel goes.

A kernel can die at any moment, also while it is starting something, and nothing that it started may outlive it. So
it starts one process only, this one, in a session of its own (an interrupt in the notebook must not reach workers
or servers). The warden starts the rest on request, and leaves its loop for good when

* the kernel closes the socket between them, or its death resets it (also with a reply unread), or
* the kernel's pid is no longer the warden's parent: a fork of the kernel may have inherited the socket and hold it
  open, or
* it is told to terminate.

It makes the lab's directory, so that there is never one without somebody to remove it. However it leaves, it kills
all its descendants and removes the directory. If the warden itself is killed, its children are told by the system
where the system can (Linux: PR_SET_PDEATHSIG), and the kernel removes the directory.

Celery processes are forked from the warden, which has Celery imported already, instead of being started as new
interpreters: same command line, three ready in 0.5 s instead of 0.85. The warden has a single thread, so a
fork is safe. Every child leads a process group of its own, so that one signal reaches a worker and its pool.

The protocol: one JSON object a line, ``{"id": 7, "op": "start", ...}`` answered by ``{"id": 7, "result": ...}`` or
``{"id": 7, "error": "..."}``. A line that cannot be read is passed over: an interrupted kernel may have sent half of it.
"""

import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import time
import warnings

import psutil
import setproctitle

from course_tasks import kinship, place
from course_tasks.lab import faketime

PRELOADED = """
    billiard.heap billiard.popen_fork billiard.sharedctypes billiard.synchronize celery.__main__ celery.app.amqp
    celery.app.control celery.app.events celery.app.log celery.app.routes celery.apps.beat celery.apps.worker
    celery.backends.redis celery.bin.beat celery.bin.celery celery.bin.worker celery.concurrency.prefork celery.events
    celery.worker.autoscale celery.worker.components celery.worker.consumer celery.worker.consumer.delayed_delivery
    celery.worker.loops celery.worker.pidbox
    cloudpickle email.policy kombu.asynchronous.semaphore kombu.mixins kombu.transport.redis
""".split()  # what a worker or beat would otherwise import after the fork, each for itself
LOOK = 0.2  # seconds between two looks at the kernel's pid
STILL = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE, None)  # states in which a process does nothing; None: it is gone


class Warden:
    """Starts, signals and ends the processes of the lab at ``where`` (a Place)."""

    def __init__(self, where):
        self.where = where
        self.processes = {}  # name -> pid, for the children that were started and not ended since
        self.exits = {}  # pid -> exit status, negative for a signal

    def start(self, name, argv):
        """Start ``argv`` under ``name`` and return its pid; what it prints goes to the log of that name.

        ``celery …`` and ``python -m course_tasks.… …`` are forked, anything else is executed.
        """
        if self.alive(name):
            raise ValueError(f"{name} is running already")
        if argv[0] == "celery":
            _preload()
        pid = os.fork()
        if pid == 0:
            self._child(name, argv)
        self.processes[name] = pid
        self.exits.pop(pid, None)  # of an earlier process that had this pid
        with contextlib.suppress(OSError):  # both do it, so that it is done whoever comes first
            os.setpgid(pid, pid)
        return pid

    def _child(self, name, argv):
        """Become the process ``argv``; never returns."""
        status = 1
        try:
            self._settle_in(name)
            if argv[0] == "celery":
                status = _celery(argv)
            elif argv[:2] == ["python", "-m"]:
                sys.argv = argv[2:]
                setproctitle.setproctitle(" ".join(argv))
                status = _status(runpy.run_module, argv[2], run_name="__main__", alter_sys=True)
            else:
                os.execv(argv[0], argv)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)  # past the warden's own clean-up, which is not this process's to do

    def _settle_in(self, name):
        os.environ[place.PROCESS] = name
        os.setpgid(0, 0)
        warden = os.getppid()
        kinship.die_with_parent()
        if os.getppid() != warden:  # it died before the line above
            os._exit(1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        log = os.open(self.where.log(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.closerange(3, 256)  # the socket to the kernel above all
        sys.stdout.reconfigure(line_buffering=True)

    def send(self, names, number):
        """Send signal ``number`` to the whole process trees of ``names``; return how many processes there were.

        All are sent it before any is looked at: those that are to stop, stop together, and have stopped on return.
        """
        trees = {self.processes[name]: self._family(name) for name in names if self.alive(name)}
        for leader in trees:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(leader, number)
        for leader, family in trees.items():
            for process in family:  # those that left the group
                with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                    if os.getpgid(process.pid) != leader:
                        process.send_signal(number)
        everyone = [process for family in trees.values() for process in family]
        if number == signal.SIGSTOP:
            _wait(lambda: all(_state(process) in STILL for process in everyone), 1)
        return len(everyone)

    def end(self, names, number=signal.SIGKILL):
        """End the process trees of ``names`` with signal ``number``; return once every process in them is gone.

        Those that a gentler signal has not ended after a second are killed.
        """
        families = [process for name in names if self.alive(name) for process in self._family(name)]
        self.send(names, number)
        if number != signal.SIGKILL:
            self.send(names, signal.SIGCONT)
        if not _wait(lambda: self._gone(families), 1):
            for process in families:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            _wait(lambda: self._gone(families), 5)
        for name in names:
            self.processes.pop(name, None)

    def status(self):
        """Whether each process is alive: a dict of name -> None while it is, else its exit status."""
        self.reap()
        return {name: self.exits.get(pid) for name, pid in self.processes.items()}

    def alive(self, name):
        self.reap()
        return name in self.processes and self.processes[name] not in self.exits

    def reap(self):
        """Collect the exit status of every child that ended, orphans of ended workers included."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self.exits[ended[0]] = os.waitstatus_to_exitcode(ended[1])
                faketime.forget(ended[0])

    def end_all(self):
        """Kill every descendant, whatever it was called, until none is left."""
        myself = psutil.Process()
        deadline = time.monotonic() + 10
        while (family := myself.children(recursive=True)) and time.monotonic() < deadline:
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            _wait(lambda family=family: self._gone(family), 1)

    def _family(self, name):
        with contextlib.suppress(psutil.NoSuchProcess):
            leader = psutil.Process(self.processes[name])
            return [leader, *leader.children(recursive=True)]
        return []

    def _gone(self, family):
        self.reap()
        return not any(process.is_running() for process in family)


def _state(process):
    try:
        return process.status()
    except psutil.NoSuchProcess:
        return None


def _wait(condition, seconds):
    """Wait until ``condition()`` holds, at most ``seconds``; return whether it does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _status(function, *args, **kwargs):
    """Call a program's main function and return the exit status that it ends with."""
    try:
        function(*args, **kwargs)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _celery(argv):
    from celery.__main__ import main

    from course_tasks.celery import configure

    configure()  # beat's schedule is the present run's, not the one that was on when the warden started
    sys.argv = argv
    setproctitle.setproctitle(" ".join(argv))  # for ps, until Celery sets its own
    return _status(main)


@functools.cache
def _preload():
    """Import what the forked processes need, once for all of them."""
    for module in PRELOADED:
        importlib.import_module(module)
    from celery.platforms import SecurityWarning

    from course_tasks.tasks import app

    # Celery warns a worker that runs as root, as it does in a container, because of what pickle could do; here
    # nothing but JSON is accepted, and the warning would fill the learner's logs.
    warnings.simplefilter("ignore", SecurityWarning)
    app.finalize()
    gc.collect()
    gc.freeze()  # a collection in a child would touch, and so copy, pages that are shared


def serve(warden, kernel, line):
    """Answer the requests that come over the socket ``line`` until the process ``kernel`` (a pid) is gone."""
    operations = {"start": warden.start, "send": warden.send, "end": warden.end, "status": warden.status}
    pending = b""
    while os.getppid() == kernel:
        ready, _, _ = select.select([line], [], [], LOOK)
        warden.reap()
        if not ready:
            continue
        data = line.recv(65536)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        for text in lines:
            try:
                request = json.loads(text)
                number, operation = request.pop("id"), operations[request.pop("op")]
            except (ValueError, KeyError):
                continue
            try:
                answer = {"id": number, "result": operation(**request)}
            except Exception as error:
                answer = {"id": number, "error": f"{type(error).__name__}: {error}"}
            line.sendall(json.dumps(answer).encode() + b"\n")


def main(descriptor, kernel):
    where = place.lab()
    warden = Warden(where)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kinship.adopt_orphans()
    setproctitle.setproctitle(f"course_tasks: warden of {where.path}")
    where.path.mkdir(mode=0o700)
    try:
        os.chdir(where.path)
        with socket.socket(fileno=descriptor) as line:
            serve(warden, kernel, line)
    except OSError:
        pass  # the kernel is gone, and what it had not read with it: a reset, or a broken pipe
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        warden.end_all()
        shutil.rmtree(where.path, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
