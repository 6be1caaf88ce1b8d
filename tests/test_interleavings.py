"""The search: what it finds, that nothing shorter exists, what it doesn't claim, and how it tells a learner's mistakes."""

import contextlib
import gc
import re
import subprocess
import sys
import time
import uuid

import pytest
from conftest import ROOT
from steps_of_locks import (
    BROKEN,
    HOLDING,
    MUTUAL_EXCLUSION,
    NO_DEADLOCK,
    NO_STALE_WRITE,
    OVERDUE_ASIDE,
    check_then_write,
    fenced,
    get_then_set,
    never_released,
    released_too_early,
    setnx,
    setnx_then_expire,
    three_attempts,
    token_and_lease,
    token_apart_from_lock,
    unconditional_del,
)

from course_tasks.interleavings import (
    DEL,
    ENTER,
    EVAL,
    EXPIRE,
    GET,
    INCR,
    LEAVE,
    SET,
    SETNX,
    WRITE,
    StepsError,
    search,
)
from course_tasks.interleavings.store import Store

# What is found, and that nothing shorter is there ----------------------------------------------------------------------


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_a_broken_lock_is_found_broken_by_a_shortest_trace(broken):
    found = search(broken.lock, **broken.options)
    assert (found.outcome, found.violated) == ("broken", broken.violated)
    assert [(step.who, step.command.name) for step in found.trace] == broken.names
    assert found.depth == len(found.trace) - 1


class Schedule:
    """A second, naive way to run clients: generators that live on, ENTER and LEAVE as moves of their own, no states kept.

    ``violated`` follows the definitions as one would tell them, for the locks in steps_of_locks.py: a lock's key is
    "lock", its value the client's name.
    """

    def __init__(self, lock, clients):
        self.store, self.inside, self.overdue, self.accepted, self.violated = Store(), set(), set(), [], None
        self.steps = {f"client{number}": lock(f"client{number}") for number in range(1, clients + 1)}
        self.next = {name: next(steps) for name, steps in self.steps.items()}
        self.begun, self.granted = set(), []

    def moves(self, lease_ends, crashes):
        """What may come next: a client's move, its crash, or the end of the lock's lease."""
        yield from self.next
        if crashes:
            yield from (("crash", name) for name in self.next if name in self.begun)
        if lease_ends and "lock" in self.store.leased():
            yield "lease ends"

    def take(self, move, count_overdue):
        """Take a move; return what it costs: the two ends of the critical section are free."""
        cost, answer = 1, None
        if move == "lease ends":
            self.overdue.add(self.store.keys.pop("lock").value)
        elif isinstance(move, tuple):
            self.gone(move[1])
        else:
            step = self.next[move]
            if step is ENTER or step is LEAVE:
                cost = 0
                (self.inside.add if step is ENTER else self.inside.remove)(move)
            else:
                held = self.store.keys.get("lock")
                answer = step.run(self.store, move)
                self.begun.add(move)
                if self.store.keys.get("lock") != held and "lock" in self.store.keys:
                    self.overdue.discard(move)
                    self.granted = [name for name in self.granted if name != move] + [move]
                if isinstance(step, WRITE) and answer:
                    self.write(move, step.token)
            try:
                self.next[move] = self.steps[move].send(answer)
            except StopIteration:
                self.gone(move)
        counted = self.inside if count_overdue else self.inside - self.overdue
        left = self.store.keys.get("lock")
        if len(counted) > 1:
            self.violated = MUTUAL_EXCLUSION
        elif not self.next and left and not left.leased:
            self.violated = NO_DEADLOCK
        return cost

    def write(self, name, token):
        """A write is stale if its token is lower, or if the one who wrote before was granted the lock later."""
        order = self.granted.index
        if any(token < other or order(name) < order(writer) for writer, other in self.accepted):
            self.violated = NO_STALE_WRITE
        self.accepted.append((name, token))

    def gone(self, name):
        """The client is done, or has crashed."""
        self.inside.discard(name)
        del self.next[name]


