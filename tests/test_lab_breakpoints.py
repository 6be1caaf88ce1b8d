"""Breakpoints in a lab: a process stops itself exactly there, the history says so, and nothing is left standing."""

import signal
import threading

import psutil
import pytest
from labs import (
    SETNX,
    CellError,
    GetThenSet,
    Recorded,
    Setnx,
    SetnxThenExpire,
    faults_of,
    kinds,
    kinds_so_far,
    run_until,
    tree,
    wait_for,
)

from course_tasks import halts, kill, pause
from course_tasks.history.recording import Recorder
from course_tasks.lab.production import Production
from course_tasks.locks import LeaseLock
from course_tasks.place import PROCESS, Place

REPEATS = 5  # exact, every time


class Beyond(Setnx):
    """Does something at once after its command, over another connection, in a thread other than the main one."""

    def acquire(self):
        import os

        from course_tasks.experiment import client

        other = client("lock", os.getpid())
        other.ping()
        thread = threading.Thread(target=lambda: (self.client.setnx(self.name, 1), other.set("beyond", 1)))
        thread.start()
        thread.join()
        return True


@pytest.fixture
def held(lab, monkeypatch):
    """What is on the lock server at the end of each run: a list of dictionaries, key -> TTL in seconds, -1 for none."""
    seen, settle = [], lab.settle

    def look(everything=False):
        client = lab.client("lock")
        seen.append({key.decode(): client.ttl(key) for key in client.keys()})
        settle(everything)

    monkeypatch.setattr(lab, "settle", look)
    return seen


def once(lab, lock, fault, **options):
    """A run in which a single task meets ``fault``."""
    options = {"until": {"fault ended": 1}, **options}
    return run_until(lab, lock, every=60, takes=0, faults=fault, **options)


# Exactly there -------------------------------------------------------------------------------------------------------


def test_killed_between_setnx_and_expire_every_time(lab, held):
    for _ in range(REPEATS):
        run = once(lab, SetnxThenExpire, kill(before="expire"))
        (began, ended) = run.events[run.events["kind"].str.startswith("fault")].itertuples()
        assert began.detail == {"fault": "kill", "command": "before EXPIRE", "breakpoint": 0}
        assert began.lane == ended.lane
        assert "acquired" not in kinds(run)
        assert kinds(run, began.lane)[-1] == "fault ended"
        assert run.notes == ()
    assert held == [{"mail": -1}] * REPEATS


def test_killed_after_expire_the_key_has_its_lease(lab, held):
    once(lab, SetnxThenExpire, kill(after="EXPIRE"))
    assert 0 < held[0]["mail"] <= 60


@pytest.mark.parametrize(("place", "left"), [({"before": "SETNX"}, {}), ({"after": "SETNX"}, {"mail": -1})])
def test_before_nothing_was_sent_and_after_it_was_carried_out(lab, held, place, left):
    run = once(lab, Setnx, kill(**place))
    assert held == [left]
    assert "acquired" not in kinds(run)


def test_the_process_does_nothing_beyond_it_in_whatever_thread_it_comes_there(lab, held):
    for _ in range(REPEATS):
        once(lab, Beyond, kill(after="SETNX"))
    assert held == [{"mail": -1}] * REPEATS


def test_paused_between_get_and_set_two_are_inside_every_time(lab):
    for place in ({"after": "GET"}, {"before": "SET"}):
        until = {"fault ended": 1, "entered": 2}
        run = run_until(lab, GetThenSet, every=0.2, takes=30, faults=pause(1, **place), until=until)
        assert run.verdict.most_inside == 2
        assert run.notes == ()
        (first, *_) = faults_of(run)
        assert [lane for _, lane, _ in faults_of(run)] == [first[1]] * 2


def test_without_the_pause_they_are_not(lab):
    run = run_until(lab, GetThenSet, every=0.5, takes=30, until={"skipped": 2})
    assert run.verdict.most_inside == 1
    assert run.verdict.outcome == "valid"


# What a breakpoint does ----------------------------------------------------------------------------------------------


def test_the_whole_worker_stands_still_and_goes_on_when_the_time_is_over(lab, monkeypatch):
    lab.await_workers()
    states, send = {}, lab.send_signal

    def look(names, number):
        if number == signal.SIGCONT:
            states.setdefault(names[0], [process.status() for process in tree(lab, names[0])])
        send(names, number)

    monkeypatch.setattr(lab, "send_signal", look)
    run = once(lab, Setnx, pause(0.7, before="SETNX"), until={"finished": 1})
    monkeypatch.undo()
    (began, ended) = run.events[run.events["kind"].str.startswith("fault")].itertuples()
    assert states == {began.lane: [psutil.STATUS_STOPPED] * 2}
    assert began.detail["seconds"] == 0.7
    assert ended.t - began.t >= 0.7
    assert ended.detail["command"] == "before SETNX"
    order = kinds(run, began.lane)
    assert order.index("started") < order.index("fault began") < order.index("fault ended") < order.index("acquired")
    (paused,) = run.intervals[run.intervals["kind"] == "paused"].itertuples()
    assert paused.closed_by == "fault ended"
    for worker in lab.workers:
        assert all(process.status() != psutil.STATUS_STOPPED for process in tree(lab, worker))


