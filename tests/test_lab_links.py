"""Links in a lab: by hand and as faults of a run; who is cut off, from whom, for how long, and what is left afterwards."""

import contextlib
import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest
import redis
from labs import Recorded, contend_until, faults_of, kinds_so_far, pid_of, run_until, wait_for
from test_lab_interrupt import interrupted, works

from course_tasks import Lab, cut, pause, restart, slow
from course_tasks.lab import LabError
from course_tasks.lab.links import Links
from course_tasks.locks import Redlock
from course_tasks.place import Place

THREE = ["lock1", "lock2", "lock3"]


@pytest.fixture(scope="module")
def lab(module_tmp):
    """A lab of two workers and three lock servers."""
    with Lab(workers=2, lock_servers=3) as lab:
        yield lab


@pytest.fixture
def links(lab):
    """The links of the lab, whole; its servers are empty."""
    lab.links.clear()
    lab.servers.clear()
    return lab.links


def hasty(lab, who, server):
    """A client on the link between ``who`` and ``server``, which soon gives up."""
    return redis.Redis(unix_socket_path=str(lab.place.link(who, server)), socket_timeout=0.3, retry=None)


def reached(lab, who):
    """The servers that answer ``who``."""
    found = []
    for server in lab.lock_servers:
        with hasty(lab, who, server) as client, contextlib.suppress(redis.TimeoutError):
            found.append(client.ping() and server)
    return found


def taken_by(run):
    """Who got the lock in ``run``, in order."""
    return list(run.events.loc[run.events["kind"] == "acquired", "lane"])


def so_far(lab, lane, kind):
    """How often ``kind`` of event has come on ``lane`` in the run that is on."""
    return sum((event["lane"], event["kind"]) == (lane, kind) for event in Recorded(lab.place.path, lab._runs))


# By hand -------------------------------------------------------------------------------------------------------------


def test_one_is_cut_off_from_two_of_three_and_the_other_is_not(lab, links):
    """An asymmetric partition."""
    one, two = links.clients("worker1"), links.clients("worker2")
    assert all(client.ping() for client in (*one, *two))
    links.cut("worker1", ["lock2", "lock3"])
    assert reached(lab, "worker1") == ["lock1"]
    assert reached(lab, "worker2") == THREE
    assert repr(links) == "worker1 to lock2, lock3: cut"
    assert all(client.ping() for client in lab.clients)  # straight on
    links.heal()
    assert reached(lab, "worker1") == THREE
    assert repr(links) == "all links are whole"


def test_what_was_held_back_arrives_when_it_heals(lab, links):
    (client, *_), (other, *_), direct = links.clients("worker1"), links.clients("worker2"), lab.clients[0]
    client.set("before", 1)
    assert direct.get("before") == b"1"  # the control: a whole link
    links.cut("worker1", "lock1")
    setting = threading.Thread(target=client.set, args=["late", 1])
    setting.start()
    for _ in range(20):
        other.ping()
    assert direct.get("late") is None
    links.heal()
    setting.join()
    assert direct.get("late") == b"1"


def test_the_late_sets_of_a_lock_are_followed_by_their_releases(lab, links):
    for client in lab.clients:
        client.config_resetstat()
    lock = Redlock(links.clients("worker1"), "mail", timeout=60)
    assert lock.acquire(blocking=False)  # the control: whole links
    lock.release()
    links.cut("worker1", None)
    assert lock.acquire(blocking=False) is False
    assert _sets(lab) == 3
    links.heal()
    # To one that has not yet answered to the release, it sends nothing; more than a majority it does not wait for.
    wait_for(lambda: _sets(lab) >= 5, "for the late SETs")
    for client in lab.clients:
        wait_for(lambda client=client: not client.exists("mail"), "for the releases")


def _sets(lab):
    return sum(client.info("commandstats")["cmdstat_set"]["calls"] for client in lab.clients)


