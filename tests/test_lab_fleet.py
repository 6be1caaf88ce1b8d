"""The lock servers by hand, from a cell: killed, started again, paused; and whole again when the next run begins."""

import contextlib
import os
import shlex
import signal
import socket

import psutil
import pytest
import redis
from conftest import REPEATS
from labs import Setnx, kinds_so_far, pid_of, run_until, wait_for
from redis import ConnectionError
from test_lab_interrupt import STRIKE, interrupted, works

from course_tasks import Lab
from course_tasks.lab import LabError
from course_tasks.locks import Redlock


@pytest.fixture(scope="module")
def lab(module_tmp):
    """A lab of one worker and three lock servers."""
    with Lab(workers=1, lock_servers=3) as lab:
        yield lab


@pytest.fixture
def servers(lab):
    """The servers of the lab, whole and empty."""
    lab.servers.revive()
    lab.servers.clear()
    return lab.servers


def states(servers):
    return [line.split(": ")[1] for line in repr(servers).splitlines()]


def test_killed_and_started_again(lab, servers):
    first, second = lab.clients[:2]
    first.set("mine", 1), second.set("mine", 2)
    process, command = psutil.Process(pid_of(lab, "lock1")), dict(row[:2] for row in lab.processes.rows)
    servers.kill("lock1")
    assert not process.is_running()
    assert states(servers) == ["down", "up", "up"]
    with pytest.raises(ConnectionError, match="Connection refused"):
        first.get("mine")
    servers.kill("lock1")
    servers.restart("lock1")
    assert states(servers) == ["up", "up", "up"]
    assert (first.get("mine"), second.get("mine")) == (None, b"2")
    assert pid_of(lab, "lock1") != process.pid
    assert dict(row[:2] for row in lab.processes.rows) == command


def test_started_again_while_it_is_alive(lab, servers):
    lab.clients[0].set("mine", 1)
    before = pid_of(lab, "lock1")
    servers.restart("lock1")
    assert lab.clients[0].get("mine") is None
    assert not psutil.pid_exists(before)


def test_paused_and_resumed(lab, servers):
    servers.pause("lock2")
    assert states(servers) == ["up", "paused", "up"]
    assert psutil.Process(pid_of(lab, "lock2")).status() == psutil.STATUS_STOPPED
    with socket.socket(socket.AF_UNIX) as late:
        late.connect(str(lab.place.socket("lock2")))
        late.sendall(b"SET late 1\r\n")  # nobody reads it now, and nobody says so
        servers.resume("lock2")
        assert late.recv(100) == b"+OK\r\n"
    assert states(servers) == ["up", "up", "up"]
    servers.resume("lock2")  # does no harm


def test_one_that_is_paused_can_be_killed_and_started_again(lab, servers):
    servers.pause("lock3")
    servers.kill("lock3")
    assert states(servers) == ["up", "up", "down"]
    for do in (servers.pause, servers.resume):
        with pytest.raises(LabError, match=r'lock3 is down: start it first, with lab.servers.restart\("lock3"\)'):
            do("lock3")
    servers.restart("lock3")
    assert states(servers) == ["up", "up", "up"]


def test_one_that_takes_long_to_answer_is_waited_for(lab, servers, monkeypatch):
    """For longer than redis-py waits for a reply."""
    pid, asked, itself = pid_of(lab, "lock1"), [], lab.itself
    hasty = redis.Redis(unix_socket_path=str(lab.place.socket("lock1")), retry=None, socket_timeout=0.2)

    def ask(name):
        if asked:
            os.kill(pid, signal.SIGCONT)
            return itself(name)
        asked.append(name)
        return hasty

    monkeypatch.setattr(lab, "itself", ask)
    os.kill(pid, signal.SIGSTOP)
    lab.start_servers(["lock1"])
    assert asked == ["lock1"]
    hasty.close()


def test_durable_servers_remember_what_they_have_answered_to(module_tmp):
    with Lab(workers=1, durable=True, beside=True) as lab:
        command = shlex.split(dict(row[:2] for row in lab.processes.rows)["lock"])
        assert command[command.index("--appendfsync") + 1] == "always"
        assert "--appendonly" not in dict(row[:2] for row in lab.processes.rows)["broker"]
        lab.client().set("mine", 1)
        lab.servers.restart("lock")
        assert lab.client().get("mine") == b"1"
        lab.servers.clear()
        lab.servers.restart("lock")
        assert lab.client().get("mine") is None


@pytest.mark.parametrize("operation", ["kill", "restart", "pause", "resume", "up"])
@pytest.mark.parametrize("name", ["lock", "lock4", "broker", "worker1", None, 1])
def test_only_lock_servers_are_touched(lab, servers, operation, name):
    with pytest.raises(ValueError, match=f"^no lock server is called {name!r}; there are lock1, lock2, lock3$"):
        getattr(servers, operation)(name)


