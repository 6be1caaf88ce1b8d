"""The picture: where the marks are, what the labels say, and that none covers another."""

import re
import warnings
import xml.etree.ElementTree as ElementTree
from itertools import combinations

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
from history_pictures import artist, axes, bars, labels, lane, lines, points
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from course_tasks.history import compare, draw, frame, intervals, judge, picture, theme
from course_tasks.history.thinning import MANY, joined, spaced, thinned

# The story of timeline-target.png ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def target():
    return axes(paused_holder())


def test_lanes_from_top_to_bottom(target):
    heights = [lane(target, name) for name in ("beat", "worker1", "worker2", "worker3", "inbox")]
    assert heights == sorted(heights)
    bottom, top = target.get_ylim()
    assert bottom > heights[-1] > heights[0] > top
    assert target.get_xlim() == (0.0, 12.0)


def test_bars_are_solid_alone_and_hatched_together(target):
    one, two, three = (lane(target, f"worker{number}") for number in (1, 2, 3))
    assert bars(target, "inside") == [
        (one, 0.5, 3.5),
        (one, 9.5, 11.6),
        (two, 5.3, 6.2),
        (three, 6.5, 9.2),
    ]
    assert bars(target, "together") == [(one, 3.5, 5.3), (two, 3.5, 5.3)]
    assert artist(target, "together").get_hatch()
    assert not artist(target, "inside").get_hatch()


def test_marks_and_lines_are_where_things_happened(target):
    assert points(target, "sent") == [0.4, 3.4, 6.4, 9.4]
    assert points(target, "skipped") == [3.4]
    assert points(target, "delivered") == [5.3, 9.2, 11.6]
    assert points(target, "delivered again") == [6.2]
    below = theme.HELD
    assert lines(target, "holding") == [
        (1 + below, 0.5, 3.5),
        (1 + below, 9.5, 11.6),
        (2 + below, 3.5, 6.2),
        (3 + below, 6.5, 9.2),
    ]
    assert [round(segment[0][0], 6) for segment in artist(target, "held until").get_segments()] == [3.5, 6.2, 9.2, 11.6]
    assert lines(target, "waiting") == [(2, 3.42, 3.5)]
    assert bars(target, "paused") == [(1, 1.6, 4.8)]


def test_labels_say_what_is_what(target):
    assert {
        "2 inside for 1.8 s", "mail 1 again", "worker1 paused (SIGSTOP)", "skipped: locked", "lease ends", "released",
        "a tick every 3 s", "inside, mail 1", "mail 1", "mail 2", "mail 3",
    } == set(labels(target))  # fmt: skip
    assert artist(target, "title").get_text() == "Two inside together: mail 1 was sent twice"
    assert target.get_xlabel() == "seconds since the run began"


# The grammar ---------------------------------------------------------------------------------------------------------


def test_a_killed_stay_has_a_torn_end_and_its_lane_no_line():
    ax = axes(killed_holder())
    [torn] = [path for path in artist(ax, "inside").get_paths() if len(path.vertices) > 6]
    assert torn.get_extents().x1 == pytest.approx(2.42)
    assert [line for line in lines(ax, "lanes") if line[0] == lane(ax, "worker2")] == [(2, 0, 2.42)]
    assert (2 + theme.HELD, 2.01, 10.0) in lines(ax, "holding")
    assert {"killed (SIGKILL)", "still locked"} <= set(labels(ax))


def test_a_lane_goes_on_when_its_process_is_back():
    story = Story().fault(1.0, "began", 1, "kill").fault(1.1, "ended", 1, "kill").say(3.0, "received", 1, "a", pid=9)
    ax = axes(story.ends(5.0))
    assert [line for line in lines(ax, "lanes") if line[0] == 1] == [(1, 0, 1.1), (1, 3.0, 5.0)]


def test_a_dead_holders_lease_is_drawn_to_its_end():
    ax = axes(killed_holder(lease=3.2))
    assert (2 + theme.HELD, 2.01, 5.21) in lines(ax, "holding")
    assert "still locked until the lease ends" in labels(ax)
    assert "lease ends" not in labels(ax)  # that tick has been explained


def test_a_lease_that_ends_elsewhere_is_said_there():
    story = Story().enters(1.0, 1, "a", lease=2.0).fault(1.5, "began", 1, "kill").fault(1.5, "ended", 1, "kill")
    story.enters(4.0, 2, "b", lease=1.0).leaves(8.0, 2, "b", lock=False)
    ax = axes(story.ends(10.0))
    [text] = [text for text in ax.texts if text.get_text() == "lease ends"]
    assert text.xy == pytest.approx((5.0, lane(ax, "worker2") + theme.HELD))


