"""The model of Redis beside a real server: the same commands, answer by answer; and the counterexamples, really taken."""

import contextlib
import random
from collections import Counter
from unittest import mock

import pytest
import redis
from labs import wait_for
from steps_of_locks import BROKEN, SCRIPTS, compare_and_delete, take

from course_tasks.interleavings import DEL, DELIFEQ, EVAL, EXISTS, EXPIRE, GET, INCR, PEXPIRE, SET, SETNX, search
from course_tasks.interleavings.commands import OnKey, OnRow
from course_tasks.interleavings.store import Refused, Store
from course_tasks.interleavings.trace import CRASH, LEASE_ENDS

KEYS = ("a", "b", "c")
ODD = ("", "007", "+1", " 1", "1.0", "-0", "²", "9223372036854775807")  # hardly numbers, or too great
VALUES = ("client1", "client2", "1", 1, -1, "-1") * 3 + ODD
LONG = 100_000  # seconds or milliseconds: no lease ends by itself while a test runs


def ask(client, command):
    """Have the real server execute ``command``, through redis-py; DELIFEQ is in no redis-py of ours."""
    match command:
        case SET():
            return client.set(command.key, command.value, nx=command.nx, ex=command.ex, px=command.px)
        case DEL():
            return client.delete(command.key)
        case DELIFEQ():
            return client.execute_command("DELIFEQ", command.key, command.value)
        case EVAL():
            *keys, value = command.args
            return client.eval(SCRIPTS[command.script], len(keys), *keys, value)
        case _:
            return getattr(client, command.name.lower())(*vars(command).values())


def answer_of(execute, *arguments):
    """The answer and its type, or that there is an error instead."""
    try:
        answer = execute(*arguments)
    except (Refused, redis.ResponseError):
        return "error"
    return answer, type(answer)


def end_lease(client, key):
    """Have the real lease of ``key`` end, and wait until the server has seen to it."""
    assert client.pexpire(key, 1)
    wait_for(lambda: not client.exists(key), f"for {key} to expire")


def contents(client):
    """Key -> its value and whether it has a lease."""
    return {key: (client.get(key), client.pttl(key) > 0) for key in client.keys()}


@pytest.fixture
def client(server):
    return server.client(decode_responses=True)


@pytest.fixture
def commands(client):
    """Functions that make a command from a Random, of those that this server knows."""
    kinds = [
        lambda key, value, pick: GET(key),
        lambda key, value, pick: EXISTS(key),
        lambda key, value, pick: DEL(key),
        lambda key, value, pick: INCR(key),
        lambda key, value, pick: SETNX(key, value),
        lambda key, value, pick: EXPIRE(key, LONG),
        lambda key, value, pick: PEXPIRE(key, LONG),
        lambda key, value, pick: SET(key, value, nx=pick([False, True])),
        lambda key, value, pick: SET(key, value, pick([False, True]), **{pick(["ex", "px"]): LONG}),
        lambda key, value, pick: EVAL(compare_and_delete, key, value),
        lambda key, value, pick: EVAL(take, key, pick([other for other in KEYS if other != key]), value),
    ]
    if "delifeq" in client.command():
        kinds.append(lambda key, value, pick: DELIFEQ(key, value))
    return kinds


def compare(client, commands, seed, length=60):
    """Run random commands and leases' ends on the model and on the server; return how often each answer came."""
    luck, store, seen = random.Random(seed), Store(), Counter()
    client.flushall()
    for number in range(length):
        if store.leased() and luck.random() < 0.05:
            key = luck.choice(store.leased())
            store.end_lease(key)
            end_lease(client, key)
            seen["a lease ended"] += 1
        else:
            command = luck.choice(commands)(luck.choice(KEYS), luck.choice(VALUES), luck.choice)
            modelled, real = answer_of(command.run, store, "client1"), answer_of(ask, client, command)
            assert modelled == real, f"seed {seed}, command {number}: {command}"
            seen[command.name, "error" if real == "error" else bool(real[0])] += 1
        kept = {name: (key.value, key.leased) for name, key in store.keys.items()}
        assert kept == contents(client), f"seed {seed}, after command {number}"
    return seen


def test_the_model_answers_like_the_server(client, commands):
    seen = sum((compare(client, commands, seed) for seed in range(50)), Counter())
    assert seen["a lease ended"] > 20
    known = {kind("a", "1", random.Random(0).choice).name for kind in commands}
    for name in known - {"INCR"}:
        assert seen[name, True] > 10 and seen[name, False] > 10, (
            f"{name}: both answers did not come often enough: {seen}"
        )
    assert seen["INCR", True] > 20 and seen["INCR", "error"] > 20 and seen["EVAL", "error"] > 5


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        (SET, lambda self, store, client: store.put(self.key, self.value, client, leased=True) or True),
        (SETNX, lambda self, store, client: SET(self.key, self.value, nx=True).run(store, client)),
        (
            EXPIRE,
            lambda self, store, client: store.give_lease(self.key) or store.put(self.key, "", client, True) or False,
        ),
        (INCR, lambda self, store, client: 1),
        (DEL, lambda self, store, client: int(self.key in store.keys)),
        (GET, lambda self, store, client: None),
    ],
)
def test_a_wrong_model_is_noticed(client, commands, command, wrong):
    with mock.patch.object(command, "run", wrong), pytest.raises(AssertionError, match="seed"):
        for seed in range(10):
            compare(client, commands, seed)


def test_the_commands_are_redis_commands(client):
    names = {command.__name__ for command in [*OnKey.__subclasses__(), EVAL]}
    assert len(names) == 10
    assert {name for name in names if name.lower() not in client.command()} <= {"DELIFEQ"}


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_a_counterexample_happens_on_a_real_server(server, broken):
    """Each client has a connection of its own. What the database does stays with the model, and a crashed client does nothing."""
    trace = search(broken.lock, **broken.options).trace
    with contextlib.ExitStack() as opened:
        clients = {step.who: opened.enter_context(server.client(decode_responses=True)) for step in trace}
        for step in trace:
            if isinstance(step.command, LEASE_ENDS):
                end_lease(clients[step.who], step.command.key)
            elif isinstance(step.command, OnKey | EVAL):
                assert ask(clients[step.who], step.command) == step.answer, step
            else:
                assert isinstance(step.command, OnRow | CRASH) or step.command.name == "LEAVE"
