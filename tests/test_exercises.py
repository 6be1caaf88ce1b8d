"""How an answer is checked: whatever it does, there is an outcome, in time, and nothing is left."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from labs import LONG

from course_tasks import exercise, hint, progress, solution
from course_tasks.exercises import definition, judging
from course_tasks.exercises.card import Card
from course_tasks.exercises.definition import NOT_ATTEMPTED, NOT_YET, PASSED, Exercise, not_yet, passed
from course_tasks.exercises.judging import judge

IN_TIME = judging.LIMIT_WHEN_BUSY + 5  # seconds


def called(answer, bench):
    """A check: one call."""
    return passed(f"It is {bench.call(answer, 3)!r:.40}.")


def checked(answer, check=called, **options):
    """The outcome of ``check`` for ``answer``, which must come in time."""
    began = time.monotonic()
    outcome = judge(Exercise("99.1", "An exercise", check, answer, ("Think.",), **options), answer)
    assert time.monotonic() - began < IN_TIME
    print(Card(Exercise("99.1", "An exercise", check, answer, ()), outcome))  # it can be shown
    return outcome


@pytest.fixture(autouse=True)
def somewhere(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


# Whatever an answer does ----------------------------------------------------------------------------------------------


def returns(n):
    return n + 1


def is_stub(n):
    raise NotImplementedError


def says_what_is_to_do(n):
    raise NotImplementedError("write me")


def raises(n):
    ratio = 1 / (n - 3)
    return ratio


def never_returns(n):
    while True:
        pass


def cannot_be_stopped(n):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            time.sleep(LONG)
        except BaseException:
            continue


def exits(n):
    sys.exit("enough")


def exits_at_once(n):
    os._exit(4)


def crashes(n):
    os.kill(os.getpid(), signal.SIGSEGV)


def recurses(n):
    return recurses(n)


def is_interrupted(n):
    raise KeyboardInterrupt


def asks(n):
    return input("How many? ")


def prints_for_ever(n):
    while True:
        print("x" * 10_000)


def prints_and_returns(n):
    for number in range(10_000):
        print(f"line {number}", "x" * 100)
    return n


def returns_too_much(n):
    return b"x" * 2**25


def returns_what_stays(n):
    return (number for number in range(n))


def leaves_a_thread(n):
    threading.Thread(target=never_returns, args=(n,)).start()
    return n


def leaves_processes(n):
    for _ in range(3):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
    return n


def leaves_a_fork(n):
    if os.fork() == 0:
        os.setsid()
        never_returns(n)
    return n


def forks_and_returns_twice(n):
    return n + (os.fork() == 0)


def ends_the_check(n):
    os.kill(os.getppid(), signal.SIGKILL)
    never_returns(n)


class OddError(Exception):
    def __str__(self):
        raise ValueError


def raises_what_cannot_be_told(n):
    raise OddError


class Odd:
    def __repr__(self):
        raise ValueError("odd")


def returns_what_cannot_be_told(n):
    return Odd()


@pytest.mark.parametrize(
    ("answer", "state", "finding"),
    [
        (returns, PASSED, None),
        (is_stub, NOT_ATTEMPTED, None),
        (says_what_is_to_do, NOT_ATTEMPTED, None),
        (raises, NOT_YET, "raised"),
        (never_returns, NOT_YET, "endless"),
        (cannot_be_stopped, NOT_YET, "endless"),
        (exits, NOT_YET, "ended"),
        (exits_at_once, NOT_YET, "ended"),
        (crashes, NOT_YET, "ended"),
        (recurses, NOT_YET, "raised"),
        (is_interrupted, NOT_YET, "raised"),
        (asks, NOT_YET, "raised"),
        (prints_for_ever, NOT_YET, "endless"),
        (prints_and_returns, PASSED, None),
        (returns_too_much, NOT_YET, "large"),
        (returns_what_stays, NOT_YET, "nonsense"),
        (leaves_a_thread, PASSED, None),
        (leaves_processes, PASSED, None),
        (leaves_a_fork, PASSED, None),
        (forks_and_returns_twice, PASSED, None),
        (ends_the_check, NOT_YET, "stopped"),
        (raises_what_cannot_be_told, NOT_YET, "raised"),
        (returns_what_cannot_be_told, NOT_YET, "nonsense"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_whatever_it_does(hunt, answer, state, finding):
    outcome = checked(answer)
    assert (outcome.state, outcome.finding) == (state, finding)
    hunt.nothing_left()


def test_an_error_is_told_with_the_learners_line(private_tmp):
    outcome = checked(raises)
    assert outcome.sentence == "raises(3) raised ZeroDivisionError."
    line, error = outcome.trace.lines()
    assert line.startswith("test_exercises.py, line ")
    assert line.endswith("in raises:  ratio = 1 / (n - 3)")
    assert error == "ZeroDivisionError: division by zero"


def test_what_it_prints_is_shown_and_not_all_of_it(private_tmp):
    def chatty(n):
        for number in range(1000):
            print(f"line {number}")
        raise ValueError(n)

    outcome = checked(chatty)
    assert outcome.printed.endswith("line 999\n")
    assert len(outcome.printed) < 5000


def test_an_answer_that_reaches_what_cannot_be_sent(private_tmp):
    guard = threading.Lock()

    def locked(n):
        return guard

    outcome = checked(locked)
    assert (outcome.state, outcome.finding) == (NOT_YET, "unsendable")
    assert "the variable guard" in outcome.sentence


def test_what_is_no_answer(private_tmp):
    assert checked(5).finding == "nonsense"


def test_without_what_it_is_about(private_tmp):
    about = Exercise("99.1", "About a run", called, returns, (), given=("run",))
    assert judge(about, returns, (None,)).state == NOT_ATTEMPTED
    assert judge(about, returns, ("a run",)).state == PASSED


def test_a_check_that_takes_too_long_is_ended(hunt, monkeypatch):
    monkeypatch.setattr(judging, "LIMIT", 1.0)
    monkeypatch.setattr(judging, "LIMIT_WHEN_BUSY", 1.0)
    outcome = checked(returns, lambda answer, bench: bench.call(never_returns, 3, seconds=LONG))
    assert (outcome.state, outcome.finding) == (NOT_YET, "stopped")
    assert outcome.sentence == "The check was ended after 1 s, at this point: calling never_returns."
    hunt.nothing_left()


def test_an_error_of_the_check_is_not_the_learners(private_tmp):
    """Where the answer is not what the check expected, it is; where the lab fails, it isn't."""
    assert checked(returns, lambda answer, bench: passed(bench.call(answer, 3) + "text")).finding == "nonsense"
    assert checked(returns, lambda answer, bench: bench.run(task="tasks.unknown")).finding == "stopped"


