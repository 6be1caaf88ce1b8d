"""The verdict: what was shown, by whom, and in which words."""

import pandas as pd
import pytest
from history_examples import (
    Story,
    adds,
    contest,
    killed_between,
    killed_holder,
    paused_between,
    paused_holder,
    renewed_lease,
    retries,
    scenes,
    simulate,
    stale_write,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from course_tasks.history import card, frame, intervals, judge
from course_tasks.history.cards import card_html


def verdict(events):
    return judge(events, intervals(events))


# Mutual exclusion ----------------------------------------------------------------------------------------------------


def test_two_inside_together_are_invalid_and_named():
    found = verdict(paused_holder())
    assert found.outcome == "invalid"
    assert found.sentence == "Two inside together: mail 1 was sent twice"
    assert found.overlap == pytest.approx(1.8)
    assert found.most_inside == 2
    assert found.duplicates == {1: 2}
    assert found.unsent == ()
    assert [str(witness) for witness in found.witnesses] == [
        "worker1 and worker2 were inside together from 3.5 s to 5.3 s (1.8 s), both with mail 1",
        "mail 1 was delivered at 5.3 s and again at 6.2 s, sent by worker1 and worker2",
    ]
    witness = found.witnesses[0]
    assert (witness.kind, witness.lanes, witness.tasks, witness.mails) == (
        "overlap",
        ("worker1", "worker2"),
        ("a", "b"),
        (1, 1),
    )
    assert (witness.begin, witness.seconds) == pytest.approx((3.5, 1.8))


def test_a_mail_that_only_one_of_the_two_has_read_is_not_said_to_be_boths():
    story = Story().enters(1.0, 1, "a", mail=1).enters(2.0, 2, "b").leaves(3.0, 1, "a").leaves(4.0, 2, "b")
    [witness] = verdict(story.ends(5.0)).witnesses
    assert witness.mails == (1,)
    assert str(witness) == "worker1 and worker2 were inside together from 2.0 s to 3.0 s (1.0 s)"
    story = Story().enters(1.0, 1, "a", mail=1).enters(2.0, 2, "b", mail=2).leaves(3.0, 1, "a").leaves(4.0, 2, "b")
    assert "mail" not in str(verdict(story.ends(5.0)).witnesses[0])


def test_the_first_witness_needs_the_shortest_history():
    # worker1 and worker2 overlap from 2 s on, worker3 joins them at 3 s; that 1 and 2 go on longest is not what counts.
    story = Story().enters(1.0, 1, "a", lock=False).enters(2.0, 2, "b", lock=False).enters(3.0, 3, "c", lock=False)
    story.leaves(4.0, 3, "c", lock=False).leaves(8.0, 2, "b", lock=False).leaves(9.0, 1, "a", lock=False)
    found = verdict(story.ends(10.0))
    assert [witness.lanes for witness in found.witnesses] == [("worker1", "worker2"), ("worker1", "worker3")]
    assert found.most_inside == 3
    assert found.overlap == pytest.approx(6.0)
    assert found.sentence == "Three inside together for 6.0 s"


def test_the_order_decides_not_the_clock():
    # By the clocks, worker2 entered 50 ms before worker1 left; by the order, after it.
    story = Story().enters(1.0, 1, "a").skips(1.5, 3, "c").leaves(2.05, 1, "a").enters(2.0, 2, "b").leaves(3.0, 2, "b")
    assert verdict(story.ends(5.0)).outcome == "valid"
    # By the clocks, worker2 entered 50 ms after worker1 had left; by the order, before.
    story = Story().enters(1.0, 1, "a").enters(2.05, 2, "b").leaves(2.0, 1, "a").leaves(3.0, 2, "b")
    found = verdict(story.ends(5.0))
    assert found.outcome == "invalid"
    assert found.overlap == 0.0
    assert found.witnesses[0].seconds == 0.0


def test_two_tasks_of_one_worker_overlap_too():
    story = Story().enters(1.0, 1, "a", lock=False).enters(2.0, 1, "b", lock=False)
    found = verdict(story.leaves(3.0, 1, "a", lock=False).leaves(4.0, 1, "b", lock=False).ends(5.0))
    assert found.outcome == "invalid"
    assert str(found.witnesses[0]) == "two tasks of worker1 were inside together from 2.0 s to 3.0 s (1.0 s)"


def test_a_killed_holder_is_inside_until_it_is_gone_and_no_longer():
    story = Story().enters(1.0, 1, "a").fault(2.0, "began", 1, "kill")
    before, after = Story(), Story()
    before.told, after.told = list(story.told), list(story.told)
    before.enters(2.01, 2, "b").fault(2.02, "ended", 1, "kill")
    after.fault(2.02, "ended", 1, "kill").enters(2.01, 2, "b")
    assert verdict(before.ends(5.0)).outcome == "invalid"
    assert verdict(after.ends(5.0)).outcome == "unknown"


def test_a_stay_that_was_never_seen_to_end_overlaps():
    assert verdict(Story().enters(1.0, 1, "a").enters(4.0, 2, "b").ends(5.0)).overlap == pytest.approx(1.0)


def test_witnesses_are_few_however_many_overlap():
    found = verdict(simulate(workers=10, every=0.3))
    assert [witness.kind for witness in found.witnesses].count("overlap") == 5
    assert found.most_inside == 10
    assert [witness.order for witness in found.witnesses] == sorted(witness.order for witness in found.witnesses)


@st.composite
def histories(draw):
    """Up to four workers come and go in any order, two tasks at a time each, with clocks that contradict the order.

    One, two or three may be inside together.
    """
    story, inside, number = Story(workers=4, inbox=False, at_once=draw(st.sampled_from((1, 1, 2, 3)))), {}, 0
    for step in range(draw(st.integers(0, 40))):
        worker = draw(st.integers(1, 4))
        t = step + draw(st.sampled_from((0.0, -1.5, 1.5)))
        mine = inside.setdefault(worker, [])
        action = draw(st.sampled_from(("enter", "leave", "kill")))
        if action == "enter" and len(mine) < 2:
            number += 1
            mine.append(f"task{number}")
            story.enters(t, worker, mine[-1], lock=False)
        elif action == "leave" and mine:
            story.leaves(t, worker, mine.pop(draw(st.integers(0, len(mine) - 1))), lock=False)
        elif action == "kill":
            story.fault(t, "began", worker, "kill").fault(t, "ended", worker, "kill")
            mine.clear()
    return story.ends(50.0)


@settings(deadline=None)  # how long one takes depends on who else is at work
@given(histories())
def test_the_sweep_finds_what_comparing_all_pairs_finds(events):
    at_once = events.detail[0]["at_once"]
    inside = intervals(events).query("kind == 'inside'")
    stays = list(zip(inside.begin_order, inside.until_order, strict=True))
    # Each entry -> the entries of those whom it found inside, in the order in which they had come.
    found_there = {order: sorted(a for a, until in stays if a < order < until) for order, _ in stays}
    too_many = {order: others for order, others in found_there.items() if len(others) >= at_once}
    found = verdict(events)
    assert (found.outcome == "invalid") == bool(too_many)
    assert found.most_inside == max((len(others) + 1 for others in found_there.values()), default=0)
    assert found.contended == len(too_many)
    first = dict(sorted(too_many.items())[:5])
    assert [witness.order for witness in found.witnesses] == list(first)
    # As small as can be: one more than may be, and of those inside the ones that were there first.
    tasks = inside.set_index("begin_order").task
    assert [witness.tasks for witness in found.witnesses] == [
        tuple(tasks[each] for each in (*others[:at_once], order)) for order, others in first.items()
    ]
    assert found.overlap == pytest.approx(_seconds_together(events, inside, at_once))


def _seconds_together(events, inside, at_once):
    """The time with too many inside, each stretch from its first moment to its last, counted event by event."""
    total, since, stays = 0.0, None, list(inside.itertuples())
    for order, t in events.t.items():
        together = sum(stay.begin_order <= order < stay.until_order for stay in stays) > at_once
        if together and since is None:
            since = t
        elif not together and since is not None:
            total, since = total + max(0.0, t - since), None
    return total + (max(0.0, events.t.iloc[-1] - since) if since is not None else 0.0)


# Several at once -----------------------------------------------------------------------------------------------------


def two_places(*visits, at_once=2):
    """The verdict where two may be inside; ``visits`` are moments, workers and what they do."""
    story = Story(inbox=False, at_once=at_once)
    for t, what, worker in visits:
        {"enters": story.enters, "leaves": story.leaves, "skips": story.skips}[what](t, worker, f"task{worker}")
    return verdict(story.ends(9.0))


FULL = [(1.0, "enters", 1), (2.0, "enters", 2)]
OVER = [(5.0, "leaves", 1), (6.0, "leaves", 2)]


def test_two_inside_are_no_violation_where_two_may_be():
    found = two_places(*FULL, (3.0, "skips", 3), *OVER)
    assert (found.outcome, found.contended, found.most_inside, found.overlap) == ("valid", 1, 2, 0.0)
    assert found.sentence == "Never more than two inside: 1 task found no place free"
    assert "inside together" not in found.summary
    # The same visits, where one may be inside.
    assert two_places(*FULL, (3.0, "skips", 3), *OVER, at_once=1).outcome == "invalid"


def test_three_inside_are_one_too_many():
    found = two_places(*FULL, (3.0, "enters", 3), (4.0, "leaves", 3), *OVER)
    assert (found.outcome, found.contended, found.most_inside) == ("invalid", 1, 3)
    assert found.overlap == pytest.approx(1.0)
    assert found.sentence == "Three inside together for 1.0 s, where two may be"
    assert str(found.witnesses[0]) == "worker1, worker2 and worker3 were inside together from 3.0 s to 4.0 s (1.0 s)"


@pytest.mark.parametrize(
    "visits",
    [
        [*FULL, *OVER],
        [(1.0, "enters", 1), (3.0, "skips", 3), (5.0, "leaves", 1)],  # turned away from a section that was not full
    ],
)
def test_places_that_were_never_all_taken_have_shown_nothing(visits):
    found = two_places(*visits)
    assert (found.outcome, found.contended) == ("unknown", 0)
    assert found.sentence == "Nothing contended, so nothing was shown"


def test_the_places_may_be_held_by_the_dead():
    story = Story(inbox=False, at_once=2).enters(1.0, 1, "a").enters(1.0, 2, "b")
    for worker in (1, 2):
        story.fault(2.0, "began", worker, "kill").fault(2.0, "ended", worker, "kill")
    found = verdict(story.skips(3.0, 3, "c").skips(4.5, 3, "d").ends(9.0))
    assert (found.outcome, found.contended, found.starved) == ("valid", 2, pytest.approx(1.5))
    assert found.sentence.startswith("Never more than two inside, but nobody could enter for 1.5 s")


# No evidence is not a pass -------------------------------------------------------------------------------------------


def test_a_lock_that_nobody_contended_for_has_shown_nothing():
    found = verdict(simulate(lock="skip", every=3.0, takes=0.5, seconds=12.0))
    assert found.outcome == "unknown"
    assert found.contended == 0
    assert found.sentence == "Nothing contended, so nothing was shown"


def test_a_lock_that_was_given_to_nobody_has_shown_nothing():
    found = verdict(Story().skips(1.0, 1, "a").skips(1.5, 2, "b").ends(3.0))
    assert (found.outcome, found.contended) == ("unknown", 0)
    assert found.sentence == "Nobody got in, so nothing was shown"


@pytest.mark.parametrize("workers", [1, 3])
def test_short_tasks_without_a_lock_are_not_invalid(workers):
    assert verdict(simulate(workers=workers, every=3.0, takes=0.5, seconds=12.0)).outcome == "unknown"


@pytest.mark.parametrize("lock", ["skip", "wait"])
def test_a_lock_that_was_found_taken_and_held_is_valid(lock):
    found = verdict(simulate(lock=lock, every=1.0, takes=2.5, seconds=10.0))
    assert found.outcome == "valid"
    assert found.contended == (found.skipped if lock == "skip" else found.waited) > 0
    assert found.sentence == f"One at a time: {found.contended} tasks found the lock taken"


def test_finding_a_dead_holders_lock_is_contention():
    found = verdict(killed_holder())
    assert (found.outcome, found.contended) == ("valid", 4)


def test_the_lock_between_being_given_and_entering_is_taken():
    story = Story().say(1.0, "acquired", 1, "a").skips(1.1, 2, "b").say(1.2, "entered", 1, "a").leaves(2.0, 1, "a")
    assert verdict(story.ends(3.0)).contended == 1


def test_waiting_and_then_walking_in_is_one_attempt():
    assert verdict(paused_holder()).contended == 2  # worker2, which waited and then walked in, and worker3


def test_a_lock_that_turned_everybody_away_while_nobody_held_it_has_shown_nothing():
    found = verdict(Story().skips(1.0, 1, "a").skips(2.0, 2, "b").ends(3.0))
    assert (found.outcome, found.contended, found.starved) == ("unknown", 0, pytest.approx(1.0))


def test_an_empty_run_is_unknown():
    assert (verdict(frame([])).outcome, verdict(frame([])).sentence) == ("unknown", "Nothing ran")


# Liveness ------------------------------------------------------------------------------------------------------------


def test_nobody_could_enter_after_the_holder_died():
    found = verdict(killed_holder())
    assert found.starved == pytest.approx(4.5)
    assert found.sentence == "One at a time, but nobody could enter for 4.5 s after worker2 was killed"
    assert "worker2 was killed at 2.4 s. Nobody could enter from 3.5 s to 8.0 s." in found.summary


def test_waiters_starve_while_a_dead_holder_keeps_the_lock():
    story = Story().enters(1.0, 1, "a").say(1.5, "started", 2, "b").say(1.5, "waiting", 2, "b")
    story.fault(2.0, "began", 1, "kill").fault(2.0, "ended", 1, "kill")
    found = verdict(story.ends(9.0))
    assert found.starved == pytest.approx(7.0)
    assert found.longest_wait == pytest.approx(7.5)
    assert found.waited == 1


def test_a_wait_that_was_noticed_late_does_not_reach_back_into_the_stay_before():
    """worker2 waits from 1.1 s on, while worker1 is inside; it is noticed only after worker1 has left."""
    story = Story().enters(1.0, 1, "a").say(1.1, "started", 2, "b").leaves(3.0, 1, "a").say(1.1, "waiting", 2, "b")
    found = verdict(story.enters(3.2, 2, "b", start=False).leaves(4.0, 2, "b").ends(5.0))
    assert found.starved == pytest.approx(0.2)
    assert found.longest_wait == pytest.approx(2.1)


def test_the_hand_over_is_short():
    found = verdict(simulate(lock="wait", every=2.0, seconds=20.0, takes=2.6))
    assert found.starved == pytest.approx(0.01)
    assert found.longest_wait == pytest.approx(4.01, abs=0.05)


def test_giving_the_lock_back_ends_starvation():
    # worker2 comes between leaving and releasing, worker3 much later: nobody tried in between, so nobody was kept out.
    story = Story().say(1.0, "acquired", 1, "a").say(1.0, "entered", 1, "a").say(2.0, "left", 1, "a").skips(2.0, 2, "x")
    story.say(2.0, "released", 1, "a").say(8.9, "started", 3, "c").say(8.9, "waiting", 3, "c")
    story.enters(9.0, 3, "c", start=False).leaves(9.5, 3, "c")
    assert verdict(story.ends(12.0)).starved == pytest.approx(0.1)


def test_being_given_the_lock_ends_starvation():
    # The same where the lock was lost instead, and worker2 comes again between being given the lock and entering.
    story = Story().say(1.0, "acquired", 1, "a").say(1.0, "entered", 1, "a").say(2.0, "left", 1, "a").skips(2.0, 2, "x")
    story.say(2.0, "lost", 1, "a").say(9.0, "acquired", 3, "c").skips(9.0, 2, "y").say(9.0, "entered", 3, "c")
    assert verdict(story.leaves(9.5, 3, "c").ends(12.0)).starved == 0.0


def test_nobody_could_enter_after_a_process_died_on_its_way_in():
    found = verdict(killed_between())
    assert (found.outcome, found.contended, found.starved) == ("valid", 4, pytest.approx(4.5))
    assert found.sentence == "One at a time, but nobody could enter for 4.5 s after worker2 was killed"
    assert "worker2 was killed before EXPIRE at 2.0 s." in found.summary


def test_the_very_first_may_die_on_its_way_in():
    story = Story().say(1.0, "started", 1, "a").fault(1.0, "began", 1, "kill", command="after SET")
    found = verdict(story.fault(1.0, "ended", 1, "kill").skips(2.0, 2, "b").skips(5.0, 3, "c").ends(6.0))
    assert found.sentence == "Nobody could enter for 3.0 s after worker1 was killed"
    assert (found.outcome, found.contended) == ("unknown", 2)
    assert "Nobody entered a critical section, so there is nothing to judge." in repr(card(found))


def test_contenders_who_wait_when_one_dies_on_its_way_in_are_kept_out():
    """Each says once that it waits, and here all have done so before the kill."""
    story = Story(workers=3, producer=None, seconds=5).say(0.01, "acquired", 1, "a").say(0.01, "entered", 1, "a")
    story.say(0.015, "left", 1, "a").say(0.015, "released", 1, "a")
    story.say(0.02, "waiting", 1, "b").say(0.02, "waiting", 3, "c")
    story.fault(0.03, "began", 2, "kill", command="after SET").fault(0.04, "ended", 2, "kill")
    found = verdict(story.ends(5.0))
    assert found.sentence == "One at a time, but nobody could enter for 5.0 s after contender2 was killed"
    assert (found.outcome, found.contended) == ("valid", 2)


def test_a_pause_says_where_it_was():
    assert "worker1 was paused after GET from 0.5 s to 2.0 s." in verdict(paused_between()).summary


def test_the_errors_of_tasks_are_told():
    story = Story().enters(1.0, 1, "a").say(2.0, "failed", 1, "a", detail={"error": "SoftTimeLimitExceeded()"})
    assert "1 run, 1 failed. 1 task failed with SoftTimeLimitExceeded." in verdict(story.ends(3.0)).summary
    assert "failed with" not in verdict(retries()).summary  # each of its errors was expected, and it was retried


# Leases --------------------------------------------------------------------------------------------------------------


def test_renewals_and_losses_are_counted():
    found = verdict(renewed_lease())
    assert (found.renewed, found.lost) == (2, 1)
    assert "Leases were renewed twice. worker1 found its lock lost at 4.0 s." in found.summary
    assert (verdict(paused_holder()).renewed, verdict(paused_holder()).lost) == (0, 0)


# Fencing -------------------------------------------------------------------------------------------------------------


def test_a_stale_write_that_was_refused_is_no_violation():
    found = verdict(stale_write())
    assert (found.refused, found.stale) == (1, 0)
    assert {witness.kind for witness in found.witnesses} == {"overlap", "duplicate"}
    assert found.sentence == "Two inside together: mail 1 was sent twice and 1 stale write was refused"
    assert "The database refused the write of worker1 with token 33, as it had seen 34." in found.summary


def test_a_stale_write_that_was_accepted_is_a_violation():
    found = verdict(stale_write(fencing=False))
    assert (found.refused, found.stale) == (0, 1)
    [witness] = [witness for witness in found.witnesses if witness.kind == "stale write"]
    assert (witness.lanes, witness.tasks, witness.mails) == (("worker1", "worker2"), ("a", "b"), (1,))
    assert witness.tokens == (33, 34)
    assert (witness.begin, witness.seconds) == pytest.approx((6.11, 1.31))
    assert str(witness) == (
        "the database accepted a write of worker1 with token 33 at 7.4 s, after worker2 had written with token 34"
    )
    assert "The database accepted the write of worker1 with token 33, although it had seen 34." in found.summary


def test_a_stale_write_alone_makes_a_run_invalid():
    story = Story().enters(1.0, 1, "a").skips(1.5, 2, "b").writes(2.0, 1, "a", 1, 33, seen=34).leaves(2.1, 1, "a")
    found = verdict(story.ends(3.0))
    assert found.outcome == "invalid"
    assert found.sentence == "One at a time, and yet 1 stale write was accepted"
    # Whoever wrote with the higher token was killed before it could record that: the database's word is enough.
    assert str(found.witnesses[0]) == (
        "the database accepted a write of worker1 with token 33 at 2.0 s, after it had accepted token 34"
    )


@pytest.mark.parametrize("seen", [None, 32, 33])
def test_a_write_with_an_equal_or_a_higher_token_is_not_stale(seen):
    story = Story().enters(1.0, 1, "a").skips(1.5, 2, "b").writes(2.0, 1, "a", 1, 33, seen=seen).leaves(2.1, 1, "a")
    assert (verdict(story.ends(3.0)).outcome, verdict(story.ends(3.0)).stale) == ("valid", 0)


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), max_size=20), st.booleans(), st.randoms(use_true_random=False))
def test_what_is_stale_does_not_depend_on_the_order_of_the_events(tokens, fencing, chance):
    """The database takes the writes in one order; they are recorded in any other."""
    told, accepted = [], []
    for token in tokens:
        seen = max(accepted, default=None)
        let_through = not fencing or seen is None or token >= seen
        told.append((token, seen, let_through))
        accepted += [token] * let_through
    stale = [token for place, token in enumerate(accepted) if token < max(accepted[:place], default=0)]
    chance.shuffle(told)
    story = Story()
    for token, seen, let_through in told:
        story.writes(1.0, 1, "a", 1, token, seen=seen, accepted=let_through)
    found = verdict(story.ends(2.0))
    assert found.stale == len(stale)
    assert found.refused == len(tokens) - len(accepted)
    assert (found.outcome == "invalid") == bool(stale)
    assert not (fencing and found.stale)