def test_the_next_run_begins_with_all_of_them(lab, servers):
    servers.kill("lock1")
    servers.pause("lock2")
    run = run_until(lab, task="tasks.add", every=0.2, takes=0, until={"finished": 1})
    assert run.notes == ()
    assert states(servers) == ["up", "up", "up"]


def test_what_was_sent_to_a_paused_server_by_one_who_is_gone_is_not_left_for_the_next_run(lab, servers):
    for _ in range(10):
        servers.pause("lock1")
        for _ in range(20):
            with socket.socket(socket.AF_UNIX) as late:
                late.connect(str(lab.place.socket("lock1")))
                late.sendall(b"SET late 1\r\n")
        lab.settle()
        assert lab.clients[0].keys() == []


def test_settling_keeps_the_other_processes(lab, servers):
    before = {name: pid for name, _, pid, _ in lab.processes.rows}
    servers.kill("lock3")
    lab.settle()
    changed = {name for name, _, pid, _ in lab.processes.rows if before[name] != pid}
    assert changed == {"lock3"}


# Nothing is left -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("closing", ["close", "exit"])
def test_a_lab_with_dead_and_paused_servers_can_be_closed(hunt, closing):
    lab = Lab(workers=1, lock_servers=5, durable=True)
    hunt.family(lab.warden_pid)
    lab.servers.kill("lock1")
    lab.servers.pause("lock2")
    lab.close() if closing == "close" else lab.__exit__(None, None, None)
    hunt.nothing_left()
    for operation in (lab.servers.kill, lab.servers.restart, lab.servers.pause, lab.servers.resume, lab.servers.up):
        with pytest.raises(LabError, match="The lab is closed"):
            operation("lock3")


RUN = """
from majority import Majority
from course_tasks import restart
lab.run(Majority, every=0.2, takes=60, seconds=60,
        faults=[kill("lock1", after=0), pause(60, "lock2", after=0), restart("lock3", 60, after=0)])
"""


def in_a_run_with_faults(kernel):
    """Have ``kernel`` start a lab with five lock servers, and a run in which one is dead, one is paused, one is down."""
    place = kernel.cell("lab = Lab(workers=2, lock_servers=5, durable=True); _ = str(lab.place.path)")
    kernel.start(RUN)
    wait_for(lambda: kinds_so_far(place, 1)["fault began"] == 3, "for the faults")
    return place


def stopped(processes):
    """How many of ``processes`` stand still."""
    states = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            states.append(process.status())
    return states.count(psutil.STATUS_STOPPED)


@pytest.mark.parametrize("repeat", range(REPEATS))
def test_the_kernel_is_killed_in_a_run(kernel, hunt, repeat):
    in_a_run_with_faults(kernel)
    # Not at once: one that is killed is stopped first, and the history is told before it is dead.
    wait_for(lambda: stopped(hunt.family(kernel.pid)) == 1, "until all but one of those that stand still are dead")
    kernel.kill()
    hunt.nothing_left()


def test_the_warden_is_killed(kernel, hunt):
    kernel.cell("lab = Lab(workers=1, lock_servers=3); lab.servers.kill('lock1'); lab.servers.pause('lock2')")
    hunt.family(kernel.pid)
    psutil.Process(kernel.cell("_ = lab.warden_pid")).kill()
    with pytest.raises(Exception, match="The lab is closed"):
        kernel.cell("lab.servers.restart('lock1')")
    kernel.cell("lab.close()")
    hunt.nothing_left()


def test_a_run_is_interrupted(kernel, hunt):
    in_a_run_with_faults(kernel)
    hunt.family(kernel.pid)
    interrupted(kernel)
    assert kernel.cell("_ = repr(lab.servers)") == "\n".join(f"lock{number}: up" for number in range(1, 6))
    works(kernel, hunt)


@pytest.mark.parametrize("method", ["start", "end", "send_signal", "start_servers"])
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_interrupted_while_a_server_is_started_again(kernel, hunt, method, before):
    """At any step of it: the next run finds it up."""
    kernel.cell("lab = Lab(workers=2, lock_servers=3)")
    hunt.family(kernel.pid)
    kernel.cell(STRIKE)
    kernel.cell("lab.servers.pause('lock1')")
    kernel.cell(f"strike_once(lab, {method!r}, before={before})")
    with pytest.raises(Exception, match="KeyboardInterrupt"):
        kernel.cell("lab.servers.restart('lock2'); lab.servers.pause('lock3')")
    works(kernel, hunt)


def test_a_single_one(hunt):
    with Lab(workers=1) as lab:
        hunt.family(lab.warden_pid)
        assert lab.lock_servers == lab.servers.names == ("lock",)
        assert [client.get("nothing") for client in lab.clients] == [None]
        lab.servers.restart("lock")
        run = run_until(lab, Setnx, every=0.2, takes=0, until={"released": 1})
        assert run.notes == ()
        (note,) = run_until(lab, Redlock, every=0.2, takes=0, until={"failed": 1}).notes
        assert "raised TypeError('Redlock takes a list of clients, one for each of its servers, not a Redis" in note
    hunt.nothing_left()