# What a check works with ----------------------------------------------------------------------------------------------


def test_many_calls_in_a_row(private_tmp):
    def check(answer, bench):
        return passed(str(sum(bench.calls(answer, [(number,) for number in range(1000)]))))

    assert checked(returns, check).sentence == str(sum(range(1, 1001)))
    assert checked(is_stub, check).state == NOT_ATTEMPTED
    outcome = checked(raises, check)
    assert outcome.sentence == "raises(3) raised ZeroDivisionError."


def test_half_an_answer_is_not_a_stub(private_tmp):
    def half(n):
        if n:
            raise NotImplementedError
        return n

    outcome = checked(half, lambda answer, bench: passed(str(bench.calls(answer, [(0,), (1,)]))))
    assert (outcome.state, outcome.finding) == (NOT_YET, "unfinished")
    assert outcome.sentence == "half(1) still raises NotImplementedError."


def test_calls_at_the_same_moment(private_tmp):
    """Three processes meet on a server of the check's own: none could go on alone."""

    def meet(client):
        client.incr("there")
        while int(client.get("there")) < 3:
            time.sleep(0.001)
        return os.getpid()

    def check(answer, bench):
        return passed(" ".join(map(str, set(bench.together(answer, [(bench.client,)] * 3, seconds=LONG)))))

    assert len(checked(meet, check).sentence.split()) == 3


