"""Several lock servers: a lock on all of them, in runs in which some are killed, paused and started again."""

import os

import psutil
import pytest
from labs import GetThenSet, Recorded, Setnx, contend_until, faults_of, kinds, pid_of, run_until, wait_for
from majority import Majority

from course_tasks import Lab, experiment, kill, pause, place, restart
from course_tasks.experiment import Clients, Experiment
from course_tasks.lab import LabError
from course_tasks.locks import FencedLock, LeaseLock, RenewingLock

FIVE = ("lock1", "lock2", "lock3", "lock4", "lock5")


@pytest.fixture(scope="module")
def lab(module_tmp):
    """A lab of three workers and five lock servers."""
    with Lab(workers=3, lock_servers=5) as lab:
        yield lab


def granted(run):
    """Who granted each lock that was given in ``run``."""
    return [detail["granted"] for detail in run.events.loc[run.events["kind"] == "acquired", "detail"]]


def began(run):
    """The detail of the event with which ``run`` began."""
    return run.events.loc[run.events["kind"] == "began", "detail"].iloc[0]


def latecomers(run, kind):
    """The tasks of ``run`` that began when all its faults had come, and had an event of this ``kind``."""
    last = run.events.index[run.events["kind"] == "fault began"][-1]
    late = set(run.events.loc[last:].query("kind == 'started'")["task"])
    return late & set(run.events.query("kind == @kind")["task"])


def newcomers(lab, faults, kind="fault ended"):
    """The events so far of those tasks of the present run that began when so many ``faults`` were over (or had begun)."""
    events = Recorded(lab.place.path, lab._runs)
    places = [place for place, event in enumerate(events) if event["kind"] == kind]
    since = events[places[faults - 1] :] if len(places) >= faults else []
    late = {event["task"] for event in since if event["kind"] == "started"}
    return [event for event in since if event.get("task") in late]


def turns(lab, faults):
    """How many of those tasks got in or went away."""
    return sum(event["kind"] in ("skipped", "entered") for event in newcomers(lab, faults))


def gave_back(lab, faults):
    """How many of those tasks have had the lock, and released it."""
    return sum(event["kind"] == "released" for event in newcomers(lab, faults))


def majority(fault, **moment):
    """The ``fault`` for each server of a majority."""
    return [fault(server, **moment) for server in ("lock1", "lock3", "lock5")]


def clean(lab):
    """The next run of ``lab`` finds everything whole, and nothing held."""
    run = run_until(lab, Majority, every=60, takes=0, until={"released": 1})
    assert granted(run) == [list(lab.lock_servers)]
    assert run.notes == ()


# Five of them --------------------------------------------------------------------------------------------------------


def test_their_names_and_their_clients_are_in_the_same_order(lab):
    assert lab.lock_servers == FIVE
    paths = [client.connection_pool.connection_kwargs["path"] for client in lab.clients]
    assert paths == [str(lab.place.socket(name)) for name in FIVE]
    assert [row[0] for row in lab.processes.rows][:8] == ["broker", "history", *FIVE, "mail"]
    with pytest.raises(ValueError, match="no server is called 'lock'; the lab has broker, history, lock1, lock2"):
        lab.client()


def test_they_share_nothing(lab):
    for number, client in enumerate(lab.clients):
        client.set("mine", number)
    assert [int(client.get("mine")) for client in lab.clients] == [0, 1, 2, 3, 4]
    assert len({client.info("server")["process_id"] for client in lab.clients}) == 5


def test_a_lock_is_made_with_all_clients_and_the_history_says_who_granted_it(lab):
    run = run_until(lab, Majority, every=60, takes=0, until={"released": 1})
    assert granted(run) == [list(FIVE)]
    assert began(run)["servers"] == list(FIVE)
    assert began(run)["lanes"] == ["beat", *lab.workers, *FIVE, "inbox"]
    assert run.verdict.outcome != "invalid"
    assert run.notes == ()


def test_contenders_are_given_the_list_too(lab):
    run = contend_until(lab, Majority, contenders=3, until={"released": 5})
    assert all(len(names) >= 3 and set(names) <= set(FIVE) for names in granted(run))
    assert began(run)["lanes"] == ["contender1", "contender2", "contender3", *FIVE]
    assert run.verdict.outcome == "valid"


class Boasting(Majority):
    """Says of itself what can't be."""

    def acquire(self):
        given = super().acquire()
        self.granted = (7, "lock1")
        return given


def test_a_lock_that_names_no_servers_is_not_quoted(lab):
    run = run_until(lab, Boasting, every=0.2, takes=0, until={"finished": 1})
    assert set(run.events.loc[run.events["kind"] == "acquired", "detail"]) == {None}
    assert run.notes == ()


def test_a_lock_for_one_server_is_told_what_it_was_given(lab):
    run = run_until(lab, Setnx, every=0.2, takes=0, until={"failed": 1})
    (note,) = run.notes
    assert (
        "AttributeError('setnx: this lab has 5 lock servers, so a lock is made with the list of their clients" in note
    )


