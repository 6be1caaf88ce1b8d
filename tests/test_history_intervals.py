"""Intervals: what closes them, and what doesn't."""

import math

import pytest
from history_examples import Story, killed_between, killed_holder, paused_holder, renewed_lease, simulate

from course_tasks.history import frame, intervals


def spans(events, kind, *columns):
    """The intervals of one kind, as a list of tuples of ``columns``, times to the microsecond."""
    table = intervals(events).round(6)
    return list(table.loc[table.kind == kind, list(columns)].itertuples(index=False, name=None))


def test_a_run_is_running_holding_and_inside():
    events = Story().enters(1.0, 1, "a", mail=4).leaves(3.0, 1, "a", mail=4).ends(5.0)
    table = intervals(events)
    assert list(table.kind) == ["running", "holding", "inside"]
    assert list(table.closed_by) == ["finished", "released", "left"]
    assert (table.begin == 1.0).all()
    assert (table.end == 3.0).all()
    assert (table.until == 3.0).all()
    assert list(table.mail) == [4, 4, 4]
    for row in table.itertuples():
        assert (
            events.kind[row.begin_order] == {"running": "started", "holding": "acquired", "inside": "entered"}[row.kind]
        )
        assert events.kind[row.until_order] == row.closed_by


def test_waiting_ends_with_the_lock():
    events = simulate(lock="wait", every=2.0, takes=2.6, seconds=9.0)
    waits = spans(events, "waiting", "lane", "begin", "end", "closed_by")
    assert waits[0] == ("worker2", 4.01, 4.62, "acquired")
    assert waits[-1][3] == "run ended"
    assert math.isnan(waits[-1][2])


def test_skipping_ends_waiting_and_running():
    story = Story().say(1.0, "started", 1, "a").say(1.0, "waiting", 1, "a").say(2.0, "skipped", 1, "a")
    table = intervals(story.ends(3.0))
    assert list(table.kind) == ["running", "waiting"]
    assert list(table.closed_by) == ["skipped", "skipped"]
    assert list(table.end) == [2.0, 2.0]


@pytest.mark.parametrize("how", ["finished", "retried", "failed"])
def test_an_attempt_that_is_over_is_not_inside_but_may_still_hold(how):
    table = intervals(Story().enters(1.0, 1, "a").say(2.0, how, 1, "a").ends(5.0)).set_index("kind")
    assert table.closed_by["running"] == table.closed_by["inside"] == how
    assert table.closed_by["holding"] == "run ended"
    assert table.until["holding"] == 5.0
    assert math.isnan(table.end["holding"])


def test_a_lease_ends_before_a_late_release():
    [(end, until, closed_by, lease, order)] = spans(
        Story().enters(1.0, 1, "a", lease=2.0).sent(2.5).sent(3.5).leaves(4.0, 1, "a").ends(5.0),
        "holding", "end", "until", "closed_by", "lease", "until_order",
    )  # fmt: skip
    assert (end, until, closed_by, lease) == (3.0, 3.0, "lease ended", 2.0)
    assert order == 5  # the first event after the lease's end: the second tick


def test_a_release_in_time_ends_holding():
    events = Story().enters(1.0, 1, "a", lease=2.0).leaves(2.9, 1, "a").ends(5.0)
    assert spans(events, "holding", "end", "closed_by") == [(2.9, "released")]


def test_renewing_moves_the_leases_end():
    assert spans(renewed_lease(), "holding", "end", "closed_by") == [(2.5, "lease ended")]


def test_a_lost_lock_is_held_no_longer():
    events = Story().enters(1.0, 1, "a").say(2.0, "lost", 1, "a").leaves(3.0, 1, "a", lock=False).ends(5.0)
    assert spans(events, "holding", "end", "closed_by") == [(2.0, "lost")]
    assert spans(events, "inside", "end", "closed_by") == [(3.0, "left")]


def test_a_lease_that_outlasts_the_run_is_open():
    assert spans(Story().enters(1.0, 1, "a", lease=9.0).ends(5.0), "holding", "until", "closed_by") == [
        (5.0, "run ended")
    ]


def test_the_same_attempt_may_take_the_lock_again_after_its_lease_ended():
    story = Story().enters(1.0, 1, "a", lease=1.0).say(3.0, "acquired", 1, "a", lease=1.0)
    assert spans(story.leaves(3.5, 1, "a").ends(5.0), "holding", "begin", "end") == [(1.0, 2.0), (3.0, 3.5)]