def test_slow_by_hand(lab, links):
    client, other = links.clients()[1], links.clients()[0]
    client.ping(), other.ping()
    links.slow(50, "notebook", "lock2")
    assert repr(links) == "notebook to lock2: 50 ms late each way"
    begin = time.monotonic()
    client.ping()
    assert time.monotonic() - begin >= 0.1
    assert min(_seconds(other) for _ in range(10)) < 0.1
    links.slow(0)
    assert repr(links) == "all links are whole"
    assert min(_seconds(client) for _ in range(10)) < 0.1


def _seconds(client):
    begin = time.monotonic()
    client.ping()
    return time.monotonic() - begin


def test_a_run_begins_with_whole_links_and_its_links_are_in_the_table(lab, links):
    links.cut(["worker1", "worker2"], None)
    run = run_until(lab, Redlock, every=0.2, takes=0, faults=slow(1, after=0), until={"released": 1})
    assert [lane for _, lane, _ in faults_of(run)] == ["worker1", "worker2"] * 2
    assert repr(links) == "all links are whole"
    assert reached(lab, "worker1") == THREE
    assert [row[0] for row in lab.processes.rows][-3:] == ["links", "worker1", "worker2"]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (
            lambda links: links.cut("worker9", "lock1"),
            "no process is called 'worker9'; there are notebook, worker1, worker2",
        ),
        (
            lambda links: links.cut("worker1", "lock9"),
            "no lock server is called 'lock9'; there are lock1, lock2, lock3",
        ),
        (lambda links: links.cut("worker1", []), "say the name of at least one lock server"),
        (lambda links: links.cut("worker1", 4), "say the name of one lock server or a list of names, not 4"),
        (
            lambda links: links.clients(["worker1"]),
            "say the name of one process, such as \"notebook\", not ['worker1']",
        ),
        (lambda links: links.slow(-1), "milliseconds must be a number of milliseconds, 0 or more, not -1"),
        (lambda links: links.slow("quick"), "milliseconds is a number of milliseconds, not 'quick'"),
        (lambda links: links.clients("lock1"), "no process is called 'lock1'; there are notebook, worker1, worker2"),
    ],
)
def test_what_cannot_be_done_is_said(links, call, error):
    with pytest.raises((ValueError, TypeError)) as raised:
        call(links)
    assert str(raised.value) == error


# In a run ------------------------------------------------------------------------------------------------------------


def test_a_contender_that_is_cut_off_from_a_majority_gets_in_when_it_heals(lab):
    fault = cut("contender1", ["lock2", "lock3"], 1, after=0)
    run = contend_until(
        lab, Redlock, contenders=2, holds=0.01, faults=fault, until=lambda: so_far(lab, "contender1", "released")
    )
    assert faults_of(run) == [("fault began", "contender1", "cut"), ("fault ended", "contender1", "cut")]
    begin, end = run.events.index[run.events["kind"].str.startswith("fault")]
    # It is in force before anybody begins, and told a moment after: on a busy machine, after they have tried.
    during, after = run.events.loc[:end], run.events.loc[end:]
    assert set(during.loc[during["kind"] == "acquired", "lane"]) == {"contender2"}
    assert "contender1" in set(during.loc[during["kind"] == "waiting", "lane"])  # it did try
    assert "contender1" in set(after.loc[after["kind"] == "acquired", "lane"])
    for place in (begin, end):
        assert run.events.loc[place, "detail"] == {"fault": "cut", "servers": ["lock2", "lock3"]}
    assert run.verdict.outcome == "valid"
    assert repr(lab.links) == "all links are whole"


def test_a_minority_that_cannot_be_reached_costs_nobody_the_lock(lab):
    """The control of the one above: the same contender, cut off from one server less."""
    run = contend_until(
        lab,
        Redlock,
        contenders=2,
        holds=0.01,
        faults=cut("contender1", "lock3", after=0),
        until=lambda: so_far(lab, "contender1", "released"),
    )
    mine = run.events[(run.events["kind"] == "acquired") & (run.events["lane"] == "contender1")]
    assert mine.iloc[0]["detail"]["granted"] == ["lock1", "lock2"]


def test_a_worker_that_is_cut_off_skips_and_the_others_go_on(lab):
    run = run_until(
        lab,
        Redlock,
        every=0.2,
        takes=0.05,
        faults=cut("worker1", ["lock1", "lock2"], after=0),
        until=lambda: so_far(lab, "worker1", "skipped") and so_far(lab, "worker2", "released"),
    )
    assert set(taken_by(run)) == {"worker2"}
    assert faults_of(run) == [("fault began", "worker1", "cut"), ("fault ended", "worker1", "cut")]  # with the run


