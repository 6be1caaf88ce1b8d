"""Interrupt, as Jupyter sends it: SIGINT to the kernel's process group. The cell ends, the lab does not."""

import json
import random
import signal
import socket
import threading
import time
from types import SimpleNamespace

import psutil
import pytest
from conftest import REPEATS, THOROUGH
from labs import LONG, CellError, kinds_so_far, wait_for

from course_tasks.lab.interrupts import held_back
from course_tasks.lab.line import Line
from course_tasks.place import Place

repeated = pytest.mark.parametrize("repeat", range(REPEATS))

CLEAN = """
run = run_until(lab, every=60, takes=0, mails=3, until={"finished": 1})
_ = {"kinds": list(run.events["kind"]), "mails": [int(mail) for mail in run.inbox["mail"]], "notes": list(run.notes)}
"""


# In small pieces: a signal that comes just before a long sleep begins is noticed when it ends.
SLEEP = "import time\nfor _ in range(6000): time.sleep(0.01)"


def started(kernel, workers=2):
    return kernel.cell(f"lab = Lab(workers={workers}); _ = str(lab.place.path)")


def interrupted(kernel):
    """Interrupt the cell that is going on, and see that it raises KeyboardInterrupt."""
    kernel.interrupt()
    with pytest.raises(CellError, match=r"^KeyboardInterrupt$"):
        kernel.answer()


def works(kernel, hunt):
    """The next run is clean, and the lab can be closed."""
    run = kernel.cell(CLEAN)
    assert run["notes"] == []
    assert run["kinds"].count("finished") == 1  # of one tick: nothing was left from before
    assert run["mails"] == [1]
    kernel.cell("lab.close()")
    hunt.nothing_left()


def test_in_a_run(kernel, hunt):
    place = started(kernel)
    servers = [
        row for row in kernel.cell("_ = [[row[0], row[2]] for row in lab.processes.rows]") if "worker" not in row[0]
    ]
    kernel.start("lab.run(every=0.2, takes=60, seconds=60, faults=pause(60, 'worker1', when='entered'))")
    wait_for(lambda: {"entered": 2, "fault began": 1}.items() <= kinds_so_far(place, 1).items(), "for two tasks inside")
    family = hunt.family(kernel.pid)
    interrupted(kernel)
    for name, pid in servers:  # the interrupt reached none of them
        assert psutil.pid_exists(pid), name
        assert pid in {process.pid for process in family}
    assert kernel.cell("_ = lab.unsettled") is False
    works(kernel, hunt)


def test_reaches_neither_workers_nor_servers(kernel, hunt):
    started(kernel)
    family = hunt.family(kernel.pid)
    born = {process: process.create_time() for process in family}
    for _ in range(3):
        kernel.start(SLEEP)
        interrupted(kernel)
    assert kernel.cell("_ = lab.send('tasks.add', 2, 3).get(timeout=30)") == 5
    assert {process: process.create_time() for process in hunt.family(kernel.pid)} == born
    for worker in ("worker1", "worker2"):
        assert "shutdown" not in kernel.cell(f"_ = str(lab.logs({worker!r}))").lower()


# What interrupts the cell just before or just after a method is called for the first time.
STRIKE = """
import os, signal

def strike_once(owner, name, before):
    original = getattr(owner, name)
    def call(*args, **kwargs):
        if calls.pop(0) if calls else False:
            if before:
                os.killpg(0, signal.SIGINT)
            result = original(*args, **kwargs)
            if not before:
                os.killpg(0, signal.SIGINT)
            return result
        return original(*args, **kwargs)
    calls = [True]
    setattr(owner, name, call)
"""

STRIKES = {
    "before beat starts": 'strike_once(lab, "start", before=True)',
    "as beat has started": 'strike_once(lab, "start", before=False)',
    "before the producer is ended": 'strike_once(lab, "end", before=True)',
    "as the producer has ended": 'strike_once(lab, "end", before=False)',
    "before the lab settles": 'strike_once(lab, "settle", before=True)',
    "as the lab has settled": 'strike_once(lab, "settle", before=False)',
    "while the history is read": 'strike_once(conduct.history, "read", before=False)',
    "with a reply of the history server unread": """
import redis
history = lab.client("history")
def xread(*args, original=history.xread, **kwargs):
    history.xread = original
    strike_once(redis.connection.UnixDomainSocketConnection, "read_response", before=True)
    return original(*args, **kwargs)
history.xread = xread
""",
    "in the second run, while it waits for workers": 'strike_once(lab, "await_workers", before=False)',
}


