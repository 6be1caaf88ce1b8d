"""The mail on its way: from the outbox (outbox.py), by LMTP, to an inbox in a Maildir.

Mail is what the course's periodic task works on, because a mail that went out cannot be taken back. A mail that is
delivered twice is two messages in a real inbox.

``python -m course_tasks.mailroom SOCKET`` is the mail service of a lab: it listens on a Unix socket, speaks LMTP
(RFC 2033) and files what it receives.
"""

import asyncio
import mailbox
import os
import smtplib
import sys
from email import message_from_bytes
from email.message import EmailMessage
from email.utils import localtime, make_msgid

from course_tasks import experiment, place
from course_tasks.history.recording import unheard
from course_tasks.outbox import Outbox


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
    # mailbox.Maildir makes them too, but not if another process does so meanwhile.
    for part in ("", "tmp", "new", "cur"):
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