def test_renewals_are_dots_on_the_locks_line():
    ax = axes(renewed_lease())
    assert points(ax, "renewed") == [1.0, 1.5]
    assert set(artist(ax, "renewed").get_ydata()) == {1 + theme.HELD}


def test_a_loss_is_an_open_dot_where_it_was_found():
    ax = axes(renewed_lease())
    assert points(ax, "lost") == [4.0]
    assert set(artist(ax, "lost").get_ydata()) == {1 + theme.HELD}
    assert artist(ax, "lost").get_markerfacecolor() == theme.PAPER
    assert {"lease ends", "lost"} <= set(labels(ax))  # the lease was over long before


def test_a_refused_write_is_a_sign_on_the_lane_of_who_wrote():
    ax = axes(stale_write())
    assert points(ax, "refused") == [7.42]
    assert set(artist(ax, "refused").get_ydata()) == {lane(ax, "worker1")}
    assert points(ax, "stale") == []
    assert "write refused: token 33 < 34" in labels(ax)


def test_a_stale_write_that_was_accepted_stands_out():
    ax = axes(stale_write(fencing=False))
    assert points(ax, "stale") == [7.42]
    assert points(ax, "refused") == []
    [label] = [text for text in ax.texts if text.get_text() == "stale write accepted: token 33 < 34"]
    assert label.get_color() == artist(ax, "stale").get_color() == theme.TOGETHER


def test_tokens_stand_beside_the_bars():
    assert {"token 33", "token 34"} <= set(labels(axes(stale_write())))
    assert not any("token" in label for label in labels(axes(paused_holder())))


def test_a_token_matters_more_than_the_release_before_it():
    story = Story().enters(1.0, 1, "a", token=1).leaves(3.0, 1, "a").enters(3.1, 1, "b", token=2).leaves(6.0, 1, "b")
    assert {"token 1", "token 2", "released"} <= set(labels(axes(story.ends(10.0))))


def test_a_dropped_mail_is_an_open_mark_in_the_inbox():
    ax = axes(stale_write(idempotent=True))
    assert points(ax, "dropped") == [7.41]
    assert points(ax, "delivered again") == []
    assert set(artist(ax, "dropped").get_ydata()) == {lane(ax, "inbox")}
    assert artist(ax, "dropped").get_markerfacecolor() == theme.PAPER
    assert "mail 1 dropped: had it" in labels(ax)


def test_a_fault_at_a_command_says_which():
    ax = axes(killed_between())
    assert {"killed before EXPIRE", "still locked"} <= set(labels(ax))
    assert (2 + theme.HELD, 2.03, 10.0) in lines(ax, "holding")
    ax = axes(paused_between())
    assert "paused after GET (SIGSTOP)" in labels(ax)
    assert bars(ax, "paused") == [(1, 0.52, 2.02)]


def test_what_a_task_failed_with_is_said_where_it_was_not_tried_again():
    story = Story().enters(1.0, 1, "a").leaves(2.0, 1, "a")
    story.say(2.1, "failed", 1, "a", detail={"error": "SoftTimeLimitExceeded()"}).say(3.0, "failed", 2, "b")
    assert {"failed: SoftTimeLimitExceeded", "failed for good"} <= set(labels(axes(story.ends(6.0))))


def test_only_those_who_are_too_many_are_hatched():
    ax = axes(contest(grants=(1, 2, 3, 4), at_once=2, holds=0.2, gap=0.02, seconds=2.0))
    assert bars(ax, "together") == []
    ax = axes(contest(grants=(1, 2, 3, 4), at_once=2, holds=0.2, gap=0.02, seconds=2.0, too_many=True))
    assert [height for height, _, _ in bars(ax, "together")] == [lane(ax, f"contender{number}") for number in (1, 2, 3)]
    assert {(begin, end) for _, begin, end in bars(ax, "together")} == {(0.8821, 0.942)}
    assert "3 inside for 60 ms" in labels(ax)


def test_what_is_open_at_the_end_is_torn():
    ax = axes(simulate())
    torn = [path.get_extents().x1 for path in artist(ax, "together").get_paths() if len(path.vertices) > 6]
    assert torn == [10.0] * 3


def test_every_overlapping_lane_is_hatched():
    ax = axes(simulate(workers=10, every=0.3))
    assert {height for height, _, _ in bars(ax, "together")} == {lane(ax, f"worker{number}") for number in range(1, 11)}
    assert "up to 10 inside for 9.4 s" in labels(ax)


