"""The outbox, the real mail service over LMTP, and the inbox."""

import email.utils
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
    """Run ``code`` in so many processes that all begin at the same moment."""
    crowd = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", TOGETHER.format(code), str(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_DATA_HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    for process in crowd:
        assert process.stdout.readline() == "ready\n", process.communicate()
    (tmp_path / "go").touch()
    told = [process.communicate(timeout=120) for process in crowd]
    assert [process.returncode for process in crowd] == [0] * processes, told


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
assert mailroom.outbox(0).oldest_unsent().number == 1
""",
    )
    assert Outbox(tmp_path / "new.sqlite").unsent() == list(range(1, 161))
    assert sorted(path.name for path in tmp_path.glob("new.sqlite*")) == ["new.sqlite"]
    assert len(mailroom.letters(tmp_path / "inbox")) == 160
    assert stat.S_IMODE((tmp_path / "inbox").stat().st_mode) == 0o700
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv(place.VARIABLE, raising=False)
    assert mailroom.outbox(0).unsent() == list(range(1, 101))


def test_ones_own_outbox_is_not_filled_again(tmp_path, monkeypatch):
    monkeypatch.delenv(place.VARIABLE, raising=False)
    monkeypatch.setattr(place, "own_directory", lambda: tmp_path)
    for number in mailroom.outbox(0).unsent():
        mailroom.outbox(0).mark_sent(number, "worker1")
    assert mailroom.outbox(0).unsent() == []


# The inbox -----------------------------------------------------------------------------------------------------------


def test_outside_a_lab_mail_is_filed_in_ones_own_inbox(tmp_path, monkeypatch):
    monkeypatch.delenv(place.VARIABLE, raising=False)
    monkeypatch.setattr(place, "own_directory", lambda: tmp_path)
    mailroom.deliver(Mail(7, "reader@example.email", "Your order no. 7"), "celery", 0)
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
    for run in (1, 2):
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


def delivered(where, run):
    return [event for event in Recorded(where.path, run) if event["kind"] == "delivered"]


def test_a_mail_arrives_with_its_headers_and_is_recorded(here):
    before = time.time()
    mailroom.deliver(Mail(3, "reader@example.email", "Your order no. 3"), "worker2", 1)
    (letter,) = mailroom.letters(here.inbox(1))
    assert letter["From"] == "worker2@example.email"
    assert letter["To"] == "reader@example.email"
    assert letter["Subject"] == "Your order no. 3"
    assert letter["X-Mail-Number"] == "3"
    assert letter["X-Run"] == "1"
    assert re.fullmatch(r"<[^<>@\s]+@example\.email>", letter["Message-ID"])
    assert letter.get_payload() == "Your order no. 3 is on its way.\n"
    assert before - 2 < email.utils.parsedate_to_datetime(letter["Date"]).timestamp() < time.time() + 2
    (event,) = delivered(here, 1)
    assert event["lane"] == "inbox"
    assert event["mail"] == 3
    assert event["detail"] == {"message_id": letter["Message-ID"], "sender": "worker2"}
    assert [path.name for path in (here.inbox(1) / "tmp").iterdir()] == []


def test_a_duplicate_is_a_second_message(here):
    for sender in ("worker1", "worker2"):
        mailroom.deliver(Mail(1, "reader@example.email", "Your order no. 1"), sender, 2)
    letters = mailroom.letters(here.inbox(2))
    assert [letter["X-Mail-Number"] for letter in letters] == ["1", "1"]
    assert len({letter["Message-ID"] for letter in letters}) == 2
    assert [event["detail"]["sender"] for event in delivered(here, 2)] == ["worker1", "worker2"]


def test_the_service_speaks_lmtp(here):
    with smtplib.LMTP(str(here.socket("mail")), local_hostname="localhost") as client:
        assert client.noop()[0] == 250
        with pytest.raises(smtplib.SMTPException):
            client.sendmail("a@example.email", ["b@example.email"], "no headers of ours\r\n")
    # What could not be filed has not stopped it.
    mailroom.deliver(Mail(9, "reader@example.email", "Your order no. 9"), "worker1", 1)
    assert delivered(here, 1)[-1]["mail"] == 9


def test_who_cannot_reach_the_service_learns_of_it(monkeypatch, tmp_path):
    monkeypatch.setenv(place.VARIABLE, str(tmp_path))
    with pytest.raises(OSError, match="No such file"):
        mailroom.deliver(Mail(1, "reader@example.email", "Your order no. 1"), "worker1", 1)
