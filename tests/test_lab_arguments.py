"""Bad arguments: an error that names the argument, before anything has changed."""

import math
import os
import re

import pytest
from kombu.exceptions import EncodeError
from labs import Setnx

from course_tasks import Lab, kill, pause, restart
from course_tasks.lab import LabError
from course_tasks.lab.fault import Fault

BAD_WORKERS = [0, -1, 33, "3", 3.0, None, True]

BAD_LABS = {
    "lock_servers=0": dict(lock_servers=0),
    "lock_servers=10": dict(lock_servers=10),
    "lock_servers='5'": dict(lock_servers="5"),
    "lock_servers=5.0": dict(lock_servers=5.0),
    "lock_servers=None": dict(lock_servers=None),
    "lock_servers=True": dict(lock_servers=True),
    "replicas=-1": dict(replicas=-1),
    "replicas=4": dict(replicas=4),
    "replicas=True": dict(replicas=True),
    "replicas of several": dict(replicas=1, lock_servers=3),
    "durable=1": dict(durable=1),
    "durable='yes'": dict(durable="yes"),
}

BAD_RUNS = {
    "every=0": dict(every=0),
    "every=-1": dict(every=-1),
    "every=nan": dict(every=math.nan),
    "every=inf": dict(every=math.inf),
    "every=None": dict(every=None),
    "every=10**400": dict(every=10**400),
    "takes=-1": dict(takes=-1),
    "takes=nan": dict(takes=math.nan),
    "takes='long'": dict(takes="long"),
    "seconds=0": dict(seconds=0),
    "seconds=nan": dict(seconds=math.nan),
    "seconds=inf": dict(seconds=math.inf),
    "seconds=[]": dict(seconds=[]),
    "if_locked='maybe'": dict(if_locked="maybe"),
    "if_locked=None": dict(if_locked=None),
    "task='tasks.sub'": dict(task="tasks.sub"),
    "task=None": dict(task=None),
    "mails=-1": dict(mails=-1),
    "mails=1.5": dict(mails=1.5),
    "mails='3'": dict(mails="3"),
    "mails=True": dict(mails=True),
    "lock=5": dict(lock=5),
    "lock='Setnx'": dict(lock="Setnx"),
    "lock=an instance": dict(lock=Setnx(None, "mail")),
    "faults='kill'": dict(faults="kill"),
    "faults=None": dict(faults=None),
    "faults=[kill]": dict(faults=[kill]),
    "faults=worker9": dict(faults=[kill("worker9", after=1)]),
    "faults=worker1@localhost": dict(faults=pause(1, "worker1@localhost", after=1)),
    "faults=an unknown command": dict(faults=[kill(before="EXPIRES")]),
    "faults=lock1": dict(faults=[kill("lock1", after=1)]),
    "faults=broker": dict(faults=pause(1, "broker", after=1)),
    "faults=a restart of lock2": dict(faults=[restart("lock2", after=1)]),
    "faults=a restart of a worker": dict(faults=[restart("worker1", after=1)]),
    "faults=a restart of the holder": dict(faults=[restart("holder", after=1)]),
    "faults=a server at a command": dict(faults=[kill("lock", before="SET")]),
    "fencing=1": dict(fencing=1),
    "idempotent='no'": dict(idempotent="no"),
    "soft_time_limit=0": dict(soft_time_limit=0),
    "soft_time_limit='1 s'": dict(soft_time_limit="1 s"),
}

BAD_CONTESTS = {
    "contenders=0": dict(contenders=0),
    "contenders=33": dict(contenders=33),
    "contenders=2.0": dict(contenders=2.0),
    "holds=-1": dict(holds=-1),
    "holds=None": dict(holds=None),
    "seconds=0": dict(seconds=0),
    "seconds=inf": dict(seconds=math.inf),
    "at_once=0": dict(at_once=0),
    "at_once=1.5": dict(at_once=1.5),
    "at_once=True": dict(at_once=True),
    "lock=5": dict(lock=5),
    "faults=worker1": dict(faults=[kill("worker1", after=1)]),
    "faults=contender7": dict(faults=[kill("contender7", before="SET")]),
    "faults=an unknown command": dict(faults=[kill(after="GETSETT")]),
}