# Fairness ------------------------------------------------------------------------------------------------------------


def shared(*shares):
    """The verdict on a run in which each of the workers was inside so often."""
    story, t = Story(workers=len(shares), inbox=False), 0.0
    for worker, share in enumerate(shares, 1):
        story.say(t, "started", worker, f"s{worker}").say(t, "skipped", worker, f"s{worker}")
        for number in range(share):
            t += 1
            story.enters(t, worker, f"t{worker}.{number}").leaves(t + 0.5, worker, f"t{worker}.{number}")
    return verdict(story.ends(t + 1))


@pytest.mark.parametrize(
    ("shares", "fairness"),
    [((7, 7, 7), 1.0), ((9, 0, 0), 1 / 3), ((2, 1), 0.9), ((0, 0), 1.0), ((5,), 1.0)],
)
def test_fairness_is_jains_index(shares, fairness):
    assert shared(*shares).fairness == pytest.approx(fairness)


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=6))
def test_fairness_is_one_only_where_all_shares_are_alike(shares):
    fairness = shared(*shares).fairness
    assert (fairness == pytest.approx(1.0)) == (len(set(shares)) == 1)
    assert 1 / len(shares) <= fairness + 1e-9


def test_who_did_not_try_has_no_share():
    story = Story(workers=3).enters(1.0, 1, "a").leaves(2.0, 1, "a").enters(3.0, 2, "b").leaves(4.0, 2, "b")
    assert verdict(story.ends(5.0)).fairness == 1.0
    # worker3 tries, and waits in vain.
    story.say(4.5, "started", 3, "c").say(4.5, "waiting", 3, "c")
    assert verdict(story.ends(5.0)).fairness == pytest.approx(2 / 3)


