"""The lab: real servers, real Celery workers and a mail service, in background processes of this notebook."""

import atexit
import contextlib
import importlib
import os
import shlex
import smtplib
import time

import redis

from course_tasks import place
from course_tasks.experiment import Experiment
from course_tasks.lab import arguments, directory, servers
from course_tasks.lab.arguments import count, duration
from course_tasks.lab.conduct import Conductor
from course_tasks.lab.errors import LabError, last_lines
from course_tasks.lab.interrupts import held_back
from course_tasks.lab.line import Line
from course_tasks.lab.live import notebook
from course_tasks.lab.sending import Sender
from course_tasks.lab.shown import Processes, Shown
from course_tasks.observation import READY

SERVERS = ("broker", "history", "lock")
PRODUCERS = ("beat", "invoker")
BINDINGS = b"_kombu.binding"  # keys by which Celery finds its queues: they outlive a run
MOST_WORKERS = 32
START_UP = 30.0  # seconds until a process that is not ready counts as stuck
LOOK = 0.01  # seconds between two looks at what is starting

_open_lab = None  # this kernel's lab: there is one at a time


class Lab:
    """Servers, workers and mail, started when it is made: ``lab = Lab(workers=3)``.

    ``workers`` is how many Celery workers there are, 1 to 32; they are called ``worker1@localhost`` and so on. Three
    servers are started (Valkey, or what LAB_REDIS_SERVER names), each on a Unix socket in a directory that only you
    can read: the broker, the lock server, and the history. ``live=False`` turns progress bar and growing picture off.

    A kernel has one lab: making another closes the one before, so a cell can simply be run again. It is closed by
    :meth:`close`, on leaving a ``with``, and when the kernel restarts, stops or dies; nothing is left then.

    Raises ValueError or TypeError for a bad argument, :class:`LabError` where something can't be started; what had
    been started is ended first.
    """

    def __init__(self, workers=3, *, live=True):
        global _open_lab
        called = time.monotonic()
        count("workers", workers, 1, MOST_WORKERS)
        servers.binary()  # before anything is closed or made
        if _open_lab is not None:
            _open_lab.close()
        self.workers = tuple(f"worker{number}" for number in range(1, workers + 1))
        self.live = live
        self._commands, self._pids, self._ready = {}, {}, {}
        self._clients = {}
        self._runs = 0
        self.unsettled = False  # whether a run was cut short, and left something behind
        self.place = place.Place(directory.choose())
        self._line = Line(self.place)
        self._sender = Sender(self.place.url("broker"), self.client("history"))
        _open_lab = self
        try:
            self._line.open()
            self._start_up(called)
            if notebook():
                from IPython.display import display

                display(self.processes)
        except BaseException:
            self.close()
            raise

    def _start_up(self, called):
        self._line.call("status")  # the warden answers when it has made the directory
        with directory.writing(self.place.path.parent):
            Experiment().write(self.place)
            self.place.run(0).mkdir(mode=0o700)  # the mail of tasks that are sent between the runs
        for name in SERVERS:
            self.start(name, servers.command(self.place, name))
        self._await({name: self._answers(name) for name in SERVERS}, called)
        self.start("mail", ["python", "-m", "course_tasks.mailroom", str(self.place.socket("mail"))])
        for name in self.workers:
            self.start(name, worker_command(name))
        self._await({"mail": self._mail_listens, **{worker: self._is_ready(worker) for worker in self.workers}}, called)

    # Starting and ending

    def start(self, name, command):
        """Start the process ``name`` with ``command`` (a list); its log is the one of that name."""
        self._commands[name] = command
        self._pids[name] = self._line.call("start", name=name, argv=command)

    def end(self, names):
        """Kill the processes called ``names``, each with its whole tree, and return once all are gone."""
        self._line.call("end", names=names)

    def send_signal(self, name, number):
        """Send signal ``number`` to the whole process tree of ``name``."""
        self._line.call("send", name=name, number=number)

    def exit_status(self, name):
        """None while the process ``name`` is alive; else its exit status, negative for the signal that ended it."""
        return self._line.call("status").get(name)

    def await_workers(self):
        """Return once every worker is ready."""
        self._await({worker: self._is_ready(worker) for worker in self.workers}, time.monotonic())

    def begin(self):
        """Return when the lab is clean and every worker ready. Raises LabError where the lab is closed."""
        with held_back():
            importlib.import_module("course_tasks.history.reading")  # and pandas with it
        self._check()
        if self.unsettled or self._sender.under_way():
            self.settle(everything=True)
        self._revive()
        self.await_workers()

    def settle(self, everything=False):
        """Make the lab clean for the next run: nothing queued or held, every worker alive.

        ``everything`` ends all workers and producers first: after an interrupt nobody knows what they are at.
        """
        self.unsettled = True
        self._check()
        if everything:
            self.end([*PRODUCERS, *self.workers])
            for client in self._clients.values():  # an interrupt may have left a reply unread
                client.connection_pool.disconnect()
            self._sender.forget()
        with directory.writing(self.place.path.parent):
            Experiment().write(self.place)
        broker = self.client("broker")
        for key in broker.scan_iter():
            if not key.startswith(BINDINGS):
                broker.delete(key)
        self.client("lock").flushall()
        self._revive()
        self.unsettled = False

    def _check(self):
        """Raise LabError where the lab is closed, or where something of it has ended that no run can do without."""
        status = self._line.call("status")  # redis-py and Celery would knock for a while where nobody is
        for name in (*SERVERS, "mail"):
            if status.get(name) is not None:
                raise LabError(
                    f"{name} has ended with status {status[name]}: run the cell that starts the lab again. "
                    f"The last lines it wrote are\n{last_lines(self.place.log(name).read_bytes())}"
                )

    def _revive(self):
        """Start every worker that is not alive; it is not ready yet."""
        status = self._line.call("status")
        for worker in self.workers:
            if worker not in status or status[worker] is not None:
                self.start(worker, self._commands[worker])

    def _await(self, answers, since):
        """Wait until each of ``answers`` (name -> a question) is True, and note how long after ``since`` that was."""
        missing = dict(answers)
        deadline = time.monotonic() + START_UP
        while missing:
            status = self._line.call("status")  # first: with a warden that is gone, redis-py would knock for seconds
            for name in [name for name, answers_now in missing.items() if answers_now()]:
                del missing[name]
                self._ready.setdefault(name, time.monotonic() - since)  # a worker that came back keeps its first
            for name in missing:
                if status.get(name) is not None:
                    raise self._start_error(name, f"ended with status {status[name]}")
            if time.monotonic() > deadline:
                raise self._start_error(next(iter(missing)), f"was not ready after {START_UP:.0f} s")
            time.sleep(LOOK)

    def _start_error(self, name, what):
        command, log = shlex.join(self._commands[name]), self.place.log(name)
        return LabError(
            f"{name} {what} while it started. Its command was\n    {command}\nand the last lines it wrote are\n"
            + last_lines(log.read_bytes() if log.exists() else b"")
        )

    def _answers(self, name):
        def question():
            with contextlib.suppress(redis.ConnectionError):
                return self.client(name).ping()

        return question

    def _mail_listens(self):
        # A socket is there a moment before anybody listens on it.
        with contextlib.suppress(OSError), smtplib.LMTP(str(self.place.socket("mail")), local_hostname="localhost"):
            return True
        return False

    def _is_ready(self, worker):
        pid = self._pids[worker]

        def question():
            with contextlib.suppress(redis.ConnectionError):
                return self.client("history").hget(READY, worker) == str(pid).encode()

        return question

    def close(self):
        """End every process of the lab and remove its directory. Closing twice does no harm."""
        global _open_lab
        if _open_lab is self:
            _open_lab = None
        self._sender.close()
        for client in self._clients.values():
            client.close()
        self._line.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Looking

    def client(self, server="lock"):
        """A ``redis.Redis`` client for one of the lab's servers: "lock", "broker" or "history"."""
        if server not in self._clients:
            if server not in SERVERS:
                raise ValueError(f"no server is called {server!r}; the lab has {', '.join(SERVERS)}")
            # Without redis-py's ten silent attempts: a server that is not there is not there.
            self._clients[server] = redis.Redis(unix_socket_path=str(self.place.socket(server)), retry=None)
        return self._clients[server]

    @property
    def processes(self):
        """A table of the lab's processes: name, command, pid, seconds from the call until it was ready."""
        names = [name for name in self._commands if name in self._ready]
        return Processes(
            [(name, shlex.join(self._commands[name]), self._pids[name], self._ready[name]) for name in names]
        )

    @property
    def warden_pid(self):
        """The pid of the process from which all the others descend."""
        return self._line.pid

    def __repr__(self):
        return repr(self.processes)

    def _repr_html_(self):
        return self.processes._repr_html_()

    def logs(self, process, last=None):
        """What ``process`` ("worker1", "beat", "broker" …) has printed, as its terminal would show it.

        ``last`` keeps that many lines from the end. Raises ValueError where no process of that name was ever started.
        """
        log = self.place.log(process)
        if not log.exists():
            self._line.call("status")  # says so if the lab is closed
            names = sorted(path.stem for path in self.place.path.glob("*.log"))
            raise ValueError(f"no process is called {process!r}; these have a log: {', '.join(names)}")
        lines = log.read_text(errors="replace").rstrip().splitlines()
        return Shown("\n".join(lines[-last:] if last else lines))

    def terminal(self, process="worker"):
        """The command with which a terminal joins this lab as a ``process``: "worker", "beat" or "invoker".

        A worker gets a node name that is free. Its tasks appear in the pictures of the runs that follow.
        """
        self._check()
        lab, broker = f"{place.VARIABLE}={shlex.quote(str(self.place.path))}", shlex.quote(self.place.url("broker"))
        if process == "worker":
            taken = {*self.workers, *(name.decode() for name in self.client("history").hkeys(READY))}
            number = next(n for n in range(1, 1000) if f"worker{n}" not in taken)
            return Shown(f"{lab} celery -A course_tasks -b {broker} worker --loglevel=info -n worker{number}@localhost")
        if process == "beat":
            schedule = shlex.quote(str(self.place.path / "terminal-schedule"))
            return Shown(f"{lab} celery -A course_tasks -b {broker} beat --loglevel=info -s {schedule}")
        if process == "invoker":
            return Shown(f"{lab} python -m course_tasks.invoker")
        raise ValueError(f'a terminal can join as "worker", "beat" or "invoker", not as {process!r}')

    # Working

    def send(self, task, *args):
        """Put one ``task`` (a name, such as "tasks.add") with ``args`` into the queue; return Celery's AsyncResult.

        ``.get(timeout=10)`` waits for the result, where the task has one. Raises ValueError where there is no such task,
        LabError where the lab is closed.
        """
        name = arguments.task(task)
        self._check()
        return self._sender.send(name, args)

    def run(
        self,
        lock=None,
        *,
        every=3.0,
        takes=1.0,
        seconds=10.0,
        if_locked="skip",
        task="tasks.send_mail_from_queue",
        mails=None,
        faults=(),
        fencing=True,
        idempotent=False,
        soft_time_limit=None,
    ):
        """Run beat for ``seconds`` and return a :class:`Run`: what happened, judged and drawn.

        ``lock``: a class or a callable that takes (client, name) and returns something with ``acquire()`` and
        ``release()``; None for no lock. ``every``: seconds between two ticks of beat. ``takes``: seconds that the work of
        one task lasts. ``if_locked``: "skip" (a task that finds the lock taken goes away) or "wait". ``task``: the name of
        the task that beat sends. ``mails``: how many unsent mails the outbox holds at the start; one a tick unless given.
        ``faults``: what :func:`kill` and :func:`pause` made.

        ``fencing``: where the lock has a fencing token (its attribute ``fence``), the outbox refuses a write whose token
        is lower than the highest it has seen; False turns that check off. ``idempotent``: a mail keeps one Message-ID,
        however often it is sent, and the inbox files each Message-ID once. ``soft_time_limit``: seconds after which
        Celery interrupts a task; None for never.

        A run starts clean: nothing queued, reserved, held or unsent is left from the one before, and killed workers
        are back. Tasks that still run at the end are ended, and stay open in the picture.

        Raises TypeError or ValueError for a bad argument before anything happens, LabError where the lab fails.
        """
        plan = Experiment(
            run=self._runs + 1,
            task=task,
            every=duration("every", every),
            takes=duration("takes", takes, or_zero=True),
            if_locked=if_locked,
            lock=lock is not None,
            fencing=bool(fencing),
            idempotent=bool(idempotent),
            soft_time_limit=None if soft_time_limit is None else duration("soft_time_limit", soft_time_limit),
        )
        conductor = Conductor(self, plan, duration("seconds", seconds), lock, faults, mails)
        self._runs += 1
        return conductor.with_beat()

    def invoke(self, task="tasks.add", *, times=10, takes=0.5, seconds=30.0, faults=()):
        """Have the invoker send ``task`` ``times`` over, wait until all are done, and return a :class:`Run`.

        ``takes``: seconds that the work of one task lasts. ``seconds``: when to give up waiting; what still runs then is
        ended. ``faults``: as for :meth:`run`. Raises TypeError or ValueError for a bad argument.
        """
        count("times", times, 1)
        plan = Experiment(run=self._runs + 1, task=task, takes=duration("takes", takes, or_zero=True))
        conductor = Conductor(self, plan, duration("seconds", seconds), None, faults, mails=times)
        self._runs += 1
        return conductor.with_invoker(times)


def worker_command(name):
    """The command line of the worker called ``name``; the three options spare it a second of greeting its neighbours."""
    spared = ("--without-mingle", "--without-gossip", "--without-heartbeat")
    return ["celery", "-A", "course_tasks", "worker", "--loglevel=info", "-n", f"{name}@localhost", *spared]


@atexit.register
def _close_on_exit():
    if _open_lab is not None and _open_lab._line.owner == os.getpid():
        _open_lab.close()
