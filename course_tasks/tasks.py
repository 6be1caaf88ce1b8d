"""The three tasks: ``tasks.add``, ``tasks.data_extractor`` and ``tasks.send_mail_from_queue``.

``takes`` below is how long a task's work lasts. In a lab the run says so; a plain worker adds nothing.
"""

import time

from celery.utils.log import get_task_logger

from course_tasks import experiment, mailroom, section
from course_tasks.celery import app
from course_tasks.observation import LOST, SKIPPED, lane, of_request

log = get_task_logger(__name__)

PAGES = ["home", "products", "prices", "contact"]  # the site that data_extractor crawls


@app.task(name="tasks.add", bind=True)
def add(self, x, y):
    """Return ``x + y``."""
    time.sleep(experiment.current().takes)
    return x + y


@app.task(name="tasks.data_extractor", bind=True, max_retries=4, ignore_result=True)
def data_extractor(self):
    """Crawl a site whose index names a page too many, and retry 1, 2, 4 and 8 seconds later (exponential backoff).

    The error does not go away, as such errors do not: after four retries the task fails for good.
    """
    time.sleep(experiment.current().takes)
    try:
        for number in range(len(PAGES) + 1):
            log.info("Crawling page %d: %s", number, PAGES[number])
    except IndexError as error:
        raise self.retry(exc=error, countdown=2**self.request.retries) from error


@app.task(name="tasks.send_mail_from_queue", bind=True, ignore_result=True)
def send_mail_from_queue(self):
    """Take the oldest unsent mail of the outbox, send it, and mark it as sent."""
    present, record = experiment.current(), of_request(self.request)
    me = lane(self.request.hostname)
    with section.critical_section("mail", present, record) as inside:
        if not inside:
            log.info("Locked: leaving the mail to whoever is inside")
            return SKIPPED
        outbox = mailroom.outbox(present, record)
        mail = outbox.oldest_unsent()
        if mail is None:
            log.info("The outbox is empty")
        else:
            record("read", mail=mail.number)
            if not inside.work(present.takes):
                log.warning("The lock was lost: leaving the mail unsent")
                return LOST
            mailroom.deliver(mail, me, present)
            print(f"Email message successfully sent, [{mail.to}]")
            if not outbox.mark_sent(mail.number, me, inside.fence):
                log.warning("Refused, as a newer token was here: the mail is out, but not marked")
    print("release resources")
