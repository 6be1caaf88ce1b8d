"""Which lock server knew of which hold, from when to when; and which could not answer whom."""

import math

import pytest
from history_examples import FIVE, Story, failover, names, remembering, two_granted
from hypothesis import given, settings
from hypothesis import strategies as st

from course_tasks.history import intervals
from course_tasks.history.findings import Findings


def findings(events):
    return Findings(events, intervals(events))


def grants(events):
    """``(server, holder, begin, end, why)`` of every grant, ascending, times to the microsecond."""
    found = findings(events).grants.all
    return sorted((each.lane, each.hold.lane, round(each.begin, 6), round(each.end, 6), each.why) for each in found)


def told(*events, lease=9.0, release=5.0, granted=(1, 2)):
    """worker1 is granted the lock at 1 s by lock1 and lock2, and releases it at 5 s. ``events`` are faults: t, what, lane ..."""
    story = Story(servers=FIVE, inbox=False)
    moments = [(1.0, lambda: story.enters(1.0, 1, "a", lease=lease, granted=granted))]
    moments += [(release, lambda: story.leaves(release, 1, "a"))] if release else []
    for t, what, lane, fault, *detail in events:
        moments.append(
            (t, lambda told=(t, what, lane, fault), more=detail: story.fault(*told, **(more[0] if more else {})))
        )
    for _, moment in sorted(moments, key=lambda moment: moment[0]):
        moment()
    return story.ends(20.0)


def of_lock1(*events, **options):
    """When and why lock1 knew of it no longer."""
    [(end, why)] = [(end, why) for lane, _, _, end, why in grants(told(*events, **options)) if lane == "lock1"]
    return end, why


# From when to when ---------------------------------------------------------------------------------------------------


def test_a_release_reaches_all_who_granted():
    assert grants(told()) == [("lock1", "worker1", 1, 5, "released"), ("lock2", "worker1", 1, 5, "released")]


def test_so_does_one_that_is_not_answered_as_far_as_they_can_hear_it():
    """The holder can't say whether it was done; each server knows for itself."""
    story = Story(servers=FIVE, inbox=False).enters(1.0, 1, "a", lease=9.0, granted=(1, 2, 3))
    story.dies(2.0, "lock2").fault(3.0, "began", "lock3", "pause", seconds=4)
    story.say(5.0, "left", 1, "a").say(5.1, "unanswered", 1, "a").fault(7.0, "ended", "lock3", "pause")
    events = story.ends(20.0)
    assert grants(events) == [
        ("lock1", "worker1", 1, 5.1, "released"),
        ("lock2", "worker1", 1, 2.001, "died"),
        ("lock3", "worker1", 1, 7, "released"),
    ]
    [holding] = findings(events).lasted["holding"]
    assert (holding.closed_by, holding.end) == ("lease ended", 10.0)  # as far as the holder knows


def test_a_hold_of_which_nobody_says_who_granted_it_is_in_no_servers_hands():
    assert grants(told(granted=None)) == []


def test_servers_that_have_no_lane_are_none():
    assert grants(told(granted=["lock1", "elsewhere"])) == [("lock1", "worker1", 1, 5, "released")]


def test_a_lease_ends_on_every_server():
    assert of_lock1(lease=2.0) == (3.0, "lease ended")
    assert of_lock1(lease=None, release=None) == (math.inf, None)
    story = Story(servers=FIVE).enters(1.0, 1, "a", lease=2.0, granted=(1,)).say(2.5, "renewed", 1, "a", lease=2.0)
    assert grants(story.ends(9.0)) == [("lock1", "worker1", 1, 4.5, "lease ended")]


@pytest.mark.parametrize(
    ("seconds", "end"),
    [
        (60, (2.0, "clock moved")),  # by more than the lease had left
        (8, (2.0, "clock moved")),  # by exactly that
        (5, (5.0, "clock moved")),  # the rest ends sooner: 10 s - 5 s
        (4, (5.5, "released")),
        (-60, (5.5, "released")),
    ],
)
def test_a_clock_that_is_moved_ends_a_lease_sooner_on_that_server_alone(seconds, end):
    moved = (2.0, "began", "lock1", "clock", {"seconds": seconds})
    assert of_lock1(moved, release=5.5) == end
    assert [row[3] for row in grants(told(moved, release=5.5)) if row[0] == "lock2"] == [5.5]


