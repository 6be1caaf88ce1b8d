"""Contenders: processes that want one lock over and over, what becomes of them, and that nothing is left."""

import psutil
import pytest
from labs import (
    SETNX,
    CellError,
    GetThenSet,
    Setnx,
    SetnxThenExpire,
    contend_until,
    faults_of,
    kinds,
    kinds_so_far,
    wait_for,
)

from course_tasks import kill, pause
from course_tasks.locks import FairLock, LeaseLock

NAMES = [f"contender{number}" for number in range(1, 7)]


class Places:
    """A semaphore: two places, and whoever finds one free takes it."""

    def __init__(self, client, name):
        self.client, self.places = client, [f"{name}:{number}" for number in range(2)]

    def acquire(self):
        self.mine = next((place for place in self.places if self.client.setnx(place, 1)), None)
        return self.mine is not None

    def release(self):
        self.client.delete(self.mine)


class Spinning(Setnx):
    """Waits inside its acquire() without anybody asking it to, and can't be told not to."""

    def acquire(self):
        while not self.client.setnx(self.name, 1):
            pass
        return True


class Kept(Spinning):
    """Is never given back."""

    def release(self):
        """Forgets to."""


def entered(run):
    """How often each lane got in."""
    return run.events[run.events["kind"] == "entered"]["lane"].value_counts().to_dict()


# What is shown -------------------------------------------------------------------------------------------------------


def test_with_a_lock_one_at_a_time(lab):
    workers = [row[:3] for row in lab.processes.rows]
    run = contend_until(lab, LeaseLock, until={"entered": 60, "waiting": 5})
    assert run.verdict.outcome == "valid"
    assert run.verdict.most_inside == 1
    assert run.notes == ()
    assert len(run.inbox) == 0
    (began,) = run.events[run.events["kind"] == "began"].itertuples()
    assert began.detail == {"lanes": NAMES, "seconds": 60.0, "holds": 0.005, "at_once": 1}
    assert set(run.events["lane"]) <= {*NAMES, "lab"}
    assert {"acquired", "entered", "left", "released", "waiting"} <= set(kinds(run))
    stays = run.intervals[run.intervals["kind"] == "inside"]
    assert (stays["end"] - stays["begin"]).min() >= 0.005
    assert kinds(run)[-1] == "ended"
    assert [row[:3] for row in lab.processes.rows] == workers
    assert not [p for p in psutil.Process(lab.warden_pid).children(recursive=True) if "contender" in str(p.cmdline())]


def test_all_begin_together_and_only_when_the_run_does(lab):
    """Whoever comes first holds on, and so the others are seen to come."""
    run = contend_until(lab, Setnx, contenders=8, holds=60, until={"waiting": 7})
    first = run.events[run.events["lane"] != "lab"].groupby("lane")["t"].min()
    assert len(first) == 8
    assert (first >= 0).all()
    assert kinds(run)[0] == "began"
    assert run.events["kind"].value_counts()["entered"] == 1


def test_without_a_lock_all_are_inside(lab):
    run = contend_until(lab, None, contenders=3, holds=0.3, until={"entered": 6})
    assert run.verdict.outcome == "invalid"
    assert run.verdict.most_inside == 3


def test_a_broken_lock_is_found_out(lab):
    run = contend_until(lab, GetThenSet, holds=5, faults=pause(0.5, after="GET"), until={"entered": 2})
    assert run.verdict.outcome == "invalid"
    assert run.verdict.witnesses[0].kind == "overlap"


@pytest.mark.parametrize(("lock", "outcome"), [(Places, "valid"), (None, "invalid")])
def test_several_at_once(lab, lock, outcome):
    run = contend_until(lab, lock, contenders=4, holds=0.1, at_once=2, until={"entered": 12})
    assert run.verdict.most_inside == (2 if lock else 4)
    assert run.verdict.outcome == outcome


def test_what_is_not_said_of_a_semaphore_is_not_heeded(lab):
    """The control: the same lock, and one at a time is asked for."""
    run = contend_until(lab, Places, contenders=4, holds=0.1, until={"entered": 12})
    assert run.verdict.outcome == "invalid"


def test_a_queue_is_fair(lab):
    run = contend_until(lab, FairLock, until={"entered": 60, "waiting": 12})
    assert run.verdict.outcome == "valid"
    assert run.verdict.fairness > 0.9
    assert set(entered(run)) == set(NAMES)