def violations(lock, cost, clients=2, lease_ends=False, crashes=False, count_overdue=True):
    """Property -> the lowest cost at which a schedule violates it, from all schedules that cost no more than ``cost``."""
    found, schedules = {}, [("client1",)]  # the clients are alike, so let this one begin
    while schedules:
        moves = schedules.pop()
        schedule = Schedule(lock, clients)
        spent = sum(schedule.take(move, count_overdue) for move in moves)
        if spent > cost:
            continue
        if schedule.violated:
            found[schedule.violated] = min(spent, found.get(schedule.violated, spent))
        else:
            schedules += [(*moves, move) for move in schedule.moves(lease_ends, crashes)]
    return found


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_no_schedule_is_shorter(broken):
    commands = sum(name not in ("ENTER", "LEAVE") for _, name in broken.names)
    assert violations(broken.lock, commands - 1, **broken.options) == {}
    if "clients" not in broken.options:  # with three, it takes too long
        assert violations(broken.lock, commands, **broken.options) == {broken.violated: commands}


# What holds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lock", "options"), HOLDING)
def test_what_holds_is_said_to_hold(lock, options):
    found = search(lock, **options)
    assert (found.outcome, found.violated, found.trace) == ("holds", None, ())
    assert found.asked[:2] == (MUTUAL_EXCLUSION, NO_DEADLOCK)
    assert (NO_STALE_WRITE in found.asked) == (lock is fenced)


@pytest.mark.parametrize(("lock", "options"), [(lock, options) for lock, options in HOLDING if options["clients"] == 2])
def test_what_holds_is_violated_by_no_schedule_of_any_length(lock, options):
    assert violations(lock, cost=1000, **options) == {}


def test_a_lock_with_a_lease_holds_but_for_the_end_of_the_lease_and_says_so():
    without, with_it = search(token_and_lease), search(token_and_lease, lease_ends=True)
    assert without.outcome == "holds"
    assert without.sentence.endswith("Not among the steps: the end of a lease and a crash.")
    assert with_it.outcome == "broken"
    assert (
        with_it.sentence == "client1 and client2 are inside together. The lease of client1 ended while it was inside."
    )
    aside = search(token_and_lease, crashes=True, **OVERDUE_ASIDE)
    assert aside.outcome == "holds"
    assert aside.sentence.endswith("Who was still inside after the end of its lease was not counted.")


def test_no_lease_no_word_about_it():
    assert search(setnx).sentence == (
        "In every order of the steps, no two clients are inside together and nobody is locked out for ever. "
        "Not among the steps: a crash."
    )


def test_a_dead_client_is_not_inside():
    """With a lease, the next one comes in after a crash, and only after the lease's end."""
    assert search(token_and_lease, crashes=True).outcome == "holds"


def test_an_attempt_that_fails_may_be_repeated():
    seen = set()

    def watched(me):
        for attempt in range(2):
            if (yield SETNX("lock", me)):
                seen.add((me, attempt))
                yield ENTER
                yield LEAVE
                yield DEL("lock")
                return

    assert search(watched).outcome == "holds"
    assert seen == {("client1", 0), ("client1", 1), ("client2", 0), ("client2", 1), ("client3", 0)}  # 3: the newcomer


def test_who_comes_later_may_need_more_than_one_attempt():
    """A client that finds the lock of a dead one clears it away, and goes. The next one can enter."""

    def cleared_away(me):
        if (yield SETNX("lock", me)):
            yield ENTER
            yield LEAVE
            yield DEL("lock")
        else:
            yield DEL("lock")

    assert search(cleared_away, clients=1, crashes=True).outcome == "holds"
    assert search(cleared_away, clients=3).violated == MUTUAL_EXCLUSION


def test_a_lease_that_was_renewed_by_its_owner_is_no_new_grant():
    def renewed(me):
        if (yield SET("lock", me, nx=True, px=1000)):
            yield ENTER
            yield SET("lock", me, px=1000)
            yield WRITE("mail")
            yield LEAVE
            yield DEL("lock")

    assert search(renewed).outcome == "holds"
    assert search(renewed, **OVERDUE_ASIDE).violated is not None, "it replaces the other one's lock"


