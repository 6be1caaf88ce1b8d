"""Lock servers in the verdict and in the picture: what is said of them, and what is drawn on their lanes."""

import xml.etree.ElementTree as ElementTree
from itertools import product

import pytest
from history_examples import FIVE, Story, dead_majority, failover, redlock, remembering, scenes, split, two_granted
from history_pictures import artist, axes, bars, labels, lane, lines, points

from course_tasks.history import card, frame, intervals, judge, picture, theme

SERVED = [name for name, events in scenes().items() if len(events) and "servers" in (events.detail[0] or {})]


def verdict(events):
    return judge(events, intervals(events))


# Words ---------------------------------------------------------------------------------------------------------------


def test_a_server_that_granted_to_two_is_named_and_so_is_what_made_it_forget():
    found = verdict(two_granted("restart"))
    assert found.outcome == "invalid"
    assert found.sentence == "Two inside together, both granted by lock3: mail 1 was sent twice"
    assert (
        "worker1 was cut off from lock4 and lock5 from 0.1 s to 5.5 s. lock3 was restarted at 2.2 s and remembered nothing."
        in (found.summary)
    )
    assert (
        "Both had been granted the lock by lock3, which was restarted in between and remembered nothing."
        in found.summary
    )
    assert found.witnesses[0].servers == ("lock3",)
    assert str(found.witnesses[0]).endswith("(1.8 s), both with mail 1, both granted by lock3")


def test_a_clock_that_made_a_server_forget_is_named():
    found = verdict(two_granted("clock"))
    assert found.sentence == "Two inside together, both granted by lock3: mail 1 was sent twice"
    assert "The clock of lock3 was moved by +60 s at 2.0 s." in found.summary
    assert "Both had been granted the lock by lock3, whose clock was moved in between." in found.summary


def test_two_whom_different_servers_granted_the_lock():
    found = verdict(failover())
    assert found.sentence == "Two inside together: mail 1 was sent twice"
    assert (
        "replica1 was cut off from lock from 0.3 s on. lock was killed at 2.0 s. replica1 was promoted at 2.8 s."
        in (found.summary)
    )
    assert "worker1 had been granted the lock by lock, worker2 by replica1." in found.summary
    assert found.witnesses[0].servers == ()
    assert "granted" not in verdict(failover(granted=False)).summary


def test_a_lease_that_was_over_is_not_laid_to_the_servers():
    story = Story(servers=FIVE).enters(1.0, 1, "a", lease=2.0, granted=(1, 2, 3))
    story.enters(4.0, 2, "b", lease=2.0, granted=(1, 2, 3)).leaves(4.5, 1, "a", lock=False).leaves(5.0, 2, "b")
    found = verdict(story.ends(9.0))
    assert found.sentence == "Two inside together for 0.5 s"
    assert "both" not in found.summary.lower()


def test_the_title_names_servers_only_where_they_granted_to_all_who_were_inside_together():
    story = Story(servers=FIVE)
    for t, worker, granted in ((1.0, 1, (1, 2, 3)), (2.0, 2, (3, 4, 5)), (3.0, 3, (1, 2, 3))):
        story.enters(t, worker, f"t{worker}", lease=9.0, granted=granted)
    found = verdict(story.ends(5.0))
    assert found.sentence == "Three inside together for 3.0 s"
    assert "worker1 and worker2 had both been granted the lock by lock3." in found.summary
    assert "worker1 and worker3 had both been granted the lock by lock1" + "\N{EN DASH}" + "lock3." in found.summary


def test_nobody_could_enter_while_a_majority_was_dead():
    found = verdict(dead_majority())
    assert found.sentence == "One at a time, but nobody could enter for 4.5 s while 3 of 5 lock servers were dead"
    assert "lock4 and lock5 were killed at 1.8 s. lock2 was killed at 3.5 s." in found.summary
    assert "Nobody could enter from 4.7 s to 9.2 s while 3 of 5 lock servers were dead." in found.summary


def kept_out(*faults, servers=FIVE):
    """The title of a run in which nobody ever gets in from 3 s to 8 s, though nobody holds the lock, with these faults."""
    story = Story(servers=servers).enters(0.5, 1, "a").skips(0.7, 2, "b").leaves(1.0, 1, "a")
    for fault in faults:
        story.fault(*fault)
    return verdict(story.skips(3.0, 2, "c").skips(8.0, 3, "d").ends(9.0)).sentence


def killed(t, *numbers):
    return [(t, what, f"lock{number}", "kill") for number in numbers for what in ("began", "ended")]