@pytest.mark.parametrize("lock", [LeaseLock, FencedLock, RenewingLock])
def test_so_is_the_courses_own_lock_for_one_server(lab, lock):
    run = run_until(lab, lock, every=0.2, takes=0, until={"failed": 1})
    (note,) = run.notes
    assert "raised TypeError('a lock on one server takes one client, and this is a list of 5: pass one of them" in note
    assert "For a lock on all of them there is Redlock" in note


def test_clients_are_a_list_in_every_other_way():
    clients = Clients("abc")
    assert (clients, len(clients), clients[1], list(reversed(clients))) == (["a", "b", "c"], 3, "b", ["c", "b", "a"])
    assert not hasattr(clients, "set")


def test_a_list_of_one_does_not_speak_of_several():
    with pytest.raises(AttributeError, match=r"^get: this is a list of one client: take the client that is in it"):
        Clients("a").get("mine")


@pytest.fixture
def paths(monkeypatch):
    """Returns the sockets to which the clients of a process ``name`` (None: a terminal's) connect in an experiment."""
    monkeypatch.setenv(place.VARIABLE, "/lab")

    def paths(name, **plan):
        monkeypatch.delenv(place.PROCESS, raising=False)
        if name:
            monkeypatch.setenv(place.PROCESS, name)
        clients = experiment.clients(Experiment(**plan), os.getpid())
        return [client.connection_pool.connection_kwargs["path"] for client in clients]

    yield paths
    experiment.client.cache_clear()


def test_a_process_goes_straight_to_the_servers_or_by_links_of_its_own(paths):
    assert paths("worker1", lock_servers=FIVE) == [f"/lab/{name}.sock" for name in FIVE]
    assert paths("worker1", lock_servers=FIVE, links=True) == [f"/lab/worker1-{name}.sock" for name in FIVE]
    assert paths(None, lock_servers=FIVE, links=True) == [f"/lab/{name}.sock" for name in FIVE]
    assert paths("contender2", links=True) == ["/lab/contender2-lock.sock"]


def test_one_server_is_asked_again_and_several_are_not(paths):
    """A lock on several must hear at once that one is not there; with one, what redis-py does is a lesson's subject."""
    paths("worker1", lock_servers=FIVE)
    several = experiment.lock_clients(Experiment(lock_servers=FIVE), os.getpid())
    assert {client.get_retry() for client in several} == {None}
    assert experiment.lock_clients(Experiment(), os.getpid()).get_retry().get_retries() == 10


def test_breakpoints_are_on_all_clients_and_strike_once(lab):
    """Killed after the first SET of five: its key is on one server, for longer than this run."""
    run = run_until(lab, Majority, every=0.2, takes=0, faults=kill(after="SET"), until={"released": 2})
    (_, lane, _), _ = faults_of(run)
    assert "acquired" not in kinds(run, lane)
    assert ["lock2", "lock3", "lock4", "lock5"] in granted(run)
    assert not any("lock1" in names for names in granted(run))
    clean(lab)


# Killed --------------------------------------------------------------------------------------------------------------


def test_a_minority_dies_and_nobody_notices(lab):
    faults = [kill("lock2", when="began"), kill("lock4", when="acquired")]
    run = run_until(lab, Majority, every=0.2, takes=0.1, faults=faults, until=lambda: gave_back(lab, 2) >= 2)
    assert faults_of(run) == [
        (kind, server, "kill") for server in ("lock2", "lock4") for kind in ("fault began", "fault ended")
    ]
    assert granted(run)[-1] == ["lock1", "lock3", "lock5"]
    assert run.verdict.outcome != "invalid"
    assert run.notes == ()
    clean(lab)


def test_a_majority_dies_and_nobody_enters(lab):
    run = run_until(
        lab, Majority, every=0.2, takes=0, faults=majority(kill, when="began"), until=lambda: turns(lab, 3) >= 3
    )
    assert len(latecomers(run, "skipped")) >= 3
    assert latecomers(run, "entered") == set()
    assert {lab.alive(server) for server in FIVE} == {True}  # the run is over
    clean(lab)


def test_the_only_lock_server_is_killed(module_tmp):
    """The clients ask again for three seconds, as redis-py does, and then the tasks fail."""
    with Lab(workers=2, beside=True) as lab:
        run = run_until(lab, Setnx, every=0.5, takes=0, faults=kill("lock", when="began"), until={"failed": 1})
        assert began(run)["servers"] == ["lock"]
        assert faults_of(run) == [("fault began", "lock", "kill"), ("fault ended", "lock", "kill")]
        assert any("raised ConnectionError" in note and "lab.logs shows where" in note for note in run.notes)
        assert "entered" not in kinds(run)
        run = run_until(lab, Setnx, every=0.2, takes=0, until={"released": 2})
        assert run.notes == ()
        assert "servers" not in began(run)
        assert "lock" not in began(run)["lanes"]


# Started again -------------------------------------------------------------------------------------------------------