def test_a_set_without_a_lease_takes_the_lease_away():
    def forgetful(me):
        if (yield SET("lock", me, nx=True, px=1000)):
            yield SET("lock", me)
            yield ENTER
            yield LEAVE
            yield DEL("lock")

    found = search(forgetful, crashes=True)
    assert [step.command.name for step in found.trace] == ["SET", "SET", "CRASH", "SET"]
    assert found.violated == NO_DEADLOCK


# States, and searches that are cut short -------------------------------------------------------------------------------


def test_states_are_counted():
    # Nobody yet; client1 inside; done.
    assert search(setnx, clients=1).states == 3
    # Nobody yet. 1 inside; 2 inside. 1 inside and 2 gone; 2 inside and 1 gone. 1 done, 2 not yet; 2 done, 1 not yet. Both done.
    assert search(setnx).states == 8


def test_equal_states_are_one():
    """In how many orders three clients come and go matters to nobody afterwards: each is there, inside, or gone."""
    assert search(setnx, clients=3).states == sum(
        [8, 3 * 4]
    )  # nobody inside; one inside, each of the others there or gone


@pytest.mark.parametrize("limit", [1, 2, 100, 1909])
def test_a_search_that_is_cut_short_does_not_say_holds(limit):
    found = search(fenced, 3, crashes=True, limit=limit, **OVERDUE_ASIDE)
    assert (found.outcome, found.violated, found.trace, found.states) == ("unknown", None, (), limit)
    assert "The search was cut short" in found.sentence
    assert "unknown" in repr(found) and "holds" not in repr(found)


def test_a_search_with_just_enough_states_holds():
    assert search(fenced, 3, crashes=True, limit=1910, **OVERDUE_ASIDE).outcome == "holds"


def test_a_search_ends_when_its_time_is_over():
    found = search(fenced, 3, crashes=True, seconds=0, **OVERDUE_ASIDE)
    assert (found.outcome, found.states) == ("unknown", 1)


def test_a_search_that_is_cut_short_says_how_far_it_came():
    whole = search(check_then_write, **OVERDUE_ASIDE)
    cut = search(check_then_write, limit=whole.states - 1, **OVERDUE_ASIDE)
    assert (whole.outcome, cut.outcome) == ("broken", "unknown")
    assert 0 < cut.depth <= whole.depth
    assert f"Within {cut.depth} steps nothing is violated" in cut.sentence


def test_three_clients_take_seconds():
    began = time.monotonic()
    found = search(three_attempts, 3, crashes=True, **OVERDUE_ASIDE)
    assert found.outcome == "holds" and found.states > 500
    assert time.monotonic() - began < 20


def test_where_nobody_enters_nothing_is_shown():
    def refused(me):
        yield GET("lock")

    found = search(refused)
    assert (found.outcome, found.asked) == ("unknown", ())
    assert "Does the lock yield ENTER?" in found.sentence


def test_where_nobody_enters_but_writes_only_the_writes_are_looked_at():
    def without_enter(me):
        if (yield SET("lock", me, nx=True, px=1000)):
            yield WRITE("mail")

    found = search(without_enter, crashes=True)
    assert (found.outcome, found.asked) == ("holds", (NO_STALE_WRITE,))
    assert search(without_enter, lease_ends=True).violated == NO_STALE_WRITE


# Words -----------------------------------------------------------------------------------------------------------------

GET_THEN_SET = """\
✗ broken in 4 steps; 15 states searched
  client1 and client2 are inside together. client2's SET replaced the lock of client1.
  1  client1  GET lock          → None
  2  client2  GET lock          → None
  3  client1  SET lock client1  → True  is inside
  4  client2  SET lock client2  → True  replaces the lock of client1, is inside
  lock: get_then_set; clients: 2; a lease ends: never; a client crashes: never"""