def test_the_title_says_no_more_of_the_servers_than_is_true():
    nobody = "One at a time, but nobody could enter for 5.0 s"
    assert kept_out() == kept_out(*killed(2.0, 1, 2)) == nobody  # a minority is no reason
    assert kept_out(*killed(7.0, 1, 2, 3)) == nobody  # nor a majority, where that was so for the last second only
    assert kept_out(*killed(2.0, 1, 2, 3), *killed(4.0, 4)) == f"{nobody} while 3 of 5 lock servers were dead"
    paused = [(2.0, "began", "lock3", "pause")]
    assert kept_out(*killed(2.0, 1, 2), *paused) == f"{nobody} while 3 of 5 lock servers did not answer"
    assert kept_out(*killed(2.0, 1, 2, 4), *paused) == f"{nobody} while 4 of 5 lock servers did not answer"


def test_the_primary_alone_may_be_the_reason():
    dead = [(2.0, what, "lock", "kill") for what in ("began", "ended")]
    nobody = "One at a time, but nobody could enter for 5.0 s"
    assert kept_out(*dead, servers=["lock", "replica1"]) == f"{nobody} while lock was dead"
    assert kept_out(*dead, (2.5, "began", "replica1", "promote"), servers=["lock", "replica1"]) == nobody
    assert kept_out((2.0, "began", "lock", "pause"), servers=["lock"]) == f"{nobody} while lock did not answer"


def test_nobody_can_enter_from_the_beginning_where_a_majority_is_dead():
    story = Story(servers=FIVE).dies(0.1, "lock1", "lock2", "lock3").skips(1.0, 1, "a").skips(4.0, 2, "b")
    found = verdict(story.ends(5.0))
    assert found.outcome == "unknown"
    assert found.sentence == "Nobody could enter for 3.0 s while 3 of 5 lock servers were dead"


def test_a_lock_that_nobody_contended_for_is_not_said_to_be_held_one_at_a_time():
    story = Story(servers=FIVE).enters(0.5, 1, "a").leaves(1.0, 1, "a").dies(1.5, "lock1", "lock2", "lock3")
    found = verdict(story.skips(2.0, 1, "b").skips(6.0, 2, "c").ends(7.0))
    assert found.sentence == "Nobody could enter for 4.0 s while 3 of 5 lock servers were dead"
    assert found.outcome == "unknown"


def test_servers_are_no_workers():
    with_servers, without = verdict(dead_majority()), Story(every=1.5)
    told = [event for event in dead_majority().itertuples() if event.lane not in (*FIVE, "lab")]
    for event in told:
        without.say(event.t, event.kind, event.lane, event.task, mail=None if event.kind != "delivered" else event.mail)
    without = verdict(without.ends(12.0))
    for fact in ("runs", "contenders", "contended", "fairness", "skipped", "most_inside", "waited"):
        assert getattr(with_servers, fact) == getattr(without, fact), fact
    assert "after" not in with_servers.sentence  # nobody of those who want the lock was killed


def test_the_death_of_a_server_ends_nobodys_stay():
    story = Story(servers=FIVE).enters(1.0, 1, "a", lease=9.0, granted=(1, 2, 3)).dies(2.0, "lock1")
    story.fault(2.5, "began", "lock2", "restart").fault(2.6, "ended", "lock2", "restart", memory=False)
    table = intervals(story.leaves(4.0, 1, "a").ends(5.0))
    assert list(table.lane) == ["worker1"] * 3
    assert list(table.closed_by) == ["finished", "released", "left"]


def test_what_befell_servers_and_links_is_told_in_order():
    assert (
        "lock2 was restarted from disk at 1.9 s. lock3, dead since 2.0 s, was restarted from disk at 4.2 s. "
        "lock5 was paused from 2.5 s to 5.5 s. lock1 was killed at 5.8 s."
    ) in verdict(remembering()).summary
    summary = verdict(split()).summary
    assert "worker1 was cut off from lock3\N{EN DASH}lock5 from 2.0 s to 6.5 s." in summary
    assert "worker3 was 20 ms slower each way to every lock server from 2.5 s on." in summary


