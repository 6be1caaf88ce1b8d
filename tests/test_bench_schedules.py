"""Schedules of kills and pauses: with the fence no update is lost; without it, and with half of it, one is."""

import dataclasses
import itertools
import sys

import pytest
from conftest import THOROUGH, assert_nothing_left

from bench import schedules
from bench.conductor import carry_out
from bench.faulty import ENTERED, KILL, LOST, PAUSE, Fault, Schedule
from bench.ledger import FENCED, FENCES, READ, UNFENCED, WRITE, WRITES_ALONE, Ledger

# Contender 0 asks first: contender 1 stands still until it has read, and does so before it asks. (Should the machine be so
# slow that it does so too late, it goes on after seconds, and finds contender 0 where it is to be all the same.)
IN_TURN = (
    Fault(0, 0, PAUSE, "before", "EVALSHA", 1, 0.3),
    Fault(1, 0, PAUSE, "before", "EVALSHA", 1, 5.0, "read"),
)
STORY = Schedule(seed=0, contenders=2, faults=IN_TURN, stays=2, lease=1.0)

# Contender 0 has read, and sleeps until contender 1 has been inside and has written.
OVERSLEPT = dataclasses.replace(STORY, faults=(*IN_TURN, Fault(0, 0, PAUSE, "after", READ, 1, 60.0, "wrote")))

# Contender 0 has read, sleeps until contender 1 has read as well, and writes first. Contender 1 gives it half a lease for that.
CROSSED = dataclasses.replace(
    STORY,
    faults=(
        *IN_TURN,
        Fault(0, 0, PAUSE, "before", WRITE, 1, 60.0, "read"),
        Fault(1, 0, PAUSE, "after", READ, 1, 0.5, "wrote"),
    ),
)


def test_no_schedule_loses_an_update_with_the_fence(private_tmp):
    told = []
    wanted = 20 if THOROUGH else 3
    (_, counted), *_ = schedules.measure(wanted, told.append)
    assert counted.startswith(f"{wanted} of ")
    for outcome in told:
        account = outcome.account
        assert outcome.contended > 0
        assert (account.lost == 0) == (not account.overwriting)
        if outcome.fence == FENCED:
            assert (account.lost, account.out_of_order) == (0, [])
        elif outcome.fence == WRITES_ALONE:
            assert account.out_of_order == []
        else:
            assert account.refused == []
    assert_nothing_left(private_tmp)


def test_what_a_fence_holds_back(server):
    """(an update was lost, a write accepted out of order, the stale write refused), for both stories and each fence."""
    expected = {
        (OVERSLEPT, UNFENCED): (True, True, False),
        (OVERSLEPT, WRITES_ALONE): (False, False, True),
        (OVERSLEPT, FENCED): (False, False, True),
        (CROSSED, UNFENCED): (True, False, False),
        (CROSSED, WRITES_ALONE): (True, False, False),
        (CROSSED, FENCED): (False, False, True),
    }
    found = {}
    for outcome in schedules.outcomes(expected, server.socket):
        assert outcome.contended > 0 and outcome.strikes and outcome.outlived
        account = outcome.account
        stale = any((entry.who, entry.operation, entry.token) == (0, WRITE, 1) for entry in account.refused)
        found[outcome.schedule, outcome.fence] = account.lost > 0, account.out_of_order != [], stale
    assert found == expected


def test_without_a_fault_there_is_nothing_for_a_fence_to_do(server):
    outcome = carry_out(Schedule(0, 3, (), stays=4, lease=30.0), server.socket, UNFENCED)
    assert not outcome.strikes and outcome.contended > 0
    assert outcome.account.number == len(outcome.account.writes) == 12
    assert (outcome.account.lost, outcome.account.out_of_order) == (0, [])


def test_a_contender_that_was_killed_inside_is_started_anew(server):
    kill = Fault(0, 0, KILL, "after", READ, 2, 0.0)
    outcome = carry_out(Schedule(0, 2, (kill,), stays=3, lease=1.0), server.socket, FENCED)
    assert [(strike.kind, strike.fault) for strike in outcome.strikes] == [(KILL, kill)]
    # It was inside three times in all, and the second time it came to nothing.
    own = [event.kind for event in outcome.events if event.who == 0]
    assert own.count(ENTERED) == 3 and own[own.index(KILL) - 1] == "read"
    assert sum(entry.who == 0 for entry in outcome.account.writes) == own.count("wrote") <= 2