UNCONDITIONAL_DEL = """\
✗ broken in 5 steps; 61 states searched
  client2 and client3 are inside together, and the lease of neither has ended. The lease of client1 ended while it was inside. \
client1's DEL removed the lock of client2.
  1  client1  SET lock client1 NX PX 100000  → True  is inside
  2  server   the lease of lock ends                 client1 is still inside
  3  client2  SET lock client2 NX PX 100000  → True  is inside
  4  client1  DEL lock                       → 1     has left, removes the lock of client2
  5  client3  SET lock client3 NX PX 100000  → True  is inside
  lock: unconditional_del; clients: 3; a lease ends: at any step; a client crashes: never"""

SETNX_HOLDS = """\
✓ holds; 8 states searched
  In every order of the steps, no two clients are inside together and nobody is locked out for ever. Not among the steps: a crash.
  lock: setnx; clients: 2; a lease ends: never; a client crashes: never"""


def test_a_card_as_text():
    assert repr(search(get_then_set)) == GET_THEN_SET
    assert repr(search(unconditional_del, 3, **OVERDUE_ASIDE)) == UNCONDITIONAL_DEL
    assert repr(search(setnx)) == SETNX_HOLDS


def test_a_card_in_a_notebook_says_the_same():
    for found in (search(get_then_set), search(setnx), search(setnx, limit=2)):
        card = found._repr_html_()
        for line in repr(found).splitlines():
            for word in line.replace(";", " ").replace(": ", " ").replace("client2's", "").split():
                assert word in card, word
        assert ("<table" in card) == bool(found.trace)


def test_what_is_not_ours_is_escaped():
    def strange(me):
        yield SET("<b>", me)
        yield ENTER
        yield LEAVE

    card = search(strange)._repr_html_()
    assert "SET &lt;b&gt; client1" in card and "<b>" not in card.replace('<b style="', "")


@pytest.mark.parametrize(
    ("lock", "options", "says"),
    [
        (
            setnx_then_expire,
            {"crashes": True},
            "Nobody can enter any more: client1 crashed, and its lock stays, without a lease.",
        ),
        (
            released_too_early,
            {},
            "client1 and client2 are inside together. client1's DEL gave the lock back while it was inside.",
        ),
        (never_released, {}, "Nobody can enter any more: client1 is done, and its lock stays, without a lease."),
        (
            check_then_write,
            OVERDUE_ASIDE,
            "client1's write with token 1 was accepted after client2's with token 2. "
            "The lease of client1 ended while it was inside.",
        ),
        (
            token_apart_from_lock,
            OVERDUE_ASIDE,
            "client1's write with token 2 was accepted after client2's with token 1, though client2 was granted the lock later. "
            "The lease of client1 ended before it was done.",
        ),
    ],
)
def test_sentences(lock, options, says):
    assert search(lock, **options).sentence == says


def test_steps_are_told_as_redis_has_them():
    [first, *_, last] = search(setnx_then_expire, crashes=True).trace
    assert (str(first), str(last)) == ("client1 SETNX lock client1 → True", "client2 SETNX lock client2 → False")
    who, command, answer = first
    assert (who, command, answer) == ("client1", SETNX("lock", "client1"), True)
    assert str(SET("lock", "a", nx=True, ex=2)) == "SET lock a NX EX 2"
    assert str(WRITE("mail", 3, compare=True)) == "WRITE mail 3 COMPARE"


# Pictures --------------------------------------------------------------------------------------------------------------