def test_what_befell_many_alike_is_one_sentence():
    story = Story(servers=FIVE).enters(0.5, 1, "a").leaves(1.0, 1, "a")
    for worker in (1, 2, 3):
        story.fault(2.0, "began", worker, "slow", milliseconds=5, servers=FIVE[:2])
    for name in FIVE[:2]:
        story.fault(3.0, "began", name, "clock", seconds=-2.5)
    summary = verdict(story.ends(5.0)).summary
    assert "worker1\N{EN DASH}worker3 were 5 ms slower each way to lock1 and lock2 from 2.0 s on." in summary
    assert "The clocks of lock1 and lock2 were moved by \N{MINUS SIGN}2.5 s at 3.0 s." in summary


def test_by_how_many_a_hold_was_granted():
    assert "Each hold was granted by at least 3 of 5 lock servers." in verdict(redlock()).summary
    by_all = Story(servers=FIVE).enters(0.5, 1, "a", granted=(1, 2, 3, 4, 5)).ends(5.0)
    assert "Each hold was granted by all 5 lock servers." in verdict(by_all).summary
    assert "Each hold" not in verdict(failover()).summary


# The lanes of servers ------------------------------------------------------------------------------------------------


def on(ax, name, gid):
    """``(begin, end)`` of what of this kind lies on a lane."""
    found = bars(ax, gid) if gid == "granted to both" else lines(ax, gid)
    return [(begin, end) for y, begin, end in found if y == lane(ax, name)]


def test_a_line_for_each_hold_on_the_lanes_of_those_who_granted_it():
    ax = axes(redlock())
    first = (0.6, 1.7)
    assert [first in on(ax, name, "granted") for name in FIVE] == [True, True, True, True, False]
    assert on(ax, "lock5", "granted") == [(2.3, 3.4), (4.0, 5.1), (5.7, 6.8)]
    ends = [(round(top[0], 6), top[1]) for top, _ in artist(ax, "granted until").get_segments()]
    assert (1.7, lane(ax, "lock1") - theme.HELD_TICK) in ends
    assert labels(ax).count("worker2") == 5 + 3  # its two holds, on every lane
    assert bars(ax, "granted to both") == []


def test_a_bar_where_a_server_granted_to_two_at_once():
    ax = axes(two_granted("restart"))
    assert on(ax, "lock3", "granted to both") == [(0.6, 2.0), (3.0, 7.2)]
    assert on(ax, "lock3", "granted") == [(7.5, 9.0)]
    assert on(ax, "lock1", "granted") == [(0.6, 4.8), (7.5, 9.0)]
    assert on(ax, "lock4", "granted") == [(3.0, 7.2), (7.5, 9.0)]
    assert artist(ax, "granted to both").get_hatch()
    assert "granted to both" in labels(ax)
    beside = [text.get_text() for text in ax.texts if text.xy[1] == lane(ax, "lock3")]
    assert {"worker1", "worker2", "worker3", "granted to both", "restarted, remembers nothing"} == set(beside)


def test_a_lane_has_no_line_while_its_server_is_dead():
    ax = axes(two_granted("restart"))
    assert on(ax, "lock3", "lanes") == [(0, 2.0), (2.2, 10.0)]
    assert on(ax, "lock2", "lanes") == [(0, 10.0)]
    ax = axes(dead_majority())
    assert on(ax, "lock4", "lanes") == [(0, 1.801)]
    assert labels(ax).count("killed (SIGKILL)") == 3


def test_a_restart_is_a_dot_hollow_where_nothing_is_remembered():
    ax = axes(two_granted("restart"))
    assert points(ax, "restarted empty") == [2.2]
    assert artist(ax, "restarted empty").get_markerfacecolor() == theme.PAPER
    assert points(ax, "restarted from disk") == []
    ax = axes(remembering())
    assert points(ax, "restarted from disk") == [1.9, 4.2]
    assert artist(ax, "restarted from disk").get_markerfacecolor() == theme.INK
    assert points(ax, "restarted empty") == []
    assert labels(ax).count("restarted from disk") == 2


def test_a_server_that_was_to_be_restarted_and_was_not_back_was_killed():
    story = Story(servers=FIVE, seconds=5).skips(0.5, 1, "a").fault(1.0, "began", "lock3", "restart", seconds=9)
    events = story.ends(5.0)
    assert on(axes(events), "lock3", "lanes") == [(0, 1.0)]
    [text] = [text for text in axes(events).texts if text.get_text() == "killed (SIGKILL)"]
    assert text.xy == pytest.approx((1.0, lane(axes(events), "lock3")))
    assert "lock3 was killed at 1.0 s." in verdict(events).summary
    assert "killed (SIGKILL)" not in labels(axes(two_granted("restart")))  # it is told as restarted


