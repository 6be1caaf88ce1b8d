"""Faults: whom they hit, when, how completely, and how they end."""

import itertools
import signal

import psutil
import pytest
from labs import Setnx, faults_of, kinds, run_until, tree

from course_tasks import cut, kill, move_clock, pause, promote, restart, slow
from course_tasks.history.recording import KINDS
from course_tasks.lab import strikes
from course_tasks.lab.fault import Cast, check
from course_tasks.lab.strikes import Strikes

WORKERS = ("worker1", "worker2", "worker3")


class Ticking:
    """A lock that counts, from a thread in the process that runs the task, how often it has been able to do anything."""

    def __init__(self, client, name):
        self.client = client

    def acquire(self):
        import os
        import threading
        import time

        def tick():
            while True:
                self.client.incr(f"ticks:{os.getpid()}")
                time.sleep(0.01)

        threading.Thread(target=tick, daemon=True).start()
        return True

    def release(self):
        """Nothing to do."""


# With real workers ---------------------------------------------------------------------------------------------------


def test_kill_takes_the_whole_tree_and_the_worker_is_back_in_the_next_run(lab, monkeypatch):
    lab.await_workers()
    before = tree(lab, "worker2")
    assert len(before) == 2
    struck = []
    end = lab.end
    monkeypatch.setattr(lab, "end", lambda names: (end(names), struck.append([p.is_running() for p in before]))[0])
    # Three tasks that last: one for each worker. The kill comes in the middle of worker2's.
    run = run_until(
        lab, every=0.2, takes=30, faults=[kill("worker2", when="entered")], until={"fault ended": 1, "entered": 3}
    )
    monkeypatch.undo()
    assert struck[0] == [False, False]
    assert faults_of(run) == [("fault began", "worker2", "kill"), ("fault ended", "worker2", "kill")]
    order = kinds(run, "worker2")
    assert order.index("entered") < order.index("fault began") < order.index("fault ended")
    assert order[-1] == "fault ended"  # nothing from beyond the grave
    (inside,) = run.intervals[(run.intervals["kind"] == "inside") & (run.intervals["lane"] == "worker2")].itertuples()
    assert inside.closed_by == "killed"
    assert run.notes == ()
    after = lab.invoke("tasks.add", times=9, takes=0.3, seconds=60)
    assert "worker2" in set(after.events[after.events["kind"] == "started"]["lane"])
    assert not {p.pid for p in before} & {p.pid for p in tree(lab, "worker2")}


def test_pause_stops_the_pool_process_too_and_goes_on_afterwards(lab, monkeypatch):
    lab.await_workers()
    states, ticks = {}, {}
    send = lab.send_signal

    def look(names, number):
        (name,) = names
        send(names, number)
        client = lab.client("lock")
        if number == signal.SIGSTOP:
            states[name] = [process.status() for process in tree(lab, name)]
            # It makes no progress however often we look; another process would have counted on.
            keys = client.keys("ticks:*")
            ticks[name] = [client.mget(keys) for _ in range(200)]
        else:
            states[name + " again"] = [process.status() for process in tree(lab, name)]

    monkeypatch.setattr(lab, "send_signal", look)
    run = run_until(
        lab, Ticking, every=60, takes=2, faults=pause(1, "holder", when="read"), until={"fault ended": 1, "finished": 1}
    )
    (worker,) = {lane for _, lane, _ in faults_of(run)}
    assert states[worker] == [psutil.STATUS_STOPPED] * 2
    assert psutil.STATUS_STOPPED not in states[worker + " again"]
    assert len(ticks[worker][0]) == 1
    assert all(count == ticks[worker][0] for count in ticks[worker])
    assert faults_of(run) == [("fault began", worker, "pause"), ("fault ended", worker, "pause")]
    (paused,) = run.intervals[run.intervals["kind"] == "paused"].itertuples()
    assert paused.end - paused.begin >= 1
    order = kinds(run, worker)
    assert order.index("fault began") < order.index("fault ended") < order.index("left")
    assert run.notes == ()


def test_a_pause_ends_with_the_run(lab):
    run = run_until(lab, Setnx, every=0.3, takes=60, faults=[pause(60, when="acquired")], until={"skipped": 2})
    (began, ended) = faults_of(run)
    assert began[0] == "fault began"
    assert ended[0] == "fault ended"
    lab.await_workers()
    for worker in lab.workers:
        assert all(process.status() != psutil.STATUS_STOPPED for process in tree(lab, worker))
    assert len(run.notes) == 0


