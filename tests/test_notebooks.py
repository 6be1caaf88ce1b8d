"""Every lesson from top to bottom, as Run All would: no error, and nothing left when its kernel has gone."""

import time

import pytest
from conftest import ROOT, THOROUGH, assert_nothing_left

from tools import hygiene, lessons


def checkout():
    """The files of the checkout, except for what tests and tools may well write."""
    mine = {".git", ".venv", "build", ".pytest_cache", ".hypothesis", ".ruff_cache"}
    tops = [path for path in ROOT.iterdir() if path.name not in mine]
    paths = {path for top in tops for path in (top, *top.rglob("*"))}
    return {path for path in paths if "__pycache__" not in path.parts}


@pytest.fixture
def jupyter_elsewhere(monkeypatch, tmp_path):
    """No start-up files, kernels, histories or progress of whoever runs the tests, and no live drawing."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("COURSE_TASKS_LIVE", "0")


@pytest.mark.parametrize("path", lessons.lessons(), ids=lambda path: path.stem)
def test_lesson_runs_from_top_to_bottom_and_leaves_nothing(path, private_tmp, jupyter_elsewhere, record_property):
    before = checkout()
    client = lessons.client(path)
    with client.setup_kernel():
        for repeat in range(2 if THOROUGH else 1):
            begin = time.monotonic()
            for index, cell in enumerate(client.nb.cells):
                client.execute_cell(cell, index)
            again = ", again in the same kernel" if repeat else ""
            record_property("lesson", (time.monotonic() - begin, path.stem + again))
    assert_nothing_left(private_tmp)
    assert checkout() - before == set()


@pytest.mark.parametrize("path", lessons.lessons(), ids=lambda path: path.stem)
def test_lesson_is_stored_clean(path):
    assert hygiene.faults(path) == []
