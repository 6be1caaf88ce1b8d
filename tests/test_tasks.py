"""The tasks, the experiment that tells them what to do, and the section that must be alone: without servers."""

import contextlib
import json
import os
import threading
import time
from unittest import mock

import pytest
import redis
from celery import Celery
from celery.exceptions import Retry

from course_tasks import celery, experiment, mailroom, observation, place, section, tasks, waiting
from course_tasks.celery import ARGUMENTS, app
from course_tasks.experiment import Experiment
from course_tasks.outbox import RECIPIENT, Outbox
from course_tasks.place import Place, foreign_settings
from course_tasks.section import critical_section

WITH_LOCK = Experiment(run=1, lock=True)


class Recorded(list):
    """Stands for a task's recorder: the kinds of events, with their fields where there are any."""

    def __call__(self, kind, **fields):
        fields = {name: value for name, value in fields.items() if value is not None}
        self.append((kind, fields) if fields else kind)


class Lock:
    """A lock that does as it is told."""

    def __init__(self, gives=(True,), on_release=None):
        self.gives, self.on_release, self.released = list(gives), on_release, 0

    def acquire(self):
        return self.gives.pop(0)

    def release(self):
        self.released += 1
        if self.on_release:
            raise self.on_release


@pytest.fixture
def handed_over(monkeypatch):
    """Hands ``lock`` over as the run's lock."""

    def hand_over(lock):
        monkeypatch.setattr(experiment, "lock_factory", lambda run, pid: lambda client, name: lock)
        monkeypatch.setattr(experiment, "client", lambda server, pid: None)
        return lock

    return hand_over


# The section ---------------------------------------------------------------------------------------------------------


def test_without_a_lock_everybody_walks_in():
    record = Recorded()
    with critical_section("mail", Experiment(), record) as inside:
        assert inside
        record("work")
    assert record == ["entered", "work", "left"]


def test_who_failed_without_a_lock_has_left_too():
    record = Recorded()
    with pytest.raises(ZeroDivisionError), critical_section("mail", Experiment(), record):
        raise ZeroDivisionError
    assert record == ["entered", "left"]


def test_with_a_lock_it_is_acquired_first_and_given_back_last(handed_over):
    lock, record = handed_over(Lock()), Recorded()
    with critical_section("mail", WITH_LOCK, record) as inside:
        assert inside
        assert lock.released == 0
    assert record == ["acquired", "entered", "left", "released"]
    assert lock.released == 1


def test_a_lock_that_is_taken_is_skipped(handed_over):
    lock, record = handed_over(Lock(gives=[False])), Recorded()
    with critical_section("mail", WITH_LOCK, record) as inside:
        assert not inside
    assert record == ["skipped"]
    assert lock.released == 0


def test_a_lock_that_is_taken_is_waited_for(handed_over):
    handed_over(Lock(gives=[False, False, None, 1]))
    record = Recorded()
    with critical_section("mail", Experiment(run=1, lock=True, if_locked="wait"), record) as inside:
        assert inside
    assert [kind for kind, _ in record[:1]] == ["waiting"]
    assert record[1:] == ["acquired", "entered", "left", "released"]


@pytest.mark.parametrize(
    ("timeout", "said"), [(2, 2), (0.5, 0.5), (None, None), ("long", None), (print, None)], ids=repr
)
def test_the_lease_is_told_where_the_lock_has_one(handed_over, timeout, said):
    lock, record = handed_over(Lock()), Recorded()
    lock.timeout = timeout
    with critical_section("mail", WITH_LOCK, record):
        pass
    assert record[0] == (("acquired", {"lease": said}) if said else "acquired")
    assert lock.released == 1


def test_a_lock_that_was_lost_is_recorded_and_raises(handed_over):
    lock, record = handed_over(Lock(on_release=redis.exceptions.LockNotOwnedError("too late"))), Recorded()
    with pytest.raises(redis.exceptions.LockError, match="too late"), critical_section("mail", WITH_LOCK, record):
        pass
    assert record == ["acquired", "entered", "left", ("lost", {"detail": {"error": "too late"}})]
    assert lock.released == 1


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (redis.exceptions.LockNotOwnedError("too late"), [("lost", {"detail": {"error": "too late"}})]),
        (redis.ConnectionError("down"), [("unanswered", {"detail": {"error": "down"}})]),
        (KeyError("bug"), []),
    ],
)
def test_an_error_on_release_does_not_hide_the_tasks_own(handed_over, error, told):
    lock, record = handed_over(Lock(on_release=error)), Recorded()
    with pytest.raises(ZeroDivisionError), critical_section("mail", WITH_LOCK, record):
        raise ZeroDivisionError
    assert lock.released == 1
    assert record == ["acquired", "entered", "left", *told]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_the_lock_is_given_back_by_who_failed(handed_over, error):
    lock, record = handed_over(Lock()), Recorded()
    with pytest.raises(error), critical_section("mail", WITH_LOCK, record):
        raise error
    assert record == ["acquired", "entered", "left", "released"]
    assert lock.released == 1