BAD_FAULTS = {
    "kill()": lambda: kill(),
    "kill(when and after)": lambda: kill(when="entered", after=1),
    "kill(when=unknown)": lambda: kill(when="exited"),
    "kill(when=5)": lambda: kill(when=5),
    "kill(after=-1)": lambda: kill(after=-1),
    "kill(after=nan)": lambda: kill(after=math.nan),
    "kill(after='2')": lambda: kill(after="2"),
    "kill(after='')": lambda: kill(after=""),
    "kill(after='SET NX')": lambda: kill(after="SET NX"),
    "kill(after='entered')": lambda: kill(after="entered"),
    "kill(before=5)": lambda: kill(before=5),
    "kill(before='')": lambda: kill(before=""),
    "kill(before='Acquired')": lambda: kill(before="Acquired"),
    "kill(before and after)": lambda: kill(before="SET", after="GET"),
    "kill(before and when)": lambda: kill(before="SET", when="entered"),
    "pause(before and after)": lambda: pause(1, before="SET", after=2),
    "kill(who=5)": lambda: kill(5, after=1),
    "pause(0)": lambda: pause(0, after=1),
    "pause(-1)": lambda: pause(-1, after=1),
    "pause(nan)": lambda: pause(math.nan, after=1),
    "pause('worker1')": lambda: pause("worker1", after=1),
    "pause(None)": lambda: pause(None, after=1),
    "restart(5)": lambda: restart(5, after=1),
    "restart(None)": lambda: restart(None, after=1),
    "restart(down=-1)": lambda: restart("lock", -1, after=1),
    "restart(down=inf)": lambda: restart("lock", math.inf, after=1),
    "restart(down='long')": lambda: restart("lock", "long", after=1),
    "restart(down='1')": lambda: restart("lock", "1", after=1),
    "restart(after='1')": lambda: restart("lock", after="1"),
    "pause(True)": lambda: pause(True, after=1),
    "restart()": lambda: restart("lock"),
    "restart(when and after)": lambda: restart("lock", when="entered", after=1),
    "restart(after='GET')": lambda: restart("lock", after="GET"),
    "restart(when=unknown)": lambda: restart("lock", when="exited"),
}


@pytest.fixture(scope="module")
def untouched(lab):
    """The lab, and a function that tells what a bad argument must leave as it is."""

    def state():
        status = lab._line.call("status")
        files = {path.name for path in lab.place.path.iterdir()}
        return status, files, lab.place.experiment.read_text(), lab.client("history").keys("history:*")

    return state


def say(error):
    """What the learner reads."""
    return str(error.value)


def named(bad):
    """What the error must name: the ``bad`` argument, or the fault as it was typed."""
    ((argument, value),) = bad.items()
    fault = value[0] if isinstance(value, list) and value else value
    return str(fault) if isinstance(fault, Fault) else argument.rstrip("s")


@pytest.mark.parametrize("workers", BAD_WORKERS, ids=repr)
def test_workers(lab, untouched, workers):
    before = untouched()
    with pytest.raises((TypeError, ValueError), match=r"workers") as error:
        Lab(workers=workers)
    assert repr(workers) in say(error)
    assert untouched() == before  # in particular, the open lab is not closed


@pytest.mark.parametrize("name", BAD_LABS)
def test_lab(lab, untouched, name):
    before = untouched()
    with pytest.raises((TypeError, ValueError)) as error:
        Lab(**BAD_LABS[name])
    assert next(iter(BAD_LABS[name])) in say(error)
    assert untouched() == before


@pytest.mark.parametrize("name", BAD_RUNS)
def test_run(lab, untouched, name):
    before = untouched()
    with pytest.raises((TypeError, ValueError)) as error:
        lab.run(**{"seconds": 1, **BAD_RUNS[name]})
    assert named(BAD_RUNS[name]) in say(error)
    assert untouched() == before


@pytest.mark.parametrize("name", BAD_CONTESTS)
def test_contend(lab, untouched, name):
    before = untouched()
    with pytest.raises((TypeError, ValueError)) as error:
        lab.contend(**{"lock": Setnx, "seconds": 1, **BAD_CONTESTS[name]})
    assert named(BAD_CONTESTS[name]) in say(error)
    assert untouched() == before


