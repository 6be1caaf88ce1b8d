"""Clocks of lock servers that are moved: whether they can be, what that does to leases, and that all is right afterwards."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from labs import Setnx, contend_until, faults_of, kinds, pid_of, wait_for
from majority import Majority

from course_tasks import Lab, kill, movable_clocks, move_clock, pause
from course_tasks.lab import LabError, clocks, faketime
from course_tasks.lab.fault import Cast, check
from course_tasks.place import Place

HOUR = 3600
SHARED = Path("/dev/shm")  # where Linux keeps shared memory and semaphores


@pytest.fixture(scope="module")
def lab(module_tmp, movable):
    """A lab of three lock servers whose clocks can be moved."""
    with Lab(workers=1, lock_servers=3, clocks=True) as lab:
        yield lab


def ahead(lab, server):
    """How many seconds the clock of ``server`` is ahead, as it says itself."""
    seconds, microseconds = lab.client(server).time()
    return seconds + microseconds / 1e6 - time.time()


def left_by(*pids):
    """What libfaketime left of the processes ``pids``."""
    return [path for pid in pids for path in SHARED.glob(f"*faketime_*_{pid}")]


# The library ---------------------------------------------------------------------------------------------------------

TELL = "import os, time; print(os.getpid(), time.time(), time.monotonic())"


def carrier(tmp_path, code, seconds):
    """A process that runs ``code`` with a clock so many ``seconds`` ahead."""
    where = Place(tmp_path)
    faketime.lay_ready(where, clocks.clock_mover())
    faketime.set_ahead(where, "me", seconds)
    command = faketime.carrying(where, "me", [sys.executable, "-c", code])
    return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("seconds", [HOUR, -HOUR, 0])
def test_the_wall_clock_moves_and_the_monotonic_one_does_not(movable, tmp_path, seconds):
    before = time.time(), time.monotonic()
    with carrier(tmp_path, TELL, seconds) as process:
        pid, wall, monotonic = map(float, process.communicate()[0].split())
    assert pid == process.pid  # `env` has become the program
    assert before[0] < wall - seconds < time.time()
    assert before[1] < monotonic < time.monotonic()


@pytest.mark.skipif(not SHARED.is_dir(), reason="the system does not show its shared memory")
def test_what_a_killed_process_leaves_is_removed(movable, tmp_path):
    with carrier(tmp_path, "import time; print(time.time(), flush=True); time.sleep(60)", HOUR) as process:
        assert process.stdout.readline()
        process.kill()
    assert len(left_by(process.pid)) == 2
    faketime.forget(process.pid)
    assert left_by(process.pid) == []
    faketime.forget(process.pid)  # nothing is there: nothing is done


# By hand -------------------------------------------------------------------------------------------------------------


def test_forward_a_lease_ends_at_once_and_on_that_server_alone(lab):
    for client in lab.clients:
        client.set("held", "token", px=30_000)
    lab.servers.move_clock("lock2", 60)
    assert [client.get("held") for client in lab.clients] == [b"token", None, b"token"]
    assert [round(ahead(lab, server) / 60) for server in lab.lock_servers] == [0, 1, 0]
    lab.servers.move_clock("lock2", -60)


def test_back_a_lease_lasts_longer(lab):
    lab.client("lock1").set("held", "token", px=30_000)
    lab.servers.move_clock("lock1", -60)
    assert 60_000 < lab.client("lock1").pttl("held") <= 90_000
    lab.servers.move_clock("lock1", 60)
    assert 0 < lab.client("lock1").pttl("held") <= 30_000


def test_a_move_holds_from_the_next_command_on(lab):
    """The server may go by a time that it has asked for a moment ago; that moment is waited for."""
    client = lab.client("lock3")
    for _ in range(100):
        client.set("held", "token", px=30_000)
        lab.servers.move_clock("lock3", 60)
        assert client.get("held") is None
        lab.servers.move_clock("lock3", -60)


def test_moves_add_up_and_are_shown(lab):
    assert repr(lab.servers) == "lock1: up\nlock2: up\nlock3: up"
    lab.servers.move_clock("lock1", 60)
    lab.servers.move_clock("lock1", 60.5)
    lab.servers.move_clock("lock3", -1)
    assert repr(lab.servers) == "lock1: up, its clock 120.5 s ahead\nlock2: up\nlock3: up, its clock 1 s behind"
    assert 119 < ahead(lab, "lock1") < 121
    lab.servers.move_clock("lock1", -120.5)
    lab.servers.move_clock("lock3", 1)
    assert repr(lab.servers) == "lock1: up\nlock2: up\nlock3: up"


def test_a_server_that_is_started_again_finds_its_clock_as_it_was(lab):
    lab.servers.move_clock("lock2", HOUR)
    lab.servers.restart("lock2")
    assert abs(ahead(lab, "lock2") - HOUR) < 60
    lab.servers.kill("lock2")
    lab.servers.move_clock("lock2", HOUR)
    lab.servers.restart("lock2")
    assert abs(ahead(lab, "lock2") - 2 * HOUR) < 60


def test_the_next_run_begins_with_right_clocks(lab):
    lab.servers.move_clock("lock1", HOUR)
    lab.servers.move_clock("lock2", -HOUR)
    lab.contend(Majority, contenders=1, seconds=0.1)
    assert all(abs(ahead(lab, server)) < 60 for server in lab.lock_servers)


@pytest.mark.parametrize("seconds", [0, float("nan"), float("inf"), 1e9, "60", None])
def test_what_is_no_move(lab, seconds):
    with pytest.raises((TypeError, ValueError), match="seconds"):
        lab.servers.move_clock("lock1", seconds)
    with pytest.raises((TypeError, ValueError), match="seconds"):
        move_clock("lock1", seconds, after=1)
    with pytest.raises(ValueError, match="no lock server is called 'lock9'; there are lock1, lock2, lock3"):
        lab.servers.move_clock("lock9", 60)


# The processes -------------------------------------------------------------------------------------------------------


def test_the_table_shows_what_runs_and_only_lock_servers_carry_the_library(lab):
    commands = {name: command for name, command, _, _ in lab.processes.rows}
    clock = lab.place.clock("lock2")
    assert f"FAKETIME_TIMESTAMP_FILE={clock} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 /" in commands["lock2"]
    assert [name for name, command in commands.items() if "faketime" in command] == ["lock1", "lock2", "lock3"]
    for name, _, pid, _ in lab.processes.rows:
        # The server is the very process that was started; Valkey has given it a title of its own.
        assert psutil.Process(pid).name() not in ("env", "sh")
        if name in (*lab.lock_servers, "broker", "history"):
            assert lab.client(name).info("server")["process_id"] == pid
            loaded = any("libfaketime" in area.path for area in psutil.Process(pid).memory_maps())
            assert loaded == (name in lab.lock_servers)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the system does not show its shared memory")
def test_nothing_has_a_name_in_the_system_while_the_lab_is_up_nor_when_a_server_was_killed(lab):
    pids = [pid_of(lab, server) for server in lab.lock_servers]
    assert left_by(*pids) == []
    lab.servers.kill("lock1")
    lab.servers.restart("lock1")
    assert left_by(*pids, pid_of(lab, "lock1")) == []


KILLING = """
import json, os, signal
from course_tasks.lab import clocks, faketime
clocks.clock_mover()
start = Lab.start
def kill_myself(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def then_kill_myself(lab, name, command):
    start(lab, name, command)
    if name == last:
        with open(pids, "w") as file:
            json.dump(list(lab._pids.values()), file)
        if not answered:
            kill_myself()
Lab.start = then_kill_myself
if answered:
    faketime.forget = kill_myself
"""


@pytest.mark.skipif(not SHARED.is_dir(), reason="the system does not show its shared memory")
@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("last", ["lock1", "lock3"])
def test_nothing_is_left_of_a_kernel_that_dies_while_its_servers_start(movable, kernel, hunt, tmp_path, last, answered):
    """When the first one has been started, or the last; or when they have answered, and nothing has been removed yet."""
    file = tmp_path / "pids"
    kernel.cell(f"pids, last, answered = {str(file)!r}, {last!r}, {answered}")
    kernel.cell(KILLING)
    kernel.start("Lab(workers=1, lock_servers=3, clocks=True)")
    assert kernel.process.wait(60) == -signal.SIGKILL
    hunt.nothing_left()
    assert left_by(*json.loads(file.read_text())) == []


def test_a_durable_server_rewrites_its_file_and_reads_it_again_with_the_clock_moved(movable, module_tmp):
    """The rewriting is done by a fork of the server, which carries the library too."""
    with Lab(workers=1, lock_servers=2, durable=True, clocks=True, beside=True) as lab:
        client = lab.client("lock1")
        lab.servers.move_clock("lock1", HOUR)
        client.set("held", "token", px=600_000)
        client.set("ended", "token", px=600_000)
        client.pexpire("ended", 1)
        client.bgrewriteaof()
        wait_for(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0)
        assert client.info("persistence")["aof_last_bgrewrite_status"] == "ok"
        assert os.listdir(lab.place.disk("lock1") / "appendonlydir")
        lab.servers.restart("lock1")
        assert 0 < client.pttl("held") <= 600_000
        assert wait_for(lambda: not client.exists("ended"))


def test_a_path_with_spaces_is_no_obstacle(movable, private_tmp, monkeypatch):
    spacious = private_tmp / "a b"
    spacious.mkdir()
    monkeypatch.setenv("TMPDIR", str(spacious))
    clocks._why_not.cache_clear()
    with Lab(workers=1, lock_servers=2, clocks=True, beside=True) as lab:
        assert " " in str(lab.place.path)
        lab.servers.move_clock("lock1", HOUR)
        assert abs(ahead(lab, "lock1") - HOUR) < 60


# In a run ------------------------------------------------------------------------------------------------------------


class OnSecond(Setnx):
    """A lock on the second of several servers, with a lease of 30 s."""

    def __init__(self, clients, name):
        super().__init__(clients[1], name)

    def acquire(self):
        return bool(self.client.set(self.name, 1, nx=True, ex=30))


def test_a_clock_that_jumps_lets_a_second_one_in(lab):
    fault = move_clock("lock2", 60, when="entered")
    run = contend_until(lab, OnSecond, contenders=2, holds=60, faults=fault, until={"entered": 2})
    assert run.verdict.outcome == "invalid"
    assert faults_of(run) == [("fault began", "lock2", "clock"), ("fault ended", "lock2", "clock")]
    order = kinds(run)
    assert order.index("entered") < order.index("fault began")
    assert "entered" in order[order.index("fault began") : order.index("fault ended")]  # it stays moved until the end
    assert [d for d in run.events["detail"] if d and d.get("fault")] == [
        {"fault": "clock", "seconds": 60.0},
        {"fault": "clock"},
    ]
    assert run.events.loc[run.events["kind"] == "began", "detail"].iloc[0]["servers"] == list(lab.lock_servers)
    assert run.notes == ()
    assert abs(ahead(lab, "lock2")) < 60


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param((), id="no clock moved"),
        pytest.param(move_clock("lock3", 60, when="entered"), id="another server's"),
        pytest.param(move_clock("lock2", 20, when="entered"), id="less than the lease"),
        pytest.param(move_clock("lock2", -60, when="entered"), id="back"),
    ],
)
def test_otherwise_it_does_not(lab, fault):
    """The other contender asks every 50 ms."""
    run = lab.contend(OnSecond, contenders=2, holds=60, seconds=1, faults=fault)
    assert len(faults_of(run)) == (2 if fault else 0)
    assert kinds(run).count("entered") == 1
    assert run.notes == ()


class HalfAMinute(Majority):
    timeout = 30


def test_a_minority_of_wrong_clocks_is_outvoted_and_a_majority_is_not(lab):
    first, second = HalfAMinute(lab.clients, "held"), HalfAMinute(lab.clients, "held")
    assert first.acquire()
    lab.servers.move_clock("lock2", 60)
    assert not second.acquire()
    lab.servers.move_clock("lock3", 60)
    assert second.acquire()
    assert second.granted == (1, 2)


def test_who_stands_still_is_moved_when_it_goes_on_and_the_dead_are_not(lab):
    faults = [
        pause(0.3, "lock1", when="began"),
        move_clock("lock1", 60, when="began"),
        kill("lock3", when="began"),
        move_clock("lock3", 60, after=0.1),
    ]
    run = lab.contend(OnSecond, contenders=1, holds=60, seconds=2, faults=faults)
    mine = [kind for kind in faults_of(run) if kind[1] == "lock1"]
    assert mine == [
        ("fault began", "lock1", "pause"),
        ("fault ended", "lock1", "pause"),
        ("fault began", "lock1", "clock"),
        ("fault ended", "lock1", "clock"),
    ]
    assert run.notes == ("move_clock('lock3', 60, after=0.1) never landed: lock3 was dead by then.",)


def test_the_history_hears_of_it_first():
    """What is no lease any more may be somebody else's a moment later."""
    done = []

    class Servers:
        def move_clock(self, name, seconds):
            done.append(("moved", name, seconds))

    class Stand:
        servers = Servers()

    fault = move_clock("lock1", -5, after=0)
    fault.begin(Stand, lambda kind, lane, detail: done.append((kind, lane, detail["seconds"])), "lock1")
    assert done == [("fault began", "lock1", -5), ("moved", "lock1", -5)]


def test_a_closed_lab_says_so(movable, module_tmp):
    with Lab(workers=1, clocks=True, beside=True) as lab:
        pass
    with pytest.raises(LabError, match="The lab is closed"):
        lab.servers.move_clock("lock", 60)


# Where they can't be moved -------------------------------------------------------------------------------------------


def test_a_lab_without_clocks_says_so_before_the_run(module_tmp):
    with Lab(workers=1, lock_servers=2, beside=True) as lab:
        assert not any("faketime" in command for _, command, _, _ in lab.processes.rows)
        with pytest.raises(
            ValueError, match=r"move_clock\('lock2', 60, after=1\): .* make it with Lab\(…, clocks=True\)"
        ):
            lab.run(Majority, faults=move_clock("lock2", 60, after=1))
        with pytest.raises(LabError, match=r"make it with Lab\(…, clocks=True\)"):
            lab.servers.move_clock("lock2", 60)
        assert repr(lab.servers) == "lock1: up\nlock2: up"


def test_only_servers_have_clocks_of_their_own():
    cast = Cast(("worker1",), ("lock1", "lock2"), ("replica1",), clocks=True)
    check([move_clock("lock2", 60, after=0), move_clock("replica1", 60, after=0)], cast)
    for name in ("worker1", "holder", "lock9"):
        with pytest.raises(ValueError, match="no lock server or replica is called"):
            check([move_clock(name, 60, after=0)], cast)


def none_started(directory, what):
    """``Lab(clocks=True)`` is refused with ``what``, and nothing has been started or closed."""
    with pytest.raises(LabError, match=what):
        Lab(workers=1, clocks=True)
    assert list(directory.glob("course-lab-*")) == []


def test_without_the_library_a_lab_says_what_to_install(private_tmp, monkeypatch):
    monkeypatch.setattr(faketime, "candidates", lambda: iter(()))
    assert not movable_clocks()
    assert "apt install libfaketime" in repr(movable_clocks())
    none_started(private_tmp, "can't be moved here(?s:.*)No libfaketime was found(?s:.*)make setup")


def test_a_library_that_does_not_load(private_tmp, monkeypatch):
    library = private_tmp / "libfaketime.so.1"
    library.write_text("no library")
    monkeypatch.setattr(faketime, "candidates", lambda: iter([library]))
    none_started(private_tmp, "libfaketime.so.1: (the clock stays as it is.*preload|.*does not start with it)")


def test_a_server_that_does_not_start_with_it(movable, private_tmp, monkeypatch):
    """As those with an allocator of their own, which asks for the time before the library is ready."""
    server = private_tmp / "other-server"
    server.write_text("#!/bin/sh\necho cannot recover\nexit 1\n")
    server.chmod(0o755)
    monkeypatch.setenv("LAB_REDIS_SERVER", str(server))
    none_started(private_tmp, "other-server does not start with it(?s:.*)cannot recover")


def test_the_package_need_not_be_there(monkeypatch, tmp_path):
    """A directory of that name, in which Python finds nothing, is not taken for it."""
    (tmp_path / "libfaketime").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert str(tmp_path) not in "".join(map(str, faketime.candidates()))
