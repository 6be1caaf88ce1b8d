"""Schedules over five servers: two valid holders are found where there are any, and each mutant of Redlock is told from it."""

import dataclasses
import sys

import pytest
from conftest import THOROUGH, assert_nothing_left

from bench import blows, quorum
from bench.blows import Blow, Schedule, Stop
from bench.claimant import VAIN, CountedRedlock
from bench.claims import Claim, Outcome, claims, pairs, within
from bench.fleet import FIVE
from bench.lives import side_by_side
from bench.mutants import FromAfter, Half, NoDrift
from bench.trials import AHEAD, FORGET, REMEMBER, carry_out
from course_tasks.history import frame, intervals, judge

ONE, OTHER = "contender1", "contender2"
TWO = {ONE: 1.0, OTHER: 1.0}

# Somebody holds the lock for longer than it takes three of the servers to be back after a restart.
RESTARTED = Schedule(0, TWO, (Blow(1, 0.05, "restart", FIVE[:3]),), (), lease=2.0, hold=(0.9, 0.9), seconds=2.0)

# Two servers are dead when the second hold begins, and back while it lasts: they are free, and the other three are not.
AWAY = Schedule(0, TWO, (Blow(1, 0.05, "restart", FIVE[3:], 1.3),), (), lease=2.5, hold=(0.4, 0.4), seconds=2.6)

# Whoever holds it stays until its lease is over. By its slow clock, that is 20 ms later than by the servers'.
SLOW = Schedule(0, dict.fromkeys([ONE, OTHER, "contender3"], 0.99), (), (), lease=2.0, hold=(1.1, 1.1), seconds=4.5)

# Contender 1 is stopped for most of its lease, with the votes in hand, and then has the rest of it.
STOPPED = Schedule(0, TWO, (), (Stop(ONE, 1, 0.9),), lease=1.5, hold=(0.9, 0.9), seconds=4.0)


def slowed(schedule, by):
    """The same, and everything in it takes ``by`` times as long."""
    times = {field: by * getattr(schedule, field) for field in ("lease", "seconds")}
    blows = [dataclasses.replace(blow, after=by * blow.after, seconds=by * blow.seconds) for blow in schedule.blows]
    stops = [dataclasses.replace(stop, seconds=by * stop.seconds) for stop in schedule.stops]
    return dataclasses.replace(schedule, blows=tuple(blows), stops=tuple(stops), **times)


# Claims --------------------------------------------------------------------------------------------------------------


BEGAN = [{"t": 0.0, "kind": "began", "lane": "lab", "detail": {"lanes": [ONE, OTHER, *FIVE], "servers": FIVE}}]
FAULT, RESTART = ("fault began", "fault ended"), {"fault": "restart", "memory": False}


def stay(who, begin, validity, left=None, number=1):
    """The events of one hold."""
    event = {"lane": who, "task": f"{who}-{number}"}
    acquired = {**event, "kind": "acquired", "t": begin, "lease": validity, "detail": {"granted": FIVE[:3]}}
    events = [acquired, {**event, "kind": "entered", "t": begin}]
    return events + ([] if left is None else [{**event, "kind": "left", "t": left}])


def test_a_claim_ends_with_its_validity_or_when_the_lock_is_given_back():
    events = [*stay(ONE, 1.0, 0.5), *stay(OTHER, 2.0, 0.5, left=2.25), *stay(ONE, 3.0, 0.5, left=3.75, number=2)]
    assert [(claim.who, claim.begin, claim.end) for claim in claims(events)] == [
        (ONE, 1.0, 1.5),
        (OTHER, 2.0, 2.25),
        (ONE, 3.0, 3.5),
    ]


def test_a_planted_pair_is_found_and_one_after_the_other_is_none():
    assert pairs(claims([*stay(ONE, 1.0, 0.5), *stay(OTHER, 1.5, 0.5)])) == []
    assert pairs(claims([*stay(ONE, 1.0, 0.5, left=1.25), *stay(OTHER, 1.375, 0.5)])) == []
    [(first, second)] = pairs(claims([*stay(OTHER, 1.375, 0.5), *stay(ONE, 1.0, 0.5)]))
    assert (first.who, second.who) == (ONE, OTHER)
    # One for each two of them, also where a short one lies inside a long one.
    assert len(pairs(claims([*stay(ONE, 1.0, 2.0), *stay(OTHER, 1.5, 0.25), *stay("contender3", 1.6, 0.5)]))) == 3


def test_what_lies_within_a_claim_of_somebody_elses():
    found = [Claim(ONE, 1.0, 2.0, FIVE)]
    assert within(found, [(OTHER, 1.5), (ONE, 1.5), (OTHER, 2.5), (None, 1.9)]) == [(OTHER, 1.5), (None, 1.9)]


# Controls and mutants ------------------------------------------------------------------------------------------------


def judged(safe, broken):
    """The Outcomes of these jobs, arguments of carry_out(): in ``broken`` ones two hold the lock at once.

    The second of them has to get there before the first one's lease is over, for which a busy machine takes longer. So they
    are looked for with leases of three lengths. That is no second chance: a pair is a proof, at whatever length it is found;
    and at every length that is tried, one in a ``safe`` job is a failure.
    """
    for by in (1, 3, 6):
        jobs = [(slowed(schedule, by), *rest) for schedule, *rest in (*safe, *broken)]
        outcomes = list(side_by_side(carry_out, jobs))
        found = [bool(outcome.pairs) for outcome in outcomes]
        assert not any(found[: len(safe)]), list(map(str, outcomes))
        if all(found[len(safe) :]):
            break
    assert found == [False] * len(safe) + [True] * len(broken), list(map(str, outcomes))
    for outcome in outcomes:
        assert outcome.contended, str(outcome)
        assert outcome.strikes or not outcome.schedule.blows, str(outcome)
    return outcomes


