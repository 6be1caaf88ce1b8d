"""Runs: what the lab shows without a lock and with one, and that every run starts clean."""

import json
import os
import signal
import tempfile

import psutil
import pytest
from labs import Kernel, Setnx, kinds, most_inside, pid_of, run_until, wait_for

from course_tasks import kill
from course_tasks.experiment import Experiment
from course_tasks.mailroom import letters
from course_tasks.outbox import Outbox

MAIL = "tasks.send_mail_from_queue"


# What a lock is for --------------------------------------------------------------------------------------------------


def test_without_a_lock_tasks_overlap_and_a_mail_goes_out_twice(lab):
    run = run_until(lab, every=1, takes=2.2, until={"delivered": 2, "entered": 3})
    assert most_inside(run) >= 2
    assert run.verdict.outcome == "invalid"
    assert run.verdict.most_inside == most_inside(run)
    assert {witness.kind for witness in run.verdict.witnesses} == {"overlap", "duplicate"}
    assert max(run.verdict.duplicates.values()) >= 2
    # A duplicate is a second message in the inbox, not a second line about one.
    mail = next(iter(run.verdict.duplicates))
    copies = run.inbox[run.inbox["mail"] == mail]
    assert list(copies["copy"]) == list(range(1, len(copies) + 1))
    assert copies["message_id"].nunique() == len(copies) >= 2
    assert set(copies["sender"]) <= set(lab.workers)
    assert set(copies["subject"]) == {f"Your order no. {mail}"}
    # Three workers, one lane each.
    assert kinds(run, "beat").count("sent") == run.verdict.ticks >= 3
    assert {"worker1", "worker2", "worker3"} == set(run.events[run.events["kind"] == "entered"]["lane"])
    assert "invalid" in repr(run).lower()


@pytest.mark.parametrize("if_locked", ["skip", "wait"])
def test_with_a_lock_one_at_a_time_gets_in(lab, if_locked):
    busy = {"skip": "skipped", "wait": "waiting"}[if_locked]
    run = run_until(lab, Setnx, every=0.5, takes=1, if_locked=if_locked, until={busy: 2, "delivered": 2})
    assert most_inside(run) == 1
    assert run.verdict.outcome == "valid", repr(run)
    assert run.verdict.duplicates == {}
    assert run.verdict.contended >= 1
    assert run.inbox["mail"].is_unique
    assert list(run.inbox["mail"]) == sorted(run.inbox["mail"])  # oldest first
    if if_locked == "skip":
        assert "skipped" in kinds(run)
        assert "waiting" not in kinds(run)
        assert any("Locked: leaving the mail" in lab.logs(worker) for worker in lab.workers)
    else:
        assert "waiting" in kinds(run)
        assert "skipped" not in kinds(run)
    assert run.notes == ()


def test_each_attempt_tells_its_story_in_order(lab):
    run = run_until(lab, Setnx, every=0.5, takes=0, until={"finished": 2})
    assert run.verdict.outcome != "invalid"
    whole = [list(attempt["kind"]) for _, attempt in run.events[run.events["task"].notna()].groupby("task", sort=False)]
    told = ["sent", "received", "started", "acquired", "entered", "read", "left", "released", "finished"]
    assert told in whole
    assert kinds(run)[0] == "began"
    assert kinds(run)[-1] == "ended"
    assert len(run.inbox) == kinds(run).count("delivered") >= 1
    assert {"lane", "kind", "begin", "end"} <= set(run.intervals.columns)


def test_the_lab_invokes_tasks_until_all_are_done(lab):
    run = lab.invoke("tasks.add", times=7, takes=0.4, seconds=60)
    assert kinds(run, "invoker").count("sent") == 7
    assert kinds(run).count("finished") == 7
    assert set(run.events[run.events["kind"] == "started"]["lane"]) == set(lab.workers)
    assert len(run.inbox) == 0
    assert "sent " in lab.logs("invoker")