def test_what_a_server_has_on_disk_it_does_not_grant_while_it_is_dead():
    assert on(axes(remembering()), "lock3", "granted") == [(0.6, 2.0), (4.2, 4.8), (6.1, 9.1)]


def test_a_paused_server_has_a_band_and_keeps_the_lock_until_it_hears_of_the_release():
    ax = axes(remembering())
    assert bars(ax, "paused") == [(lane(ax, "lock5"), 2.5, 5.5)]
    assert on(ax, "lock5", "granted") == [(0.6, 5.5)]
    assert "lock5 paused (SIGSTOP)" in labels(ax)


def test_a_moved_clock_is_a_dial():
    ax = axes(two_granted("clock"))
    assert points(ax, "clock moved") == [2.0]
    assert on(ax, "lock3", "granted to both") == [(0.6, 2.0), (3.0, 7.2)]
    assert "clock +60 s" in labels(ax)


def test_a_promoted_replica():
    ax = axes(failover())
    assert points(ax, "promoted") == [2.8]
    assert set(artist(ax, "promoted").get_ydata()) == {lane(ax, "replica1")}
    assert {"promoted", "cut off from lock", "killed (SIGKILL)"} <= set(labels(ax))
    assert on(ax, "lock", "granted") == [(0.6, 2.001)]
    assert on(ax, "replica1", "granted") == [(3.5, 7.5)]
    assert lines(axes(failover(granted=False)), "granted") == []


def test_a_run_that_goes_on_has_its_holds_open():
    story = Story(servers=FIVE, seconds=10).enters(1.0, 1, "a", lease=5.0, granted=(1, 2, 3))
    story.fault(2.0, "began", 2, "cut", servers=["lock1"])
    ax = axes(frame(story.told, now=1004.0))
    assert on(ax, "lock1", "granted") == [(1.0, 4.0)]
    assert bars(ax, "cut") == [(lane(ax, "worker2"), 2.0, 4.0)]


# Links ---------------------------------------------------------------------------------------------------------------


def test_a_link_that_is_cut_is_a_striped_band_on_the_lane_of_who_can_not_reach():
    ax = axes(split())
    assert bars(ax, "cut") == [(lane(ax, "worker1"), 2.0, 6.5), (lane(ax, "worker2"), 2.0, 7.4)]
    stripes = artist(ax, "stripes").get_segments()
    assert {round(abs(top[1] - foot[1]), 6) for top, foot in stripes} == {2 * theme.CUT_HALF}
    assert all(2.0 < t < 7.4 for (t, _), _ in stripes)
    assert {"cut off from lock3\N{EN DASH}lock5", "cut off from lock1 and lock2"} <= set(labels(ax))


def test_what_ends_with_the_run_is_open():
    """The lab ends what is under way when the run's time is over, a little before the run's last event."""
    story = Story(servers=FIVE, seconds=5).fault(1.0, "began", 1, "cut", servers=["lock1"]).skips(1.5, 2, "a")
    events = story.fault(5.01, "ended", 1, "cut", servers=["lock1"]).ends(5.2)
    assert bars(axes(events), "cut") == [(lane(axes(events), "worker1"), 1.0, 5.2)]
    assert "worker1 was cut off from lock1 from 1.0 s on." in verdict(events).summary


def test_a_link_that_is_slow_is_a_thin_band():
    ax = axes(split())
    [(y, begin, end)] = bars(ax, "slow")
    assert (y, begin, end) == (pytest.approx(lane(ax, "worker3") - theme.THIN), 2.5, 10.0)
    assert "20 ms slower to lock1\N{EN DASH}lock5" in labels(ax)


def test_links_are_drawn_where_no_server_has_a_lane():
    story = Story().fault(1.0, "began", 1, "cut", servers=["lock"]).fault(2.0, "ended", 1, "cut", servers=["lock"])
    ax = axes(story.ends(5.0))
    assert bars(ax, "cut") == [(lane(ax, "worker1"), 1.0, 2.0)]
    assert "cut off from lock" in labels(ax)


def test_several_cuts_of_one_worker_each_have_their_own_band():
    story = Story(servers=FIVE)
    story.fault(1.0, "began", 1, "cut", servers=["lock1"]).fault(2.0, "began", 1, "cut", servers=["lock5"])
    story.fault(3.0, "ended", 1, "cut", servers=["lock5"]).fault(6.0, "ended", 1, "cut", servers=["lock1"])
    ax = axes(story.ends(9.0))
    assert [(begin, end) for _, begin, end in bars(ax, "cut")] == [(1.0, 6.0), (2.0, 3.0)]
    assert {"cut off from lock1", "cut off from lock5"} <= set(labels(ax))