def test_a_kill_bounds_whatever_the_lane_had_open():
    events = killed_holder()
    killed = intervals(events).query("closed_by == 'killed'")
    assert list(killed.kind) == ["running", "inside"]
    assert list(killed.until) == pytest.approx([2.42, 2.42])
    assert killed.end.isna().all()
    [order] = events.index[events.kind == "fault ended"]
    assert (killed.until_order == order).all()


def test_a_lock_without_a_lease_that_is_found_taken_outlived_its_holder():
    assert spans(killed_holder(), "holding", "lane", "until", "closed_by")[1] == ("worker2", 10.0, "run ended")


def test_a_lock_without_a_lease_that_another_gets_was_free():
    story = Story().enters(1.0, 1, "a").fault(1.5, "began", 1, "kill").fault(1.6, "ended", 1, "kill")
    story.enters(2.0, 2, "b").skips(2.5, 3, "c").leaves(3.0, 2, "b")
    assert spans(story.ends(5.0), "holding", "until", "closed_by") == [(1.6, "killed"), (3.0, "released")]


def halted(worker=2):
    """A worker is killed before it could tell that it had the lock."""
    story = Story().say(1.0, "started", worker, "a").fault(1.5, "began", worker, "kill", command="after SET")
    return story.fault(1.6, "ended", worker, "kill")


def test_a_lock_whose_holder_died_between_two_commands_is_held_from_then_on():
    held = spans(killed_between(), "holding", "lane", "begin", "until", "closed_by", "task")
    assert held[1:] == [("worker2", 2.03, 10.0, "run ended", None)]
    story = halted().skips(2.5, 1, "b").enters(4.0, 1, "c").leaves(4.5, 1, "c")
    assert spans(story.ends(5.0), "holding", "lane", "begin", "until", "closed_by")[0] == (
        "worker2",
        1.6,
        2.5,
        "killed",
    )


def waited_for(story, since, until):
    """``story``, and a task on worker1 that waits from ``since`` on, and is given the lock at ``until``, where it is."""
    story.told.insert(1, Story().say(since, "waiting", 1, "w").told[1])
    return story.say(until, "acquired", 1, "w").leaves(until + 0.5, 1, "w").ends(9.0) if until else story.ends(9.0)


@pytest.mark.parametrize(
    ("since", "until", "held"),
    [
        (1.4, None, (9.0, "run ended")),  # it waited when the holder died, and does so for ever
        (1.4, 6.0, (6.0, "killed")),  # until the server freed the lock
        (1.4, 2.5, None),  # it may have asked before the kill, and then not until it was given the lock
    ],
)
def test_a_lock_that_somebody_waits_on_for_is_held_by_the_dead(since, until, held):
    """Who waits says so once, and that may have been before the kill."""
    told = spans(waited_for(halted(), since, until), "holding", "lane", "begin", "until", "closed_by")
    assert [row for row in told if row[0] == "worker2"] == ([("worker2", 1.6, *held)] if held else [])
    # The same where it had told of its lock.
    story = Story().say(1.0, "acquired", 2, "a").fault(1.5, "began", 2, "kill").fault(1.6, "ended", 2, "kill")
    told = spans(waited_for(story, since, until), "holding", "lane", "begin", "until", "closed_by")
    assert told[0] == ("worker2", 1.0, *(held or (1.6, "killed")))


def test_who_waits_for_one_who_is_alive_does_not_wait_for_the_dead():
    story = Story().say(1.0, "acquired", 3, "x").say(1.2, "waiting", 1, "w")
    story.told += halted().told[1:]
    assert spans(story.ends(9.0), "holding", "lane") == [("worker3",)]


@pytest.mark.parametrize("command", [{"command": "after SET"}, {}])
def test_a_lock_that_another_gets_was_not_held_by_the_dead(command):
    story = Story().say(1.0, "started", 2, "a").fault(1.5, "began", 2, "kill", **command).fault(1.6, "ended", 2, "kill")
    story.enters(2.0, 1, "b").skips(2.5, 3, "c").leaves(3.0, 1, "b")
    assert spans(story.ends(5.0), "holding", "lane") == [("worker1",)]


def test_who_was_killed_elsewhere_did_not_hold_what_others_find_taken():
    story = Story().say(1.0, "started", 2, "a").fault(1.5, "began", 2, "kill").fault(1.6, "ended", 2, "kill")
    assert spans(story.skips(2.5, 1, "b").ends(5.0), "holding", "lane") == []