def test_a_worker_that_was_idle_while_paused_works_in_the_next_run(lab):
    """It isn't ended with the run, so it must have been told to go on."""
    lab.await_workers()
    pids = {row[0]: row[2] for row in lab.processes.rows}
    run = run_until(
        lab,
        every=60,
        takes=0,
        task="tasks.add",
        faults=[pause(60, "worker1", after=0), pause(60, "worker2", after=0), pause(60, "worker3", after=0)],
        until={"fault began": 3},
    )
    assert kinds(run).count("fault ended") == 3
    after = lab.invoke("tasks.add", times=6, takes=0.2, seconds=60)
    assert kinds(after).count("finished") == 6
    assert pids["broker"] == {row[0]: row[2] for row in lab.processes.rows}["broker"]


def test_by_seconds_and_on_the_holder(lab):
    """After 0 s nobody holds anything yet: the first who does is hit."""
    run = run_until(
        lab, Setnx, every=0.3, takes=60, faults=[kill("holder", after=0)], until={"skipped": 2, "fault ended": 1}
    )
    (lane,) = {lane for _, lane, _ in faults_of(run)}
    order = kinds(run)
    assert order.index("acquired") < order.index("fault began")
    assert run.events[run.events["kind"] == "acquired"].iloc[0]["lane"] == lane
    # Setnx has no lease: nobody gets in ever after.
    assert order.count("acquired") == 1
    assert run.notes == ()


def test_what_never_came_is_told_in_the_notes(lab):
    faults = [pause(1, "worker1", when="lost"), kill("worker2", after=999), kill("holder", after=0.0)]
    run = run_until(lab, task="tasks.add", every=0.3, takes=0, faults=faults, until={"finished": 2})
    assert len(run.notes) == 3
    assert "pause(1, 'worker1', when='lost') never landed" in run.notes[0]
    assert "kill('worker2', after=999) never landed" in " ".join(run.notes)
    assert "kill('holder', after=0) never landed: nobody held the lock who could be hit." in run.notes
    assert faults_of(run) == []
    assert "Note: " in repr(run)


def test_a_fault_while_the_invoker_sends(lab):
    run = lab.invoke("tasks.add", times=5, takes=0.3, seconds=2.5, faults=[kill("worker1", when="started")])
    assert faults_of(run) == [("fault began", "worker1", "kill"), ("fault ended", "worker1", "kill")]
    assert kinds(run).count("finished") >= 1


def test_a_producer_that_ends_by_itself_is_told_of_in_the_notes(lab, monkeypatch):
    start = lab.start

    def misspelled(name, command):
        start(name, [*command, "--no-such-option"] if name == "beat" else command)

    monkeypatch.setattr(lab, "start", misspelled)
    run = run_until(lab, every=1, until=lambda: lab.exit_status("beat") is not None)
    assert run.notes == ("beat ended by itself, with status 2; lab.logs('beat') shows why.",)
    assert "no-such-option" in lab.logs("beat")


# The choice of the moment, without workers --------------------------------------------------------------------------


class Signals:
    """Stands for the lab, and for its ``servers``: writes down what it is told to do."""

    durable, names = False, ("lock1", "lock2")

    def __init__(self, *faults):
        self.done, self.servers = [], self
        self.strikes = Strikes(
            faults,
            Cast(WORKERS, self.names),
            lab=self,
            record=lambda kind, lane, detail: self.done.append((kind, lane)),
        )

    def send_signal(self, names, number):
        self.done += [(signal.Signals(number).name, name) for name in names]

    def end(self, names):
        self.done += [("killed", name) for name in names]

    def kill(self, server):
        self.end([server])

    def restart(self, server):
        self.done.append(("started", server))

    def step(self, elapsed=0.0, *events):
        """Let ``events``, (kind, lane), with a task and a detail if need be, happen, and return what was done to whom.

        A kill is a stop, the two events, and only then the kill: told here as one.
        """
        seen = len(self.done)
        keys, now = ("kind", "lane", "task", "detail"), strikes.time.monotonic()
        self.strikes.step(elapsed, [{"t": now, **dict(zip(keys, event, strict=False))} for event in events])
        acts = [act for act in self.done[seen:] if not act[0].startswith("fault")]
        return [act for act in acts if not (act[0] == "SIGSTOP" and ("killed", act[1]) in acts)]


