"""Without a lab: worker, beat and invoker in three terminals, on a Redis of one's own."""

import mailbox
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import kombu
import pytest
from conftest import ROOT
from labs import redis_on_tcp, wait_for

from course_tasks import place

NAMES = ("tasks.add", "tasks.data_extractor", "tasks.send_mail_from_queue")


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    with redis_on_tcp(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def terminal(redis_server, tmp_path_factory):
    """Types a command into a terminal: returns a function that gives what it has printed so far.

    The Redis is the test's own, on a free port; a learner's is on the default one.
    """
    home = tmp_path_factory.mktemp("home")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("CELERY", "REDIS"))}
    environ.pop(place.VARIABLE, None)
    environ |= {
        "CELERY_BROKER_URL": redis_server.url,
        "CELERY_RESULT_BACKEND": redis_server.url,
        "XDG_DATA_HOME": str(home / "data"),
        "HOME": str(home),  # where the data is kept on macOS
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }
    typed = []

    def run(command):
        log = home / f"terminal{len(typed)}.log"
        with log.open("wb") as output:
            typed.append(
                subprocess.Popen(
                    ["bash", "-c", f"exec {command}"],
                    cwd=home,
                    env=environ,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            )
        return log.read_text

    run.home, run.typed = home, typed
    yield run
    for process in reversed(typed):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGQUIT)  # Ctrl-backslash: Celery ends at once
    for process in typed:
        try:
            process.wait(30)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture(scope="module")
def worker(terminal, redis_server):
    printed = terminal(f"celery -A course_tasks -b {redis_server.url} worker --loglevel=info")
    wait_for(lambda: "ready." in printed() or terminal.typed[-1].poll() is not None, "for the worker")
    return printed


def said(printed, text):
    wait_for(lambda: text in printed(), f"for {text!r} in\n{printed()}")


def test_the_worker_lists_the_three_tasks(worker, redis_server):
    for name in NAMES:
        assert f"  . {name}\n" in worker()
    assert f"@{redis_server.url.removeprefix('redis://')}" in worker()  # Celery writes redis://:**@127.0.0.1…
    assert "ready." in worker()


def test_beat_and_the_invoker_put_all_three_into_the_log(worker, terminal, redis_server):
    beat = terminal(f"celery -A course_tasks -b {redis_server.url} beat --loglevel=info")
    invoker = terminal("python -m course_tasks.invoker")
    for name in NAMES:
        said(worker, f"Task {name}[")
    said(beat, "Scheduler: Sending due task tasks.send_mail_from_queue (tasks.send_mail_from_queue)")
    said(worker, "Email message successfully sent, [reader@example.email]")
    said(worker, "release resources")
    said(worker, "Crawling page 3: contact")
    wait_for(lambda: re.search(r"Task tasks\.add\[.*\] succeeded in .*s: 8", worker()), "for the sum")
    sent = re.findall(r"^sent (\S+)$", invoker(), re.MULTILINE)
    assert len(sent) == 2
    # One, then two seconds later; the other two are tested in the lab, where nobody has to wait for them.
    said(worker, "retry: Retry in 1s: IndexError")
    said(worker, "retry: Retry in 2s: IndexError")
    assert worker().index("Retry in 1s") < worker().index("Retry in 2s")


def test_mail_arrives_in_ones_own_inbox(worker, terminal):
    said(worker, "Email message successfully sent")
    (data,) = (path for path in terminal.home.rglob("course_tasks") if path.is_dir())
    inbox = mailbox.Maildir(data / "inbox", create=False)
    letters = wait_for(lambda: list(inbox), "for a mail")
    assert letters[0]["From"].startswith("celery@")
    assert {letter["X-Mail-Number"] for letter in letters} >= {"1"}
    inbox.close()


def test_the_invoker_sends_what_it_is_told_as_often_as_it_is_told(worker, terminal):
    invoker = terminal("python -m course_tasks.invoker tasks.add --times 3 --mails 1")
    assert terminal.typed[-1].wait(60) == 0, invoker()
    sent = re.findall(r"^sent (\S+)$", invoker(), re.MULTILINE)
    assert len(set(sent)) == 3
    for task_id in sent:
        said(worker, f"Task tasks.add[{task_id}] succeeded")


def test_the_invoker_names_the_tasks_there_are(terminal):
    invoker = terminal("python -m course_tasks.invoker tasks.sub")
    assert terminal.typed[-1].wait(60) == 2
    assert (
        "no task is called tasks.sub; the tasks are tasks.add, tasks.data_extractor, tasks.send_mail_from_queue"
        in invoker()
    )


def test_a_pickle_is_refused(worker, redis_server, tmp_path):
    """Whoever can write to a queue that takes pickles runs code in every worker."""

    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    with kombu.Connection(redis_server.url) as connection:
        producer = connection.Producer(serializer="pickle")
        headers = {"lang": "py", "task": "tasks.add", "id": "pickled", "retries": 0}
        producer.publish([[Payload(), 1], {}, {}], exchange="celery", routing_key="celery", headers=headers)
    said(worker, "Refusing to deserialize")
    assert "pickle" in worker()[worker().index("Refusing to deserialize") :]
    assert not (tmp_path / "executed").exists()


def test_a_plain_worker_belongs_to_the_default_redis(monkeypatch):
    code = "from course_tasks.celery import app; print(app.conf.broker_url, app.conf.result_backend, *app.conf.accept_content)"
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["redis://localhost:6379/0", "redis://localhost:6379/0", "json"]