# As likely to go wrong as the others, and left to .ci/run.
SELDOM = () if THOROUGH else ("before the producer is ended", "before the lab settles", "as beat has started")


@pytest.mark.parametrize("when", [when for when in STRIKES if when not in SELDOM])
def test_at_a_chosen_place(interruptible, when):
    """Every place but one clears up at once; an interrupt of the clearing up leaves it to the next run."""
    kernel = interruptible
    kernel.cell(STRIKES[when])
    with pytest.raises(CellError, match=r"^KeyboardInterrupt$"):
        kernel.cell(
            "run_until(lab, every=0.1, takes=60, faults=kill('worker1', when='entered'), until={'fault ended': 1})"
        )
    run = kernel.cell(CLEAN)
    assert run["notes"] == []
    assert run["mails"][:1] == [1]
    assert run["kinds"].count("finished") >= 1
    assert run["kinds"].count("entered") == len(run["mails"])


@pytest.fixture(scope="module")
def interruptible(kernels, tmp_path_factory, module_tmp):
    """A kernel whose lab the tests interrupt in turn: that it survives is what they are about."""
    kernel = kernels()
    kernel.cell(f"os.environ['TMPDIR'] = {str(module_tmp)!r}")
    kernel.cell(STRIKE)
    kernel.cell("from course_tasks.lab import conduct; lab = Lab(workers=2)")
    yield kernel
    kernel.cell("lab.close()")
    assert list(module_tmp.iterdir()) == []
    kernel.__exit__()


@pytest.mark.parametrize("module", ["numpy.lib", "pandas.core", "tqdm.std"] if THOROUGH else ["numpy.lib"])
def test_while_the_first_run_loads_what_it_needs(kernel, hunt, module):
    """Half an import of numpy can't be repaired in the same process, so the interrupt has to wait for it."""
    started(kernel)
    kernel.cell(f"""
import signal

class Striking:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.killpg(0, signal.SIGINT)

assert {module!r} not in sys.modules
sys.meta_path.insert(0, Striking())
""")
    with pytest.raises(CellError, match=r"^KeyboardInterrupt$"):
        kernel.cell("lab.run(every=0.2, takes=60, seconds=60)")
    works(kernel, hunt)


def test_an_interrupt_is_held_back_for_a_moment():
    before = signal.getsignal(signal.SIGINT)
    done = []
    with pytest.raises(KeyboardInterrupt), held_back():
        signal.raise_signal(signal.SIGINT)
        done.append("the rest")
    assert done == ["the rest"]
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(ZeroDivisionError), held_back():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is before
    thread = threading.Thread(target=held_back()(done.append), args=["in a thread"])
    thread.start()
    thread.join()
    assert done == ["the rest", "in a thread"]


def test_twice_in_a_row(kernel, hunt):
    """The second comes while the lab clears up after the first."""
    place = started(kernel)
    kernel.cell(STRIKE)
    kernel.cell('strike_once(lab, "settle", before=False); strike_once(lab, "end", before=False)')
    kernel.start("lab.run(every=0.2, takes=60, seconds=60)")
    wait_for(lambda: kinds_so_far(place, 1)["entered"] == 2, "for two tasks inside")
    interrupted(kernel)
    works(kernel, hunt)


@repeated
def test_at_any_moment_of_a_run(kernel, hunt, repeat):
    seed = random.randrange(2**32)
    delay = random.Random(seed).uniform(0, 1.5)
    print(f"seed {seed}: {delay:.3f} s after the beginning of the run")
    started(kernel)
    kernel.start("lab.run(every=0.1, takes=0.05, seconds=60, faults=kill('worker1', after=0.3))")
    time.sleep(delay)  # not to wait for anything: any moment will do
    interrupted(kernel)
    works(kernel, hunt)


# At start-up -----------------------------------------------------------------------------------------------------------

STARTING = {
    "before the warden is started": 'strike_once(lines.subprocess, "Popen", before=True)',
    "as the warden has started": 'strike_once(lines.subprocess, "Popen", before=False)',
    "as the warden has been asked": 'strike_once(lines.Line, "_reply", before=True)',
    "before the first server": 'strike_once(Lab, "start", before=True)',
    "after the first server": 'strike_once(Lab, "start", before=False)',
    "while it waits": 'strike_once(Lab, "_is_ready", before=True)',
}


