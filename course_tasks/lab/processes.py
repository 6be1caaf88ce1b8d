"""The processes of a lab: starting them, waiting until they are ready, signals to them, and their end."""

import contextlib
import shlex
import signal
import smtplib
import time

import redis

from course_tasks import place
from course_tasks.experiment import Clients, Experiment
from course_tasks.lab import directory, servers
from course_tasks.lab.connections import Connections
from course_tasks.lab.errors import LabError, last_lines
from course_tasks.lab.fleet import Fleet
from course_tasks.lab.line import Line
from course_tasks.lab.links import Links
from course_tasks.lab.replicas import Replication
from course_tasks.lab.sending import Sender
from course_tasks.lab.shown import Processes
from course_tasks.observation import READY

STEADY = ("broker", "history")  # the servers that no fault ever touches
START_UP = 30.0  # seconds until a process that is not ready counts as stuck
LOOK = 0.01  # seconds between two looks at what is starting
NOT_YET = (redis.ConnectionError, redis.TimeoutError)  # for redis-py gives up on a reply after 5 s


class Crew:
    """The servers, the mail service and the ``workers`` (names) of a lab, and whatever else a run starts.

    ``lock_servers`` and ``replicas`` are names too; ``durable`` is whether lock servers write to disk; ``clocks`` the library
    that moves their clocks (a path), or None. Making one starts nothing yet; ``_start_up`` does. ``place`` is where the lab
    lies; ``stopped`` are the names of those that were sent SIGSTOP, and nothing after it.
    """

    def __init__(self, workers, lock_servers=("lock",), replicas=(), durable=False, clocks=None):
        self.workers, self.lock_servers, self.replicas = workers, lock_servers, replicas
        self.durable, self.clocks = durable, clocks
        self.place = place.Place(directory.choose())
        self.stopped = set()
        self.connections = Connections(self.place)
        self.servers, self.links, self.replication = Fleet(self), Links(self), Replication(self)
        self._commands, self._pids, self._ready = {}, {}, {}
        self._line = Line(self.place)
        self._sender = Sender(self.place.url("broker"), self.client("history"))

    def _start_up(self, called):
        self._line.open()
        self._line.call("status")  # the warden answers when it has made the directory
        with directory.writing(self.place.path.parent):
            Experiment().write(self.place)
            self.place.run(0).mkdir(mode=0o700)  # the mail of tasks that are sent between the runs
            self.servers.lay_ready()
        self.start_servers((*STEADY, *self.servers.names), called)
        self.start("mail", ["python", "-m", "course_tasks.mailroom", str(self.place.socket("mail"))])
        for name in self.workers:
            self.start(name, worker_command(name))
        self._await({"mail": self._mail_listens, **{worker: self._is_ready(worker) for worker in self.workers}}, called)
        if self.replicas:
            self.replication.await_sync()

    def _shut_down(self):
        self._sender.close()
        self.connections.close()
        self._line.close()

    @property
    def _lasting(self):
        """The names of those without which a lab is none, in the order of the table."""
        return (*STEADY, *self.servers.names, "mail", *(["links"] if self.links.started else []))

    # One by one

    def client(self, server="lock"):
        """A ``redis.Redis`` client for one of the lab's servers: "broker", "history", "lock" or what the lock servers are called.

        "lock" is the primary, where there are replicas; whoever was promoted is that. What you set on a lock server by CONFIG SET
        holds until the end of the next run. Raises ValueError where no server is called so.
        """
        known = (*STEADY, *self.servers.names)
        if server not in known:
            raise ValueError(f"no server is called {server!r}; the lab has {', '.join(known)}")
        return self.connections.to(server, self.place.socket(server))

    def itself(self, server):
        """A client for the very process that was started as ``server``, whether or not it is the primary."""
        return self.connections.to(server, self.servers.own_socket(server))

    @property
    def clients(self):
        """The notebook's clients for the lock servers, in their order: a list, as a lock for several servers is given it."""
        return Clients(self.client(server) for server in self.lock_servers)

    @property
    def processes(self):
        """A table of the lab's processes: name, command, pid, seconds from the call until it was ready."""
        names = [name for name in (*self._lasting, *self.workers) if name in self._ready]
        return Processes(
            [(name, shlex.join(self._commands[name]), self._pids[name], self._ready[name]) for name in names]
        )

    @property
    def warden_pid(self):
        """The pid of the process from which all the others descend."""
        return self._line.pid

    def start(self, name, command):
        """Start the process ``name`` with ``command`` (a list); its log is the one of that name."""
        self._commands[name] = command
        self._pids[name] = self._line.call("start", name=name, argv=command)

    def start_answering(self, name, command, answers):
        """Start the process ``name`` with ``command``, unless it is alive, and return when ``answers()`` is true."""
        since = time.monotonic()
        if not self.alive(name):
            self.start(name, command)
        self._await({name: answers}, since)

    def start_servers(self, names, since=None):
        """Start those of the servers called ``names`` that are not alive, all at once, and return when each of them answers.

        ``since`` (``time.monotonic()``) is when the time began that the table of processes tells.
        """
        since = time.monotonic() if since is None else since
        status = self._line.call("status")
        for name in names:
            if name not in status:
                self.start(name, self._server_command(name))
        self._await({name: self._answers(name) for name in names}, since)
        self.servers.welcome([name for name in names if name not in STEADY])

    def _server_command(self, name):
        return servers.command(self.place, name) if name in STEADY else self.servers.command(name)

    def end(self, names):
        """Kill the processes called ``names``, each with its whole tree, and return once all are gone."""
        _several(names)
        self._line.call("end", names=names)
        self.stopped.difference_update(names)

    def send_signal(self, names, number):
        """Send signal ``number`` to the whole process trees of ``names``; after SIGSTOP, return once all have stopped."""
        _several(names)
        if number == signal.SIGSTOP:
            self.stopped.update(names)
        self._line.call("send", names=names, number=number)
        if number == signal.SIGCONT:
            self.stopped.difference_update(names)

    def exit_status(self, name):
        """None while the process ``name`` is alive; else its exit status, negative for the signal that ended it."""
        return self._line.call("status").get(name)

    def alive(self, name):
        """Whether the process ``name`` was started and has not ended since."""
        status = self._line.call("status")
        return name in status and status[name] is None

    # Waiting

    def await_workers(self):
        """Return once every worker is ready."""
        self.await_ready(self.workers)

    def await_ready(self, names):
        """Return once each of the processes ``names`` has noted in the history that it is ready."""
        self._await({name: self._is_ready(name) for name in names}, time.monotonic())

    def _await(self, answers, since):
        """Wait until each of ``answers`` (name -> a question) is True, and note how long after ``since`` that was."""
        missing = dict(answers)
        deadline = time.monotonic() + START_UP
        while True:
            status = self._line.call("status")  # first: with a warden that is gone, redis-py would knock for seconds
            for name in [name for name, answers_now in missing.items() if answers_now()]:
                del missing[name]
                self._ready.setdefault(name, time.monotonic() - since)  # a worker that came back keeps its first
            if not missing:
                return
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
            with contextlib.suppress(*NOT_YET):
                return self.itself(name).ping()

        return question

    def _mail_listens(self):
        # A socket is there a moment before anybody listens on it.
        with contextlib.suppress(OSError), smtplib.LMTP(str(self.place.socket("mail")), local_hostname="localhost"):
            return True
        return False

    def _is_ready(self, name):
        pid = self._pids[name]

        def question():
            with contextlib.suppress(*NOT_YET):
                return self.client("history").hget(READY, name) == str(pid).encode()

        return question


def worker_command(name):
    """The command line of the worker called ``name``; the three options spare it a second of greeting its neighbours."""
    spared = ("--without-mingle", "--without-gossip", "--without-heartbeat")
    return ["celery", "-A", "course_tasks", "worker", "--loglevel=info", "-n", f"{name}@localhost", *spared]


def _several(names):
    """Raise TypeError where ``names`` is a single name: it would be taken for a list of letters, and nothing would happen."""
    if isinstance(names, str):
        raise TypeError(f"names is a list of processes, such as [{names!r}]")
