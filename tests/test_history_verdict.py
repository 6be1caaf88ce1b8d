"""The verdict: what was shown, by whom, and in which words."""

import pandas as pd
import pytest
from history_examples import Story, adds, killed_holder, paused_holder, retries, scenes, simulate
from hypothesis import given
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
        (1,),
    )
    assert (witness.begin, witness.seconds) == pytest.approx((3.5, 1.8))


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
    """Up to four workers come and go in any order, two tasks at a time each, with clocks that contradict the order."""
    story, inside, number = Story(workers=4, inbox=False), {}, 0
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


@given(histories())
def test_the_sweep_finds_what_comparing_all_pairs_finds(events):
    inside = intervals(events).query("kind == 'inside'")
    stays = list(zip(inside.begin_order, inside.until_order, strict=True))
    pairs = [(a, b) for a in stays for b in stays if a[0] < b[0] < a[1]]
    at_once = [sum(begin <= order < until for begin, until in stays) for order, _ in stays]
    entered_late = {later for _, later in pairs}
    found = verdict(events)
    assert (found.outcome == "invalid") == bool(pairs)
    assert found.most_inside == max(at_once, default=0)
    assert found.contended == len(entered_late)
    assert [witness.order for witness in found.witnesses] == sorted(later[0] for later in entered_late)[:5]
    assert found.overlap == pytest.approx(_seconds_together(events, inside))


def _seconds_together(events, inside):
    """The time with two or more inside, each stretch from its first moment to its last, counted event by event."""
    total, since, stays = 0.0, None, list(inside.itertuples())
    for order, t in events.t.items():
        together = sum(stay.begin_order <= order < stay.until_order for stay in stays) > 1
        if together and since is None:
            since = t
        elif not together and since is not None:
            total, since = total + max(0.0, t - since), None
    return total + (max(0.0, events.t.iloc[-1] - since) if since is not None else 0.0)


# No evidence is not a pass -------------------------------------------------------------------------------------------


def test_a_lock_that_nobody_contended_for_has_shown_nothing():
    found = verdict(simulate(lock="skip", every=3.0, takes=0.5, seconds=12.0))
    assert found.outcome == "unknown"
    assert found.contended == 0
    assert found.sentence == "Nothing contended, so nothing was shown"


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