# Labels --------------------------------------------------------------------------------------------------------------


def test_a_cross_says_why_each_reason_once():
    ax = axes(dead_majority())
    assert [label for label in labels(ax) if "skipped" in label] == ["skipped: locked", "skipped: no majority"]
    story = Story(servers=FIVE).enters(0.5, 1, "a").dies(0.6, *FIVE[:3]).skips(1.0, 2, "b")
    assert "skipped: no majority" in labels(axes(story.ends(5.0)))  # the lock is taken as well; but if it were free …
    story = Story(servers=FIVE).skips(1.0, 1, "a")
    assert "skipped: not granted" in labels(axes(story.ends(5.0)))
    story = Story().skips(1.0, 1, "a")
    assert "skipped: locked" in labels(axes(story.ends(5.0)))


@pytest.mark.parametrize("servers", [FIVE, ()], ids=["five servers", "one"])
@pytest.mark.parametrize(
    ("held", "label"), [(1.0, "skipped: locked"), (2.5, "skipped after a pause"), (None, "skipped after a pause")]
)
def test_whoever_stood_still_on_the_way_need_not_have_found_the_lock_taken(servers, held, label):
    """Unless it was held by another all the while. Else its own answer, a yes, may have come too late."""
    story = Story(servers=servers)
    for t in (1.0, 1.5, 2.0, 2.5):
        if t == held:
            story.enters(t, 2, "b", lease=9.0, granted=(1, 2, 3))
        if t == 1.5:
            story.say(t, "started", 1, "a")
        if t == 2.0:
            story.fault(t, "began", 1, "pause", seconds=2)
    story.fault(4.0, "ended", 1, "pause").say(4.1, "skipped", 1, "a")
    assert [text for text in labels(axes(story.ends(5.0))) if "skipped" in text] == [label]


def test_a_pause_before_the_attempt_or_of_another_is_no_reason():
    story = Story(servers=FIVE).enters(0.5, 2, "b", lease=9.0, granted=(1, 2, 3))
    story.fault(1.0, "began", 1, "pause", seconds=1).fault(1.5, "began", 3, "pause", seconds=9)
    story.fault(2.0, "ended", 1, "pause").skips(2.1, 1, "a")
    assert "skipped: locked" in labels(axes(story.ends(5.0)))


@pytest.mark.parametrize("name", SERVED)
def test_no_label_covers_what_a_server_granted(name):
    figure = picture(scenes()[name]).figure
    figure.draw_without_rendering()
    [ax] = figure.axes
    granted = [*artist(ax, "granted").get_paths(), *artist(ax, "granted to both").get_paths()]
    marks = ("restarted empty", "restarted from disk", "clock moved", "promoted")
    boxes = [path.get_extents(ax.transData) for path in granted]
    at = [point for gid in marks for point in ax.transData.transform(artist(ax, gid).get_xydata())]
    for text, box in product(ax.texts, boxes):
        assert not text.get_window_extent().padded(-1).overlaps(box), text.get_text()
    for text, (x, y) in product(ax.texts, at):
        assert not text.get_window_extent().contains(x, y), text.get_text()


def test_names_are_left_out_where_they_would_reach_into_the_next_hold():
    story = Story(servers=["lock1"], seconds=10)
    for number in range(8):
        story.enters(1.0 + 0.2 * number, 1, f"t{number}", granted=(1,)).leaves(1.1 + 0.2 * number, 1, f"t{number}")
    ax = axes(story.ends(10.0))
    assert labels(ax).count("worker1") == 1  # beside the last


# As text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVED)
def test_the_alt_text_names_whom_a_fault_befell(name):
    events = scenes()[name]
    hit = set(events.lane[events.kind == "fault began"])
    alt = ElementTree.fromstring(picture(events).svg()).get("aria-label")
    assert hit == {name for name in hit if name in alt} or "more faults" in alt
    assert "inf" not in alt
    assert "nan" not in alt + repr(card(verdict(events)))


def test_without_lock_servers_there_is_nothing_of_them():
    ax = axes(Story().enters(1.0, 1, "a").leaves(2.0, 1, "a").ends(5.0))
    gids = {child.get_gid() for child in ax.get_children()}
    assert not gids & {
        "granted",
        "granted to both",
        "granted until",
        "cut",
        "stripes",
        "slow",
        "promoted",
        "clock moved",
    }