def labels(picture):
    return [text.get_text() for text in picture.figure.axes[0].texts]


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_a_picture_names_every_command_and_counts_in_steps(broken):
    found = search(broken.lock, **broken.options)
    picture = found.timeline()
    [ax] = picture.figure.axes
    assert ax.get_xlabel() == "steps"
    assert ax.get_xlim() == (0, len(found.trace) + 1)
    assert all(tick == int(tick) for tick in ax.get_xticks())
    names = [name for who, name in broken.names if who != "server" and name not in ("CRASH", "LEAVE")]
    said = [label.split()[0] for label in labels(picture) if "→" in label]
    assert sorted(said) == sorted(names), "a label had no room"
    taking_part = sorted({who for who, _ in broken.names} - {"server"})
    assert [label.get_text() for label in ax.get_yticklabels()] == taking_part
    assert picture.title.startswith(f"{broken.lock.__name__}: ")
    assert picture.text.endswith(found.sentence)
    assert all(str(step) in picture.text for step in found.trace)
    assert not re.search(r"\d m?s\b", " ".join([*labels(picture), picture.title, picture.text])), "a step is no second"


def test_a_picture_shows_what_became_of_the_lock():
    assert {"lost", "2 inside"} <= set(labels(search(get_then_set).timeline()))
    assert {"lease ends", "lost", "2 inside"} <= set(labels(search(unconditional_del, 3, **OVERDUE_ASIDE).timeline()))
    dead = labels(search(setnx_then_expire, crashes=True).timeline())
    assert {"killed after SETNX", "still locked", "skipped: locked"} <= set(dead)


def test_the_step_that_does_the_damage_stands_out():
    picture = search(check_then_write, **OVERDUE_ASIDE).timeline()
    bold = [text.get_text() for text in picture.figure.axes[0].texts if text.get_fontweight() == "bold"]
    assert bold == ["WRITE 1 → True", "2 inside"]


def test_a_picture_may_have_a_title_of_its_own():
    assert (
        search(get_then_set).timeline(title="Two looked before either had taken").title
        == "Two looked before either had taken"
    )


@pytest.mark.parametrize("found", [search(setnx), search(setnx, limit=2)], ids=["holds", "unknown"])
def test_where_there_is_no_counterexample_there_is_no_picture(found):
    with pytest.raises(ValueError, match="no counterexample to draw"):
        found.timeline()


# What a learner may write instead --------------------------------------------------------------------------------------


def no_yield(me):
    return SETNX("lock", me)


def no_brackets(me):
    if (yield GET("lock") is None):
        yield SET("lock", me)


def no_yield_in_one_place(me):
    if SETNX("lock", me):
        yield ENTER


def no_arguments(me):
    yield GET


def a_word(me):
    yield "GET lock"


def a_part(me):
    yield setnx(me)


def nothing(me):
    yield


def no_name():
    yield ENTER


def spins(me):
    while not (yield SETNX("lock", me)):
        pass
    yield ENTER
    yield LEAVE


def spins_without_a_yield(me):
    yield SETNX("lock", me)
    while True:
        with contextlib.suppress(Exception):
            me = me[::-1]


def comes_and_goes_for_ever(me):
    yield GET("lock")
    while True:
        yield ENTER
        yield LEAVE


def enters_twice(me):
    yield SETNX("lock", me)
    yield ENTER
    yield ENTER


def leaves_first(me):
    yield SETNX("lock", me)
    yield LEAVE


def stays(me):
    yield SETNX("lock", me)
    yield ENTER


def fails(me):
    if (yield SETNX("lock", me)):
        raise KeyError(me)


def by_chance(me):
    yield SETNX("lock", uuid.uuid4().hex)
    yield DEL("lock")


def too_much(me):
    yield SET("lock", ["a list"])


def no_number(me):
    yield SET("count", me)
    yield INCR("count")


def two_leases(me):
    yield SET("lock", me, ex=1, px=1000)


def no_time(me):
    yield EXPIRE("lock", 0)


def no_token(me):
    yield WRITE("mail", (yield GET("fence")))


def script_with_enter(me):
    def script():
        yield ENTER

    yield EVAL(script)


def script_without_yield(me):
    yield EVAL(lambda: None)


def script_with_a_list(me):
    def script():
        yield GET("lock")
        return []

    yield EVAL(script)


