"""What a lock tells its task, at work: fencing tokens, renewals, a loss, a soft time limit. Real workers, a real database."""

import functools
import time

import pytest
import redis
from labs import GetThenSet, Setnx, kinds, run_until

from course_tasks import pause
from course_tasks.locks import FencedLock, RenewingLock

LEASE = 1.0  # seconds
# Longer than the lease by what another worker needs to get in, work and write, on a machine that is busy with other things.
PAUSE = 4.0


def told(run, kind, *columns):
    """The events of one kind, as tuples of these columns."""
    return list(run.events.loc[run.events["kind"] == kind, list(columns)].itertuples(index=False, name=None))


def paused(lab, **options):
    """A run with a fencing lock whose holder is paused for longer than its lease, while it works."""
    lock = functools.partial(FencedLock, timeout=LEASE)
    faults = [pause(PAUSE, "holder", when="read")]
    # It has found its lock lost when it gives it back: after its mail and its write.
    until = {"fault ended": 1, "lost": 1}
    return run_until(lab, lock, every=0.5, takes=0.3, mails=50, faults=faults, until=until, **options)


def test_the_database_refuses_a_stale_write_and_the_mail_is_out_all_the_same(lab):
    run = paused(lab)
    [(lane, mail, token, detail)] = told(run, "refused", "lane", "mail", "token", "detail")
    assert (mail, token) == (1, 1)
    assert detail["seen"] > 1
    assert ("fault began", lane) in told(run, "fault began", "kind", "lane")
    # In the order of the commands: the mail goes out, and only then the database is asked.
    delivered = run.events[(run.events["kind"] == "delivered") & (run.events["mail"] == 1)]
    assert [detail["sender"] for detail in delivered["detail"]][-1] == lane
    assert delivered.index[-1] < run.events.index[run.events["kind"] == "refused"][0]
    assert run.inbox.query("mail == 1")["sender"].nunique() == 2
    assert (run.verdict.refused, run.verdict.stale, run.verdict.duplicates[1]) == (1, 0, 2)
    assert "Refused, as a newer token was here" in lab.logs(lane)
    # Each stay has a token of its own, in the order in which the lock was given.
    tokens = [token for (token,) in told(run, "acquired", "token")]
    assert tokens == list(range(1, len(tokens) + 1))


def test_without_fencing_the_database_accepts_it(lab):
    run = paused(lab, fencing=False)
    assert (run.verdict.refused, run.verdict.stale, run.verdict.outcome) == (0, 1, "invalid")
    [witness] = [witness for witness in run.verdict.witnesses if witness.kind == "stale write"]
    assert witness.tokens[0] == 1 < witness.tokens[1]


def test_an_idempotent_mail_arrives_once_though_it_is_sent_twice(lab):
    run = paused(lab, idempotent=True)
    assert told(run, "dropped", "lane", "mail") == [("inbox", 1)]
    assert run.verdict.duplicates == {}
    assert run.inbox["mail"].is_unique
    assert (run.verdict.dropped, run.verdict.refused) == (1, 1)


def test_a_lease_is_renewed_as_long_as_the_work_goes_on(lab):
    lock = functools.partial(RenewingLock, timeout=LEASE)
    run = run_until(lab, lock, every=0.5, takes=2.5, until={"finished": 1, "skipped": 1})
    # In the name of the task inside, though a thread of its own has recorded it.
    entered = run.events[run.events["kind"] == "entered"].iloc[0]
    renewed = run.events[(run.events["kind"] == "renewed") & (run.events["task"] == entered["task"])]
    assert set(told(run, "renewed", "lease")) == {(LEASE,)}
    assert set(renewed["lane"]) == {entered["lane"]}
    assert set(renewed["pid"]) == {entered["pid"]}
    assert len(renewed) >= 2
    [held] = run.intervals[run.intervals["kind"] == "holding"].head(1).itertuples()
    assert (held.closed_by, held.end - held.begin > 2 * LEASE) == ("released", True)
    assert "lost" not in kinds(run)


class Silent(Setnx):
    """Waits inside its acquire() without anybody asking it to, and can't be told not to."""

    timeout = 30

    def acquire(self):
        while not super().acquire():
            time.sleep(0.01)
        return True