def test_a_run_that_nobody_tried_to_enter_is_fair():
    assert verdict(adds()).fairness == verdict(frame([])).fairness == 1.0


# Contenders ----------------------------------------------------------------------------------------------------------


def test_a_contest_is_told_in_stays():
    found = verdict(contest(grants=(1, 2, 2, 2, 3), holds=0.1, gap=0.01))
    assert (found.outcome, found.contenders, found.runs, found.ticks) == ("valid", 3, 28, 0)
    assert found.sentence == "One at a time: 28 stays by 3 contenders, fairness 0.75"
    assert found.summary.startswith("28 stays by 3 contenders. They got 6, 17 and 5: fairness 0.75. ")
    assert "attempts waited for up to" in found.summary
    words = repr(card(found)) + found.summary
    assert not {"task", "tick", "worker", "mail"} & set(words.replace("s ", " ").split())


def test_a_contender_that_never_gets_in_is_told():
    found = verdict(contest(grants=(1, 2, 4), holds=0.1, gap=0.01))
    assert "They got 10, 9, 0 and 9: fairness 0.75." in found.summary
    assert found.longest_wait == pytest.approx(3.0, abs=0.01)


# Mail ----------------------------------------------------------------------------------------------------------------


def test_a_mail_sent_twice_is_invalid_even_one_at_a_time():
    story = Story(mails=3).enters(1.0, 1, "a").skips(1.5, 3, "c").leaves(2.0, 1, "a", mail=1)
    found = verdict(story.enters(3.0, 2, "b").leaves(4.0, 2, "b", mail=1).ends(5.0))
    assert found.outcome == "invalid"
    assert found.sentence == "One at a time, and yet mail 1 was sent twice"
    assert str(found.witnesses[0]) == "mail 1 was delivered at 2.0 s and again at 4.0 s, sent by worker1 and worker2"
    assert found.witnesses[0].tasks == ("a", "b")
    assert found.unsent == (2, 3)