def test_the_holder_is_who_came_in_last_and_is_still_there():
    lab = Signals(kill("holder", after=5))
    assert lab.step(0, ("entered", "worker1", "a"), ("entered", "worker2", "b"), ("left", "worker2", "b")) == []
    assert lab.step(5) == [("killed", "worker1")]


def test_the_dead_are_stopped_before_the_history_says_so_and_killed_after_it():
    """A lock that the system frees at its holder's death may be somebody else's a moment later."""
    lab = Signals(kill("worker1", after=0))
    lab.step(0)
    assert lab.done == [
        ("SIGSTOP", "worker1"),
        ("fault began", "worker1"),
        ("fault ended", "worker1"),
        ("killed", "worker1"),
    ]


def test_who_waits_for_a_holder_hits_the_next_one():
    lab = Signals(pause(1, "holder", after=1))
    assert lab.step(0, ("acquired", "worker1", "a"), ("released", "worker1", "a")) == []
    assert lab.step(1) == []
    assert lab.step(2, ("skipped", "worker3", "b")) == []
    assert lab.step(3, ("acquired", "worker2", "c")) == [("SIGSTOP", "worker2")]


@pytest.mark.parametrize("end", ["left", "released", "lost", "finished", "failed", "retried"])
def test_who_has_left_holds_nothing(end):
    lab = Signals(kill("holder", after=1))
    lab.step(0, ("acquired", "worker1", "a"), (end, "worker1", "a"))
    assert lab.step(1) == []


def test_a_named_worker_is_hit_by_its_own_event_only_and_once():
    lab = Signals(kill("worker2", when="entered"))
    assert lab.step(0, ("entered", "worker1", "a")) == []
    assert lab.step(0, ("entered", "worker2", "b")) == [("killed", "worker2")]
    assert lab.step(0, ("entered", "worker2", "c")) == []
    assert lab.strikes.finish() == []


def test_the_holder_at_the_moment_of_the_event_is_hit_even_if_more_happened_since():
    """Events come in batches: the fault belongs to its own event, not to the last one of the batch."""
    lab = Signals(kill("holder", when="entered"))
    batch = [
        ("entered", "worker1", "a"),
        ("skipped", "worker2", "b"),
        ("left", "worker1", "a"),
        ("entered", "worker2", "c"),
    ]
    assert lab.step(0, *batch) == [("killed", "worker1")]


def test_pauses_end_by_the_clock_and_with_the_run(monkeypatch):
    clock = itertools.count(100.0).__next__
    now = [clock()]
    monkeypatch.setattr("course_tasks.lab.strikes.time.monotonic", lambda: now[0])
    lab = Signals(pause(2, "worker1", after=0), pause(9, "worker2", after=0))
    assert lab.strikes.next_due(0) == 0
    assert lab.step(0) == [("SIGSTOP", "worker1"), ("SIGSTOP", "worker2")]
    assert lab.strikes.next_due(0) == 2
    now[0] += 2
    assert lab.step(2) == [("SIGCONT", "worker1")]
    assert lab.strikes.next_due(2) == 7
    assert lab.strikes.finish() == []
    assert lab.done[-1] == ("SIGCONT", "worker2")
    assert lab.strikes.next_due(9) == float("inf")