def test_the_faults_land_where_they_should_and_count_as_what_they_are(server):
    faults = (
        Fault(0, 0, PAUSE, "before", "EVALSHA", 1, 0.01),
        Fault(0, 0, PAUSE, "before", READ, 1, 0.01),
        Fault(0, 0, PAUSE, "after", READ, 1, 0.01),
        Fault(0, 0, PAUSE, "before", WRITE, 1, 0.01),
        Fault(0, 0, PAUSE, "after", WRITE, 1, 0.01),
        Fault(0, 0, PAUSE, "before", "EVALSHA", 2, 0.01),
        Fault(0, 0, KILL, "after", "EVALSHA", 2, 0.01),
        Fault(0, 1, PAUSE, "before", READ, 9, 0.01),  # which it never comes to
    )
    outcome = carry_out(Schedule(0, 1, faults, stays=1, lease=30.0), server.socket, FENCED)
    went = (PAUSE, "went on")
    assert [event.kind for event in outcome.events] == [
        *(*went, ENTERED, *went, "read", *went, *went, "wrote", *went, *went, KILL)
    ]
    assert [strike.fault for strike in outcome.strikes] == list(faults[1:5])


def test_a_pause_longer_than_the_lease_is_found_out_at_the_release(server):
    pause = Fault(0, 0, PAUSE, "after", WRITE, 1, 0.3)
    outcome = carry_out(Schedule(0, 1, (pause,), stays=1, lease=0.1), server.socket, FENCED)
    assert [event.kind for event in outcome.events] == [ENTERED, "read", "wrote", PAUSE, "went on", LOST]


def test_a_contender_that_fails_is_an_error_and_leaves_nothing(private_tmp, capfd):
    with pytest.raises(RuntimeError, match="seed 0: contender . ended with status 1"):
        carry_out(STORY, str(private_tmp / "nobody.sock"), FENCED)
    assert "nobody.sock" in capfd.readouterr().err
    assert_nothing_left(private_tmp)


def test_a_seed_is_shown_with_its_events(private_tmp, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["schedules", "--seeds", "17"])
    schedules.main()
    text = capsys.readouterr().out
    assert text.startswith("seed 17, tokens compared at reads+writes: ") and " contended attempt" in text
    assert all(str(fault) in text for fault in schedules.draw(17).faults)
    assert "contender 0  entered with token" in text
    assert_nothing_left(private_tmp)


def test_a_seed_always_draws_the_same_and_another_something_else():
    drawn = [schedules.draw(seed) for seed in range(50)]
    assert drawn == [schedules.draw(seed) for seed in range(50)]
    assert len({schedule.faults for schedule in drawn}) > 45
    assert {fault.what for schedule in drawn for fault in schedule.faults} == {PAUSE, KILL}


def test_every_order_of_three_read_and_write(tmp_path):
    """The rule itself, without processes: three holds that read and then write, in all 90 orders of these six steps."""
    found = {}
    for number, (order, fence) in enumerate(itertools.product(sorted(set(itertools.permutations("112233"))), FENCES)):
        path = tmp_path / f"{number}.sqlite"
        Ledger.make(path)
        read = {}  # token -> the number that its hold has read; None where it was refused
        with Ledger(path, fence) as ledger:
            for token in map(int, order):
                if token not in read:
                    read[token] = ledger.read(0, token)
                elif read[token] is not None:
                    ledger.write(0, token, read[token])
            account = ledger.account()
        assert (account.lost == 0) == (not account.overwriting)
        found.setdefault(fence, []).append((account.lost, len(account.out_of_order)))
    assert set(found[FENCED]) == {(0, 0)}
    assert {out_of_order for _, out_of_order in found[WRITES_ALONE]} == {0}
    assert max(lost for lost, _ in found[WRITES_ALONE]) == 2
    assert max(found[UNFENCED]) > (1, 0) and max(out_of_order for _, out_of_order in found[UNFENCED]) == 2