def test_an_error_on_acquire_leaves_nothing_to_give_back(handed_over):
    lock, record = handed_over(Lock(gives=[])), Recorded()
    with pytest.raises(IndexError), critical_section("mail", WITH_LOCK, record):
        raise AssertionError("never inside")
    assert record == []
    assert lock.released == 0


# What a lock tells the task ------------------------------------------------------------------------------------------


class Renewing(Lock):
    """A lock with a lease, a fencing token and callbacks, and what calls them, as a thread would that renews it."""

    timeout = 2.0

    def __init__(self, fence=7, **options):
        super().__init__(**options)
        self.fence, self.lost = fence, threading.Event()
        self.on_renewed = self.on_lost = None

    def renew(self):
        self._call(self.on_renewed)

    def lose(self):
        self.fence = None
        self.lost.set()
        self._call(self.on_lost)

    def _call(self, callback):
        thread = threading.Thread(target=callback, args=[self])
        thread.start()
        thread.join()


TOO_LATE = redis.exceptions.LockNotOwnedError("too late")


def test_the_section_tells_the_fencing_token_and_keeps_it(handed_over):
    lock, record = handed_over(Renewing(fence=33)), Recorded()
    with critical_section("mail", WITH_LOCK, record) as inside:
        lock.fence = None  # as a lock has it that is held no longer
        assert inside.fence == 33
    assert record[0] == ("acquired", {"lease": 2.0, "token": 33})


@pytest.mark.parametrize("lock", [None, Lock(), Renewing(fence=None), Renewing(fence="33"), Renewing(fence=print)])
def test_where_there_is_no_token_there_is_none(handed_over, lock):
    handed_over(lock)
    with critical_section("mail", Experiment(run=1, lock=lock is not None), record := Recorded()) as inside:
        assert inside.fence is None
    assert not any("token" in event[1] for event in record if isinstance(event, tuple))


@pytest.mark.parametrize(("validity", "said"), [(0.0, 0.0), (1.5, 1.5), (1.98, 2.0), (print, 2.0)], ids=str)
def test_what_is_left_of_the_lease_counts_where_the_lock_knows(handed_over, validity, said):
    lock, record = handed_over(Renewing()), Recorded()
    lock.validity = validity
    with critical_section("mail", WITH_LOCK, record):
        lock.renew()  # where it is asked from another thread, it may not know
    assert record[0] == ("acquired", {"lease": said, "token": 7})
    assert ("renewed", {"lease": 2.0}) in record


def test_a_lease_runs_while_its_holder_is_paused_on_its_way_back(handed_over, monkeypatch):
    lock, record = handed_over(Lock(gives=[True, False, True])), Recorded()
    lock.timeout = 2
    monkeypatch.setattr(waiting, "time", mock.Mock(monotonic=lambda: 100.0, sleep=time.sleep))
    monkeypatch.setattr(section, "time", mock.Mock(monotonic=lambda: 101.5))
    with critical_section("mail", WITH_LOCK, record):
        pass
    assert record[0] == ("acquired", {"lease": 0.5})
    # Who waited has asked more than once, and only the last time matters.
    with critical_section("mail", Experiment(run=1, lock=True, if_locked="wait"), record):
        pass
    assert record[4:6] == [("waiting", {"t": 100.0}), ("acquired", {"lease": 2})]


def test_renewals_and_a_loss_are_recorded_when_they_happen(handed_over):
    lock, record = handed_over(Renewing(on_release=TOO_LATE)), Recorded()
    own = []
    lock.on_lost = own.append
    with critical_section("mail", WITH_LOCK, record) as inside:
        lock.renew()
        lock.renew()
        record("work")
        lock.lose()
        assert not inside.work(60)
    renewed = ("renewed", {"lease": 2.0})
    assert record[1:] == ["entered", renewed, renewed, "work", "lost", "left"]  # and "lost" not once more
    assert own == [lock]  # the lock's own callback is called too,
    assert (lock.on_renewed, lock.on_lost) == (None, own.append)  # and is back in its place
    lock.lose()
    assert record.count("lost") == 1


def test_a_callback_that_raises_has_been_recorded(handed_over):
    lock, record = handed_over(Renewing()), Recorded()
    lock.on_renewed = lambda lock: 1 / 0
    with critical_section("mail", WITH_LOCK, record), pytest.raises(ZeroDivisionError):
        lock.on_renewed(lock)
    assert ("renewed", {"lease": 2.0}) in record


