"""The real mail service over LMTP, and the inbox."""

import contextlib
import email.utils
import os
import re
import smtplib
import socket
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from labs import Recorded, wait_for

from course_tasks import mailroom, place
from course_tasks.experiment import Experiment
from course_tasks.lab import servers
from course_tasks.outbox import Mail
from course_tasks.place import Place

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
