"""A lab starts, shows what it started, can be joined from a terminal, and ends."""

import os
import re
import shlex
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from labs import misleading, wait_for

from course_tasks import Lab
from course_tasks.lab import LabError

NAMES = ["broker", "history", "lock", "mail", "worker1", "worker2", "worker3"]


def test_the_table_shows_every_process_with_command_pid_and_time(lab):
    rows = {name: (command, pid, ready) for name, command, pid, ready in lab.processes.rows}
    assert sorted(rows) == NAMES
    for name, (_, pid, ready) in rows.items():
        process = psutil.Process(pid)
        assert process.is_running(), name
        assert 0 < ready < 30
        assert process.ppid() == lab.warden_pid
    assert "--port 0 --unixsocket" in rows["broker"][0]
    assert rows["worker2"][0].startswith("celery -A course_tasks worker --loglevel=info -n worker2@localhost")


def test_the_commands_are_what_ps_shows(lab):
    for name, command, pid, _ in lab.processes.rows:
        shown = " ".join(psutil.Process(pid).cmdline())
        # Celery and Valkey put a title of their own in front of their arguments, or instead of them.
        essence = {"worker": "-A course_tasks worker --loglevel=info -n " + name, "mail": command}.get(
            name.rstrip("123"), name
        )
        assert essence in shown


def test_the_lab_shows_itself_as_text_and_as_a_table(lab):
    text, page = repr(lab), lab._repr_html_()
    assert [line.split()[0] for line in text.splitlines()] and all(name in text for name in NAMES)
    assert re.search(r"worker1 +ready after +\d+\.\d\d s +pid \d+ +celery -A course_tasks worker", text)
    assert page.startswith("<table") and page.count("<tr>") == 1 + len(NAMES)
    assert all(f">{name}</td>" in page for name in NAMES)


def test_a_task_sent_from_a_cell_comes_back(lab):
    assert lab.send("tasks.add", 2, 3).get(timeout=30) == 5


def test_the_log_is_what_a_terminal_would_show(lab):
    task = lab.send("tasks.add", 20, 22)
    assert task.get(timeout=30) == 42
    logs = wait_for(
        lambda: next((log for log in map(lab.logs, lab.workers) if "succeeded in" in log and task.id in log), None)
    )
    assert f"Task tasks.add[{task.id}] received" in logs
    for line in (". tasks.add", ". tasks.data_extractor", ". tasks.send_mail_from_queue", "ready."):
        assert line in logs
    worker = next(worker for worker in lab.workers if task.id in lab.logs(worker))
    assert repr(lab.logs(worker)) == str(lab.logs(worker))
    assert str(lab.logs(worker, last=1)) == logs.splitlines()[-1]
    with pytest.raises(ValueError, match="no process is called 'worker9'.*worker1"):
        lab.logs("worker9")


def test_ready_times_stay_what_they_were(lab):
    before = {row[0]: row[3] for row in lab.processes.rows}
    lab.run(task="tasks.add", every=1, takes=0, seconds=0.2)
    after = {row[0]: row[3] for row in lab.processes.rows}
    assert {name: after[name] for name in before} == before


def test_only_its_owner_can_reach_anything(lab):
    assert stat.S_IMODE(lab.place.path.stat().st_mode) == 0o700
    sockets = list(lab.place.path.glob("*.sock"))
    assert len(sockets) == 4
    for socket in sockets:
        assert stat.S_IMODE(socket.stat().st_mode) & 0o077 == 0, socket
    run = lab.run(every=1, takes=0, seconds=0.3)
    for path in lab.place.path.iterdir():
        if path.is_dir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    assert run.number >= 1


def test_nothing_of_the_lab_listens_on_tcp(lab):
    family = psutil.Process(lab.warden_pid).children(recursive=True)
    assert len(family) >= len(NAMES) + 3  # each worker has a pool process
    for process in (psutil.Process(lab.warden_pid), *family):
        assert process.net_connections("inet") == [], process.cmdline()