def test_the_lab_invokes_mail_with_a_mail_for_each(lab):
    run = lab.invoke(MAIL, times=3, takes=0, seconds=60)
    assert kinds(run).count("finished") == 3
    assert len(run.inbox) == 3


def test_invoking_gives_up_after_some_seconds(lab):
    run = lab.invoke("tasks.add", times=2, takes=60, seconds=2)
    assert kinds(run).count("started") == 2
    assert kinds(run).count("finished") == 0


# Clean starts --------------------------------------------------------------------------------------------------------


def test_a_run_sees_nothing_of_the_one_before(lab):
    # It ends with every worker busy, more tasks queued, the lock held, its holder killed, and mail unsent.
    dirty = run_until(
        lab,
        Setnx,
        every=0.25,
        takes=60,
        if_locked="wait",
        faults=[kill(when="entered")],
        until={"sent": 6, "waiting": 1, "fault ended": 1},
    )
    assert kinds(dirty).count("sent") > kinds(dirty).count("started")
    assert {"acquired", "waiting"} <= set(kinds(dirty))
    assert "left" not in kinds(dirty)
    assert "finished" not in kinds(dirty)
    assert len(dirty.inbox) == 0

    broker = lab.client("broker")
    assert [key for key in broker.keys() if not key.startswith(b"_kombu.binding")] == []
    assert lab.client("lock").dbsize() == 0
    lab.await_workers()
    clean = run_until(lab, Setnx, every=0.5, takes=0, until={"finished": 2})
    before, after = set(dirty.events["task"].dropna()), set(clean.events["task"].dropna())
    assert before
    assert after
    assert not before & after
    assert clean.inbox["mail"].iloc[0] == 1  # a fresh outbox
    assert clean.verdict.outcome != "invalid"
    assert clean.notes == ()
    assert all(psutil.pid_exists(row[2]) for row in lab.processes.rows)
    assert "worker3" in lab.invoke("tasks.add", times=9, takes=0.2, seconds=60).events["lane"].unique()


def test_a_task_that_still_runs_at_the_end_stays_open(lab):
    run = run_until(lab, every=60, takes=60, until={"read": 1}, mails=1)
    (inside,) = run.intervals[run.intervals["kind"] == "inside"].itertuples()
    assert inside.closed_by == "run ended"
    assert inside.end != inside.end  # NaN
    assert kinds(run).count("entered") == 1
    assert run.verdict.unsent == (1,)


def test_what_was_sent_between_runs_is_over_when_a_run_starts(lab):
    """One task fails and waits for its retry, three more keep the workers busy, others are still queued."""
    lost = [lab.send("tasks.data_extractor").id]
    wait_for(
        lambda: any(f"{lost[0]}] retry: Retry in 1s" in lab.logs(worker) for worker in lab.workers), "for the retry"
    )
    Experiment(takes=60).write(lab.place)
    lost += [lab.send("tasks.add", 1, 1).id for _ in range(5)]
    run = run_until(lab, every=0.5, takes=0, until={"finished": 2})
    assert not set(lost) & set(run.events["task"].dropna())
    assert "finished" in kinds(run)
    assert kinds(run).count("started") >= 2


def test_mail_between_runs_goes_into_a_box_of_its_own(lab):
    """Sent by hand, or by beat in a terminal: it works, and no run knows of it."""
    between = Outbox(lab.place.outbox(0))
    assert between.unsent() == []
    between.write(1)
    lab.send(MAIL)
    wait_for(lambda: between.unsent() == [], "for the mail to be sent")
    run = run_until(lab, every=60, takes=0, until={"finished": 1})
    assert list(run.inbox["mail"]) == [1]


def test_a_task_keeps_to_the_run_that_it_began_in(lab, monkeypatch):
    """A worker in a terminal isn't ended with the run: its mail must not land in the next run's inbox."""
    monkeypatch.setattr(lab, "end", lambda names, end=lab.end: end([name for name in names if name == "beat"]))
    monkeypatch.setattr(lab, "send_signal", lambda name, number: None)
    first = run_until(lab, every=60, takes=3, until={"read": 1})
    monkeypatch.undo()
    assert kinds(first).count("entered") == 1
    lab.unsettled = False
    late = lab.place.inbox(first.number)
    second = run_until(lab, every=60, takes=0, until=lambda: late.exists() and letters(late))
    assert list(second.inbox["mail"]) == [1]
    assert kinds(second).count("delivered") == 1


