"""What a learner has passed: kept for all kernels and days, whatever becomes of the file."""

import json
from multiprocessing import get_context

import pytest

from course_tasks.exercises import record
from course_tasks.exercises.definition import NOT_ATTEMPTED, NOT_YET, PASSED


@pytest.fixture
def file(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "course_tasks" / "progress.json"


def test_what_was_passed_is_known_afterwards(file):
    assert record.states() == ({}, None)
    assert record.note("00.1", NOT_YET) is None
    assert record.note("00.2", NOT_ATTEMPTED) is None
    assert record.states() == ({"00.1": (NOT_YET, None)}, None)
    assert record.note("00.1", PASSED) is None
    (state, when), note = record.states()[0]["00.1"], record.states()[1]
    assert state == PASSED and when.tzinfo and note is None


def test_once_passed_stays_passed(file):
    record.note("00.1", PASSED)
    before = file.read_bytes()
    for state in (NOT_YET, NOT_ATTEMPTED, PASSED):
        record.note("00.1", state)
    assert file.read_bytes() == before


def test_what_a_later_version_wrote_is_kept(file):
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"version": 9, "exercises": {"00.1": {"state": "mastered", "by": "x"}}, "badges": [1]}))
    assert record.states() == ({"00.1": (NOT_YET, None)}, None)
    record.note("00.2", PASSED)
    record.note("00.1", PASSED)
    content = json.loads(file.read_text())
    assert content["version"] == 9 and content["badges"] == [1]
    assert content["exercises"]["00.1"]["by"] == "x"


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"exercises": 5}', "\0\0\0", '{"exercises": {"00.1": 5}}'])
def test_a_damaged_file_is_told_and_kept(file, content):
    file.parent.mkdir(parents=True)
    file.write_text(content)
    states, told = record.states()
    assert file.read_text() == content, "looking changes nothing"
    if "00.1" not in content:
        assert states == {} and "is damaged" in told
    told = record.note("00.1", PASSED)
    assert record.states()[0]["00.1"][0] == PASSED
    aside = file.with_suffix(".damaged.json")
    if "00.1" not in content:
        assert str(aside) in told and aside.read_text() == content


def unwritable(file):
    file.parent.mkdir(parents=True)
    file.mkdir()


def unreadable(file):
    """Where the directory should be, there is a file."""
    file.parent.write_text("")


@pytest.mark.parametrize("harm", [unwritable, unreadable])
def test_a_file_in_the_way_is_told_and_costs_nothing(file, harm):
    harm(file)
    assert record.note("00.1", PASSED).startswith("This could not be noted: ")
    states, told = record.states()
    assert states == {} and told


def test_a_file_that_can_be_read_and_not_written(file):
    record.note("00.1", PASSED)
    file.with_suffix(".new").mkdir()  # where it writes before it replaces: root may write in any directory
    assert "can't be written" in record.note("00.2", PASSED)
    assert list(record.states()[0]) == ["00.1"]


def test_a_kernel_that_keeps_the_file_is_not_waited_for_for_ever(file, monkeypatch):
    monkeypatch.setattr(record, "PATIENCE", 0.1)
    with record._alone():
        assert "another kernel has kept" in record.note("00.1", PASSED)
    assert record.note("00.1", PASSED) is None


def test_two_kernels_at_once_lose_nothing(file):
    """Each of them writes fifty entries of its own, as fast as it can."""
    context = get_context("spawn")
    kernels = [context.Process(target=note_many, args=(name,)) for name in "abc"]
    for kernel in kernels:
        kernel.start()
    for kernel in kernels:
        kernel.join()
        assert kernel.exitcode == 0
    assert len(record.states()[0]) == 3 * 50
    assert sorted(path.name for path in file.parent.iterdir()) == ["progress.json", "progress.lock"]


def note_many(name):
    for number in range(50):
        assert record.note(f"{name}.{number}", PASSED) is None
