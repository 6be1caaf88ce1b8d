"""Exercises in a kernel: interrupted, killed, run twice, beside the learner's own lab."""

import json
import os
import random
import subprocess
import sys
import time

import pytest
from conftest import REPEATS, ROOT
from labs import CellError, wait_for
from test_lab_jupyter import Notebook

HEAVY = ("pandas", "numpy", "matplotlib", "IPython", "celery")
PROMPT = "from course_tasks import exercise, hint, solution, progress"

ENDLESS = """
@exercise("04.1")
class Endless:
    def __init__(self, client, name):
        pass
    def acquire(self):
        while True:
            pass
    def release(self):
        pass
"""

UNWRITTEN = """
@exercise("00.1")
def at_least(times, takes, workers):
    raise NotImplementedError
"""

RIGHT = """
import math

@exercise("00.1")
def at_least(times, takes, workers):
    return math.ceil(times / workers) * takes
"""


@pytest.fixture
def elsewhere(kernel, tmp_path):
    """A kernel whose progress is kept in the test's own directory: there."""
    kernel.cell(f"os.environ['XDG_DATA_HOME'] = {str(tmp_path / 'data')!r}\n{PROMPT}")
    return tmp_path / "data" / "course_tasks" / "progress.json"


def states(progress):
    return {identity: entry["state"] for identity, entry in json.loads(progress.read_text())["exercises"].items()}


def calling(hunt):
    """Whether a check is under way that has come to call the answer."""
    return any(path.read_text().startswith("calling") for path in hunt.directory.glob("course-lab-*/stage"))


def works(kernel, hunt):
    """A lab of the learner's own is as usable as ever, and so are the exercises."""
    assert kernel.cell("lab = Lab(workers=1); _ = lab.send('tasks.add', 2, 3).get(timeout=30)") == 5
    kernel.cell(UNWRITTEN)
    assert kernel.cell("_ = lab.send('tasks.add', 3, 4).get(timeout=30)") == 7
    kernel.cell("lab.close()")
    hunt.nothing_left()


def test_interrupted_while_it_calls_the_answer(kernel, hunt, elsewhere):
    kernel.start(ENDLESS)
    wait_for(lambda: calling(hunt), "for the call")
    hunt.family(kernel.pid)
    kernel.interrupt()
    with pytest.raises(CellError, match=r"^KeyboardInterrupt$"):
        kernel.answer()
    hunt.nothing_left()
    assert not elsewhere.exists(), "an interrupted check says nothing"
    works(kernel, hunt)


def test_interrupted_while_real_workers_run(kernel, hunt, elsewhere):
    kernel.start(RIGHT)
    wait_for(lambda: any(hunt.directory.glob("course-lab-*/course-lab-*/run1")), "for the run")
    hunt.family(kernel.pid)
    kernel.interrupt()
    with pytest.raises(CellError, match=r"^KeyboardInterrupt$"):
        kernel.answer()
    hunt.nothing_left()
    works(kernel, hunt)


@pytest.mark.parametrize("repeat", range(REPEATS))
def test_interrupted_at_any_moment(kernel, hunt, elsewhere, repeat):
    seed = random.randrange(2**32)
    delay = random.Random(seed).uniform(0, 2)
    print(f"seed {seed}: {delay:.3f} s after the beginning of the check")
    kernel.start(RIGHT + "\nfor _ in range(6000): __import__('time').sleep(0.01)")
    time.sleep(delay)  # not to wait for anything: any moment will do
    kernel.interrupt()
    with pytest.raises(CellError, match=r"^KeyboardInterrupt$"):
        kernel.answer()
    hunt.nothing_left()
    works(kernel, hunt)


def test_interrupted_twice(kernel, hunt, elsewhere):
    """The second comes while the first is being followed."""
    kernel.cell("""
import signal
from course_tasks.lab.line import Line

def close(line, original=Line.close):
    Line.close = original
    os.killpg(0, signal.SIGINT)
    original(line)

Line.close = close
""")
    kernel.start(ENDLESS)
    wait_for(lambda: calling(hunt), "for the call")
    hunt.family(kernel.pid)
    kernel.interrupt()
    with pytest.raises(CellError, match=r"^KeyboardInterrupt$"):
        kernel.answer()
    hunt.nothing_left()
    works(kernel, hunt)


