"""The outbox, the real mail service over LMTP, and the inbox."""

import contextlib
import email.utils
import json
import os
import re
import smtplib
import socket
import stat
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from labs import Recorded, wait_for

from course_tasks import mailroom, place
from course_tasks.experiment import Experiment
from course_tasks.lab import servers
from course_tasks.mailroom import Mail, Outbox
from course_tasks.place import Place

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
    assert outbox.oldest_unsent() == Mail(1, mailroom.RECIPIENT, "Your order no. 1")
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
    with mailroom._open(outbox.path) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


TOGETHER = """
import sys, time
from pathlib import Path
from course_tasks import mailroom
from course_tasks.mailroom import Outbox

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
    for number in box.unsent():
        assert box.mark_sent(number, "worker1")
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


# The inbox -----------------------------------------------------------------------------------------------------------


def test_outside_a_lab_mail_is_filed_in_ones_own_inbox(tmp_path, monkeypatch):
    monkeypatch.delenv(place.VARIABLE, raising=False)
    monkeypatch.setattr(place, "own_directory", lambda: tmp_path)
    mailroom.deliver(Mail(7, "reader@example.email", "Your order no. 7"), "celery", Experiment())
    (letter,) = mailroom.letters(tmp_path / "inbox")
    assert letter["Subject"] == "Your order no. 7"
    assert letter["X-Run"] is None


# The service ---------------------------------------------------------------------------------------------------------


def listens(path):
    """Whether somebody answers on the Unix socket at ``path``; its file is there a moment sooner."""
    with socket.socket(socket.AF_UNIX) as line:
        return line.connect_ex(str(path)) == 0


@pytest.fixture(scope="module")
def service(module_tmp):
    """A directory with a history server and the mail service, started as the warden would; yields its Place."""
    where = Place(module_tmp)
    for run in (1, 2, 3, 4, 5):
        where.run(run).mkdir(mode=0o700)
    environ = {**os.environ, place.VARIABLE: str(module_tmp), "PYTHONPATH": str(ROOT)}
    commands = [
        servers.command(where, "history"),
        [sys.executable, "-W", "error", "-P", "-m", "course_tasks.mailroom", str(where.socket("mail"))],
    ]
    started = []
    for number, command in enumerate(commands):
        with (module_tmp / f"{number}.log").open("wb") as log:
            started.append(subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
    wait_for(lambda: all(listens(where.socket(name)) for name in ("mail", "history")), "for the mail service")
    yield where
    for process in started:
        assert process.poll() is None, "the service has ended by itself"
        process.kill()
        process.wait()


@pytest.fixture
def here(service, monkeypatch):
    monkeypatch.setenv(place.VARIABLE, str(service.path))
    return service


def recorded(where, run, kind="delivered"):
    return [event for event in Recorded(where.path, run) if event["kind"] == kind]


def test_a_mail_arrives_with_its_headers_and_is_recorded(here):
    before = time.time()
    mailroom.deliver(Mail(3, "reader@example.email", "Your order no. 3"), "worker2", Experiment(run=1))
    (letter,) = mailroom.letters(here.inbox(1))
    assert letter["From"] == "worker2@example.email"
    assert letter["To"] == "reader@example.email"
    assert letter["Subject"] == "Your order no. 3"
    assert letter["X-Mail-Number"] == "3"
    assert letter["X-Run"] == "1"
    assert re.fullmatch(r"<[^<>@\s]+@example\.email>", letter["Message-ID"])
    assert letter.get_payload() == "Your order no. 3 is on its way.\n"
    assert before - 2 < email.utils.parsedate_to_datetime(letter["Date"]).timestamp() < time.time() + 2
    (event,) = recorded(here, 1)
    assert event["lane"] == "inbox"
    assert event["mail"] == 3
    assert event["detail"] == {"message_id": letter["Message-ID"], "sender": "worker2"}
    assert [path.name for path in (here.inbox(1) / "tmp").iterdir()] == []


def test_a_duplicate_is_a_second_message(here):
    for sender in ("worker1", "worker2"):
        mailroom.deliver(Mail(1, "reader@example.email", "Your order no. 1"), sender, Experiment(run=2))
    letters = mailroom.letters(here.inbox(2))
    assert [letter["X-Mail-Number"] for letter in letters] == ["1", "1"]
    assert len({letter["Message-ID"] for letter in letters}) == 2
    assert [event["detail"]["sender"] for event in recorded(here, 2)] == ["worker1", "worker2"]
    assert recorded(here, 2, "dropped") == []


def test_an_idempotent_delivery_is_filed_once(here):
    once = Experiment(run=3, idempotent=True)
    for sender, number in (("worker1", 1), ("worker2", 1), ("worker2", 2), ("worker1", 1)):
        mailroom.deliver(Mail(number, "reader@example.email", f"Your order no. {number}"), sender, once)
    assert sorted(letter["Message-ID"] for letter in mailroom.letters(here.inbox(3))) == [
        "<mail1.run3@example.email>",
        "<mail2.run3@example.email>",
    ]
    assert [(event["mail"], event["detail"]["sender"]) for event in recorded(here, 3)] == [
        (1, "worker1"),
        (2, "worker2"),
    ]
    dropped = recorded(here, 3, "dropped")
    assert [(event["lane"], event["mail"], event["detail"]["sender"]) for event in dropped] == [
        ("inbox", 1, "worker2"),
        ("inbox", 1, "worker1"),
    ]
    # The next run has an inbox of its own, and so has the same mail in it.
    mailroom.deliver(Mail(1, "reader@example.email", "Your order no. 1"), "worker1", Experiment(run=4, idempotent=True))
    assert len(mailroom.letters(here.inbox(4))) == 1


def test_of_many_that_bring_the_same_mail_at_once_one_is_filed(here):
    """Eight connections are open, each with its message all but sent, before any of them sends the last line."""
    message = b"From: worker1@example.email\r\nMessage-ID: <a@b>\r\nX-Run: 5\r\nX-Mail-Number: 1\r\n\r\nHello\r\n"
    with contextlib.ExitStack() as stack:
        crowd = [
            stack.enter_context(smtplib.LMTP(str(here.socket("mail")), local_hostname="localhost")) for _ in range(8)
        ]
        for client in crowd:
            client.ehlo_or_helo_if_needed()
            client.mail("worker1@example.email")
            client.rcpt("reader@example.email")
            assert client.docmd("DATA")[0] == 354
            client.send(message)
        for client in crowd:
            client.send(b".\r\n")
        assert [client.getreply()[0] for client in crowd] == [250] * 8
    assert len(mailroom.letters(here.inbox(5))) == len(recorded(here, 5)) == 1
    assert len(recorded(here, 5, "dropped")) == 7


def test_a_mail_that_could_not_be_filed_is_not_dropped_when_it_comes_again(here):
    once = Experiment(run=6, idempotent=True)
    here.run(6).touch()  # where the inbox's directory ought to be
    with pytest.raises(smtplib.SMTPException):
        mailroom.deliver(Mail(1, "reader@example.email", "Your order no. 1"), "worker1", once)
    here.run(6).unlink()
    here.run(6).mkdir()
    mailroom.deliver(Mail(1, "reader@example.email", "Your order no. 1"), "worker1", once)
    assert len(mailroom.letters(here.inbox(6))) == len(recorded(here, 6)) == 1


def test_the_service_speaks_lmtp(here):
    with smtplib.LMTP(str(here.socket("mail")), local_hostname="localhost") as client:
        assert client.noop()[0] == 250
        with pytest.raises(smtplib.SMTPException):
            client.sendmail("a@example.email", ["b@example.email"], "no headers of ours\r\n")
    # What could not be filed has not stopped it.
    mailroom.deliver(Mail(9, "reader@example.email", "Your order no. 9"), "worker1", Experiment(run=1))
    assert recorded(here, 1)[-1]["mail"] == 9


def test_who_cannot_reach_the_service_learns_of_it(monkeypatch, tmp_path):
    monkeypatch.setenv(place.VARIABLE, str(tmp_path))
    with pytest.raises(OSError, match="No such file"):
        mailroom.deliver(Mail(1, "reader@example.email", "Your order no. 1"), "worker1", Experiment(run=1))
