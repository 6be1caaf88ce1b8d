"""Lesson 13 where no clock can be moved: it shows the stored picture, says so, and goes on without that run.

tests/test_notebooks.py executes the whole lesson so, with COURSE_TESTS=all.
"""

import json
import re
from types import SimpleNamespace

from conftest import ROOT
from IPython.display import Markdown

from course_tasks import move_clock
from course_tasks.lab.clocks import Clocks

LESSON = ROOT / "notebooks" / "13_redlock_on_trial.ipynb"
CELLS = {cell["id"]: "".join(cell["source"]) for cell in json.loads(LESSON.read_text(encoding="utf-8"))["cells"]}
IMMOVABLE = Clocks(None, ("No libfaketime was found.",))


def carry_out(cells, **names):
    """The names that there are when these ``cells`` (ids) have been executed, with ``names`` known before."""
    for cell in cells:
        exec(CELLS[cell], names)
    return names


def test_the_stored_picture_is_there_and_is_called_stored():
    text = carry_out(["clock"], clocks=IMMOVABLE, Markdown=Markdown)["picture"].data
    assert "stored picture" in text and "can't be moved" in text
    told, path = re.search(r"!\[(.+)\]\((.+)\)", text).groups()
    assert len(told) > 20
    picture = LESSON.parent / path
    assert picture.is_file() and picture.with_suffix(".svg").is_file()


def test_nothing_else_asks_for_the_run_that_there_is_not():
    """The cells that say "jumped": each is carried out without it."""
    asking = [cell for cell, source in CELLS.items() if "jumped" in source and cell != "clock"]
    runs = dict.fromkeys(("after", "control", "forgot", "delayed"), "a run")
    names = carry_out(asking, clocks=IMMOVABLE, evidence=lambda run: (run,), **runs)
    assert len(names["trials"]) == len(runs)


def test_where_clocks_can_be_moved_the_lesson_moves_one(movable):
    """With COURSE_TESTS=all they must be movable, so that the lesson which the tests execute is the whole one."""
    asked = []

    def run(lock, faults, **options):
        asked.extend(faults)
        return SimpleNamespace(timeline=lambda: "drawn")

    names = dict(clocks=movable, lab=SimpleNamespace(run=run), redlock=None, split=[], same={}, move_clock=move_clock)
    assert carry_out(["clock"], **names)["picture"] == "drawn"
    assert [str(fault) for fault in asked] == ["move_clock('lock3', 60, when='skipped')"]
