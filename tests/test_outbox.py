"""The outbox, also where many processes come at once; and the fence before it."""

import json
import os
import stat
import subprocess
import sys

import pytest
from conftest import ROOT

from course_tasks import mailroom, place
from course_tasks.experiment import Experiment
from course_tasks.outbox import RECIPIENT, Mail, Outbox, _open

# The outbox ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def outbox(tmp_path):
    return Outbox(tmp_path / "outbox.sqlite")


def test_an_empty_outbox(outbox):
    assert outbox.oldest_unsent() is None
    assert outbox.unsent() == []
    outbox.write(0)
    assert outbox.oldest_unsent() is None


def test_mails_are_numbered_from_one_and_taken_oldest_first(outbox):
    outbox.write(2)
    assert outbox.oldest_unsent() == Mail(1, RECIPIENT, "Your order no. 1")
    assert outbox.oldest_unsent().number == 1  # looking changes nothing: that is the lesson
    outbox.mark_sent(1, "worker1")
    assert outbox.oldest_unsent().number == 2
    outbox.write(1)
    assert outbox.unsent() == [2, 3]
    for number in (3, 2):
        outbox.mark_sent(number, "worker2")
    assert outbox.oldest_unsent() is None


def test_a_second_outbox_at_the_same_place_is_the_same(outbox):
    outbox.write(3)
    outbox.mark_sent(1, "worker1")
    again = Outbox(outbox.path)
    assert again.unsent() == [2, 3]
    again.mark_sent(2, "worker2")
    assert outbox.unsent() == [3]


def test_it_has_a_write_ahead_log(outbox):
    with _open(outbox.path) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


TOGETHER = """
import sys, time
from pathlib import Path
from course_tasks import mailroom
from course_tasks.outbox import Outbox

def wait(path):
    print("ready", flush=True)
    while not Path(path).exists():
        time.sleep(0.001)

{}
"""


def together(tmp_path, code, processes=8):
    """Run ``code`` in so many processes that all begin at the same moment; return what each has printed after that.

    The arguments of each are ``tmp_path`` and its number, from 1.
    """
    crowd = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", TOGETHER.replace("{}", code), str(tmp_path), str(number)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_DATA_HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(1, processes + 1)
    ]
    for process in crowd:
        assert process.stdout.readline() == "ready\n", process.communicate()
    (tmp_path / "go").touch()
    told = [process.communicate(timeout=120) for process in crowd]
    assert [process.returncode for process in crowd] == [0] * processes, told
    return [printed for printed, _ in told]


def test_many_at_once(tmp_path, monkeypatch):
    """Outbox and Maildir are made by whoever comes first; no number is given out twice, no mail lost."""
    together(
        tmp_path,
        """
from email.message import EmailMessage
wait(sys.argv[1] + "/go")
box = Outbox(sys.argv[1] + "/new.sqlite")
for _ in range(20):
    box.write(1)
    mailroom.file(EmailMessage(), sys.argv[1] + "/inbox")
# As the workers in three terminals do: one's own outbox is filled once.
from course_tasks.experiment import Experiment
assert mailroom.outbox(Experiment()).oldest_unsent().number == 1
""",
    )
    assert Outbox(tmp_path / "new.sqlite").unsent() == list(range(1, 161))
    assert sorted(path.name for path in tmp_path.glob("new.sqlite*")) == ["new.sqlite"]
    assert len(mailroom.letters(tmp_path / "inbox")) == 160
    assert stat.S_IMODE((tmp_path / "inbox").stat().st_mode) == 0o700
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv(place.VARIABLE, raising=False)
    assert mailroom.outbox(Experiment()).unsent() == list(range(1, 101))


def test_ones_own_outbox_is_not_filled_again(tmp_path, monkeypatch):
    monkeypatch.delenv(place.VARIABLE, raising=False)
    monkeypatch.setattr(place, "own_directory", lambda: tmp_path)
    box = mailroom.outbox(Experiment())
    with _open(box.path) as db:
        db.execute("UPDATE mail SET sent_by = 'worker1'")
    assert mailroom.outbox(Experiment()).unsent() == []


# The fence -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def writes():
    """What an outbox's recorder hears: ``(kind, mail, token, highest token seen before)``."""
    return []


@pytest.fixture
def fenced(tmp_path, writes):
    """Returns an outbox of three mails at one and the same place, with fencing or without."""

    def record(kind, mail, token, detail):
        writes.append((kind, mail, token, detail and detail["seen"]))

    Outbox(tmp_path / "fenced.sqlite").write(3)
    return lambda fencing=True: Outbox(tmp_path / "fenced.sqlite", fencing, record)


def test_a_lower_token_is_refused_an_equal_one_accepted(fenced, writes):
    assert fenced().mark_sent(1, "worker1", 5)
    assert not fenced().mark_sent(2, "worker2", 4)
    assert fenced().unsent() == [2, 3]  # what was refused was not written
    assert fenced().mark_sent(2, "worker1", 5)
    assert fenced().mark_sent(3, "worker3", 33)
    assert not fenced().mark_sent(3, "worker1", 5)
    assert writes == [
        ("written", 1, 5, None),
        ("refused", 2, 4, 5),
        ("written", 2, 5, 5),
        ("written", 3, 33, 5),
        ("refused", 3, 5, 33),
    ]


def test_a_token_that_was_refused_has_not_moved_the_fence(fenced, writes):
    fenced().mark_sent(1, "worker1", 5)
    fenced().mark_sent(1, "worker2", 3)
    assert fenced().mark_sent(1, "worker1", 5)
    assert writes[-1] == ("written", 1, 5, 5)


def test_without_fencing_a_stale_write_is_accepted_and_told(fenced, writes):
    assert fenced(False).mark_sent(1, "worker2", 2)
    assert fenced(False).mark_sent(2, "worker1", 1)
    assert fenced().unsent() == [3]
    assert writes == [("written", 1, 2, None), ("written", 2, 1, 2)]
    # The highest token is remembered all the same.
    assert not fenced().mark_sent(3, "worker1", 1)


def test_a_write_without_a_token_passes_every_fence_and_is_not_recorded(fenced, writes):
    fenced().mark_sent(1, "worker1", 5)
    assert fenced().mark_sent(2, "worker2")
    assert fenced().unsent() == [3]
    assert len(writes) == 1


FENCED = """
import json
token = int(sys.argv[2])
told = []

def record(kind, mail, token, detail):
    told.append((kind, token, detail and detail["seen"]))

box = Outbox(sys.argv[1] + "/race.sqlite", True, record)
wait(sys.argv[1] + "/go")
for number in range(30):
    box.mark_sent(1, "worker", token + 8 * number)
print(json.dumps(told))
"""


def test_of_many_writers_at_once_none_is_accepted_after_a_higher_token(tmp_path):
    """Comparing and writing are one step: with a look first and a write after it, some would slip through."""
    Outbox(tmp_path / "race.sqlite").write(1)
    told = [write for printed in together(tmp_path, FENCED) for write in json.loads(printed)]
    written = sorted((token, seen or 0) for kind, token, seen in told if kind == "written")
    assert len(written) >= 30  # at least the highest of each round
    # In the order of their tokens, each saw just the one before: so that was the order in which they were accepted.
    assert [seen for _, seen in written] == [0, *(token for token, _ in written[:-1])]
    refused = [(token, seen) for kind, token, seen in told if kind == "refused"]
    assert refused, "nobody came too late"
    assert all(token < seen for token, seen in refused)
