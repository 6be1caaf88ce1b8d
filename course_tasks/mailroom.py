"""The mail: an outbox in SQLite, delivery by LMTP, an inbox in a Maildir.

Mail is what the course's periodic task works on, because a mail that went out cannot be taken back. A mail that is
delivered twice is two messages in a real inbox.

``python -m course_tasks.mailroom SOCKET`` is the mail service of a lab: it listens on a Unix socket, speaks LMTP
(RFC 2033) and files what it receives.
"""

import asyncio
import contextlib
import mailbox
import os
import smtplib
import sqlite3
import sys
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.utils import localtime, make_msgid
from pathlib import Path

from course_tasks import experiment, place

RECIPIENT = "reader@example.email"


@dataclass(frozen=True)
class Mail:
    """One mail of the outbox: its ``number`` (1, 2, 3 …), whom it goes ``to``, its ``subject``."""

    number: int
    to: str
    subject: str


def unheard(kind, **fields):
    """Stands for a recorder where nothing is recorded."""


class Outbox:
    """A queue of mails in an SQLite file at ``path``, made if it is missing.

    SQLite's write-ahead log lets one process write while others read. Nothing here stops two processes from reading
    the same unsent mail: that is the lesson.

    ``fencing``: whether writes are compared by their fencing tokens (see :meth:`mark_sent`). ``record`` is the recorder
    of the task that writes, which hears of every write with a token; by default, nobody does.
    """

    def __init__(self, path, fencing=True, record=unheard):
        self.path, self.fencing, self.record = Path(path), fencing, record
        if not self.path.exists():
            self._make()

    def _make(self):
        """Make the file beside its place and link it there, so that of several processes which do so one comes first.

        (SQLite has no such way: two that turn the log on at once are told that the database is locked.)
        """
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        with _open(beside) as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("CREATE TABLE mail (number INTEGER PRIMARY KEY, recipient, subject, sent_by)")
            db.execute("CREATE TABLE fence (resource PRIMARY KEY, token)")  # the highest token seen, for each resource
        try:
            os.link(beside, self.path)
        except FileExistsError:
            pass
        finally:
            beside.unlink()

    def write(self, count, only_first=False):
        """Put ``count`` new, unsent mails into the outbox; with ``only_first``, if there never was any."""
        with _open(self.path) as db:
            db.execute("BEGIN IMMEDIATE")  # or two writers would give out the same numbers
            last = db.execute("SELECT coalesce(max(number), 0) FROM mail").fetchone()[0]
            if last and only_first:
                return
            rows = [(number, RECIPIENT, f"Your order no. {number}") for number in range(last + 1, last + 1 + count)]
            db.executemany("INSERT INTO mail (number, recipient, subject) VALUES (?, ?, ?)", rows)

    def oldest_unsent(self):
        """The oldest Mail that is not marked as sent; None where every mail is."""
        with _open(self.path) as db:
            row = db.execute(
                "SELECT number, recipient, subject FROM mail WHERE sent_by IS NULL ORDER BY number LIMIT 1"
            ).fetchone()
        return Mail(*row) if row else None

    def mark_sent(self, number, by, token=None):
        """Note that mail ``number`` was sent, and ``by`` whom (a process's name); return whether that was accepted.

        With a fencing ``token`` (an int), it is refused where a higher one was seen before: whoever wrote with that one
        got the lock later. The same token may come again: its holder may write more than once. Without a token, or
        without fencing, everything is accepted.
        """
        with _open(self.path) as db:
            db.execute("BEGIN IMMEDIATE")  # one writer at a time, from here on until all of it is written
            seen, accepted = self._pass(db, token) if token is not None else (None, True)
            if accepted:
                db.execute("UPDATE mail SET sent_by = ? WHERE number = ?", (by, number))
        if token is not None:
            # Two processes may record their writes in another order than that in which the database took them. So each
            # tells what the database had seen before it, as read in the same transaction: nothing depends on that order.
            detail = None if seen is None else {"seen": seen}
            self.record("written" if accepted else "refused", mail=number, token=token, detail=detail)
        return accepted

    def _pass(self, db, token):
        """Let ``token`` pass the fence: return the highest one seen before (None: none) and whether it was let through."""
        seen = db.execute("SELECT token FROM fence WHERE resource = 'mail'").fetchone()
        passed = db.execute(
            """
            INSERT INTO fence VALUES ('mail', :token)
            ON CONFLICT (resource) DO UPDATE SET token = max(token, :token) WHERE :token >= token OR NOT :fencing
            """,
            {"token": token, "fencing": self.fencing},
        )
        return seen and seen[0], passed.rowcount == 1

    def unsent(self):
        """The numbers of the mails that are not marked as sent, oldest first."""
        with _open(self.path) as db:
            return [row[0] for row in db.execute("SELECT number FROM mail WHERE sent_by IS NULL ORDER BY number")]