def test_a_second_fault_waits_until_the_first_pause_is_over(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("course_tasks.lab.strikes.time.monotonic", lambda: now[0])
    lab = Signals(pause(2, "worker1", after=0), kill("worker1", after=1))
    assert lab.step(0) == [("SIGSTOP", "worker1")]
    assert lab.step(1) == []
    now[0] += 2
    assert lab.step(2) == [("SIGCONT", "worker1")]
    assert lab.step(2.1) == [("killed", "worker1")]


def test_the_dead_are_not_hit_again():
    lab = Signals(kill("worker1", after=0), pause(1, "worker1", after=0))
    assert lab.step(0) == [("killed", "worker1")]
    assert lab.step(1) == []
    (missed,) = lab.strikes.finish()
    assert str(missed) == "pause(1, 'worker1', after=0)"


def test_who_stands_still_until_the_end_is_not_hit_and_it_is_said():
    lab = Signals(pause(9, "lock1", after=0), restart("lock1", after=1), restart("lock1", after=9))
    assert lab.step(0) == [("SIGSTOP", "lock1")]
    assert lab.step(1) == []
    assert sorted(map(lab.strikes.why_not, lab.strikes.finish())) == [
        "its moment did not come",
        "lock1 stood still until the end",
    ]


def test_a_server_is_hit_by_anyones_event_and_once():
    lab = Signals(kill("lock1", when="entered"))
    assert lab.step(0, ("skipped", "worker1", "a")) == []
    assert lab.step(0, ("entered", "worker3", "b")) == [("killed", "lock1")]
    assert lab.step(0, ("entered", "worker2", "c")) == []
    assert lab.strikes.finish() == []


def test_a_server_that_is_killed_holds_nothing_and_the_holder_is_still_the_holder():
    lab = Signals(kill("lock1", when="acquired"), kill("holder", after=1))
    assert lab.step(0, ("acquired", "worker2", "a")) == [("killed", "lock1")]
    assert lab.step(1) == [("killed", "worker2")]


def test_a_restart_kills_and_starts_again_when_it_was_down_for_so_long(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("course_tasks.lab.strikes.time.monotonic", lambda: now[0])
    lab = Signals(restart("lock1", 2, after=0), restart("lock2", after=0), kill("lock1", after=1))
    lab.step(0)
    down = [("SIGSTOP", "lock1"), ("fault began", "lock1"), ("killed", "lock1")]
    assert lab.done[:3] == down
    assert lab.done[3:6] == [(what, "lock2") for what, _ in down]
    # The history is told first: what the server grants from then on must come later.
    assert lab.done[6:] == [("fault ended", "lock2"), ("started", "lock2")]
    assert lab.strikes.next_due(0) == 1
    assert lab.step(1) == []  # it is down: the next fault waits until it is back
    now[0] += 2
    assert lab.step(2) == [("started", "lock1")]
    assert lab.step(2.1) == [("killed", "lock1")]


def test_what_is_down_or_paused_at_the_end_is_left_so_until_all_are_stopped():
    """It would let somebody in. The lab makes it whole afterwards."""
    lab = Signals(restart("lock1", 9, after=0), pause(9, "lock2", after=0), pause(9, "worker1", after=0))
    lab.step(0)
    seen = len(lab.done)
    assert lab.strikes.finish() == []
    assert lab.done[seen:] == [("fault ended", "lock2"), ("fault ended", "worker1"), ("SIGCONT", "worker1")]


def test_why_a_fault_never_landed():
    lab = Signals(kill("lock1", after=0), restart("lock1", after=0), pause(1, "lock2", after=5))
    lab.step(0)
    assert [lab.strikes.why_not(fault) for fault in lab.strikes.finish()] == [
        "its moment did not come",
        "lock1 was dead by then",
    ]


def halt(what, worker, number=0, **detail):
    """The event with which ``worker`` tells that it stops at a breakpoint, or goes on."""
    return (f"fault {what}", worker, None, {"breakpoint": number, "command": "before SET", **detail})


def test_who_stopped_itself_is_stopped_as_a_whole_and_killed_when_the_history_says_so():
    lab = Signals(kill(before="SET"))
    lab.step(0, halt("began", "worker2", fault="kill"))
    assert lab.done == [("SIGSTOP", "worker2"), ("fault ended", "worker2"), ("killed", "worker2")]
    assert lab.strikes.finish() == []
    assert lab.step(1, ("entered", "worker2", "a")) == []


def test_who_stopped_itself_is_told_to_go_on_until_it_says_that_it_does(monkeypatch):
    """It may have stopped itself just after it was told."""
    now = [100.0]
    monkeypatch.setattr("course_tasks.lab.strikes.time.monotonic", lambda: now[0])
    lab = Signals(pause(2, before="SET"), kill("holder", after=1))
    assert lab.step(0, ("acquired", "worker1", "a"), halt("began", "worker1", fault="pause", seconds=2)) == [
        ("SIGSTOP", "worker1")
    ]
    assert lab.strikes.next_due(0) == 1
    assert lab.step(1) == []  # who stands at a breakpoint is killed afterwards
    assert lab.strikes.next_due(1) == 2
    now[0] += 2
    assert lab.step(2) == [("SIGCONT", "worker1")]
    assert lab.step(2) == []
    now[0] += lab.strikes.next_due(2)
    assert lab.step(2.1) == [("SIGCONT", "worker1")]
    assert lab.step(2.2, halt("ended", "worker1", fault="pause")) == [("killed", "worker1")]
    assert lab.strikes.finish() == []


def test_who_stands_at_a_breakpoint_at_the_end_is_left_to_be_ended():
    lab = Signals(pause(9, before="SET"), pause(9, after="GET"), kill("worker1", after="SET"))
    lab.step(0, halt("began", "worker1", fault="pause", seconds=9))
    assert [str(fault) for fault in lab.strikes.finish()] == [
        "pause(9, 'holder', after='GET')",
        "kill('worker1', after='SET')",
    ]
    assert lab.done == [("SIGSTOP", "worker1"), ("fault ended", "worker1")]
    assert list(lab.strikes.halted) == ["worker1"]


def test_a_pause_at_a_breakpoint_counts_from_its_beginning_however_late_it_is_noticed(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(strikes.time, "monotonic", lambda: now[0])
    lab = Signals(pause(2, before="SET"))
    kind, lane, task, detail = halt("began", "worker1", fault="pause", seconds=2)
    now[0] += 0.5
    lab.strikes.step(0, [{"t": 100.0, "kind": kind, "lane": lane, "task": task, "detail": detail}])
    assert lab.strikes.next_due(0) == 1.5


def test_while_only_breakpoints_are_to_come_there_is_time_for_other_things():
    """Such as a picture: whoever comes to a breakpoint stands still by itself. What an event triggers can't wait."""
    assert not Signals(pause(2, before="SET"), kill(after="GET")).strikes.imminent(0)
    assert Signals(pause(2, before="SET"), kill(when="entered")).strikes.imminent(0)
    assert Signals(pause(2, after=0.4)).strikes.imminent(0)
    assert not Signals(pause(2, after=10)).strikes.imminent(0)


def test_a_breakpoint_of_one_who_was_killed_meanwhile_does_nothing():
    lab = Signals(kill("worker1", after=0), pause(9, before="SET"))
    assert lab.step(0) == [("killed", "worker1")]
    assert lab.step(1, halt("began", "worker1", 1, fault="pause", seconds=9)) == []
    assert lab.strikes.finish() == []


def test_faults_name_themselves_as_they_were_typed():
    assert str(kill(before="Expire")) == "kill('holder', before='Expire')"
    assert str(pause(3, "worker1", after="GET")) == "pause(3, 'worker1', after='GET')"
    assert kill(before="Expire").place == ("before", "EXPIRE")
    assert kill(after=0).place is None
    assert str(kill(when="entered")) == "kill('holder', when='entered')"
    assert str(kill("worker2", after=1.5)) == "kill('worker2', after=1.5)"
    assert str(pause(0.5, when="acquired")) == "pause(0.5, 'holder', when='acquired')"
    assert str(restart("lock3", when="acquired")) == "restart('lock3', when='acquired')"
    assert str(restart("lock3", 2.5, after=1)) == "restart('lock3', 2.5, after=1)"
    assert str(cut("worker1", ["lock1", "lock2"], after=0)) == "cut('worker1', ['lock1', 'lock2'], after=0)"
    assert str(cut(None, "lock1", 0.5, after=1)) == "cut(None, 'lock1', 0.5, after=1)"
    assert str(cut("holder", None, when="entered")) == "cut('holder', None, when='entered')"
    assert str(slow(5, after=0)) == "slow(5, after=0)"
    assert str(slow(5, "worker1", after=0)) == "slow(5, 'worker1', after=0)"
    assert str(slow(5, None, "lock1", after=0)) == "slow(5, None, 'lock1', after=0)"
    assert str(move_clock("lock3", -60, after=1)) == "move_clock('lock3', -60, after=1)"
    assert str(promote("replica1", when="fault ended")) == "promote('replica1', when='fault ended')"


def test_so_they_do_in_a_list():
    assert repr([kill("lock3", after=2), slow(5, after=0)]) == "[kill('lock3', after=2), slow(5, after=0)]"


def test_every_kind_of_event_can_trigger_a_fault():
    check([kill(when=kind) for kind in KINDS], Cast(WORKERS))