def restarted(lab):
    """A run in which a majority is started again while somebody is inside, for long; three more tasks want to enter then."""
    faults = majority(restart, when="entered")
    return run_until(lab, Majority, every=0.2, takes=60, faults=faults, until=lambda: turns(lab, 3) >= 3)


def test_a_majority_that_forgets_lets_a_second_one_in(lab):
    run = restarted(lab)
    assert run.verdict.outcome == "invalid"
    assert granted(run)[1] == ["lock1", "lock3", "lock5"]
    details = run.events.loc[run.events["kind"] == "fault ended", "detail"]
    assert list(details) == [{"fault": "restart", "memory": False}] * 3
    clean(lab)


def test_a_majority_that_remembers_keeps_all_others_out(module_tmp):
    with Lab(workers=3, lock_servers=5, durable=True, beside=True) as lab:
        run = restarted(lab)
        assert kinds(run).count("entered") == 1
        assert len(latecomers(run, "skipped")) >= 3
        details = run.events.loc[run.events["kind"] == "fault ended", "detail"]
        assert list(details) == [{"fault": "restart", "memory": True}] * 3
        clean(lab)  # what it remembers is not the next run's


def test_down_for_a_while(lab):
    """Who asks meanwhile finds nobody there, and afterwards the same server."""
    fault = restart("lock2", 1, when="began")
    run = run_until(lab, Majority, every=0.2, takes=0, faults=fault, until=lambda: turns(lab, 1) >= 3)
    (begin, _, _), (end, _, _) = faults_of(run)
    assert (begin, end) == ("fault began", "fault ended")
    (down, up) = run.events.loc[run.events["lane"] == "lock2", "t"]
    assert up - down >= 1
    assert ["lock1", "lock3", "lock4", "lock5"] in granted(run)
    assert list(FIVE) in granted(run)


def test_down_until_the_run_is_over(lab):
    run = run_until(lab, Majority, every=0.2, takes=0, faults=restart("lock2", 60, when="began"), until={"released": 2})
    assert faults_of(run) == [("fault began", "lock2", "restart")]
    assert run.notes == ()
    clean(lab)


# Paused --------------------------------------------------------------------------------------------------------------


def test_a_paused_server_answers_when_it_goes_on(lab, monkeypatch):
    states, send = [], lab.send_signal

    def look(names, number):
        send(names, number)
        if names == ["lock1"]:
            pid = pid_of(lab, "lock1")
            states.append(psutil.Process(pid).status())

    monkeypatch.setattr(lab, "send_signal", look)
    fault = pause(1, "lock1", when="began")
    run = run_until(lab, Majority, every=0.2, takes=0, faults=fault, until=lambda: turns(lab, 1) >= 2)
    assert states[0] == psutil.STATUS_STOPPED
    assert states[1] != psutil.STATUS_STOPPED
    assert faults_of(run) == [("fault began", "lock1", "pause"), ("fault ended", "lock1", "pause")]
    # The lock asks one after the other, lock1 first: who began meanwhile waited for it, and got in or went away afterwards.
    (begin, end) = run.events.index[run.events["lane"] == "lock1"]
    began_meanwhile = set(run.events.loc[begin:end].query("kind == 'started'")["task"])
    decided = run.events[run.events["kind"].isin(["acquired", "skipped"]) & run.events["task"].isin(began_meanwhile)]
    assert not decided.empty
    assert decided.index.min() > end
    clean(lab)


def test_a_server_that_is_paused_to_the_end_lets_nobody_in_as_the_run_ends(lab):
    """It goes on only when those who have asked it are gone: a bit earlier, and they would all be seen to enter."""
    faults = [pause(60, server, when="began") for server in FIVE]
    run = run_until(lab, Majority, every=0.2, takes=0, faults=faults, until=lambda: newcomers(lab, 5, "fault began"))
    assert faults_of(run)[5:] == [("fault ended", server, "pause") for server in FIVE]
    assert latecomers(run, "started") != set()
    assert latecomers(run, "entered") == set()
    clean(lab)


# What can't be --------------------------------------------------------------------------------------------------------


def test_the_dead_are_not_started_again_in_the_same_run(lab):
    faults = [kill("lock2", when="began"), restart("lock2", when="acquired"), pause(1, "lock4", when="lost")]
    run = run_until(lab, Majority, every=0.2, takes=0, faults=faults, until={"released": 3})
    assert run.notes == (
        "pause(1, 'lock4', when='lost') never landed: its moment did not come.",
        "restart('lock2', when='acquired') never landed: lock2 was dead by then.",
    )


def test_a_server_that_ended_by_itself_breaks_the_lab(module_tmp):
    with Lab(workers=1, lock_servers=3, beside=True) as lab:
        psutil.Process(lab.client("lock2").info("server")["process_id"]).kill()
        wait_for(lambda: lab.exit_status("lock2"))
        with pytest.raises(LabError, match="lock2 has ended with status -9: run the cell that starts the lab again"):
            lab.run(GetThenSet, seconds=1)
