"""A lock's way into the workers, and what the history says when it misbehaves."""

import functools
import json
import os
import sys
import threading

import labs
import psutil
import pytest
import redis
from labs import kinds, run_until

from course_tasks.lab.packing import pack
from course_tasks.lab.servers import command
from course_tasks.place import Place

# From where the learner writes it ------------------------------------------------------------------------------------

LEARNER = '''
import functools
import json
import threading

from course_tasks import Lab
from until import run_until
import my_locks
from my_locks import Imported
from my_package import inner

KEY = "prefix:"

class Base:
    def __init__(self, client, name):
        self.client, self.name = client, KEY + name

    def acquire(self):
        return bool(self.client.setnx(self.name, 1))

class InMain(Base):
    """Reaches a global, a base class, and a class of its own name inside super()."""

    def __init__(self, client, name):
        super().__init__(client, name)

    def release(self):
        self.client.delete(self.name)

def by_function(client, name):
    return InMain(client, "function:" + name)

def with_lease(seconds):
    class Leased(InMain):
        timeout = seconds

        def acquire(self):
            return bool(self.client.set(self.name, 1, nx=True, px=int(1000 * seconds)))

    return Leased

class Calls(InMain):
    """In __main__, and reaches a module of the learner's own."""

    def acquire(self):
        return my_locks.helper(super().acquire())

LOCKS = {
    "class": InMain,
    "function": by_function,
    "closure": with_lease(30),
    "partial": functools.partial(InMain),
    "lambda": lambda client, name: InMain(client, "lambda:" + name),
    "module": Imported,
    "package": inner.Nested,
    "main and module": Calls,
}

class All:
    """One of each."""

    def __init__(self, client, name):
        self.locks = [make(client, what + name) for what, make in LOCKS.items()]

    def acquire(self):
        return all([lock.acquire() for lock in self.locks])

    def release(self):
        for lock in self.locks:
            lock.release()

if __name__ == "__main__":
    with Lab(workers=2) as lab:
        told = {}
        for what, lock in {"all": All, "closure": LOCKS["closure"], "module": Imported}.items():
            run = run_until(lab, lock, every=0.2, takes=0.05, until={"finished": 1})
            leases = [lease for lease in run.events["lease"] if lease == lease]
            told[what] = {"kinds": list(run.events["kind"]), "notes": list(run.notes), "leases": leases}
    print(json.dumps(told))
'''

MY_LOCKS = """
from my_package.inner import Nested

def helper(value):
    return value

class Imported(Nested):
    def acquire(self):
        return helper(super().acquire())
"""

INNER = """
class Nested:
    def __init__(self, client, name):
        self.client, self.name = client, name

    def acquire(self):
        return bool(self.client.setnx(self.name, 1))

    def release(self):
        self.client.delete(self.name)
"""


def test_locks_come_from_the_script_from_modules_beside_it_and_from_closures(hunt, tmp_path):
    (tmp_path / "my_locks.py").write_text(MY_LOCKS)
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").touch()
    (tmp_path / "my_package" / "inner.py").write_text(INNER)
    kernel = hunt.kernel(tmp_path, source=LEARNER)
    output, _ = kernel.process.communicate(timeout=120)
    assert kernel.process.returncode == 0, kernel.log.read_text()
    told = json.loads(output)
    for what, run in told.items():
        assert run["notes"] == [], what
        assert {"acquired", "entered", "released", "finished"} <= set(run["kinds"]), what
    assert set(told["closure"]["leases"]) == {30.0}
    assert told["module"]["leases"] == []
    hunt.nothing_left()


# What can't be sent --------------------------------------------------------------------------------------------------

CLIENT = redis.Redis(unix_socket_path="/nowhere")
MUTEX = threading.Lock()
OPENED = sys.__stderr__.buffer
NESTED = {"deep": [threading.RLock()]}


class ReachesClient:
    def __init__(self, client, name):
        """Uses the notebook's client instead of its own."""

    def acquire(self):
        return CLIENT.setnx("mail", 1)

    def release(self):
        CLIENT.delete("mail")


class ReachesThreadLock:
    mutex = threading.Lock()

    def __init__(self, client, name):
        """Shares one lock, or so one thinks."""

    def acquire(self):
        return self.mutex.acquire(blocking=False)

    def release(self):
        self.mutex.release()


