"""What the present run of a lab asks of its tasks and contenders.

The notebook writes one small file; every task and every contender reads it when it starts. Outside a lab there is no such
file: tasks take no lock, take no extra time, and record nothing.
"""

import dataclasses
import functools
import json
import os
import pickle

import redis

from course_tasks import halts, place
from course_tasks.breakpoints import watched
from course_tasks.history.recording import Recorder, unheard


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What one run asks for.

    ``run`` is its number (0 between the runs), ``task`` the name of the task that beat sends every ``every`` seconds,
    ``takes`` how many seconds a task works, or a contender holds the lock, ``if_locked`` either "skip" or "wait", and
    ``lock`` whether there is a lock, whose code is then in the run's directory. ``fencing`` is whether the outbox
    compares fencing tokens, ``idempotent`` whether a mail keeps one Message-ID, ``soft_time_limit`` the seconds after
    which Celery interrupts a task (None: never). ``lock_servers`` are the names of the lock servers, in their order;
    ``links`` is whether every process reaches them by links of its own, which may be cut or slowed.
    """

    run: int = 0
    task: str | None = None
    every: float | None = None
    takes: float = 0.0
    if_locked: str = "skip"
    lock: bool = False
    fencing: bool = True
    idempotent: bool = False
    soft_time_limit: float | None = None
    lock_servers: tuple = ("lock",)
    links: bool = False

    def write(self, where):
        """Make this the present experiment of the lab at ``where`` (a Place), in one step that no reader sees half of."""
        half = where.experiment.with_suffix(".new")
        half.write_text(json.dumps(dataclasses.asdict(self)))
        os.replace(half, where.experiment)


def current():
    """The present Experiment; the quiet one (run 0) outside a lab and between the runs."""
    here = place.lab()
    try:
        written = json.loads(here.experiment.read_text()) if here else {}
    except FileNotFoundError:
        return Experiment()
    if "lock_servers" in written:
        written["lock_servers"] = tuple(written["lock_servers"])  # JSON knows lists only
    return Experiment(**written)


class Clients(list):
    """The clients of several lock servers, in their order: what a lock is made with, in a lab that has several.

    A list that explains itself to a lock which takes it for a single client.
    """

    def __getattr__(self, name):
        if len(self) == 1:  # lab.clients, in a lab with one: locks are given the client itself
            raise AttributeError(f"{name}: this is a list of one client: take the client that is in it, [0]")
        raise AttributeError(
            f"{name}: this lab has {len(self)} lock servers, so a lock is made with the list of their clients, which is no client"
        )


@functools.cache
def client(server, pid, process=None, again=True):
    """This process's Redis client for ``server``; ``pid`` is in the key so that no connection crosses a fork.

    ``process``: the name of the process whose link it takes; None for straight on. ``again``: whether a command that failed
    is sent again without a word, as redis-py does by default: ten times, for 3 s or so where nobody is there.
    """
    here = place.lab()
    path = here.link(process, server) if process else here.socket(server)
    how = {} if again else {"retry": None}
    return redis.Redis(unix_socket_path=str(path), password=here.password(server), **how)


def clients(present, pid):
    """The Clients for the lock servers of the ``present`` experiment, for this process, whose ``pid`` is given."""
    how = {}
    if present.links and place.PROCESS in os.environ:  # a worker that joined from a terminal has no links
        how["process"] = os.environ[place.PROCESS]
    if len(present.lock_servers) > 1:
        how["again"] = False  # a lock on several gets on without one that is not there: it must hear of that at once
    return Clients(client(server, pid, **how) for server in present.lock_servers)


def lock_clients(present, pid):
    """What a lock is made with: the client of the lock server; or, where there are several, the Clients."""
    of_all = clients(present, pid)
    return of_all[0] if len(of_all) == 1 else of_all


def primary():
    """The server that "lock" stands for now, where it has replicas; else None."""
    here = place.lab()
    return here.primary if here else None


def recorder(run, lane):
    """What writes the events of ``lane`` into the history of ``run``: a Recorder, or outside a lab one that writes nothing."""
    return Recorder(client("history", os.getpid()), run, lane) if place.lab() else unheard


@functools.lru_cache(maxsize=1)
def lock_factory(run, pid):
    """The lock that the notebook handed over for ``run``: a callable that takes (client, name), or (clients, name).

    Where the run has breakpoints, the lock is made with clients that carry them, in place of those that are given. Over
    several servers they are the same breakpoints: a command counts to whichever of them it goes.
    """
    make = pickle.loads((place.lab().run(run) / "lock.pkl").read_bytes())
    points = halts.here(run, recorder(run, os.environ.get(place.PROCESS)))
    if not points:
        return make
    with_breakpoints = functools.cache(lambda client: watched(client, *points))

    def with_all(clients):
        several = isinstance(clients, Clients)
        return Clients(map(with_breakpoints, clients)) if several else with_breakpoints(clients)

    return lambda clients, name: make(with_all(clients), name)