def test_a_task_whose_lock_waits_without_a_word_is_seen_to_wait(lab):
    run = run_until(lab, Silent, every=0.3, takes=1, until={"waiting": 2, "entered": 2})
    assert run.verdict.outcome == "valid"
    assert run.verdict.contended >= 2
    waits = run.intervals[run.intervals["kind"] == "waiting"]
    assert (waits["until"] - waits["begin"]).max() > 0.3
    assert set(told(run, "acquired", "lease")) == {(30,)}  # who waited inside acquire() has the whole lease, still


def test_who_stands_still_at_a_breakpoint_does_not_wait_for_the_lock(lab):
    run = run_until(lab, GetThenSet, every=60, takes=0, faults=pause(0.7, after="GET"), until={"finished": 1})
    assert {"fault ended", "acquired"} <= set(kinds(run))
    assert run.verdict.waited == 0


class Stolen(RenewingLock):
    """Its key is taken away as soon as it has been given."""

    def acquire(self, *how, **options):
        given = super().acquire(*how, **options)
        if given:
            self.redis.set(self.name, "somebody else")
        return given


def test_work_ends_when_the_lock_is_lost_and_the_mail_stays_unsent(lab):
    lock = functools.partial(Stolen, timeout=LEASE)
    run = run_until(lab, lock, every=0.5, takes=60, mails=1, until={"finished": 1})
    task = run.events[run.events["kind"] == "finished"].iloc[0]["task"]
    mine = run.events[run.events["task"] == task]
    story = [kind for kind in mine["kind"] if kind not in ("sent", "received")]
    assert sorted(story[-3:]) == ["finished", "left", "lost"]
    assert story[:4] == ["started", "acquired", "entered", "read"]
    assert len(run.inbox) == 0
    assert any("The lock was lost: leaving the mail unsent" in lab.logs(worker) for worker in lab.workers)
    assert "failed" not in kinds(run)
    assert run.notes == ()


def test_a_soft_time_limit_ends_the_work_gives_the_lock_back_and_leaves_the_mail(lab):
    run = run_until(lab, Setnx, every=1, takes=60, mails=1, soft_time_limit=0.5, until={"failed": 2})
    task = run.events[run.events["kind"] == "failed"].iloc[0]["task"]
    mine = run.events[run.events["task"] == task]
    assert list(mine["kind"])[-4:] == ["read", "left", "released", "failed"]
    assert mine.iloc[-1]["detail"] == {"error": "SoftTimeLimitExceeded()"}
    assert len(run.inbox) == 0
    # The next one is given the lock, and tries again.
    assert [mail for (mail,) in told(run, "read", "mail")][:2] == [1, 1]
    assert any("raised SoftTimeLimitExceeded()" in note for note in run.notes)


class Unanswered(Setnx):
    """The server does what it is told on release, and nobody hears of it."""

    def release(self):
        super().release()
        raise redis.TimeoutError("no answer")


def test_a_release_that_is_not_answered_is_neither_released_nor_lost(lab):
    run = run_until(lab, Unanswered, every=0.5, takes=0, until={"failed": 1})
    task = run.events[run.events["kind"] == "failed"].iloc[0]["task"]
    mine = run.events[run.events["task"] == task]
    assert list(mine["kind"])[-3:] == ["left", "unanswered", "failed"]
    assert list(mine["detail"])[-2] == {"error": "no answer"}
    assert not {"released", "lost"} & set(mine["kind"])


def test_without_a_soft_time_limit_the_work_goes_on(lab):
    run = run_until(lab, Setnx, every=0.5, takes=2, mails=1, until={"finished": 1})
    assert "failed" not in kinds(run)
    assert len(run.inbox) == 1


@pytest.mark.parametrize("lock", [Setnx, functools.partial(RenewingLock, timeout=LEASE)], ids=["Setnx", "RenewingLock"])
def test_a_lock_without_a_token_is_fenced_nowhere(lab, lock):
    run = run_until(lab, lock, every=0.5, takes=0, until={"finished": 1})
    assert not {"written", "refused"} & set(kinds(run))
    assert run.events["token"].isna().all()