def test_the_holder_is_cut_off(lab):
    run = run_until(
        lab, Redlock, every=0.2, takes=0.5, faults=cut("holder", None, 0.3, when="entered"), until={"fault ended": 1}
    )
    (began, *_) = run.events[run.events["kind"] == "fault began"].itertuples()
    assert began.lane == run.events[run.events["kind"] == "entered"].iloc[0]["lane"]
    assert began.detail["servers"] == THREE


class Reaching:
    """Tells the first server who was there, and has no patience with it."""

    def __init__(self, clients, name):
        self.client, self.name = clients[0], name

    def acquire(self):
        import os

        self.client.rpush("there", os.environ["COURSE_TASKS_PROCESS"])
        return True

    def release(self):
        """Nothing to do."""


def test_what_is_held_back_at_the_end_of_a_run_is_never_delivered(lab, monkeypatch):
    there, clear = [], lab.servers.clear

    def look():  # before the servers are emptied, and after
        for _ in range(2):
            there.append(set(lab.clients[0].lrange("there", 0, -1)))
            clear()

    monkeypatch.setattr(lab.servers, "clear", look)
    faults = cut("contender1", "lock1", after=0)
    run = contend_until(lab, Reaching, contenders=2, holds=0, faults=faults, until={"acquired": 20})
    assert set(taken_by(run)) == {"contender2"}
    assert there == [{b"contender2"}, set()]


def test_slow_links_are_slow_from_the_first_command_on(lab):
    run = contend_until(lab, Reaching, contenders=2, holds=0, faults=slow(50, after=0), until={"acquired": 4})
    assert run.events.loc[run.events["kind"] == "acquired", "t"].min() >= 0.1
    began, ended = (run.events[run.events["kind"] == f"fault {what}"] for what in ("began", "ended"))
    assert list(began["lane"]) == list(ended["lane"]) == ["contender1", "contender2"]
    assert all(detail == {"fault": "slow", "servers": THREE, "milliseconds": 50.0} for detail in began["detail"])
    assert all(detail == {"fault": "slow", "servers": THREE} for detail in ended["detail"])


def test_breakpoints_and_restarts_work_through_links(lab):
    faults = [slow(1, after=0), pause(0.3, "contender1", after="SET"), restart("lock1", after=0.5)]
    run = contend_until(
        lab,
        Redlock,
        contenders=2,
        holds=0.01,
        faults=faults,
        until=lambda: any(
            event["kind"] == "acquired" and "lock1" in event["detail"]["granted"] for event in _after_restart(lab)
        ),
    )
    assert not [note for note in run.notes if "never landed" in note]
    told = run.events[(run.events["kind"] == "fault began") & (run.events["lane"] == "contender1")]
    commands = [detail.get("command") for detail in told["detail"]]
    assert sorted(commands, key=str) == [None, "after SET"]  # whichever was told first