def test_work_ends_when_the_lock_is_lost(handed_over):
    lock = handed_over(Renewing())
    with critical_section("mail", WITH_LOCK, Recorded()) as inside:
        assert inside.work(0)
        timer = threading.Timer(0.05, lock.lost.set)
        timer.start()
        assert not inside.work(60)
        timer.join()
        assert not inside.work(0)


def test_work_takes_its_time_where_nothing_is_lost(handed_over):
    for lock in (None, Lock(), Renewing()):
        handed_over(lock)
        with critical_section("mail", Experiment(run=1, lock=lock is not None), Recorded()) as inside:
            begin = time.monotonic()
            assert inside.work(0.05)
            assert time.monotonic() - begin >= 0.05


def test_who_did_not_notice_the_loss_fails_on_release(handed_over):
    lock, record = handed_over(Renewing(on_release=TOO_LATE)), Recorded()
    with pytest.raises(redis.exceptions.LockNotOwnedError), critical_section("mail", WITH_LOCK, record) as inside:
        assert inside.work(0)
        lock.lose()
    assert record[-2:] == ["lost", "left"]


class OutcomeUnknown(redis.exceptions.LockError):
    """What a lock raises that can't know whether the server has done what it was asked."""


def test_an_unknown_outcome_is_neither_released_nor_lost(handed_over):
    handed_over(Lock(on_release=OutcomeUnknown("no answer")))
    with pytest.raises(OutcomeUnknown), critical_section("mail", WITH_LOCK, record := Recorded()):
        pass
    assert record == ["acquired", "entered", "left", ("unanswered", {"detail": {"error": "no answer"}})]


def test_an_unknown_outcome_of_acquire_is_the_tasks_error(handed_over):
    lock, record = handed_over(Lock()), Recorded()
    lock.acquire = mock.Mock(side_effect=OutcomeUnknown("no answer"))
    with pytest.raises(OutcomeUnknown), critical_section("mail", WITH_LOCK, record):
        raise AssertionError("never inside")
    assert record == []


# The experiment ------------------------------------------------------------------------------------------------------


@pytest.fixture
def here(monkeypatch, tmp_path):
    """This process belongs to a lab, of which there is nothing but the directory."""
    monkeypatch.setenv(place.VARIABLE, str(tmp_path))
    return Place(tmp_path)


def test_there_is_no_experiment_outside_a_lab(monkeypatch):
    monkeypatch.delenv(place.VARIABLE, raising=False)
    assert place.lab() is None
    assert experiment.current() == Experiment(run=0, task=None, every=None, takes=0.0, if_locked="skip", lock=False)
    assert experiment.recorder(0, "worker1")("entered") is None


def test_the_present_experiment_is_what_the_notebook_wrote(here):
    assert experiment.current() == Experiment()
    plan = Experiment(run=3, task="tasks.add", every=0.5, takes=1.5, if_locked="wait", lock=True)
    plan.write(here)
    assert experiment.current() == plan
    assert json.loads(here.experiment.read_text())["takes"] == 1.5
    assert [path.name for path in here.path.iterdir()] == ["experiment.json"]


def test_nobody_reads_half_an_experiment(here):
    plans = [Experiment(run=run, task="tasks.add" * 1000) for run in range(2)]
    plans[0].write(here)
    seen, over = [], threading.Event()

    def read():
        while not over.is_set():
            seen.append(experiment.current().run)

    with contextlib.ExitStack() as stack:
        thread = threading.Thread(target=read)
        thread.start()
        stack.callback(thread.join)
        stack.callback(over.set)
        for number in range(300):
            plans[number % 2].write(here)
    assert set(seen) <= {0, 1}
    assert seen


def test_a_lab_is_where_the_variable_says(here):
    assert place.lab().path == here.path
    assert place.lab().url("broker") == f"redis+socket://{here.path}/broker.sock"
    assert Place("/a b/ü%").url("lock") == "redis+socket:///a%20b/%C3%BC%25/lock.sock"


def test_settings_that_lead_elsewhere():
    foreign = (
        "CELERY_BROKER_URL REDIS_URL REDIS_HOST VALKEY_URL BROKER_URL PYTHONWARNINGS PYTHONHOME C_FORCE_ROOT".split()
    )
    harmless = "PATH HOME MY_REDIS PYTHONPATH LAB_REDIS_SERVER COURSE_TASKS_LAB REDISTRIBUTABLE".split()
    assert foreign_settings(dict.fromkeys([*foreign, *harmless], "x")) == foreign


# The tasks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def plain(monkeypatch, tmp_path):
    """Tasks run here, in this process, outside a lab; yields one's own data directory."""
    monkeypatch.delenv(place.VARIABLE, raising=False)
    monkeypatch.setattr(place, "own_directory", lambda: tmp_path)
    return tmp_path


def test_names():
    assert {name for name in app.tasks if not name.startswith("celery.")} == {
        "tasks.add",
        "tasks.data_extractor",
        "tasks.send_mail_from_queue",
    }
    assert set(ARGUMENTS) <= set(app.tasks)