# Joining from a terminal ---------------------------------------------------------------------------------------------


@pytest.fixture
def terminal(tmp_path):
    """Types a command into a shell whose environment points elsewhere; yields a function that returns the Popen."""
    typed = []

    def run(command):
        environ = {**os.environ, **misleading("redis://127.0.0.1:1/0")}
        environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environ["PATH"]])
        environ.pop("PYTHONPATH", None)
        with (tmp_path / f"terminal{len(typed)}.log").open("wb") as log:
            shell = subprocess.Popen(
                ["bash", "-c", str(command)],
                cwd=tmp_path,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        shell.log = tmp_path / f"terminal{len(typed)}.log"
        typed.append(shell)
        return shell

    yield run
    for shell in typed:
        if shell.poll() is None:
            os.killpg(shell.pid, signal.SIGQUIT)  # Ctrl-backslash: Celery ends at once
        shell.wait(60)


def test_a_worker_joins_from_a_terminal(lab, terminal):
    command = lab.terminal("worker")
    assert shlex.split(command)[:3] == [f"COURSE_TASKS_LAB={lab.place.path}", "celery", "-A"]
    assert command.endswith("-n worker4@localhost")
    shell = terminal(command)
    wait_for(lambda: "ready." in shell.log.read_text() or shell.poll() is not None, "for the worker in the terminal")
    assert "worker4@localhost ready." in shell.log.read_text()
    assert lab.terminal().endswith("-n worker5@localhost")
    # Four tasks that take longer than it takes to send them: each worker gets one.
    run = lab.invoke("tasks.add", times=4, takes=2, seconds=30)
    assert set(run.events[run.events["kind"] == "started"]["lane"]) == {"worker1", "worker2", "worker3", "worker4"}
    assert list(run.events["kind"]).count("finished") == 4


def test_beat_and_the_invoker_join_from_a_terminal(lab, terminal):
    first = terminal(f"{lab.terminal('invoker')} tasks.add --times 2")
    assert first.wait(30) == 0, first.log.read_text()
    ids = [line.removeprefix("sent ") for line in first.log.read_text().splitlines()]
    assert len(ids) == 2
    wait_for(lambda: all(any(f"[{id}] succeeded" in lab.logs(worker) for worker in lab.workers) for id in ids))
    beat = terminal(lab.terminal("beat"))
    wait_for(lambda: "Sending due task tasks.send_mail_from_queue" in beat.log.read_text(), "for beat in the terminal")
    wait_for(lambda: any("release resources" in lab.logs(worker) for worker in lab.workers), "for a worker to do it")


def test_an_unknown_process_for_a_terminal(lab):
    with pytest.raises(ValueError, match='"worker", "beat" or "invoker"'):
        lab.terminal("redis")
    with pytest.raises(ValueError, match="no server is called 'cache'"):
        lab.client("cache")


# Ending --------------------------------------------------------------------------------------------------------------


def test_another_lab_replaces_the_one_before(hunt):
    first = Lab(workers=1)
    before = hunt.family(first.warden_pid)
    assert len(before) >= 5
    with Lab(workers=1) as second:
        assert not any(process.is_running() for process in before)
        assert not first.place.path.exists()
        assert second.place.path.is_dir()
        hunt.family(second.warden_pid)
        first.close()  # has no effect on the one that replaced it
        assert second.send("tasks.add", 1, 1).get(timeout=30) == 2
        with pytest.raises(LabError, match="run the cell that starts the lab again"):
            first.run(seconds=1)
        second.close()
        second.close()
    hunt.nothing_left()


def test_a_lab_that_is_left_by_an_error_is_closed(hunt):
    with pytest.raises(ZeroDivisionError), Lab(workers=1) as lab:
        family = hunt.family(lab.warden_pid)
        raise ZeroDivisionError
    assert not any(process.is_running() for process in family)
    hunt.nothing_left()