def test_it_lasts_as_long_as_it_was_asked_to(lab):
    run = lab.contend(LeaseLock, contenders=2, seconds=0.7)
    assert 0.7 <= run.events["t"].iloc[-1] < 5
    assert run.number == lab.contend(Setnx, contenders=1, seconds=0.1).number - 1


def test_one_alone_shows_nothing(lab):
    run = contend_until(lab, LeaseLock, contenders=1, until={"entered": 5})
    assert run.verdict.outcome == "unknown"


# Faults --------------------------------------------------------------------------------------------------------------


def test_a_named_contender_is_killed_and_the_others_go_on(lab):
    run = contend_until(
        lab, LeaseLock, contenders=3, faults=kill("contender2", when="waiting"), until={"fault ended": 1, "entered": 40}
    )
    assert faults_of(run) == [("fault began", "contender2", "kill"), ("fault ended", "contender2", "kill")]
    assert kinds(run, "contender2")[-1] == "fault ended"
    assert run.verdict.outcome == "valid"
    assert run.notes == ()


def test_the_holder_dies_and_takes_the_lock_with_it(lab):
    run = contend_until(lab, Setnx, contenders=3, faults=kill(before="DEL"), until={"fault ended": 1, "waiting": 2})
    (dead,) = {lane for _, lane, _ in faults_of(run)}
    order = kinds(run)
    assert "entered" not in order[order.index("fault began") :]
    assert kinds(run, dead)[-3:] == ["left", "fault began", "fault ended"]


def test_one_dies_on_its_way_in_and_nobody_gets_in_any_more(lab):
    """The others may have said that they wait before the kill, and say so once; still the lock is known to be taken."""
    run = lab.contend(SetnxThenExpire, contenders=3, seconds=2.5, faults=kill(before="EXPIRE"))
    ((_, dead, _), _) = faults_of(run)
    assert kinds(run).count("entered") == 0
    assert run.verdict.contended == 2
    assert run.verdict.sentence.startswith("Nobody could enter for ")
    assert run.verdict.sentence.endswith(f" s after {dead} was killed")
    (held,) = run.intervals[run.intervals["kind"] == "holding"].itertuples()
    assert (held.lane, held.closed_by) == (dead, "run ended")


def test_paused_longer_than_its_lease(lab):
    """From outside, in the middle of a hold, and at the exact place: somebody else is inside meanwhile."""

    def lease(client, name):
        return LeaseLock(client, name, timeout=1)

    for fault in (pause(2, "holder", when="entered"), pause(2, before="EVALSHA")):
        run = contend_until(lab, lease, contenders=3, holds=0.2, faults=fault, until={"fault ended": 1, "failed": 1})
        (who,) = {lane for _, lane, _ in faults_of(run)}
        assert run.events[run.events["kind"] == "lost"]["lane"].iloc[0] == who
        assert sum(number for lane, number in entered(run).items() if lane != who) >= 1
        (note,) = run.notes
        assert note.startswith("1 attempt raised LockNotOwnedError")


def test_a_pause_ends_with_the_run(lab):
    run = contend_until(lab, LeaseLock, faults=pause(60, "contender1", before="SET"), until={"fault began": 1})
    assert [kind for kind, _, _ in faults_of(run)] == ["fault began", "fault ended"]
    assert run.notes == ()


# Locks that misbehave ------------------------------------------------------------------------------------------------


def test_who_waits_without_a_word_is_heard_all_the_same(lab):
    run = contend_until(lab, Spinning, contenders=3, holds=0.3, until={"waiting": 4, "entered": 4})
    assert run.verdict.outcome == "valid"
    waits = run.intervals[run.intervals["kind"] == "waiting"]
    # From the beginning of acquire(), not from when it was noticed.
    assert (waits["until"] - waits["begin"]).max() >= 0.28


def test_an_acquire_that_never_ends(lab):
    """One holder never gives the lock back, and so all wait for ever, itself included: the run ends when it should."""
    run = contend_until(lab, Kept, contenders=3, until={"waiting": 3})
    assert kinds(run).count("entered") == 1
    waits = run.intervals[run.intervals["kind"] == "waiting"]
    assert set(waits["lane"]) == {"contender1", "contender2", "contender3"}
    assert set(waits["closed_by"]) == {"run ended"}
    assert contend_until(lab, LeaseLock, contenders=2, until={"entered": 4}).verdict.most_inside == 1