def test_a_mail_never_sent_is_said_and_not_invalid():
    found = verdict(simulate(lock="skip", mails=5))
    assert found.outcome == "valid"
    assert found.unsent == (3, 4, 5)
    assert found.summary.endswith("Mails 1 and 2 were delivered once, mails 3 to 5 never.")


def test_a_mail_that_came_again_and_was_dropped_is_no_duplicate():
    found = verdict(stale_write(idempotent=True))
    assert (found.dropped, found.delivered, found.duplicates) == (1, 2, {})
    assert found.sentence == "Two inside together for 3.0 s, but 1 stale write was refused"
    assert found.summary.endswith("Mail 1 came again and was dropped.")
    assert verdict(stale_write()).dropped == 0


def test_without_an_outbox_no_mail_is_missing():
    assert verdict(adds()).unsent == ()


# Words ---------------------------------------------------------------------------------------------------------------


def test_the_summary_says_what_the_picture_shows():
    assert verdict(paused_holder()).summary == (
        "4 ticks, 4 runs, 1 skipped. worker1 was paused from 1.6 s to 4.8 s. worker1 and worker2 were inside together "
        "for 1.8 s. 1 task waited for 80 ms. Mail 1 was delivered twice, mails 2 and 3 once."
    )


def test_tasks_without_a_critical_section_are_counted():
    found = verdict(adds())
    assert found.outcome == "unknown"
    assert found.sentence == "20 tasks ran on 3 workers: 7, 6 and 7"
    assert found.summary == "20 tasks sent, 20 runs. worker1 ran 7, worker2 6 and worker3 7."