class ReachesFile:
    def __init__(self, client, name):
        """Locks a file that is open already."""

    def acquire(self):
        return bool(OPENED.fileno())

    def release(self):
        """Nothing."""


class ReachesStatically:
    @staticmethod
    def acquire():
        return MUTEX.acquire(blocking=False)

    @classmethod
    def release(cls):
        MUTEX.release()


class Base:
    shared = threading.Event()


class ReachesThroughItsBase(Base):
    def acquire(self):
        return self.shared.is_set()


class ReachesThroughAModule:
    def acquire(self):
        return labs.UNSENDABLE.acquire()


class ReachesNested:
    def acquire(self):
        return NESTED["deep"][0].acquire()


def closed_over():
    mine = threading.Condition()

    def factory(client, name):
        return mine

    return factory


UNSENDABLE = {
    "client": (ReachesClient, "CLIENT"),
    "thread lock": (ReachesThreadLock, "ReachesThreadLock.mutex"),
    "file": (ReachesFile, "OPENED"),
    "static": (ReachesStatically, "MUTEX"),
    "base class": (ReachesThroughItsBase, "Base.shared"),
    "module": (ReachesThroughAModule, "labs.UNSENDABLE"),
    "nested": (ReachesNested, "NESTED"),
    "closure": (closed_over(), "mine"),
    "default argument": (lambda client, name, mine=MUTEX: mine, "variable mine"),
    "partial": (functools.partial(ReachesNested, MUTEX), "partial"),
}


@pytest.mark.parametrize("what", UNSENDABLE)
def test_what_cannot_be_sent_is_named(what, monkeypatch):
    monkeypatch.setattr(labs, "UNSENDABLE", threading.Lock(), raising=False)
    lock, variable = UNSENDABLE[what]
    with pytest.raises(TypeError, match=r"can't be sent to the workers") as error:
        pack(lock)
    assert variable in str(error.value)
    assert "Make it in __init__ or in acquire()" in str(error.value)


def test_a_lock_that_cannot_be_sent_changes_nothing(lab):
    runs = lab.client("history").keys("history:*")
    with pytest.raises(TypeError, match="CLIENT"):
        lab.run(ReachesClient, seconds=1)
    assert lab.client("history").keys("history:*") == runs


def test_an_instance_is_not_a_lock_class():
    with pytest.raises(TypeError, match="pass the class itself, without making one here"):
        pack(threading.Lock())


# Through a file, never through the broker ----------------------------------------------------------------------------


@pytest.fixture
def overheard(lab):
    """Every command that the broker gets, until the test asks for them."""
    commands, listening = [], threading.Event()

    def listen():
        with redis.Redis(unix_socket_path=str(lab.place.socket("broker"))) as client, client.monitor() as monitor:
            listening.set()
            for heard in monitor.listen():
                if heard["command"] == "ECHO enough":
                    return
                commands.append(heard["command"])

    thread = threading.Thread(target=listen)
    thread.start()
    assert listening.wait(60)

    def enough():
        lab.client("broker").echo("enough")
        thread.join(60)
        return commands

    yield enough
    if thread.is_alive():
        enough()


def test_the_broker_carries_json_only(lab, overheard):
    run = run_until(lab, labs.Setnx, every=0.3, takes=0, until={"finished": 3})
    assert lab.send("tasks.add", 1, 2).get(timeout=30) == 3
    commands = overheard()
    assert "finished" in kinds(run)
    pushed = [line for line in commands if line.startswith("LPUSH celery ")]
    assert len(pushed) >= 3
    for line in pushed:
        message = json.loads(line.removeprefix("LPUSH celery ").encode().decode("unicode_escape"))
        assert message["content-type"] == "application/json"
        assert message["headers"]["lang"] == "py"
    assert not any("cloudpickle" in line or "Setnx" in line for line in commands)


def test_the_applications_accept_json_only():
    from course_tasks.celery import app

    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == app.conf.result_serializer == "json"
    assert app.conf.result_accept_content in (None, ["json"])


# What workers load ---------------------------------------------------------------------------------------------------


class Telltale(labs.Setnx):
    """Waits for its turn, so that every worker is busy with it, and tells which modules the process has loaded."""

    def acquire(self):
        modules = {name.partition(".")[0] for name in sys.modules} | {"course_tasks.tasks"} & set(sys.modules)
        raise LookupError(os.getppid(), *sorted(modules & TELLING))