def test_the_killed_worker_is_gone_and_back_in_the_next_run(lab):
    lab.await_workers()
    trees = {worker: tree(lab, worker) for worker in lab.workers}
    run = once(lab, Setnx, kill(after="DEL"))
    (worker,) = {lane for _, lane, _ in faults_of(run)}
    assert not any(process.is_running() for process in trees[worker])
    after = lab.invoke("tasks.add", times=9, takes=0.2, seconds=60)
    assert worker in set(after.events[after.events["kind"] == "started"]["lane"])


def test_a_named_worker_is_the_only_one_that_stops(lab):
    """The others come to the command too, and before it."""
    run = run_until(
        lab, Setnx, every=0.1, takes=0, faults=kill("worker2", before="SETNX"), until={"fault ended": 1, "finished": 4}
    )
    assert faults_of(run) == [("fault began", "worker2", "kill"), ("fault ended", "worker2", "kill")]
    assert "acquired" not in kinds(run, "worker2")


def test_each_strikes_once_over_all_processes(lab):
    """Every worker comes to it several times, and all at once."""
    run = run_until(
        lab, Setnx, every=0.05, takes=0, faults=pause(0.3, before="SETNX"), until={"fault ended": 1, "finished": 12}
    )
    assert len(faults_of(run)) == 2
    assert len(set(run.events[run.events["kind"] == "finished"]["lane"])) == 3


def test_several_at_the_same_place_strike_one_after_the_other(lab):
    run = once(
        lab,
        Setnx,
        [pause(0.1, before="SETNX"), pause(0.1, before="SETNX"), kill(after="SETNX")],
        until={"fault ended": 3},
    )
    numbers = [detail.get("breakpoint") for detail in run.events[run.events["kind"] == "fault began"]["detail"]]
    assert numbers == [0, 1, 2]
    assert run.notes == ()


def test_a_pause_from_outside_does_not_wake_who_stands_at_a_breakpoint(lab):
    """Both hit the same worker; the one from outside waits until the other is over, or is over before it."""
    faults = [pause(0.2, "holder", when="acquired"), pause(1.2, after="DEL"), pause(0.2, "holder", after=0.1)]
    run = once(lab, Setnx, faults, until={"finished": 1})
    (began, ended) = (event.t for event in run.events.itertuples() if "breakpoint" in (event.detail or {}))
    assert ended - began >= 1.2


def test_a_lock_that_the_holders_death_frees_is_not_taken_before_the_history_says_that_it_is_dead(lab, tmp_path):
    class Flock:
        path = str(tmp_path / "lock")

        def __init__(self, client, name):
            self.client = client

        def acquire(self):
            import fcntl

            self.file = open(self.path, "w")  # noqa: SIM115
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        def release(self):
            self.client.ping()
            self.file.close()

    for _ in range(REPEATS):
        run = run_until(
            lab,
            Flock,
            every=0.1,
            takes=0.3,
            if_locked="wait",
            faults=kill(before="PING"),
            until={"fault ended": 1, "acquired": 2},
        )
        assert run.verdict.outcome == "valid"
        order = kinds(run)
        assert "acquired" not in order[order.index("acquired") + 1 : order.index("fault ended")]


# Whose commands count ------------------------------------------------------------------------------------------------


def test_the_client_that_a_shipped_lock_derives_carries_them(lab, held):
    once(lab, LeaseLock, kill(before="EVALSHA"))  # the release
    assert 0 < held[0]["mail"] <= 10
    run = once(
        lab, LeaseLock, [kill("worker1", after="SET"), kill("worker2", after="SET"), kill("worker3", after="SET")]
    )
    assert 0 < held[1]["mail"] <= 10
    assert "acquired" not in kinds(run)


@pytest.mark.parametrize(("transaction", "left"), [(False, {"mail": -1}), (True, {})])
def test_the_commands_of_a_pipeline(lab, held, transaction, left):
    class Piped(Setnx):
        def acquire(self):
            piped = self.client.pipeline(transaction=transaction).setnx(self.name, 1).expire(self.name, 60)
            return piped.execute()[0]

    once(lab, Piped, kill(before="EXPIRE"))
    assert held == [left]


def test_only_the_lock_and_nobody_else(lab):
    """What workers say to the broker and to the history does not count, nor how a connection is set up."""
    faults = [kill(before=command) for command in ("XADD", "BRPOP", "PUBLISH", "CLIENT", "HELLO", "SELECT", "EVALSHA")]
    run = run_until(lab, Setnx, every=0.1, takes=0, faults=faults, until={"finished": 4})
    assert faults_of(run) == []
    assert len(run.notes) == len(faults)
    assert run.notes[0] == "kill('holder', before='XADD') never landed: its moment did not come."