@contextlib.contextmanager
def _open(path):
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as db, db:
        yield db


def outbox(present, record=unheard):
    """The outbox that the tasks of ``present`` (an Experiment) work on; outside a lab, one's own.

    ``record`` is the recorder of the task that asks, if one does.
    """
    here = place.lab()
    if here:
        return Outbox(here.outbox(present.run), present.fencing, record)
    box = Outbox(place.own_directory() / "outbox.sqlite")
    box.write(100, only_first=True)  # so that worker and beat alone have something to send
    return box


def deliver(mail, sender, present):
    """Deliver ``mail`` (a Mail) for the process called ``sender``, as ``present`` (an Experiment) asks.

    In a lab it goes by LMTP to the mail service; outside a lab there is no service, and the mail is filed straight
    into the Maildir ``inbox`` of one's own data directory. Whoever sends a mail makes up its Message-ID, unless
    delivery is to be ``idempotent``: then the id follows from the mail, is the same for whoever sends it, and tells the
    service that it had the mail before. Raises ``smtplib.SMTPException`` or OSError where the service does not take it.
    """
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = f"{sender}@example.email", mail.to, mail.subject
    message["Date"] = localtime()
    made_up = make_msgid(domain="example.email")
    message["Message-ID"] = f"<mail{mail.number}.run{present.run}@example.email>" if present.idempotent else made_up
    message["X-Mail-Number"] = str(mail.number)
    message.set_content(f"{mail.subject} is on its way.\n")
    here = place.lab()
    if here:
        message["X-Run"] = str(present.run)
        with smtplib.LMTP(str(here.socket("mail")), local_hostname="localhost") as service:
            service.send_message(message)
    else:
        file(message, place.own_directory() / "inbox")


def file(message, maildir):
    """File an email ``message`` in the Maildir at ``maildir``, which is made if it is missing."""
    for part in (
        "",
        "tmp",
        "new",
        "cur",
    ):  # mailbox.Maildir makes them too, but not if another process does so meanwhile
        os.makedirs(os.path.join(maildir, part), mode=0o700, exist_ok=True)
    box = mailbox.Maildir(maildir)
    try:
        box.add(message)
    finally:
        box.close()


def letters(maildir):
    """The messages in the Maildir at ``maildir``, in no particular order."""
    box = mailbox.Maildir(maildir)
    try:
        return list(box)
    finally:
        box.close()


class Service:
    """What the mail service does with each message (a handler of ``aiosmtpd``): file it, then record the delivery.

    A message whose Message-ID the inbox has already is dropped, and accepted all the same: the sender is to consider
    it done. (Mail servers can be told to do so: RFC 7352, Sieve's test for duplicates.) One Service answers on all
    connections.
    """

    def __init__(self):
        self.filed = set()  # (run, Message-ID)

    async def handle_DATA(self, server, session, envelope):
        # All sessions share this one process and its event loop, which turns to another session only at an ``await``.
        # There is none below, so that of two that bring the same message, the second finds it filed.
        message = message_from_bytes(envelope.content)
        run, message_id = int(message["X-Run"]), message["Message-ID"]
        had_it = (run, message_id) in self.filed
        if not had_it:
            file(message, place.lab().inbox(run))
            self.filed.add((run, message_id))
        experiment.recorder(run, "inbox")(
            "dropped" if had_it else "delivered",
            mail=int(message["X-Mail-Number"]),
            detail={"message_id": message_id, "sender": message["From"].partition("@")[0]},
        )
        return "250 OK"


async def serve(socket):
    """Run the mail service on the Unix socket at ``socket`` for ever."""
    from aiosmtpd.lmtp import LMTP  # only the service needs it: a worker starts faster without

    os.umask(0o077)
    loop, service = asyncio.get_running_loop(), Service()
    server = await loop.create_unix_server(lambda: LMTP(service, hostname="localhost", loop=loop), socket)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
