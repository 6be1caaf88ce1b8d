"""Every exercise: the stub as it stands in its lesson, the reference answer, and the answers in tests/answers/.

A lesson that comes later adds a module of answers there, and nothing here.
"""

import ast
import inspect
import json

import answers
import pytest
from conftest import ROOT

from course_tasks.exercises import definition
from course_tasks.exercises.definition import NOT_ATTEMPTED, NOT_YET, PASSED
from course_tasks.exercises.judging import judge
from course_tasks.exercises.learner import solution

EXERCISES = {exercise.id: exercise for exercise in definition.everything()}

each = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda exercise: exercise.id)


@pytest.fixture(autouse=True)
def somewhere(private_tmp):
    """The check's files are the test's own."""


def judged(identity, answer):
    exercise, stages = EXERCISES[identity], []
    outcome = judge(exercise, answer, answers.what_is_given(exercise), stages.append)
    print(outcome)
    return outcome, stages


def stubs():
    """The cells of the lessons that hold ``@exercise(id)``: (id, path, source)."""
    for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] != "code" or "@exercise(" not in source:
                continue
            for node in ast.parse(source).body:
                for called in getattr(node, "decorator_list", ()):
                    if isinstance(called, ast.Call) and getattr(called.func, "id", None) == "exercise":
                        yield called.args[0].value, path, source


STUBS = list(stubs())


def test_every_exercise_stands_in_its_lesson_once():
    assert [identity for identity, _, _ in STUBS] == list(EXERCISES)
    for identity, path, _ in STUBS:
        assert path.name.startswith(EXERCISES[identity].lesson)


@pytest.mark.parametrize(("identity", "path", "source"), STUBS, ids=[identity for identity, _, _ in STUBS])
def test_the_stub_is_not_attempted(identity, path, source):
    """And that is found before any lab is started, so that Run All does not wait for it."""
    exercise = EXERCISES[identity]
    decorated = []

    def enter(id, *given):
        assert id == identity
        exercise.accept(given)
        return decorated.append

    # What the cells before it leave; the name "exercise" is ours, whatever the cell imports.
    names = dict.fromkeys(exercise.given) | {"exercise": enter}
    body = [node for node in ast.parse(source).body if not isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(body, type_ignores=[]), "<cell>", "exec"), names | imported_before(path))
    outcome, stages = judged(identity, decorated[0])
    assert outcome.state == NOT_ATTEMPTED
    assert "starting a lab" not in stages


def imported_before(path):
    """What the cells of the notebook at ``path`` import, apart from ``exercise``: name -> what it is."""
    names = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            for node in ast.walk(ast.parse("".join(cell["source"]))):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    exec(compile(ast.Module([node], type_ignores=[]), "<import>", "exec"), names)
    names.pop("exercise", None)
    return names


@each
def test_the_reference_passes(exercise):
    """As ``solution`` shows it: pasted into a cell of its own."""
    names = {}
    exec(compile(str(solution(exercise.id)), "<cell>", "exec"), names)
    parts = exercise.reference if isinstance(exercise.reference, tuple) else (exercise.reference,)
    outcome, _ = judged(exercise.id, names[parts[-1].__name__])
    assert outcome.state == PASSED


@pytest.mark.parametrize("answer", answers.ANSWERS, ids=str)
def test_an_answer_is_judged(answer):
    outcome, _ = judged(answer.exercise, answer.answer)
    if answer.finding is None:
        assert outcome.state == PASSED
    else:
        assert (outcome.state, outcome.finding) == (NOT_YET, answer.finding)
        assert EXERCISES[answer.exercise].hint_for(outcome.finding)


@each
def test_every_exercise_is_tried_with_other_answers(exercise):
    """Another right one, and two wrong ones at least that are wrong in the exercise's own way; each of its hints is met."""
    mine = [answer for answer in answers.ANSWERS if answer.exercise == exercise.id]
    assert any(answer.finding is None for answer in mine)
    own = [answer for answer in mine if answer.finding in exercise.findings]
    assert len(own) >= 2
    assert {answer.finding for answer in own} == set(exercise.findings), "a hint that nobody gets"


@each
def test_every_exercise_says_what_it_needs(exercise):
    assert exercise.hints and all(exercise.hints)
    assert len(exercise.title) < 50
    assert inspect.getdoc(exercise.check)
    assert bool(exercise.given) == (exercise.id in answers.GIVEN)