def _after_restart(lab):
    events = Recorded(lab.place.path, lab._runs)
    ends = [place for place, event in enumerate(events) if (event["kind"], event["lane"]) == ("fault ended", "lock1")]
    return events[ends[0] :] if ends else []


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (
            lambda: cut("worker9", "lock1", after=1),
            "cut('worker9', 'lock1', after=1): no worker is called 'worker9'; there are",
        ),
        (
            lambda: cut("worker1", "lock9", 2, after=1),
            "cut('worker1', 'lock9', 2, after=1): no lock server is called 'lock9'",
        ),
        (
            lambda: cut("lock1", ["lock1", "lock2"], after=1),
            "cut('lock1', ['lock1', 'lock2'], after=1): no worker is called",
        ),
        (lambda: slow(5, "worker9", after=0), "slow(5, 'worker9', after=0): no worker is called 'worker9'"),
        (lambda: slow(5), 'say one of when= (an event such as "entered") and after= (seconds into the run)'),
        (lambda: slow(-5, after=0), "milliseconds must be a number of milliseconds, 0 or more, not -5"),
        (lambda: cut("worker1", "lock1", 0, after=1), "seconds must be a number of seconds above 0, not 0"),
        (lambda: cut("worker1", [], after=1), "say the name of at least one lock server"),
        (lambda: cut(3, "lock1", after=1), "whom it hits is a name"),
        (lambda: cut("worker1", 3, after=1), "say the name of one lock server or a list of names, not 3"),
        (lambda: cut("worker1", "lock1", after="SET"), "after is a number of seconds, not 'SET'"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(lab, make, error):
    runs = lab._runs
    with pytest.raises((ValueError, TypeError)) as raised:
        lab.run(Redlock, faults=make())
    assert error in str(raised.value)
    assert not (lab.place.run(runs + 1)).exists()


# Who cuts what, without a lab ----------------------------------------------------------------------------------------


class Told(list):
    """Stands for the process that carries the links: writes down what it is asked."""

    started = True

    def start(self):
        """Nothing to do."""

    def ask(self, op, keys=(), **_):
        self.append((op, sorted("-".join(key) for key in keys)))


def test_a_link_is_cut_until_the_last_of_several_faults_lets_it_go(lab):
    links = Links(lab)
    links._carrier = told = Told()
    links.begin_cut("first", "worker1", ["lock1", "lock2"])
    links.begin_cut("second", "worker1", ["lock2", "lock3"])
    links.begin_cut("second", "worker1", ["lock2", "lock3"])
    told.clear()
    links.end_cut("first")
    assert told.pop() == ("heal", ["worker1-lock1"])
    links.end_cut("second")
    assert told.pop() == ("heal", ["worker1-lock2", "worker1-lock3"])


class Interrupted(Told):
    """An interrupt comes as it is asked."""

    def ask(self, op, keys=(), **_):
        super().ask(op, keys)
        raise KeyboardInterrupt


def test_a_replicas_link_that_an_interrupt_prevented_is_none():
    """Else the next run would have it healed, and hear that there is no such link."""
    links = Links(SimpleNamespace(lock_servers=("lock",), replicas=("replica1",), place=Place("/nowhere")))
    links._carrier = told = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        links.port("replica1", "/nowhere/lock-itself.sock")
    links.clear()
    assert told == [("carry", [])]


# What may go wrong ---------------------------------------------------------------------------------------------------


def test_the_process_that_carries_the_links_is_killed(private_tmp):
    with Lab(workers=1, lock_servers=2) as lab:
        (client, _) = lab.links.clients("worker1")
        assert client.ping()
        os.kill(pid_of(lab, "links"), signal.SIGKILL)
        ended = "links has ended with status -9: run the cell that starts the lab again"
        with pytest.raises(LabError, match=ended):
            lab.links.cut("worker1", "lock1")
        with pytest.raises(redis.ConnectionError):
            client.ping()
        with pytest.raises(LabError, match=ended):
            lab.run(Redlock)


def test_the_kernel_dies_in_a_run_with_a_cut_link(kernel, hunt):
    place = kernel.cell("from course_tasks import cut; lab = Lab(workers=1); _ = str(lab.place.path)")
    kernel.start('lab.run(every=0.2, takes=60, seconds=60, faults=cut("worker1", "lock", after=0))')
    wait_for(lambda: kinds_so_far(place, 1)["fault began"], "for the cut")
    assert any("course_tasks.lab.relay" in " ".join(process.cmdline()) for process in hunt.family(kernel.pid))
    kernel.kill()
    hunt.nothing_left()


def test_an_interrupt_in_a_run_with_a_cut_link(kernel, hunt):
    place = kernel.cell("from course_tasks import cut; lab = Lab(workers=2); _ = str(lab.place.path)")
    kernel.start('lab.run(every=0.2, takes=60, seconds=60, faults=cut("worker1", "lock", after=0))')
    wait_for(lambda: {"fault began": 1, "entered": 2}.items() <= kinds_so_far(place, 1).items(), "for the cut")
    interrupted(kernel)
    assert kernel.cell("_ = repr(lab.links)") == "all links are whole"
    works(kernel, hunt)