def test_waiting_is_dotted():
    ax = axes(simulate(lock="wait", every=2.0, seconds=20.0, takes=2.6))
    assert artist(ax, "waiting").get_linestyle()[0][1] is not None
    assert "waiting" in labels(ax)


def test_tasks_without_a_critical_section_are_pale():
    ax = axes(adds())
    assert len(bars(ax, "running")) == 20
    assert bars(ax, "inside") == bars(ax, "together") == []
    assert artist(ax, "running").get_alpha() == theme.PALE
    assert labels(ax).count("add") == 3
    assert "20 tasks sent" in labels(ax)


def test_a_task_too_short_to_see_is_a_pixel_wide():
    ax = axes(Story(inbox=False).say(1.0, "started", 1, "a").say(1.0001, "finished", 1, "a").ends(10.0))
    [(_, begin, end)] = bars(ax, "running")
    pixel = 10.0 / ax.get_window_extent().width
    assert end - begin == pytest.approx(pixel, rel=1e-3)


def test_failures_say_when_the_task_runs_again():
    ax = axes(retries())
    assert len(artist(ax, "retried").get_xdata()) == 4
    assert len(artist(ax, "failed").get_xdata()) == 1
    assert {"failed, again in 1 s", "again in 2 s", "again in 4 s", "again in 8 s", "failed for good"} <= set(
        labels(ax)
    )


def test_a_run_that_goes_on_is_as_long_as_planned():
    story = Story(every=1, seconds=10).enters(1.0, 1, "a")
    ax = axes(frame(story.told, now=1004.0))
    assert ax.get_xlim() == (0.0, 10.0)
    assert bars(ax, "inside") == [(1, 1.0, 4.0)]


# Labels --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", scenes())
def test_no_label_covers_another_nor_leaves_the_picture(name):
    figure = picture(scenes()[name]).figure
    figure.draw_without_rendering()
    [ax] = figure.axes
    ticks = [label for label in ax.get_xticklabels() if label.get_position()[0] <= ax.get_xlim()[1]]
    texts = [*ax.texts, *figure.texts, *ticks, *ax.get_yticklabels(), ax.xaxis.label]
    boxes = {text: text.get_window_extent() for text in texts if text.get_text()}
    for one, another in combinations(boxes, 2):
        assert not boxes[one].overlaps(boxes[another]), (one.get_text(), another.get_text())
    for text, box in boxes.items():
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, text.get_text()
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, text.get_text()


@pytest.mark.parametrize("name", scenes())
def test_no_label_covers_a_bar_of_another(name):
    figure = picture(scenes()[name]).figure
    figure.draw_without_rendering()
    [ax] = figure.axes
    drawn = [
        path.get_extents(ax.transData)
        for gid in ("inside", "together", "running")
        for path in artist(ax, gid).get_paths()
    ]
    for text in ax.texts:
        box = text.get_window_extent()
        within = [
            bar
            for bar in drawn
            if bar.x0 <= box.x0 and box.x1 <= bar.x1 and bar.y0 <= box.y0 + 1 and box.y1 <= bar.y1 + 1
        ]
        assert within or not any(bar.overlaps(box.padded(-1)) for bar in drawn), text.get_text()


def test_a_long_title_is_broken_into_lines():
    shown = picture(paused_holder(), title="A lease does not stop a worker that is paused for longer than it " * 3)
    shown.figure.draw_without_rendering()
    box = artist(shown.figure.axes[0], "title").get_window_extent()
    assert box.x1 <= shown.figure.bbox.x1
    assert box.y1 <= shown.figure.bbox.y1


def test_a_dollar_sign_is_a_dollar_sign():
    picture(paused_holder(), title="from $1 to $2").svg()


# One drawing function ------------------------------------------------------------------------------------------------


def test_draw_needs_an_axes_only_and_returns_it():
    figure = Figure(figsize=(6, 3))
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    assert draw(paused_holder(), ax, title="Mine") is ax
    assert artist(ax, "title").get_text() == "Mine"


def test_comparing_shares_the_time_axis():
    compared = compare({"no lock": simulate(), "SETNX": simulate(lock="skip", seconds=6.0)})
    first, second = compared.figure.axes
    assert first.get_xlim() == second.get_xlim() == (0.0, 10.0)
    assert first.get_position().x0 == second.get_position().x0
    assert first.get_position().y0 > second.get_position().y1
    assert compared.title.splitlines()[0].startswith("no lock – three inside together")
    assert compared.text.splitlines()[1].startswith("SETNX: ")