def test_who_was_killed_between_two_commands_while_another_held_the_lock_did_not():
    story = Story().enters(0.5, 1, "x")
    story.told += halted().told[1:]
    assert spans(story.skips(2.5, 3, "c").leaves(3.0, 1, "x").ends(5.0), "holding", "lane") == [("worker1",)]
    # Nor where it had told of its lock: then that one is known.
    story = Story().enters(0.5, 2, "a", lease=2.0).fault(1.5, "began", 2, "kill", command="before PEXPIRE")
    story.fault(1.6, "ended", 2, "kill").skips(2.4, 3, "c")
    assert spans(story.ends(5.0), "holding", "begin", "end") == [(0.5, 2.5)]


def test_a_lease_that_was_over_when_the_holder_heard_of_it():
    story = Story().enters(1.0, 1, "a", lease=0.0).leaves(2.0, 1, "a")
    assert spans(story.ends(5.0), "holding", "begin", "end", "closed_by") == [(1.0, 1.0, "lease ended")]
    story = Story().enters(1.0, 1, "a", lease=0.0).fault(2.0, "began", 1, "kill").fault(2.0, "ended", 1, "kill")
    assert spans(story.ends(5.0), "holding", "begin", "end", "closed_by") == [(1.0, 1.0, "lease ended")]


def test_a_lock_that_somebody_freed_by_hand_was_held_as_long_as_it_was_found_taken():
    story = Story().enters(1.0, 1, "a").fault(1.5, "began", 1, "kill").fault(1.6, "ended", 1, "kill")
    story.skips(2.5, 3, "c").enters(4.0, 2, "b").leaves(4.5, 2, "b")
    assert spans(story.ends(5.0), "holding", "until", "closed_by")[0] == (2.5, "killed")


def test_a_dead_holders_lease_ends_all_the_same():
    assert spans(killed_holder(lease=3.2), "holding", "lane", "end", "closed_by")[1] == ("worker2", 5.21, "lease ended")


def test_a_lane_comes_back_after_a_kill():
    story = Story().enters(1.0, 1, "a").fault(1.5, "began", 1, "kill").fault(1.6, "ended", 1, "kill")
    story.say(3.0, "started", 1, "a", pid=999).say(3.0, "entered", 1, "a", pid=999).say(4.0, "left", 1, "a", pid=999)
    inside = spans(story.ends(5.0), "inside", "pid", "begin", "until", "closed_by")
    assert inside == [(101, 1.0, 1.6, "killed"), (999, 3.0, 4.0, "left")]


def test_a_task_delivered_anew_to_another_process_is_another_attempt():
    story = Story().enters(1.0, 1, "a").enters(2.0, 2, "a").leaves(3.0, 1, "a").leaves(4.0, 2, "a")
    assert spans(story.ends(5.0), "inside", "lane", "end") == [("worker1", 3.0), ("worker2", 4.0)]


def test_a_retry_in_the_same_process_is_another_run():
    story = Story().say(1.0, "started", 1, "a").say(1.5, "retried", 1, "a")
    story.say(2.5, "started", 1, "a").say(3.0, "finished", 1, "a")
    assert spans(story.ends(5.0), "running", "begin", "end", "closed_by") == [
        (1.0, 1.5, "retried"),
        (2.5, 3.0, "finished"),
    ]


def test_a_pause_belongs_to_the_lane_whoever_records_it():
    story = (
        Story().fault(1.0, "began", 2, "pause", seconds=2).say(3.0, "fault ended", 2, pid=7, detail={"fault": "pause"})
    )
    assert spans(story.ends(5.0), "paused", "lane", "begin", "end") == [("worker2", 1.0, 3.0)]


def test_what_is_open_at_the_end_lasts_until_then():
    story = Story().enters(1.0, 1, "a").sent(3.0)
    assert spans(frame(story.told), "inside", "until", "closed_by") == [(3.0, "run ended")]
    assert spans(story.ends(5.0), "inside", "until", "closed_by") == [(5.0, "run ended")]


def test_what_is_open_at_the_end_overlaps_whatever_comes_later():
    events = paused_holder()
    story = Story().enters(1.0, 1, "a")
    [(order,)] = spans(story.ends(5.0), "inside", "until_order")
    assert order == len(story.told)
    assert set(intervals(events).until_order) <= set(range(len(events) + 1))


def test_nothing_makes_an_empty_table():
    table = intervals(frame([]))
    assert len(table) == 0
    assert list(table.columns) == list(intervals(simulate()).columns)
    assert list(table.dtypes) == list(intervals(simulate()).dtypes)