def test_while_the_lab_starts(kernel, hunt):
    kernel.cell(STRIKE)
    for when in STARTING:
        print(when)
        kernel.cell(f"from course_tasks.lab import line as lines; {STARTING[when]}")
        with pytest.raises(CellError, match=r"^KeyboardInterrupt$"):
            kernel.cell("Lab(workers=2)")
        hunt.nothing_left()
    started(kernel, workers=1)
    assert kernel.cell("_ = lab.send('tasks.add', 2, 3).get(timeout=30)") == 5
    kernel.cell("lab.close()")
    hunt.nothing_left()


@repeated
def test_at_any_moment_while_the_lab_starts(kernel, hunt, repeat):
    seed = random.randrange(2**32)
    delay = random.Random(seed).uniform(0, 0.8)
    print(f"seed {seed}: {delay:.3f} s after the start")
    kernel.start("lab = Lab(workers=3)\n" + SLEEP)
    time.sleep(delay)  # not to wait for anything: any moment will do
    interrupted(kernel)
    if not kernel.cell("_ = 'lab' in globals()"):
        hunt.nothing_left()
    started(kernel, workers=1)
    assert kernel.cell("_ = lab.send('tasks.add', 2, 3).get(timeout=30)") == 5
    kernel.cell("lab.close()")
    hunt.nothing_left()


# The line, alone -------------------------------------------------------------------------------------------------------


@pytest.fixture
def slow_warden():
    """A Line whose warden is a thread of this test: ``heard()`` is the next request, ``say(bytes)`` answers."""
    line = Line(Place("/nowhere"))
    line._socket, theirs = socket.socketpair()
    theirs.settimeout(LONG)
    pending = theirs.makefile("rb")

    def heard():
        while not (text := pending.readline().strip()):
            pass
        return json.loads(text)

    yield SimpleNamespace(line=line, heard=heard, say=theirs.sendall)
    pending.close()
    theirs.close()
    line._socket.close()


def interrupt_this_thread(after):
    """In a thread of its own: ``after()``, then SIGINT to the main thread."""

    def run():
        after()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_late_reply_is_not_taken_for_the_next_one(slow_warden):
    thread = interrupt_this_thread(slow_warden.heard)
    with pytest.raises(KeyboardInterrupt):
        slow_warden.line.call("end", names=["worker1"])
    thread.join()

    def both_replies():
        second = slow_warden.heard()
        slow_warden.say(json.dumps({"id": second["id"] - 1, "result": "late"}).encode() + b"\n")
        slow_warden.say(json.dumps({"id": second["id"], "result": "in time"}).encode() + b"\n")

    thread = threading.Thread(target=both_replies)
    thread.start()
    assert slow_warden.line.call("status") == "in time"
    thread.join()


def test_half_a_reply_is_not_taken_for_the_next_one(slow_warden):
    """The interrupt comes when the first part of the reply has been read, and the rest is still to come."""

    def half():
        slow_warden.half = json.dumps({"id": slow_warden.heard()["id"], "result": "late"}).encode()
        slow_warden.say(slow_warden.half[:9])
        wait_for(lambda: not unread(slow_warden.line._socket), "for the half to be read")

    thread = interrupt_this_thread(half)
    with pytest.raises(KeyboardInterrupt):
        slow_warden.line.call("end", names=["worker1"])
    thread.join()

    def rest_and_reply():
        second = slow_warden.heard()
        slow_warden.say(
            slow_warden.half[9:] + b"\n" + json.dumps({"id": second["id"], "result": "in time"}).encode() + b"\n"
        )

    thread = threading.Thread(target=rest_and_reply)
    thread.start()
    assert slow_warden.line.call("status") == "in time"
    thread.join()


def unread(sock):
    """Bytes that wait to be read from ``sock``."""
    import fcntl
    import struct
    import termios

    return struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, b"\0" * 4))[0]


def test_the_real_warden_answers_late(kernel, hunt):
    """It is stopped while the request comes, so that the reply is still to come when the cell is interrupted."""
    started(kernel)
    warden = psutil.Process(kernel.cell("_ = lab.warden_pid"))
    warden.suspend()
    kernel.cell(STRIKE)
    kernel.cell('from course_tasks.lab import line as lines; strike_once(lines.Line, "_reply", before=True)')
    with pytest.raises(CellError, match="KeyboardInterrupt"):
        kernel.cell("lab._line.call('start', name='sleeper', argv=['/bin/sleep', '60'])")
    warden.resume()
    status = kernel.cell("_ = lab._line.call('status')")
    assert status["sleeper"] is None
    kernel.cell("lab.close()")
    hunt.nothing_left()