def test_who_is_inside_at_the_end_stays_so_in_the_picture(lab):
    run = contend_until(lab, Setnx, contenders=2, holds=60, until={"waiting": 1})
    (inside,) = run.intervals[run.intervals["kind"] == "inside"].itertuples()
    assert inside.closed_by == "run ended"
    assert "still inside at the end" in run.verdict.summary


def test_an_error_is_told_and_the_next_attempt_is_made(lab):
    class Sometimes(Setnx):
        def acquire(self):
            from redis.exceptions import LockError

            if self.client.incr("count") % 2:
                raise LockError("not this time")
            return super().acquire()

    run = contend_until(lab, Sometimes, contenders=2, until={"failed": 4, "entered": 4})
    failed = run.events[run.events["kind"] == "failed"]
    assert {detail["error"] for detail in failed["detail"]} == {"LockError('not this time')"}
    assert run.notes == (f"{len(failed)} attempts raised LockError('not this time'); lab.logs shows where.",)
    assert "not this time" in lab.logs(failed["lane"].iloc[0])
    assert run.verdict.outcome != "invalid"


def test_a_lock_that_can_not_be_made(lab):
    def broken(client, name):
        raise ValueError("no such lock")

    run = contend_until(lab, broken, contenders=2, until={"failed": 3})
    assert kinds(run).count("entered") == 0
    assert "attempts raised ValueError('no such lock')" in run.notes[0]


@pytest.mark.parametrize(("way", "status"), [("sys.exit(3)", 3), ("sys.exit()", 0), ("os._exit(4)", 4)])
def test_a_contender_that_ends_by_itself(lab, way, status):
    class Leaves(Setnx):
        def acquire(self):
            import os
            import sys

            if self.client.setnx("the first", 1):
                exec(way, {"os": os, "sys": sys})
            return super().acquire()

    ended = lambda: any(lab.exit_status(name) is not None for name in ("contender1", "contender2"))  # noqa: E731
    run = contend_until(lab, Leaves, contenders=2, until=lambda: ended() and lab.client("lock").exists("contended"))
    told = [note for note in run.notes if "ended by itself" in note]
    assert len(told) == 1
    assert f"with status {status}; lab.logs('contender" in told[0]
    assert ("failed" in kinds(run)) == way.startswith("sys")
    assert kinds(run).count("entered") >= 1


def test_a_contender_that_cannot_start_is_told_with_what_it_wrote(lab, monkeypatch):
    start = lab.start

    def nameless(name, command):
        start(name, command[:3] if name in NAMES else command)

    monkeypatch.setattr(lab, "start", nameless)
    with pytest.raises(Exception, match="contender1 ended with status 1 while it started") as error:
        lab.contend(Setnx)
    assert "IndexError" in str(error.value)
    monkeypatch.undo()
    assert contend_until(lab, LeaseLock, contenders=2, until={"entered": 4}).notes == ()


# How it ends ---------------------------------------------------------------------------------------------------------


def contending(kernel):
    """A kernel in which contenders contend."""
    kernel.cell(SETNX)
    path = kernel.cell("lab = Lab(workers=1); _ = str(lab.place.path)")
    kernel.start("lab.contend(Setnx, seconds=60, faults=pause(60, 'contender1', when='waiting'))")
    wait_for(lambda: kinds_so_far(path, 1)["entered"] > 20, "for contenders inside")


def test_interrupted(kernel, hunt):
    contending(kernel)
    kernel.interrupt()
    with pytest.raises(CellError, match="KeyboardInterrupt"):
        kernel.answer()
    assert kernel.cell("""
run = contend_until(lab, Setnx, contenders=2, until={"entered": 4})
other = run_until(lab, Setnx, every=0.2, takes=0, until={"finished": 1})
_ = [run.verdict.most_inside, list(run.notes), list(other.notes)]
""") == [1, [], []]
    kernel.cell("lab.close()")
    hunt.nothing_left()


def test_the_kernel_dies(kernel, hunt):
    contending(kernel)
    hunt.family(kernel.pid)
    kernel.kill()
    hunt.nothing_left()