# What a cell shows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", scenes())
def test_the_line_of_text_is_the_summary_and_the_alt_text(name):
    events = scenes()[name]
    shown = picture(events)
    assert shown.text == judge(events, intervals(events)).summary
    lines = [text.get_text() for text in shown.figure.texts]
    assert " ".join(lines) == shown.text
    root = ElementTree.fromstring(shown.svg())
    assert root.get("role") == "img"
    assert root.get("aria-label") == shown.text
    assert shown._repr_mimebundle_()["text/plain"] == f"{shown.title}\n{shown.text}"


def test_a_run_that_goes_on_is_not_summed_up():
    shown = picture(simulate(), over=False)
    assert shown.figure.texts == []
    assert shown.text == shown.title
    assert shown.title.startswith("So far \N{EN DASH} ")


def test_svg_takes_ink_and_paper_from_the_readers_theme():
    svg = picture(paused_holder()).svg()
    without = re.sub(r"var\(.*?\)", "", svg)
    for color, variable in theme.VARIABLES.items():
        assert variable in svg
        assert color not in without
    assert "#000000" not in without
    assert "<style" not in svg  # it would hold for the whole page


def test_several_pictures_in_a_page_share_no_id():
    shown = picture(paused_holder())
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (shown.svg(), shown.svg())]
    assert not ids[0] & ids[1]
    svg = shown.svg()
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    assert used
    assert used <= set(re.findall(r'\bid="([^"]+)"', svg))


def test_saving_the_same_picture_makes_the_same_file(tmp_path):
    for suffix in ("svg", "png"):
        for name in ("a", "b"):
            picture(paused_holder()).save(tmp_path / f"{name}.{suffix}")
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    svg = (tmp_path / "a.svg").read_text()
    assert "4 ticks, 4 runs, 1 skipped." in svg
    assert "var(" not in svg
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_drawing_leaves_nothing_behind():
    import matplotlib.pyplot as plt

    with warnings.catch_warnings(), rc_context({"figure.max_open_warning": 1}):
        warnings.simplefilter("error")
        for _ in range(3):
            picture(paused_holder()).svg()
        assert plt.get_fignums() == []


# Many events ---------------------------------------------------------------------------------------------------------


def test_a_picture_costs_what_its_pixels_cost():
    ax = axes(simulate(workers=10, every=0.05, takes=0.02, seconds=200.0, lock="skip", lease=1.0, mails=4000))
    assert len(artist(ax, "sent").get_xdata()) < 1000
    assert len(artist(ax, "inside").get_paths()) < 4000


def test_a_contest_of_hundreds_of_stays_shows_each():
    ax = axes(contest())
    assert [label.get_text() for label in ax.get_yticklabels()] == [f"contender{number}" for number in range(1, 7)]
    stays = bars(ax, "inside")
    assert len(stays) == 546
    # Strokes at their edges would hide the bars, and one another.
    assert len(artist(ax, "seams").get_segments()) == 0
    assert len(artist(ax, "held until").get_segments()) == 0
    ax = axes(contest(holds=0.1))
    assert len(artist(ax, "held until").get_segments()) == len(artist(ax, "seams").get_segments()) - 1 > 20


def test_the_ends_of_a_crowd_are_left_out():
    story = Story(inbox=False)
    for t, worker in ((1.0, 1), (2.0, 2), (2.4, 1), (2.5, 2), (2.6, 2), (4.0, 2)):
        story.enters(t, worker, f"t{t}").leaves(t, worker, f"t{t}")
    held = list(intervals(story.ends(5.0)).query("kind == 'holding'").itertuples())
    assert [(row.lane, round(row.end, 6)) for row in spaced(held, 0.7)] == [
        ("worker1", 1.0),
        ("worker1", 2.4),
        ("worker2", 4.0),
    ]
    assert spaced(held, 0.1 - 1e-9) == held


def test_joining_keeps_what_can_be_seen():
    parts = [(1, t, t + 0.5, False) for t in range(MANY)]
    assert joined(parts, 0.4) == parts
    assert joined(parts, 0.6) == [(1, 0, MANY - 0.5, False)]
    assert joined([*parts, (2, 0, 5, True)], 0.6)[1:] == [(2, 0, 5, True)]
    assert joined(parts[:-1], 0.6) == parts[:-1]
    assert len(thinned([(t, 1) for t in range(MANY)], 1.0)) == pytest.approx(MANY / 4, abs=2)