@pytest.mark.parametrize(
    ("lock", "says"),
    [
        (no_yield, "client. has no steps: write yield before each command"),
        (no_brackets, r"client. yields False, which is no step: .* Put the yield in brackets: \(yield GET"),
        (no_yield_in_one_place, r"SETNX\(.*\) was not sent, so there is no answer yet: write \(yield SETNX\("),
        (no_arguments, r'which is no step: it lacks its arguments, as in GET\("lock", …\)'),
        (a_word, "yields 'GET lock', which is no step: steps are ENTER, LEAVE and commands"),
        (a_part, "which is no step: write yield from"),
        (nothing, "yields None, which is no step"),
        (no_name, "can't begin: TypeError: no_name.. takes 0 positional arguments"),
        (spins, "goes on and on: make a bounded number of attempts"),
        (spins_without_a_yield, "runs 100,000 lines without a yield: is there a loop that never ends"),
        (comes_and_goes_for_ever, "goes on and on"),
        (
            enters_twice,
            r"yields ENTER and is inside already: yield LEAVE before it \(after SETNX lock client., ENTER, ENTER\)",
        ),
        (leaves_first, "yields LEAVE and is not inside"),
        (stays, "ends while it is inside: yield LEAVE before it gives the lock back"),
        (fails, r"raises KeyError: 'client.' \(after SETNX lock client.\)"),
        (
            by_chance,
            "does not do the same again: after .* came SETNX lock .* before, and now SETNX lock .* from the client's name",
        ),
        (too_much, "SET: a value is a string or a whole number"),
        (no_number, "is refused INCR count: value is not an integer"),
        (two_leases, "EX or PX, not both"),
        (no_time, "EXPIRE: seconds is a whole number above 0, and not 0"),
        (no_token, "WRITE: a token is a whole number, and not None"),
        (script_with_enter, "client.'s EVAL script goes beyond Redis"),
        (script_without_yield, "client.'s EVAL <lambda> has no steps"),
        (script_with_a_list, r"returns \[\]: a script returns a whole number, a string or None"),
        ("get_then_set", "is no function"),
        (setnx("client1"), "is no function: hand over the lock's function itself, without calling it"),
        (dict, "has no steps|can't begin"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_not_written_as_steps_gets_an_error_that_says_what_to_do(lock, says):
    with pytest.raises(StepsError, match=says):
        search(lock)
    assert sys.gettrace() is None


def test_the_cause_of_an_error_is_kept():
    with pytest.raises(StepsError) as raised:
        search(fails)
    assert isinstance(raised.value.__cause__, KeyError)


def test_there_has_to_be_a_client():
    with pytest.raises(ValueError, match="clients=0"):
        search(setnx, clients=0)


def test_a_lock_may_be_made_of_parts():
    def acquire(me):
        return (yield SETNX("lock", me))

    def release(me):
        yield DEL("lock")

    def whole(me):
        if (yield from acquire(me)):
            yield ENTER
            yield LEAVE
            yield from release(me)

    assert search(whole).states == search(setnx).states


def test_a_lock_may_be_released_in_a_finally():
    """A generator that is dropped runs its finally, and a yield in there is reported by Python where nobody catches it."""

    def careful(me):
        if (yield SETNX("lock", me)):
            try:
                yield ENTER
                yield LEAVE
            finally:
                yield DEL("lock")

    assert search(careful).outcome == "holds"
    assert search(careful, crashes=True).violated == NO_DEADLOCK, "a crash is a crash: no finally"
    gc.collect()


def test_entering_without_any_command_is_a_step():
    def no_lock(me):
        yield ENTER
        yield LEAVE

    found = search(no_lock)
    assert [str(step) for step in found.trace] == ["client1 ENTER", "client2 ENTER"]
    assert "2 inside" in labels(found.timeline())


def test_a_search_loads_nothing_that_draws():
    code = (
        "import sys; from course_tasks.interleavings import ENTER, LEAVE, search\n"
        "def lock(me):\n    yield ENTER\n    yield LEAVE\n"
        "assert search(lock).sentence\n"
        "print(*{'matplotlib', 'pandas', 'numpy', 'redis', 'celery'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