def test_each_call_has_a_directory_of_its_check(private_tmp):
    def files(n):
        import tempfile

        with open("here", "w"), tempfile.NamedTemporaryFile(delete=False):
            return os.getcwd(), tempfile.gettempdir()

    outcome = checked(files, lambda answer, bench: passed("{} {}".format(*bench.call(answer, 3))))
    here, temporary = outcome.sentence.split()
    assert here == temporary
    assert here.startswith(str(private_tmp))
    assert list(private_tmp.iterdir()) == []


class Lock:
    """Right, as long as nobody dies."""

    def __init__(self, client, name):
        self.client, self.name = client, name

    def acquire(self):
        return bool(self.client.setnx(self.name, 1))

    def release(self):
        self.client.delete(self.name)


def run_with(lock, bench):
    """A check: one run."""
    run = bench.run(lock)
    return passed(run.verdict.sentence, run)


def in_a_lab(act, where):
    """A lock that does ``act`` in ``where``, its acquire or release, in a lab's workers only."""

    class Acting(Lock):
        def acquire(self):
            if where == "acquire" and "COURSE_TASKS_LAB" in os.environ:
                act(3)
            return super().acquire()

        def release(self):
            super().release()
            if where == "release" and "COURSE_TASKS_LAB" in os.environ:
                act(3)

    return Acting


@pytest.mark.parametrize(
    ("act", "where", "finding"),
    [
        (never_returns, "acquire", "endless"),
        (never_returns, "release", "endless"),
        (raises, "acquire", "raised"),
        (raises, "release", "raised"),
        (is_stub, "release", "unfinished"),
        (exits, "acquire", "ended"),
        (prints_for_ever, "acquire", "endless"),
        (leaves_processes, "acquire", None),
        (leaves_a_thread, "acquire", None),
    ],
)
def test_whatever_a_lock_does_in_a_worker(hunt, act, where, finding):
    outcome = checked(in_a_lab(act, where), run_with)
    assert outcome.finding == finding
    assert outcome.run is not None
    if finding == "raised":
        assert outcome.trace.error == "ZeroDivisionError: division by zero"
        assert outcome.trace.frames[-1][2] == "raises"
    hunt.nothing_left()


def test_a_lock_that_ends_its_server(hunt):
    class Ending(Lock):
        def acquire(self):
            self.client.shutdown(nosave=True)
            return True

    outcome = checked(Ending, run_with)
    assert (outcome.state, outcome.finding) == (NOT_YET, "stopped")
    assert outcome.sentence.startswith("The lab of this check broke off: lock has ended with status")
    hunt.nothing_left()


def test_a_lock_that_is_never_released(hunt):
    """The run goes to its end, and the check sees what came of it."""

    class Keeping(Lock):
        def release(self):
            pass

    outcome = checked(Keeping, run_with)
    assert outcome.state == PASSED
    assert outcome.run.verdict.runs == 1 and outcome.run.verdict.skipped > 0
    hunt.nothing_left()


def test_a_lock_that_is_not_written_yet_starts_no_lab(private_tmp):
    class Unwritten:
        def __init__(self, client, name):
            self.client = client

        def acquire(self):
            raise NotImplementedError

        def release(self):
            raise NotImplementedError

    class NotEvenMade:
        def __init__(self, client, name):
            raise NotImplementedError

    for lock in (Unwritten, NotEvenMade):
        stages = []
        outcome = judge(Exercise("99.1", "A lock", run_with, Lock, ()), lock, waiting=stages.append)
        assert outcome.state == NOT_ATTEMPTED
        assert stages in ([], ["looking whether it has been written"])