def test_a_clock_that_is_moved_back_makes_a_lease_last_longer_there():
    assert of_lock1((2.0, "began", "lock1", "clock", {"seconds": -3}), release=None) == (13.0, "lease ended")


def test_a_renewal_counts_from_the_moved_clock():
    story = Story(servers=FIVE).enters(1.0, 1, "a", lease=4.0, granted=(1,))
    story.fault(2.0, "began", "lock1", "clock", seconds=1).say(3.0, "renewed", 1, "a", lease=4.0)
    assert grants(story.ends(9.0)) == [("lock1", "worker1", 1, 7.0, "lease ended")]


KILL = [(2.0, "began", "lock1", "kill"), (2.1, "ended", "lock1", "kill")]
RESTART = (2.0, "began", "lock1", "restart")


def back(t, memory):
    return t, "ended", "lock1", "restart", {"memory": memory}


def test_a_server_that_dies_forgets_unless_it_comes_back_with_its_memory():
    assert of_lock1(*KILL) == (2.1, "died")
    assert of_lock1(RESTART, back(3.0, memory=False)) == (2.0, "died")
    assert of_lock1(RESTART) == (2.0, "died")  # it was never back in this run
    assert of_lock1(RESTART, back(3.0, memory=True)) == (5.0, "released")


def test_a_restart_after_a_kill():
    assert of_lock1(*KILL, (3.0, "began", "lock1", "restart"), back(3.5, memory=True)) == (5.0, "released")
    assert of_lock1(*KILL, (3.0, "began", "lock1", "restart"), back(3.5, memory=False)) == (2.1, "died")


def test_a_release_that_a_dead_server_misses_leaves_the_lock_there_until_its_lease_ends():
    assert of_lock1((4.0, *RESTART[1:]), back(6.0, memory=True)) == (10.0, "lease ended")


def test_a_release_comes_later_to_a_paused_server():
    pause = (2.0, "began", "lock1", "pause", {"seconds": 5})
    assert of_lock1(pause, (7.0, "ended", "lock1", "pause")) == (7.0, "released")
    assert of_lock1(pause, (4.0, "ended", "lock1", "pause")) == (5.0, "released")
    assert of_lock1(pause) == (10.0, "lease ended")  # never within the run


def test_a_release_never_comes_to_a_server_whose_pause_ends_with_the_run():
    """The lab ends what is under way when the run's time is over, a little before the run's last event."""
    story = Story(servers=FIVE, inbox=False, seconds=10).enters(1.0, 1, "a", lease=30.0, granted=(1, 2))
    story.fault(2.0, "began", "lock1", "pause", seconds=60).leaves(5.0, 1, "a")
    events = story.fault(10.01, "ended", "lock1", "pause").ends(10.3)
    assert grants(events) == [("lock1", "worker1", 1, 31.0, "lease ended"), ("lock2", "worker1", 1, 5.0, "released")]


def test_a_release_comes_later_where_the_holder_is_cut_off():
    cut = {"servers": ["lock1"]}
    healed = [(2.0, "began", 1, "cut", cut), (7.0, "ended", 1, "cut", cut)]
    assert of_lock1(*healed) == (7.0, "released")
    assert [row[3] for row in grants(told(*healed)) if row[0] == "lock2"] == [5.0]
    another = [(t, what, 2, fault, detail) for t, what, _, fault, detail in healed]
    assert of_lock1(*another) == (5.0, "released")


def test_whoever_is_granted_the_lock_next_had_it_forgotten_for_him():
    """lock2 has granted it to another, for whatever reason: a lock whose release deletes what is not its own, say."""
    story = Story(servers=FIVE).enters(1.0, 1, "a", lease=9.0, granted=(1, 2)).enters(3.0, 2, "b", granted=(2, 3))
    found = grants(story.leaves(4.0, 1, "a").leaves(5.0, 2, "b").ends(9.0))
    assert [(lane, who, end, why) for lane, who, _, end, why in found if lane == "lock2"] == [
        ("lock2", "worker1", 3.0, "granted to another"),
        ("lock2", "worker2", 5.0, "released"),
    ]