def verdict(outcome):
    """What the course's own history says of it."""
    events = frame(outcome.events)
    return judge(events, intervals(events)).outcome


def test_servers_that_forget_let_two_in_and_so_does_half_of_them(private_tmp):
    outcomes = judged(
        safe=[(RESTARTED, CountedRedlock, REMEMBER), (AWAY, CountedRedlock, REMEMBER)],
        broken=[(RESTARTED, CountedRedlock, FORGET), (AWAY, Half, REMEMBER)],
    )
    assert list(map(verdict, outcomes)) == ["valid", "valid", "invalid", "invalid"]
    restarts = [event for event in outcomes[0].strikes if event["detail"]["fault"] == "restart"]
    assert [event["lane"] for event in restarts] == list(FIVE[:3])
    assert_nothing_left(private_tmp)


def test_servers_whose_clocks_jump_let_two_in(private_tmp, movable):
    [outcome] = judged(safe=[], broken=[(RESTARTED, CountedRedlock, AHEAD, movable.library)])
    assert {event["detail"]["fault"] for event in outcome.strikes} == {"clock"}
    assert verdict(outcome) == "invalid"
    assert_nothing_left(private_tmp)


def test_clocks_that_run_apart_and_stops_are_what_validity_is_for():
    outcomes = judged(
        safe=[(SLOW, CountedRedlock, REMEMBER), (STOPPED, CountedRedlock, REMEMBER)],
        broken=[(SLOW, NoDrift, REMEMBER), (STOPPED, FromAfter, REMEMBER)],
    )
    assert all(len(outcome.claims) > 1 for outcome in outcomes)


# What is drawn, and told ---------------------------------------------------------------------------------------------


def test_a_seed_always_draws_the_same_and_another_something_else():
    drawn = [blows.draw(seed) for seed in range(50)]
    assert drawn == [blows.draw(seed) for seed in range(50)]
    assert len({schedule.blows for schedule in drawn}) == 50
    assert {blow.what for schedule in drawn for blow in schedule.blows} == set(blows.BLOWS)
    assert {len(schedule.rates) for schedule in drawn} == {3, 4}
    assert any(schedule.stops for schedule in drawn)


def test_no_drawn_schedule_has_two_valid_holders(private_tmp):
    seeds = range(20 if THOROUGH else 4)
    outcomes = list(quorum.outcomes(quorum.REDLOCK, seeds))
    assert [outcome.schedule.seed for outcome in outcomes] == list(seeds)
    assert any(outcome.counts for outcome in outcomes)
    assert [str(outcome) for outcome in outcomes if outcome.pairs] == []
    assert_nothing_left(private_tmp)


def test_the_table_says_what_was_tried_and_draws_what_went_wrong(tmp_path, monkeypatch):
    def told(case, seeds):
        """A hold during which a server is restarted, and another one where that has forgotten. Nothing happens with seed 0."""
        for seed in seeds:
            restarts = [{"t": 1.1, "kind": kind, "lane": "lock1", "detail": RESTART} for kind in FAULT] if seed else []
            second = stay(OTHER, 1.2, 0.5) if seed and case.restarted == FORGET else []
            vain = {"t": 2.0, "kind": "finished", "lane": OTHER, "detail": {VAIN: [1.15, 1.25, 1.75]}}
            events = [*BEGAN, *stay(ONE, 1.0, 0.5), *restarts, *second, vain]
            yield Outcome(blows.draw(seed), tuple(sorted(events, key=lambda event: event["t"])))

    monkeypatch.setattr(quorum, "outcomes", told)
    monkeypatch.setattr(quorum, "movable_clocks", lambda: False)
    monkeypatch.setattr(quorum, "PICTURES", tmp_path / "pictures")
    rows = quorum.measure(2)
    assert rows[:5] == [
        ("Redlock: schedules that count", "2 of 3"),
        ("  holds", "2"),
        ("  contended attempts", "4, 2 to 2 in a schedule"),
        ("  faults inside a hold", "2: 2 restarts"),
        ("  pairs of valid holders", "0"),
    ]
    picture = tmp_path / "pictures" / "forgetful-1.svg"
    assert rows[9:11] == [
        ("  pairs of valid holders", "2, in 2 schedules (seeds 1 and 2)"),
        ("  the picture of seed 1", str(picture)),
    ]
    assert "Two inside together" in picture.read_text()
    assert rows[11] == (quorum.CONTROLS[1].what, "not tried: no libfaketime that can move clocks was found here")
    assert [what for what, _ in rows[12::5]] == [f"{mutant.what}: schedules that count" for mutant in quorum.MUTANTS]


def test_a_seed_is_shown_with_its_events_and_its_picture(private_tmp, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["quorum", "--seeds", "10", "--case", "half"])
    monkeypatch.setattr(quorum, "PICTURES", private_tmp / "pictures")
    quorum.main()
    text = capsys.readouterr().out
    assert text.startswith("seed 10: ") and "contender1's clock: " in text
    assert all(str(blow) in text for blow in blows.draw(10).blows)
    assert ", granted by lock" in text
    assert text.rstrip().endswith("half-10.svg") and (private_tmp / "pictures" / "half-10.svg").exists()


def test_a_contender_that_fails_is_an_error_and_leaves_nothing(private_tmp, capfd):
    class Failing(CountedRedlock):
        def _ask(self, hold):
            raise ZeroDivisionError

    with pytest.raises(RuntimeError, match="seed 0: contender. ended with status 1"):
        carry_out(SLOW, Failing, REMEMBER)
    assert "ZeroDivisionError" in capfd.readouterr().err
    assert_nothing_left(private_tmp)