def test_the_methods_to_be_written_can_be_named(private_tmp):
    class NoExtend(Lock):
        def extend(self, additional_time):
            raise NotImplementedError

    def check(lock, bench):
        bench.attempted(lock, ["extend"])
        return passed("It was attempted.")

    assert checked(NoExtend, check).state == NOT_ATTEMPTED
    NoExtend.extend = lambda self, additional_time: True
    assert checked(NoExtend, check).state == PASSED


# What a learner types -------------------------------------------------------------------------------------------------


def test_the_answer_stays_as_it_is(private_tmp, capsys):
    def at_least(times, takes, workers):
        return 0

    assert exercise("00.1")(at_least) is at_least
    assert "✗ not yet: 00.1" in capsys.readouterr().out


def test_unknown_exercises(private_tmp):
    for ask in (exercise, hint, solution):
        for unknown in ("0.1", "00.9", "77.1", "", None, 4.1, "../x.1"):
            with pytest.raises(ValueError, match=r"no exercise is called .*; there are 00\.1, 01\.1, "):
                ask(unknown)


def test_what_an_exercise_is_about_must_be_given():
    with pytest.raises(TypeError, match=r"03\.1 is written @exercise\('03\.1', run\)"):
        exercise("03.1")
    with pytest.raises(TypeError, match=r"00\.1 is written @exercise\('00\.1'\)"):
        exercise("00.1", 5)


def test_hints_come_one_after_the_other(monkeypatch):
    from course_tasks.exercises import learner

    monkeypatch.setattr(learner, "_hints_given", {})
    hints = definition.find("00.1").hints
    assert [hint("00.1").text for _ in hints] == list(hints)
    assert hint("00.1").text == hints[0]
    assert "hint 1 of" in hint("01.1").heading


def test_progress_lists_every_exercise(private_tmp):
    exercise("00.1")(solution_of("00.1"))
    exercise("01.1")(returns)
    rows = {row[1]: row for row in progress().rows}
    assert list(rows) == [one.id for one in definition.everything()]
    assert rows["00.1"][3] == PASSED and rows["00.1"][4]
    assert rows["01.1"][3:] == (NOT_YET, "")
    assert rows["01.2"][3:] == (NOT_ATTEMPTED, "")
    exercise("00.1")(returns)
    assert {row[1]: row for row in progress().rows}["00.1"] == rows["00.1"], "once passed stays passed"


def solution_of(identity):
    names = {}
    exec(str(solution(identity)), names)
    return names[definition.find(identity).reference.__name__]


# How it looks ---------------------------------------------------------------------------------------------------------


def cards():
    about = Exercise("99.1", "Less < more", called, returns, (), {"why": "Because of <that>."})
    for outcome in (
        passed("It held."),
        not_yet("why", "1 < 2 & 3\nis so."),
        definition.Outcome(NOT_ATTEMPTED, "Nothing."),
    ):
        yield Card(about, outcome, ["It could not be noted."])


def test_a_card_says_the_same_as_html_and_as_text():
    for card in cards():
        html, text = card._repr_html_(), repr(card)
        assert f'aria-label="exercise 99.1 Less &lt; more: {card.outcome.state}. ' in html
        for shown in (html, text):
            assert card.outcome.state in shown
            assert "It could not be noted." in shown
        assert "<that>" not in html
        assert ("Because of" in text) == (card.outcome.finding == "why")
    assert "raise NotImplementedError" in text


def test_a_card_takes_its_colours_from_the_theme():
    for card in cards():
        html = card._repr_html_()
        assert "var(--jp-content-font-color1" in html
        assert "background: #" not in html


def test_a_card_shows_the_run(private_tmp):
    outcome = checked(Lock, run_with)
    card = Card(Exercise("99.1", "A lock", run_with, Lock, ()), outcome)
    assert outcome.run.verdict.sentence in repr(card)
    html = card._repr_html_()
    assert 'role="img"' in html and 'aria-label="verdict: ' in html