def test_what_never_landed_does_not_strike_in_the_next_run(lab):
    run = run_until(lab, Setnx, every=60, takes=0, faults=kill(after="EXPIRE"), until={"finished": 1})
    assert run.notes == ("kill('holder', after='EXPIRE') never landed: its moment did not come.",)
    after = run_until(lab, SetnxThenExpire, every=0.1, takes=0, until={"finished": 4})
    assert faults_of(after) == []
    assert after.notes == ()


def test_without_a_lock_there_is_no_command(lab):
    run = run_until(lab, every=60, takes=0, faults=pause(1, before="SET"), until={"finished": 1})
    assert run.notes == ("pause(1, 'holder', before='SET') never landed: its moment did not come.",)


def test_a_process_that_the_lab_did_not_start_carries_none(tmp_path, monkeypatch):
    """A worker in a terminal: nobody could let it go on."""
    where = Place(tmp_path)
    where.run(1).mkdir()
    halts.write(
        where,
        1,
        [halts.Halt(0, "holder", "kill", None, "before", "SET"), halts.Halt(1, "worker2", *"xx", "after", "GET")],
    )
    monkeypatch.setenv("COURSE_TASKS_LAB", str(tmp_path))
    monkeypatch.delenv(PROCESS, raising=False)
    assert halts.here(1, None) == []
    monkeypatch.setenv(PROCESS, "worker1")
    assert [point.command for point in halts.here(1, None)] == ["SET"]
    monkeypatch.setenv(PROCESS, "worker2")
    assert [point.command for point in halts.here(1, None)] == ["SET", "GET"]
    assert halts.here(2, None) == []


def test_a_breakpoint_can_be_claimed_once(tmp_path):
    where = Place(tmp_path)
    where.run(1).mkdir()
    got = []
    threads = [threading.Thread(target=lambda: got.append(halts.claim(where, 1, 0))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 7 + [True]


# How it ends ---------------------------------------------------------------------------------------------------------


def test_a_pause_ends_with_the_run(lab, held):
    lab.await_workers()
    run = once(lab, Setnx, pause(60, after="SETNX"), until={"fault began": 1})
    assert [kind for kind, _, _ in faults_of(run)] == ["fault began", "fault ended"]
    assert kinds(run)[-2:] == ["fault ended", "ended"]
    assert run.notes == ()
    assert held == [{"mail": -1}]
    lab.await_workers()
    for worker in lab.workers:
        assert all(process.status() != psutil.STATUS_STOPPED for process in tree(lab, worker))


def test_who_comes_to_one_just_as_the_run_ends_is_waited_for(lab, held, monkeypatch):
    """It has claimed the breakpoint, and its word is not in the history yet."""
    disarm = Production._disarm

    def late(conductor):
        assert halts.claim(lab.place, conductor.plan.run, 0)
        record = Recorder(lab.client("history"), conductor.plan.run, "worker1")
        told = {"fault": "kill", "command": "before EXPIRE", "breakpoint": 0}
        timer = threading.Timer(0.3, lambda: record("fault began", detail=told))
        timer.start()
        disarm(conductor)
        timer.join()

    monkeypatch.setattr(Production, "_disarm", late)
    run = run_until(lab, Setnx, every=60, takes=0, faults=kill(before="EXPIRE"), until={"finished": 1})
    assert faults_of(run) == [("fault began", "worker1", "kill"), ("fault ended", "worker1", "kill")]
    assert run.notes == ()


RUN = "lab.run(Setnx, every=0.2, takes=0, seconds=60, faults=pause(60, after='SETNX'))"
CLEAN = """
run = run_until(lab, Setnx, every=0.2, takes=0, until={"finished": 2})
_ = [list(run.events["kind"]).count("finished") >= 2, list(run.notes)]
"""


def standing(kernel):
    """A kernel in whose run a worker stands at a breakpoint."""
    kernel.cell(SETNX)
    path = kernel.cell("lab = Lab(workers=2); _ = str(lab.place.path)")
    kernel.start(RUN)
    wait_for(lambda: kinds_so_far(path, 1)["fault began"], "for the breakpoint")
    (event,) = (event for event in Recorded(path, 1) if event["kind"] == "fault began")
    wait_for(lambda: psutil.Process(event["pid"]).status() == psutil.STATUS_STOPPED, "for the process to stop")


def test_interrupted_while_a_worker_stands_there(kernel, hunt):
    standing(kernel)
    kernel.interrupt()
    with pytest.raises(CellError, match="KeyboardInterrupt"):
        kernel.answer()
    assert kernel.cell(CLEAN) == [True, []]
    kernel.cell("lab.close()")
    hunt.nothing_left()


def test_the_kernel_dies_while_a_worker_stands_there(kernel, hunt):
    standing(kernel)
    hunt.family(kernel.pid)
    kernel.kill()
    hunt.nothing_left()
