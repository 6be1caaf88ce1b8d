"""FairLock's scripts, against what a queue promises: any order of questions, and of leases that end."""

import pytest
from conftest import THOROUGH
from fair_workers import NAME, QUEUE, Patient, altered
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LEASE = (
    600.0  # seconds. Neither it nor a Patient's turn ends by itself, on however busy a machine: what ends, end() ends.
)


@pytest.fixture
def client(server):
    return server.client()


class Line:
    """Asks the scripts of ``kind`` on behalf of several waiters, and asserts of each answer what a fair queue promises."""

    def __init__(self, client, kind):
        self.client, self.lock = client, kind(client, NAME, timeout=LEASE)
        self.line = []  # the tokens of who waits and has not lost its place, in the order in which they came
        self.holding = None
        self.tokens, self.made = {}, 0

    def ask(self, who, how):
        if how != "claim":
            if who in self.tokens and self.tokens[who] in (*self.line, self.holding, self.turn()):
                return  # one who waits, or holds, does not come once more
            self.made += 1
            self.tokens[who] = b"%d" % self.made
        me = self.tokens.get(who, b"nobody")
        offered = self.turn() if self.turn() != self.holding else None
        if self.lock._commands.send(*self.lock._acquire_command(me, how)):
            if me != self.holding:
                assert self.holding is None, "two inside"
                assert self.line[:1] in ([], [me]), "out of turn"
                assert how != "claim" or me in self.line, "its turn had been given away"
            self.line = [token for token in self.line if token != me]
            self.holding = me
            assert self.client.pttl(NAME) > Patient.CLAIM_WITHIN * 1000, "no lease"
        else:
            assert me != offered, "refused although it has the turn"
            if how == "join":
                self.line.append(me)
            assert self.holding or self.offered_to_the_first() or not self.line, "nobody can get in"

    def leave(self, who):
        me = self.tokens.get(who, b"nobody")
        known, had_turn = me == self.holding or me in self.line, me == self.turn()
        assert self.lock._commands.send(*self.lock._release_command(me)) == known, "what it says that it did"
        self.line = [token for token in self.line if token != me]
        if me == self.holding:
            self.holding = None
        if had_turn:
            assert self.offered_to_the_first() if self.line else self.turn() is None, "not handed on"
        assert not self.client.exists(QUEUE + ":" + me.decode())

    def end(self):
        """The lease or the turn ends, whichever there is."""
        if self.turn() and self.turn() != self.holding:
            self.line.remove(self.turn())
        self.holding = None
        self.client.delete(NAME)

    def turn(self):
        return self.client.get(NAME)

    def offered_to_the_first(self):
        bell = b"%b:%b" % (QUEUE.encode(), self.line[0]) if self.line else None
        return (
            bell
            and self.turn() == self.line[0]
            and 0 < self.client.pttl(NAME) <= Patient.CLAIM_WITHIN * 1000
            and self.client.llen(bell) == 1
        )

    def close(self):
        """All leave; nothing may be left but what expires."""
        for who in self.tokens:
            self.leave(who)
        assert self.turn() is None
        assert not self.client.exists(QUEUE)
        assert all(self.client.pttl(key) > 0 for key in self.client.keys())


STEPS = st.lists(
    st.tuples(st.sampled_from(["join", "join", "try", "claim", "claim", "leave", "end"]), st.integers(0, 3)),
    max_size=30,
)


def behaves(client, kind, examples):
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(STEPS)
    def walk(steps):
        client.flushdb()
        line = Line(client, kind)
        for what, who in steps:
            if what == "end":
                line.end()
            elif what == "leave":
                line.leave(who)
            else:
                line.ask(who, what)
        line.close()

    walk()


def test_the_scripts_keep_what_a_queue_promises(client):
    behaves(client, Patient, 1000 if THOROUGH else 200)


@pytest.mark.parametrize(
    ("script", "old", "new", "broken"),
    [
        ("ASK", "turn == me or", "how == 'claim' or turn == me or", "two inside|out of turn|given away"),
        ("ASK", "or call_next()", "", "out of turn"),
        ("ASK", "lpop", "rpop", "out of turn|first|nobody can get in"),
        ("ASK", "redis.call('rpush', queue, me)", "redis.call('lpush', queue, me)", "nobody can get in|not handed on"),
        ("ASK", "'PX', ARGV[4]", "'PX', claim_within", "no lease"),
        ("ASK", "how ~= 'claim'", "true", "given away"),
        (
            "LEAVE",
            "call_next()\n        return 1",
            "redis.call('del', lock)\n        return 1",
            "not handed on",
        ),
        ("LEAVE", "== me then", "then", "."),
        ("LEAVE", "redis.call('lrem', queue, 1, me)", "0", "."),
        ("LEAVE", "redis.call('rpush', queue .. ':' .. first, 'your turn')", "", "not handed on"),
    ],
)
def test_scripts_that_are_known_to_be_wrong_are_found_out(client, script, old, new, broken):
    wrong = type("Wrong", (Patient,), {script: altered(script, old, new)})
    with pytest.raises(AssertionError, match=broken):
        behaves(client, wrong, 1000)