HEAVY = {"pandas", "numpy", "matplotlib", "IPython", "ipywidgets", "tqdm"}
TELLING = HEAVY | {"course_tasks.tasks", "celery"}


def test_workers_load_neither_pandas_nor_matplotlib_nor_ipython(lab):
    run = run_until(lab, Telltale, every=0.1, takes=0, until={"failed": 5})
    parents = {row[2] for row in lab.processes.rows if row[0] in lab.workers}
    told = {detail["error"] for detail in run.events[run.events["kind"] == "failed"]["detail"]}
    assert told <= {f"LookupError({parent}, 'celery', 'course_tasks.tasks')" for parent in parents}
    assert told


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows what a process maps")
def test_no_process_of_the_lab_maps_what_draws(lab):
    """The worker's main process too, which runs no task: compiled parts of pandas and matplotlib would be mapped."""
    assert lab.send("tasks.add", 1, 1).get(timeout=60) == 2
    lab.await_workers()
    processes = psutil.Process(lab.warden_pid).children(recursive=True)
    assert len(processes) >= 10
    for process in (*processes, psutil.Process(lab.warden_pid)):
        mapped = {part for row in process.memory_maps() for part in row.path.split("/")}
        assert not HEAVY & mapped, process.cmdline()


# Locks that misbehave --------------------------------------------------------------------------------------------------


class Cursed:
    def __init__(self, client, name):
        """Fine so far."""

    def acquire(self):
        raise RuntimeError("out of luck")

    def release(self):
        """Never comes here."""


class Unmakeable:
    def __init__(self, client, name):
        raise ValueError("no such lock")


class NotMine:
    """A lock that finds, when it is given back, that it is not held any more."""

    def __init__(self, client, name):
        """Fine so far."""

    def acquire(self):
        return True

    def release(self):
        raise redis.exceptions.LockNotOwnedError("the lease ended")


class Wordy:
    """Waits by itself, as redis-py's lock does, and gives up at last."""

    def __init__(self, client, name):
        self.client, self.name = client, name

    def acquire(self, blocking=True):
        if blocking:
            self.client.incr("waited")
            return False
        return bool(self.client.setnx(self.name, 1))

    def release(self):
        self.client.delete(self.name)


def test_a_lock_that_raises_is_told_of_in_the_notes(lab):
    run = run_until(lab, Cursed, every=0.3, takes=0, until={"failed": 2})
    (note,) = run.notes
    assert "raised RuntimeError('out of luck')" in note
    assert "lab.logs" in note
    assert note in repr(run)
    assert "out of luck" in run._repr_html_()
    assert "entered" not in kinds(run)
    assert any("out of luck" in lab.logs(worker) for worker in lab.workers)


def test_a_lock_that_cannot_be_made_is_told_of_in_the_notes(lab):
    run = run_until(lab, Unmakeable, every=0.3, takes=0, until={"failed": 1})
    assert any("ValueError('no such lock')" in note for note in run.notes)


def test_a_lock_that_was_lost_is_recorded_as_lost(lab):
    run = run_until(lab, NotMine, every=60, takes=0, until={"failed": 1})
    (task,) = run.events["task"].dropna().unique()
    story = list(run.events[run.events["task"] == task]["kind"])
    assert story[story.index("entered") :] == ["entered", "read", "left", "lost", "failed"]
    (lost,) = run.events[run.events["kind"] == "lost"]["detail"]
    assert lost["error"] == "the lease ended"
    assert any("LockNotOwnedError" in note for note in run.notes)
    assert len(run.inbox) == 1  # the mail is out: that is the trouble


def test_a_lock_that_waits_by_itself_and_gives_up_is_skipped(lab):
    run = run_until(lab, Wordy, every=0.2, takes=30, if_locked="wait", until={"skipped": 1})
    stories = [list(story["kind"]) for _, story in run.events[run.events["task"].notna()].groupby("task")]
    assert ["sent", "received", "started", "waiting", "skipped"] in stories


def test_threading_lock_is_no_lock_between_processes(lab):
    """It has no signature to look at, and is made anew in every worker."""
    run = run_until(lab, lambda client, name: threading.Lock(), every=0.2, takes=1.2, until={"delivered": 2})
    assert run.notes == ()
    assert run.verdict.outcome == "invalid"


def test_the_servers_are_started_with_what_keeps_others_out(tmp_path):
    line = " ".join(command(Place(tmp_path), "lock"))
    assert "--port 0" in line
    assert "--unixsocketperm 700" in line
