"""The kernel dies, in every way there is: nothing of its lab may outlive it by more than three seconds.

What is a matter of luck is tried once, and 20 times with COURSE_TESTS=all.
"""

import os
import random
import signal
import sys
import time

import psutil
import pytest
from conftest import REPEATS, THOROUGH
from labs import CellError, kinds_so_far, wait_for

# Linux tells a process that its parent has died; elsewhere only the warden can end what it started.
if_told = pytest.mark.skipif(
    sys.platform != "linux", reason="the system does not tell children of their parent's death"
)
repeated = pytest.mark.parametrize("repeat", range(REPEATS))


def started(kernel, workers=1):
    """Have ``kernel`` start a lab; returns the lab's directory."""
    return kernel.cell(f"lab = Lab(workers={workers}); _ = str(lab.place.path)")


# SIGKILL ---------------------------------------------------------------------------------------------------------------


@repeated
def test_killed_while_idle(kernel, hunt, repeat):
    started(kernel)
    assert len(hunt.family(kernel.pid)) >= 7
    kernel.kill()
    hunt.nothing_left()


@repeated
def test_killed_with_a_reply_unread(kernel, hunt, repeat):
    """The kernel's end of the socket is closed with data in it: the warden's next read fails instead of ending."""
    started(kernel)
    hunt.family(kernel.pid)
    kernel.cell("""
import os, select, signal
lab._line._socket.sendall(b'{"id": 1000, "op": "status"}\\n')
select.select([lab._line._socket], [], [])
""")
    kernel.kill()
    hunt.nothing_left()


# How often Lab.start has been called when the kernel kills itself: three servers, the mail service, two workers.
MOMENTS = {
    "before the warden is started": "lines.subprocess.Popen = kill_myself",
    "as soon as the warden is started": "lines.subprocess.Popen = then_kill_myself(lines.subprocess.Popen)",
    "with the first request on its way": "lines.Line._reply = kill_myself",
    "after the first server": "Lab.start = then_kill_myself(Lab.start)",
    "after the servers": "Lab.start = then_kill_myself(Lab.start, 3)",
    "after the mail service": "Lab.start = then_kill_myself(Lab.start, 4)",
    "amid the workers": "Lab.start = then_kill_myself(Lab.start, 5)",
    "while the workers get ready": "Lab.start = then_kill_myself(Lab.start, 6)",
}

KILLING = """
import os, signal
from course_tasks.lab import line as lines

def kill_myself(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def then_kill_myself(function, times=1):
    calls = []
    def call(*args, **kwargs):
        function(*args, **kwargs)
        calls.append(args)
        if len(calls) == times:
            kill_myself()
    return call
"""


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_while_it_starts(kernel, hunt, moment):
    kernel.cell(KILLING)
    kernel.cell(MOMENTS[moment])
    kernel.start("Lab(workers=2)")
    assert kernel.process.wait(60) == -signal.SIGKILL
    hunt.nothing_left()


@repeated
def test_killed_at_any_moment_while_it_starts(kernel, hunt, repeat):
    seed = random.randrange(2**32)
    delay = random.Random(seed).uniform(0, 1.2)
    print(f"seed {seed}: {delay:.3f} s after the start")
    kernel.start("Lab(workers=2)")
    time.sleep(delay)  # not to wait for anything: any moment will do
    kernel.kill()
    hunt.nothing_left()


@repeated
def test_killed_in_a_run_with_tasks_busy_and_a_worker_paused(kernel, hunt, repeat):
    place = started(kernel, workers=2)
    kernel.start('lab.run(every=0.2, takes=60, seconds=60, faults=[pause(60, "worker1", when="entered")])')
    wait_for(lambda: {"entered": 2, "fault began": 1}.items() <= kinds_so_far(place, 1).items(), "for the pause")
    family = hunt.family(kernel.pid)
    assert sum(process.status() == psutil.STATUS_STOPPED for process in family) == 2
    kernel.kill()
    hunt.nothing_left()


@repeated
def test_killed_at_any_moment_of_a_run(kernel, hunt, repeat):
    seed = random.randrange(2**32)
    delay = random.Random(seed).uniform(0, 2)
    print(f"seed {seed}: {delay:.3f} s after the beginning of the run")
    started(kernel, workers=2)
    hunt.family(kernel.pid)
    kernel.start("lab.run(every=0.2, takes=0.3, seconds=1, faults=[kill(after=0.5)])")
    time.sleep(delay)  # not to wait for anything: any moment will do
    kernel.kill()
    hunt.nothing_left()