class Server:
    """One lock server, told step by step: what it knows, and what waits in its socket."""

    def __init__(self):
        self.holder, self.expires, self.ahead, self.alive, self.paused, self.sent = None, math.inf, 0, True, False, []

    def at(self, t):
        """Who holds the lock there, by this server's own clock."""
        if self.expires <= t + self.ahead:
            self.holder, self.expires = None, math.inf
        return self.holder

    def hears(self, t, what, holder, lease=None):
        if self.paused:
            self.sent.append((what, holder, lease))
        elif self.alive and self.at(t) == holder:
            self.holder, self.expires = (None, math.inf) if what == "release" else (holder, t + self.ahead + lease)

    def goes_on(self, t):
        self.paused, sent, self.sent = False, self.sent, []
        for what, holder, lease in sent:
            self.hears(t, what, holder, lease)

    def dies(self):
        self.alive, self.paused, self.sent = False, False, []

    def comes_back(self, memory):
        self.alive = True
        if not memory:
            self.holder, self.expires = None, math.inf


ACTIONS = ("acquire", "release", "renew", "clock", "pause", "resume", "restart", "back")


@st.composite
def runs(draw):
    """A run of three workers on three servers with any faults, and who held the lock on each, after every event."""
    story, servers, t = Story(servers=names((1, 2, 3)), inbox=False), {name: Server() for name in names((1, 2, 3))}, 0.0
    holds, number, memory, seen = {}, 0, {}, []  # holds: worker -> (its hold's number, when its lease ends)
    for _ in range(draw(st.integers(0, 25))):
        t += draw(st.sampled_from((0.5, 1.0, 2.0)))
        action, worker, lane = (
            draw(st.sampled_from(ACTIONS)),
            draw(st.integers(1, 3)),
            draw(st.sampled_from([*servers])),
        )
        server = servers[lane]
        mine = holds.get(worker)
        lease = draw(st.sampled_from((1.3, 3.3, 8.3)))
        holding = mine and mine[1] > t
        if action == "acquire" and not holding:
            free = [name for name, each in servers.items() if each.alive and not each.paused and each.at(t) is None]
            granted = draw(st.lists(st.sampled_from(free), unique=True, min_size=1)) if free else []
            if granted:
                number += 1
                holds[worker] = number, t + lease
                story.enters(t, worker, f"h{number}", lease=lease, granted=granted)
                for name in granted:
                    servers[name].holder, servers[name].expires = number, t + servers[name].ahead + lease
        elif action == "release" and holding:
            story.leaves(t, worker, f"h{mine[0]}")
            del holds[worker]
            for each in servers.values():
                each.hears(t, "release", mine[0])
        elif action == "renew" and holding:
            story.say(t, "renewed", worker, f"h{mine[0]}", lease=lease)
            holds[worker] = mine[0], t + lease
            for each in servers.values():
                each.hears(t, "renew", mine[0], lease)
        elif action == "clock" and server.alive:
            seconds = draw(st.sampled_from((-5, 1, 2, 60)))
            server.at(t)  # what had expired by then is gone
            server.ahead += seconds
            story.fault(t, "began", lane, "clock", seconds=seconds)
        elif action == "pause" and server.alive and not server.paused:
            server.paused = True
            story.fault(t, "began", lane, "pause", seconds=1)
        elif action == "resume" and server.paused:
            story.fault(t, "ended", lane, "pause")
            server.goes_on(t)
        elif action == "restart" and server.alive:
            server.dies()
            memory[lane] = draw(st.booleans())
            story.fault(t, "began", lane, "restart")
        elif action == "back" and not server.alive:
            server.comes_back(memory[lane])
            story.fault(t, "ended", lane, "restart", memory=memory[lane])
        seen += [(t + 0.1, name, each.at(t + 0.1)) for name, each in servers.items() if each.alive]
    return story.ends(t + 1.0), seen


@settings(deadline=None, max_examples=300)
@given(runs())
def test_what_each_server_knows_is_what_such_a_server_would_know(run):
    events, seen = run
    found = findings(events).grants.all
    for t, lane, holder in seen:
        knew = [grant.hold.task for grant in found if grant.lane == lane and grant.begin <= t < grant.end]
        assert knew == ([f"h{holder}"] if holder else []), (t, lane)


# Who was granted the lock together -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "why"), [("restart", "died"), ("clock", "clock moved")])
def test_a_server_that_forgot_grants_to_two(fault, why):
    [double] = findings(two_granted(fault)).doubles
    assert (double.first.lane, double.second.lane, double.why) == ("worker1", "worker2", {"lock3": why})


def test_two_may_be_granted_by_two_servers_that_know_nothing_of_each_other():
    [double] = findings(failover()).doubles
    assert (double.first.lane, double.second.lane, double.why) == ("worker1", "worker2", {})
    assert findings(failover(granted=False)).doubles == []