def test_add(plain):
    assert tasks.add.apply((2, 3)).get() == 5


def test_data_extractor_is_retried_one_two_four_and_eight_seconds_later(plain, monkeypatch):
    countdowns = []

    def retry(exc, countdown):
        countdowns.append(countdown)
        return Retry(exc=exc, when=countdown)

    monkeypatch.setattr(tasks.data_extractor, "retry", retry)
    for retries in range(4):
        tasks.data_extractor.push_request(retries=retries)
        try:
            with pytest.raises(Retry):
                tasks.data_extractor.run()
        finally:
            tasks.data_extractor.pop_request()
    assert countdowns == [1, 2, 4, 8]
    assert tasks.data_extractor.max_retries == 4


def test_data_extractor_fails_for_good_with_its_own_error(plain):
    outcome = tasks.data_extractor.apply(retries=4)
    assert outcome.state == "FAILURE"
    assert isinstance(outcome.result, IndexError)


def test_mail_goes_out_oldest_first_once_each(plain, capsys):
    Outbox(plain / "outbox.sqlite").write(2)
    for number in (1, 2):
        assert tasks.send_mail_from_queue.apply().get() is None
        assert f"Email message successfully sent, [{RECIPIENT}]\nrelease resources\n" in capsys.readouterr().out
        assert len(mailroom.letters(plain / "inbox")) == number
    assert tasks.send_mail_from_queue.apply().get() is None
    assert "successfully" not in capsys.readouterr().out  # the outbox is empty
    assert sorted(letter["X-Mail-Number"] for letter in mailroom.letters(plain / "inbox")) == ["1", "2"]


def test_a_mail_that_could_not_be_delivered_stays_unsent(plain, monkeypatch):
    def refuse(*_):
        raise OSError("no such service")

    monkeypatch.setattr(mailroom, "deliver", refuse)
    assert tasks.send_mail_from_queue.apply().state == "FAILURE"
    assert mailroom.outbox(Experiment()).oldest_unsent().number == 1


def test_a_skipped_task_says_so(plain, monkeypatch):
    @contextlib.contextmanager
    def locked(*_):
        yield False

    monkeypatch.setattr(section, "critical_section", locked)
    assert tasks.send_mail_from_queue.apply().get() == observation.SKIPPED
    assert not (plain / "inbox").exists()


def test_a_task_whose_lock_is_lost_leaves_the_mail_unsent(plain, monkeypatch):
    @contextlib.contextmanager
    def lost(*_):
        yield mock.Mock(work=lambda seconds: False)

    monkeypatch.setattr(section, "critical_section", lost)
    assert tasks.send_mail_from_queue.apply().get() == observation.LOST
    assert mailroom.outbox(Experiment()).oldest_unsent().number == 1
    assert not (plain / "inbox").exists()


def test_the_mail_goes_out_before_the_write_that_may_be_refused(plain, monkeypatch, capsys):
    @contextlib.contextmanager
    def stale(*_):
        mailroom.outbox(Experiment()).mark_sent(9, "worker2", 2)
        yield mock.Mock(work=lambda seconds: True, fence=1)

    monkeypatch.setattr(section, "critical_section", stale)
    assert tasks.send_mail_from_queue.apply().get() is None
    assert mailroom.outbox(Experiment()).oldest_unsent().number == 1
    assert [letter["X-Mail-Number"] for letter in mailroom.letters(plain / "inbox")] == ["1"]
    assert "Email message successfully sent" in capsys.readouterr().out


@pytest.mark.parametrize(("limit", "options"), [(None, {}), (1.5, {"soft_time_limit": 1.5})])
def test_beat_sends_with_the_runs_soft_time_limit(here, monkeypatch, limit, options):
    Experiment(run=1, task="tasks.add", every=2.0, soft_time_limit=limit).write(here)
    another = Celery("another", set_as_current=False)
    monkeypatch.setattr(celery, "app", another)
    with mock.patch.dict(os.environ):  # what would lead elsewhere is taken out of it
        celery.configure()
    (entry,) = another.conf.beat_schedule.values()
    assert (entry["task"], entry["schedule"], entry["options"]) == ("tasks.add", 2.0, options)


@pytest.mark.parametrize(
    ("error", "described"),
    [
        (ZeroDivisionError("by zero"), "ZeroDivisionError('by zero')"),
        (KeyError(), "KeyError()"),
        (redis.exceptions.LockNotOwnedError("too late"), "LockNotOwnedError('too late')"),
    ],
)
def test_errors_are_recorded_by_their_names(error, described):
    assert observation.described(error) == described


def test_lanes():
    assert observation.lane("worker1@localhost") == "worker1"
    assert observation.lane("celery@host.example") == "celery"
