"""What every test shares: where the checkout is, how thorough a run is, and the hunt for anything left behind."""

import os
import signal
import tempfile
import time
from pathlib import Path

import psutil
import pytest

pytest_plugins = ["labs", "servers", "fives", "interrupts"]
ROOT = Path(__file__).resolve().parent.parent
# COURSE_TESTS=all, as .ci/run sets it: what is a matter of luck is tried 20 times, and every notebook runs twice in one kernel.
THOROUGH = os.environ.get("COURSE_TESTS") == "all"
REPEATS = 20 if THOROUGH else 1
# A job in the background may ignore Ctrl-C and Ctrl-backslash, and one under nohup SIGHUP; so would all that the tests start.
HEEDED = {signal.SIGINT: signal.default_int_handler, signal.SIGQUIT: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
for number, handler in HEEDED.items():
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


@pytest.fixture
def private_tmp(monkeypatch, tmp_path_factory):
    """A temporary directory that is the test's own TMPDIR, so that whatever is left in it was left by the test.

    pytest's tmp_path is too long for this: a Unix socket's path has room for about 100 bytes.
    """
    tmp_path_factory.getbasetemp()  # made now, it lies outside
    with tempfile.TemporaryDirectory(prefix="course-") as directory:
        monkeypatch.setenv("TMPDIR", directory)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(directory)
        monkeypatch.undo()


def processes_mentioning(directory):
    """Processes that a test started, told by its temporary directory in their command line or environment."""
    needle = str(directory)
    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if any(needle in text for text in (*process.cmdline(), *process.environ().values())):
                found.append(process)
        except psutil.Error:
            continue  # it has just ended, or it is another user's
    return found


def on_this_machine(seconds):
    """So many ``seconds`` where a process has a processor to itself; longer on a machine that is busy, as all takes longer there.

    What is not to be left behind is gone in less than half a second, or in the two that importing Celery may take: the warden
    does nothing else meanwhile.
    """
    return seconds * max(1.0, os.getloadavg()[0] / os.cpu_count())


def assert_nothing_left(directory, within=3.0):
    """Nothing that ran with `directory` as its TMPDIR may outlive it: no process, socket, directory, pid or schedule file."""
    deadline = time.monotonic() + on_this_machine(within)
    while True:
        processes, files = processes_mentioning(directory), sorted(Path(directory).rglob("*"))
        if not processes and not files:
            return
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    told = [f"process {p.pid}: {' '.join(p.cmdline())}" for p in processes if p.is_running()]
    pytest.fail("\n".join([f"left behind after {within} s:", *told, *map(str, files)]), pytrace=False)


def pytest_collection_modifyitems(items):
    """The lessons first, which take longest: run side by side, what comes last should be short."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")


def pytest_terminal_summary(terminalreporter):
    """Tell what each lesson took, as tests/test_notebooks.py recorded it."""
    reports = terminalreporter.getreports("passed")
    lessons = [value for report in reports for name, value in report.user_properties if name == "lesson"]
    if lessons:
        terminalreporter.section("seconds for each lesson")
        for seconds, name in lessons:
            terminalreporter.write_line(f"{seconds:7.1f} s  {name}")