def test_the_kernel_is_killed(kernel, hunt, elsewhere):
    kernel.start(RIGHT)
    wait_for(lambda: any(hunt.directory.glob("course-lab-*/course-lab-*/run1")), "for the run")
    hunt.family(kernel.pid)
    kernel.kill()
    hunt.nothing_left()


def test_beside_the_learners_own_lab(kernel, hunt, elsewhere):
    kernel.cell("lab = Lab(workers=2)")
    kernel.cell("lab.client().set('mine', 1); first = run_until(lab, every=0.2, takes=0, until={'finished': 1})")
    before = kernel.cell("_ = [list(row[:3]) for row in lab.processes.rows]")
    files = kernel.cell("_ = sorted(os.listdir(lab.place.path))")
    kernel.cell("lab.client().set('mine', 1)")
    kernel.cell(RIGHT)
    kernel.cell(ENDLESS)
    assert states(elsewhere) == {"00.1": "passed", "04.1": "not yet"}
    assert kernel.cell("_ = [list(row[:3]) for row in lab.processes.rows]") == before
    assert kernel.cell("_ = sorted(os.listdir(lab.place.path))") == files
    assert kernel.cell("_ = [key.decode() for key in lab.client().keys()]") == ["mine"]
    assert kernel.cell("second = run_until(lab, every=0.2, takes=0, until={'finished': 1}); _ = second.number") == 2
    kernel.cell("lab.close()")
    hunt.nothing_left()


def test_an_answer_can_be_used_afterwards(kernel, hunt, elsewhere):
    kernel.cell(RIGHT)
    assert kernel.cell("_ = at_least(7, 1, 3)") == 3


# As Jupyter shows it --------------------------------------------------------------------------------------------------


@pytest.fixture
def notebook(hunt, tmp_path, monkeypatch):
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("COURSE_TASKS_LIVE", "1")
    notebook = Notebook(tmp_path)
    hunt.spare(notebook.pid)
    yield notebook
    notebook.close()


def test_in_a_notebook(notebook, hunt):
    """The card takes the place of what said that the check goes on; an error shows the line of the cell."""
    assert notebook.cell(PROMPT) == ("", [])
    text, shown = notebook.cell(RIGHT)
    assert text == ""
    assert [data["text/html"] for data in shown if "Checking 00.1: starting a lab …" in data.get("text/html", "")]
    last = shown[-1]["text/html"]
    assert "✓ passed" in last and "<svg" in last and "What it printed" not in last
    assert "matplotlib" not in shown[-1].get("text/plain", "")

    _, shown = notebook.cell(
        "@exercise('00.1')\ndef at_least(times, takes, workers):\n    print('here')\n    return 1 / 0"
    )
    last = shown[-1]["text/html"]
    assert "✗ not yet" in last and "line 4, in at_least:  return 1 / 0" in last
    assert "What it printed" in last and "here" in last

    notebook.begin(ENDLESS)
    wait_for(lambda: calling(hunt), "for the call")
    notebook.manager.interrupt_kernel()
    with pytest.raises(RuntimeError, match="KeyboardInterrupt"):
        notebook.outcome()
    hunt.nothing_left()

    _, shown = notebook.cell("hint('00.1')")
    assert "hint 1 of" in shown[-1]["text/html"]
    _, shown = notebook.cell("solution('00.1')")
    assert shown[-1]["text/markdown"].startswith("```python\nimport math")
    _, shown = notebook.cell("progress()")
    assert "1 of" in shown[-1]["text/html"] and "✓" in shown[-1]["text/html"]


LOADED = """
import sys
{}
print(*sorted(sys.modules))
"""


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("from course_tasks import exercise, hint, solution, progress", ("course_tasks.exercises.lesson", *HEAVY)),
        ("from course_tasks.exercises import definition; definition.everything()", HEAVY),
        ("from course_tasks import progress; progress()", HEAVY),
    ],
)
def test_what_is_loaded(code, unwanted, tmp_path):
    """No lesson's exercises before one is asked for, and nothing that draws before there is something to draw."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOADED.format(code)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "XDG_DATA_HOME": str(tmp_path), "PATH": os.environ["PATH"]},
    )
    assert "course_tasks.exercises.definition" in done.stdout.split()
    assert [name for name in done.stdout.split() if name.startswith(unwanted)] == []