def test_retries_and_failures_are_counted():
    found = verdict(retries())
    assert (found.runs, found.retried, found.failed) == (6, 4, 1)
    assert found.sentence == "2 tasks ran on 2 workers, in 6 runs: 4 retried and 1 failed"


@pytest.mark.parametrize("name", scenes())
def test_every_verdict_reads_as_text_and_as_html(name):
    found = verdict(scenes()[name])
    text, html = repr(card(found)), card_html(found)
    assert text.splitlines()[0].split(" ", 1)[1] == str(found) == f"{found.outcome}: {found.sentence}"
    assert found.outcome in html
    assert found.sentence in html
    assert "nan" not in text + found.summary
    assert found.summary.endswith(".")
    assert len(found.sentence) < 90


def test_a_card_shows_three_witnesses_one_of_each_kind_among_them():
    html = card_html(verdict(simulate()))
    assert html.count("<li") == 3
    assert "were inside together" in html
    assert "was delivered at" in html


def test_a_card_escapes_what_it_shows():
    story = Story().say(1.0, "entered", "<b>", "a").say(2.0, "entered", "<i>", "b")
    html = card(verdict(story.ends(3.0)))._repr_html_()
    assert "&lt;b&gt; and &lt;i&gt; were inside together" in html
    assert "<i>" not in html


def test_a_verdict_does_not_depend_on_where_the_index_begins():
    events = paused_holder()
    moved = events.set_index(pd.RangeIndex(100, 100 + len(events)))
    assert verdict(moved).summary == verdict(events).summary
