"""Every lesson from top to bottom, as Run All would: no error, and nothing left when its kernel has gone."""

import shutil
import time

import nbformat
import pytest
from conftest import ROOT, THOROUGH, assert_nothing_left

from tools import hygiene, lessons


@pytest.fixture
def desk(tmp_path):
    """A copy of notebooks/ to run a lesson in: whatever is new there afterwards was written by that lesson."""
    return shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns(".*"))


@pytest.fixture
def jupyter_elsewhere(monkeypatch, tmp_path):
    """No start-up files, kernels, histories or progress of whoever runs the tests, and no live drawing."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("COURSE_TASKS_LIVE", "0")


@pytest.mark.parametrize("path", lessons.lessons(), ids=lambda path: path.stem)
def test_lesson_runs_from_top_to_bottom_and_leaves_nothing(path, desk, private_tmp, jupyter_elsewhere, record_property):
    before = set(desk.rglob("*"))
    client = lessons.client(path, desk)
    with client.setup_kernel():
        for repeat in range(2 if THOROUGH else 1):
            begin = time.monotonic()
            for index, cell in enumerate(client.nb.cells):
                client.execute_cell(cell, index)
            again = ", again in the same kernel" if repeat else ""
            record_property("lesson", (time.monotonic() - begin, path.stem + again))
    assert_nothing_left(private_tmp)
    assert set(desk.rglob("*")) - before == set()


HIDE = "from course_tasks.lab import faketime\nfaketime.candidates = lambda: iter(())"


@pytest.mark.skipif(not THOROUGH, reason="tests/test_stored_picture.py sees the parts that differ, in no time")
def test_lesson_13_where_no_clock_can_be_moved(desk, private_tmp, jupyter_elsewhere):
    client = lessons.client(desk / "13_redlock_on_trial.ipynb", desk)
    client.nb.cells.insert(0, nbformat.v4.new_code_cell(HIDE, id="hide"))
    client.execute()
    shown = {cell.id: cell.outputs for cell in client.nb.cells if cell.cell_type == "code"}
    assert "can't be moved" in shown["setup"][0].text
    assert "clock_jump.png" in shown["clock"][-1].data["text/markdown"]
    assert_nothing_left(private_tmp)


@pytest.mark.parametrize("path", lessons.lessons(), ids=lambda path: path.stem)
def test_lesson_is_stored_clean(path):
    assert hygiene.faults(path) == []