def test_a_hold_that_was_over_when_it_was_told_of_takes_nothing_from_anybody():
    """Whoever was paused inside acquire(), and does not look whether anything is left of the lease."""
    story = Story(servers=FIVE, inbox=False).enters(1.0, 1, "a", lease=9.0, granted=(1, 2, 3))
    story.enters(2.0, 2, "b", lease=0.0, granted=(1, 2, 3)).say(3.0, "left", 2, "b").say(3.0, "lost", 2, "b")
    events = story.leaves(4.0, 1, "a").ends(9.0)
    assert grants(events) == [(f"lock{number}", "worker1", 1, 4, "released") for number in (1, 2, 3)]
    found = findings(events)
    assert found.most_inside == 2 and not found.doubles


def test_two_inside_of_whom_one_has_outlived_his_lease_are_none_of_the_servers_doing():
    story = Story(servers=FIVE).enters(1.0, 1, "a", lease=2.0, granted=(1, 2, 3))
    story.enters(4.0, 2, "b", lease=2.0, granted=(1, 2, 3)).leaves(4.5, 1, "a", lock=False).leaves(5.0, 2, "b")
    found = findings(story.ends(9.0))
    assert found.together.crowds
    assert found.doubles == []


def test_one_after_the_other_is_no_double():
    assert findings(remembering()).doubles == []


# Who could answer ----------------------------------------------------------------------------------------------------


def servers(*faults, names=FIVE):
    """The Servers of a run with these faults: t, what, lane, fault, and maybe its detail."""
    story = Story(servers=names)
    for t, what, lane, fault, *detail in faults:
        story.fault(t, what, lane, fault, **(detail[0] if detail else {}))
    return findings(story.ends(20.0)).servers


def test_who_is_dead_or_paused_cannot_answer():
    found = servers(*KILL, (3.0, "began", "lock2", "pause"), (4.0, "ended", "lock2", "pause"))
    assert [found.away(t) for t in (1.0, 2.5, 3.5, 4.5)] == [[], ["lock1"], ["lock1", "lock2"], ["lock1"]]


def test_a_pause_ends_with_the_life_of_the_server():
    found = servers((1.0, "began", "lock1", "pause"), RESTART, back(3.0, memory=False))
    assert [found.away(t) for t in (1.5, 2.5, 3.5)] == [["lock1"], ["lock1"], []]


def test_who_is_cut_off_is_away_for_one_alone():
    cut, other = {"servers": ["lock1", "lock2"]}, {"servers": ["lock3"]}
    found = servers((1.0, "began", 1, "cut", cut), (2.0, "began", 1, "cut", other), (3.0, "ended", 1, "cut", cut))
    assert [found.away(t, "worker1") for t in (1.5, 2.5, 3.5)] == [["lock1", "lock2"], FIVE[:3], ["lock3"]]
    assert [found.too_few(t, "worker1") for t in (1.5, 2.5, 3.5)] == [False, True, False]
    assert found.away(2.5) == found.away(2.5, "worker2") == []


def test_a_cut_whose_end_does_not_say_which_ends_the_first():
    cut = {"servers": ["lock1", "lock2"]}
    assert servers((1.0, "began", 1, "cut", cut), (3.0, "ended", 1, "cut")).away(3.5, "worker1") == []


@pytest.mark.parametrize(
    ("number", "dead", "too_few"), [(5, 2, False), (5, 3, True), (4, 1, False), (4, 2, True), (1, 1, True)]
)
def test_half_is_no_majority(number, dead, too_few):
    kills = [(1.0, what, f"lock{server}", "kill") for server in range(1, dead + 1) for what in ("began", "ended")]
    assert servers(*kills, names=FIVE[:number]).too_few(2.0) is too_few


def test_the_primary_is_asked_alone_and_then_whoever_was_promoted():
    found = servers((1.0, "began", "lock", "kill"), (1.0, "ended", "lock", "kill"), (3.0, "began", "replica1", "promote"),
                    names=["lock", "replica1"])  # fmt: skip
    assert [found.asked(t) for t in (2.0, 3.0)] == [["lock"], ["replica1"]]
    assert [found.too_few(t) for t in (0.5, 2.0, 3.0)] == [False, True, False]


def test_where_no_server_has_a_lane_nothing_is_said_of_them():
    assert not servers(names=()).too_few(1.0)
    assert servers(names=()).absence(0.0, 9.0) is None