@if_told
def test_killed_at_one_stroke_with_the_warden(kernel, hunt, kernels):
    """Nobody is left to remove the directory: the next lab does. The processes are told by the system."""
    place = started(kernel)
    warden = kernel.cell("_ = lab.warden_pid")
    hunt.family(kernel.pid)
    os.kill(warden, signal.SIGSTOP)  # it must not notice
    kernel.kill()
    os.kill(warden, signal.SIGKILL)
    hunt.nothing_left(files=False)
    assert os.path.isdir(place)
    second = hunt.another(kernels)
    started(second)
    assert not os.path.exists(place)
    second.kill()
    hunt.nothing_left()


# Leaving ---------------------------------------------------------------------------------------------------------------

ENDS = {
    "with its last cell": (None, 0),
    "by sys.exit": ("sys.exit(3)", 3),
    "by an exception": ("class Uncaught(BaseException): pass\nraise Uncaught", 1),
    "by an exception in a with": ("with lab: sys.exit('on purpose')", 1),
    "by os._exit": ("os._exit(4)", 4),
    "by SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    "by SIGHUP": ("os.kill(os.getpid(), signal.SIGHUP)", -signal.SIGHUP),
    "by becoming another program": ("os.execv('/bin/true', ['true'])", 0),
}


SELDOM = () if THOROUGH else ("by an exception in a with", "by SIGHUP", "by becoming another program")


@pytest.mark.parametrize("how", [how for how in ENDS if how not in SELDOM])
def test_the_kernel_leaves(kernel, hunt, how):
    last, status = ENDS[how]
    started(kernel)
    hunt.family(kernel.pid)
    kernel.start(last) if last else kernel.process.stdin.close()
    assert kernel.process.wait(60) == status, kernel.log.read_text()
    hunt.nothing_left()
    assert "Exception ignored" not in kernel.log.read_text()


# Forks -----------------------------------------------------------------------------------------------------------------


@repeated
def test_a_fork_that_lives_on_does_not_keep_the_lab_alive(kernel, hunt, repeat):
    """It has inherited the socket to the warden, which never ends therefore."""
    started(kernel)
    hunt.family(kernel.pid)
    fork = kernel.cell("""
import os, signal, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forks in a process with threads
_ = os.fork()
if _ == 0:
    signal.pause()
""")
    hunt.spare(fork)
    kernel.kill()
    hunt.nothing_left()
    survivor = psutil.Process(fork)
    assert survivor.is_running()
    survivor.kill()


def test_a_fork_that_ends_leaves_the_lab_to_its_owner(kernel, hunt):
    started(kernel)
    for leave in ("sys.exit(0)", "os._exit(0)", "lab.close(); os._exit(0)", "lab.__exit__(); sys.exit()"):
        kernel.cell(f"""
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forks in a process with threads
child = os.fork()
if child == 0:
    {leave}
_ = os.waitpid(child, 0)[1]
assert _ == 0, _
""")
        assert kernel.cell("_ = lab.send('tasks.add', 2, 3).get(timeout=30)") == 5, leave
    kernel.cell("lab.close()")
    hunt.nothing_left()


# The warden dies -------------------------------------------------------------------------------------------------------


@if_told
@repeated
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, *([signal.SIGTERM] if THOROUGH else [])], ids=lambda number: number.name
)
def test_the_warden_is_ended_from_outside(kernel, hunt, number, repeat):
    started(kernel, workers=2)
    hunt.family(kernel.pid)
    os.kill(kernel.cell("_ = lab.warden_pid"), number)
    hunt.nothing_left()
    begun = time.monotonic()
    with pytest.raises(CellError, match=r"LabError: .*ended from outside: run the cell that starts the lab again"):
        kernel.cell("lab.run(seconds=1)")
    with pytest.raises(CellError, match=r"LabError: .*ended from outside: run the cell that starts the lab again"):
        kernel.cell("lab.send('tasks.add', 1, 1)")
    assert time.monotonic() - begun < 10  # no knocking at doors that are gone
    started(kernel)
    assert kernel.cell("_ = lab.send('tasks.add', 2, 3).get(timeout=30)") == 5
    kernel.cell("lab.close()")
    hunt.nothing_left()


@if_told
def test_the_warden_is_killed_in_a_run(kernel, hunt):
    place = started(kernel, workers=2)
    hunt.family(kernel.pid)
    warden = kernel.cell("_ = lab.warden_pid")
    kernel.start("lab.run(every=0.2, takes=60, seconds=60)")
    wait_for(lambda: kinds_so_far(place, 1)["entered"] == 2, "for both workers to be inside")
    os.kill(warden, signal.SIGKILL)
    hunt.nothing_left()
    with pytest.raises(CellError, match="LabError"):
        kernel.answer()
    started(kernel)
    kernel.cell("lab.close()")
    hunt.nothing_left()