@pytest.mark.parametrize("name", BAD_FAULTS)
def test_faults(name):
    with pytest.raises((TypeError, ValueError)) as error:
        BAD_FAULTS[name]()
    assert not isinstance(error.value, TypeError) or "not supported between" not in say(error)


def test_a_mistaken_name_is_answered_with_what_was_meant():
    with pytest.raises(ValueError, match=r"'acquired' is an event, not a command: say when=\"acquired\""):
        kill(before="acquired")
    with pytest.raises(ValueError, match="when='EXPIRE' is no event of the history"):
        kill(when="EXPIRE")
    with pytest.raises(ValueError, match=r'^say one of when= \(an event such as "entered"\) and after= \(seconds'):
        restart("lock")


NOBODY = {
    "no worker or lock server is called 'lock7'; there are worker1, worker2, worker3, lock": kill("lock7", after=1),
    "restart('worker1', 2, after=1): no lock server is called 'worker1'; there are lock": restart(
        "worker1", 2, after=1
    ),
    "it is the client that stops itself, and lock is a server: say when=": pause(1, "lock", after="SET"),
    "faults are made by kill(…), pause(…), restart(…) and so on, not <function kill": kill,
}


@pytest.mark.parametrize("words", NOBODY)
def test_who_can_be_hit_is_said(lab, words):
    with pytest.raises((TypeError, ValueError), match=re.escape(words)):
        lab.run(faults=NOBODY[words])


@pytest.mark.parametrize(
    "bad",
    [
        dict(times=0),
        dict(times=-3),
        dict(times=1.5),
        dict(times=True),
        dict(times="10"),
        dict(task="tasks.sub"),
        dict(takes=-1),
        dict(seconds=0),
        dict(faults=[kill("worker9", after=1)]),
    ],
    ids=repr,
)
def test_invoke(lab, untouched, bad):
    before = untouched()
    with pytest.raises((TypeError, ValueError)) as error:
        lab.invoke(**bad)
    assert named(bad) in say(error)
    assert untouched() == before


@pytest.mark.parametrize(
    "bad", [("tasks.sub", 1, 2), (None,), ("tasks.add", object(), 1)], ids=["name", "None", "no JSON"]
)
def test_send(lab, untouched, bad):
    with pytest.raises((ValueError, EncodeError), match="no task is called|not JSON"):
        lab.send(*bad)
    assert lab.send("tasks.add", 1, 2).get(timeout=30) == 3
    pids = [row[2] for row in lab.processes.rows if row[0] != "beat"]
    lab.run(task="tasks.add", every=60, takes=0, seconds=0.5)  # nothing is thought to be under way for ever
    assert [row[2] for row in lab.processes.rows if row[0] != "beat"] == pids


def test_the_next_run_counts_as_if_nothing_had_been_asked(lab):
    first = lab.run(task="tasks.add", takes=0, seconds=0.2)
    with pytest.raises(ValueError, match="times"):
        lab.invoke(times=0)
    with pytest.raises(ValueError, match="every"):
        lab.run(every=0)
    assert lab.run(task="tasks.add", takes=0, seconds=0.2).number == first.number + 1


def test_a_bad_server_leaves_the_open_lab_alone(lab, untouched, monkeypatch):
    before = untouched()
    monkeypatch.setenv("LAB_REDIS_SERVER", "/no/such/server")
    with pytest.raises(LabError, match="LAB_REDIS_SERVER is /no/such/server"):
        Lab(workers=1)
    monkeypatch.delenv("LAB_REDIS_SERVER")
    assert untouched() == before


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_fork_cannot_use_the_lab(lab):
    """Two processes that ask at once would read each other's replies."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answer = b"nothing"
        try:
            lab.run(seconds=1)
        except LabError as error:
            answer = str(error).encode()
        finally:
            os.write(writing, answer)
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as answer:
        assert answer.read().startswith(b"This lab belongs to the process that started it")
    assert lab.send("tasks.add", 1, 2).get(timeout=30) == 3


@pytest.mark.parametrize("operation", [lambda lab: lab.end("worker1"), lambda lab: lab.send_signal("worker1", 19)])
def test_a_single_name_is_not_taken_for_a_list_of_letters(lab, operation):
    with pytest.raises(TypeError, match=r"such as \['worker1'\]"):
        operation(lab)