def test_a_worker_that_was_killed_from_a_terminal_is_back_in_the_next_run(lab):
    lab.await_workers()
    os.kill(pid_of(lab, "worker2"), signal.SIGKILL)
    wait_for(lambda: lab.exit_status("worker2") == -signal.SIGKILL)
    run = lab.invoke("tasks.add", times=6, takes=0.5, seconds=60)
    assert set(run.events[run.events["kind"] == "started"]["lane"]) == set(lab.workers)


class Assassin:
    """A lock that kills the worker whose task asks for it."""

    def __init__(self, client, name):
        """Nothing yet."""

    def acquire(self):
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()

    def release(self):
        """Never comes here."""


def test_workers_that_die_by_themselves_do_not_end_the_run(lab):
    run = run_until(lab, Assassin, every=0.1, takes=0, until={"started": 3, "sent": 5})
    assert kinds(run)[-1] == "ended"
    assert "finished" not in kinds(run)
    assert lab.invoke("tasks.add", times=3, takes=0, seconds=60).number == run.number + 1


# In a process of its own, meanwhile -----------------------------------------------------------------------------------


MEANWHILE = """
import json
from course_tasks import Lab

def told(run):
    return {"outcome": run.verdict.outcome, "witnesses": len(run.verdict.witnesses), "notes": run.notes,
            "events": [[kind, detail or {}] for kind, detail in zip(run.events["kind"], run.events["detail"])]}

with Lab(workers=1) as lab:
    short = lab.run(every=0.5, takes=0.1, seconds=3)
    long = lab.run(every=0.5, takes=1, seconds=3)
    crawl = lab.invoke("tasks.data_extractor", times=1, takes=0, seconds=120)
    log = str(lab.logs("worker1"))
print(json.dumps({"short": told(short), "long": told(long), "crawl": told(crawl), "log": log}))
"""


@pytest.fixture(scope="module", autouse=True)
def _meanwhile(tmp_path_factory, module_tmp):
    """The crawler takes 15 s to give up, so it begins first and does so while the other tests go on."""
    path = tmp_path_factory.mktemp("meanwhile")
    with (
        tempfile.TemporaryDirectory(prefix="course-") as tmp,
        Kernel(path, env={"TMPDIR": tmp}, source=MEANWHILE) as kernel,
    ):
        yield kernel


@pytest.fixture(scope="module")
def meanwhile(_meanwhile):
    output, _ = _meanwhile.process.communicate(timeout=180)
    assert _meanwhile.process.returncode == 0, _meanwhile.log.read_text()
    return json.loads(output)


def test_one_worker_is_never_invalid(meanwhile):
    """The negative control: with tasks that are short, and with tasks that fill the queue."""
    for run in (meanwhile["short"], meanwhile["long"]):
        kinds = [kind for kind, _ in run["events"]]
        assert kinds.count("entered") >= 2
        assert run["outcome"] in ("valid", "unknown")
        assert run["witnesses"] == 0


def test_the_crawler_is_retried_with_exponential_backoff_and_fails_for_good(meanwhile):
    crawl = meanwhile["crawl"]
    kinds = [kind for kind, _ in crawl["events"]]
    assert kinds.count("started") == 5
    assert [detail["countdown"] for kind, detail in crawl["events"] if kind == "retried"] == [1, 2, 4, 8]
    assert kinds.count("failed") == 1
    assert kinds[-2:] == ["failed", "ended"]
    assert "finished" not in kinds
    assert crawl["events"][-2][1]["error"] == "IndexError('list index out of range')"
    assert crawl["notes"] == []
    for number, page in enumerate(["home", "products", "prices", "contact"]):
        assert f"Crawling page {number}: {page}" in meanwhile["log"]
