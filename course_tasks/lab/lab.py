"""The lab, as a learner types it: real servers, real Celery workers and a mail service in background processes."""

import atexit
import os
import shlex
import time

from course_tasks import place
from course_tasks.experiment import Experiment
from course_tasks.lab import arguments, servers
from course_tasks.lab.arguments import count, duration, flag
from course_tasks.lab.clocks import clock_mover
from course_tasks.lab.contest import Contest
from course_tasks.lab.live import notebook
from course_tasks.lab.production import Production
from course_tasks.lab.shown import Shown
from course_tasks.lab.upkeep import Upkeep
from course_tasks.observation import READY

MOST_WORKERS = MOST_CONTENDERS = 32
MOST_LOCK_SERVERS, MOST_REPLICAS = 9, 3

_open_labs = []  # this kernel's: one, and what was made beside it


class Lab(Upkeep):
    """Servers, workers and mail, started when it is made: ``lab = Lab(workers=3)``.

    ``workers`` is how many Celery workers there are, 1 to 32; they are called ``worker1@localhost`` and so on. Three
    servers are started (Valkey, or what LAB_REDIS_SERVER names), each on a Unix socket in a directory that only you
    can read: the broker, the lock server, and the history. ``live=False`` turns progress bar and growing picture off.

    ``lock_servers``: how many lock servers there are, 1 to 9. One is called "lock", and a lock is made as ``Lock(client,
    name)``. Several are "lock1", "lock2" and so on, independent of each other, and a lock is made as ``Lock(clients, name)``
    with the list of their clients, in that order. ``replicas``: how many replicas "lock" has, 0 to 3; they are servers called
    "replica1" and so on, and reach it over TCP, on this machine only and with a password. ``durable=True``: a lock server
    writes each change to disk before it answers, so that it remembers after a restart. ``clocks=True``: the wall clocks of
    lock servers can be moved, by :func:`move_clock`; :func:`movable_clocks` says whether that works on this machine.

    ``lab.lock_servers`` and ``lab.replicas`` are the names, ``lab.clients`` clients for the lock servers. ``lab.servers``
    stops servers and starts them by hand, and ``lab.links`` cuts workers off from them.

    A kernel has one lab: making another closes the one before, so a cell can simply be run again. It is closed by
    :meth:`close`, on leaving a ``with``, and when the kernel restarts, stops or dies; nothing is left then.

    ``beside=True`` is for code that needs a lab of its own for a moment, such as a check of a learner's answer: nothing is
    shown, and no other lab is closed, nor is this one by another.

    Raises ValueError or TypeError for a bad argument, :class:`LabError` where something can't be started; what had
    been started is ended first.
    """

    def __init__(self, workers=3, *, lock_servers=1, replicas=0, durable=False, clocks=False, live=True, beside=False):
        called = time.monotonic()
        count("workers", workers, 1, MOST_WORKERS)
        count("lock_servers", lock_servers, 1, MOST_LOCK_SERVERS)
        count("replicas", replicas, 0, MOST_REPLICAS)
        flag("durable", durable)
        flag("clocks", clocks)
        if replicas and lock_servers > 1:
            raise ValueError(
                f"replicas replicate a single lock server: say replicas={replicas} or lock_servers={lock_servers}"
            )
        servers.binary()  # before anything is closed or made
        mover = clock_mover() if clocks else None
        if not beside:
            for lab in [lab for lab in _open_labs if not lab.beside]:
                lab.close()
        super().__init__(
            _numbered("worker", workers),
            ("lock",) if lock_servers == 1 else _numbered("lock", lock_servers),
            _numbered("replica", replicas),
            durable,
            mover,
        )
        self.live, self.beside = live and not beside, beside
        self._runs = 0
        _open_labs.append(self)
        try:
            self._start_up(called)
            if notebook() and not beside:
                from IPython.display import display

                display(self.processes)
        except BaseException:
            self.close()
            raise

    def close(self):
        """End every process of the lab and remove its directory. Closing twice does no harm."""
        if self in _open_labs:
            _open_labs.remove(self)
        self._shut_down()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Looking

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

        ``lock``: a class or a callable that takes (client, name), or (clients, name) where there are several lock servers,
        and returns something with ``acquire()`` and ``release()``; None for no lock. ``every``: seconds between two ticks of
        beat. ``takes``: seconds that the work of one task lasts. ``if_locked``: "skip" (a task that finds the lock taken goes
        away) or "wait". ``task``: the name of the task that beat sends. ``mails``: how many unsent mails the outbox holds at
        the start; one a tick unless given.
        ``faults``: what :func:`kill`, :func:`pause`, :func:`restart` and so on made; one, or a list of them.

        ``fencing``: where the lock has a fencing token (its attribute ``fence``), the outbox refuses a write whose token
        is lower than the highest it has seen; False turns that check off. ``idempotent``: a mail keeps one Message-ID,
        however often it is sent, and the inbox files each Message-ID once. ``soft_time_limit``: seconds after which
        Celery interrupts a task; None for never.

        A run starts clean: nothing queued, reserved, held or unsent is left from the one before, and killed workers and
        servers are back. Tasks that still run at the end are ended, and stay open in the picture.

        Raises TypeError or ValueError for a bad argument before anything happens, LabError where the lab fails.
        """
        plan = Experiment(
            run=self._runs + 1,
            task=task,
            every=duration("every", every),
            takes=duration("takes", takes, or_zero=True),
            if_locked=if_locked,
            lock=lock is not None,
            fencing=flag("fencing", fencing),
            idempotent=flag("idempotent", idempotent),
            soft_time_limit=None if soft_time_limit is None else duration("soft_time_limit", soft_time_limit),
        )
        return self._conducted(Production(self, plan, duration("seconds", seconds), lock, faults, mails))

    def invoke(self, task="tasks.add", *, times=10, takes=0.5, seconds=30.0, faults=()):
        """Have the invoker send ``task`` ``times`` over, wait until all are done, and return a :class:`Run`.

        ``takes``: seconds that the work of one task lasts. ``seconds``: when to give up waiting; what still runs then is
        ended. ``faults``: as for :meth:`run`.

        Raises TypeError or ValueError for a bad argument before anything happens, LabError where the lab fails.
        """
        count("times", times, 1)
        plan = Experiment(run=self._runs + 1, task=task, takes=duration("takes", takes, or_zero=True))
        return self._conducted(Production(self, plan, duration("seconds", seconds), None, faults, times, times=times))

    def contend(self, lock, *, contenders=6, holds=0.005, seconds=3.0, at_once=1, faults=()):
        """Have processes contend for one lock as fast as they can, and return a :class:`Run`.

        There are so many ``contenders`` (1 to 32), called ``contender1`` and so on; no Celery, no mail. All begin together.
        Each acquires the ``lock`` (as for :meth:`run`; None for no lock), waiting as the lock itself waits, or else asking
        again every 50 ms; holds it for ``holds`` seconds, gives it back, and tries again at once. After ``seconds`` all are
        ended as they stand: whoever is inside then stays so in the picture.

        ``at_once``: how many may be inside together; more than 1 for a semaphore. ``faults``: as for :meth:`run`; who is
        hit is "holder", one of the contenders, or a lock server. A contender whose lock raises an error tries again a little
        later.

        Raises TypeError or ValueError for a bad argument before anything happens, LabError where the lab fails.
        """
        names = _numbered("contender", count("contenders", contenders, 1, MOST_CONTENDERS))
        plan = Experiment(
            run=self._runs + 1,
            takes=duration("holds", holds, or_zero=True),
            if_locked="wait",
            lock=lock is not None,
        )
        at_once = count("at_once", at_once, 1)
        return self._conducted(Contest(self, plan, duration("seconds", seconds), lock, faults, names, at_once))

    def _conducted(self, conductor):
        self._runs += 1
        return conductor.conduct()


def _numbered(kind, count):
    return tuple(f"{kind}{number}" for number in range(1, count + 1))


@atexit.register
def _close_on_exit():
    for lab in [lab for lab in _open_labs if lab._line.owner == os.getpid()]:
        lab.close()
