"""Breakpoints: exactly where they strike, seen by the server and by another client."""

import itertools
import os
import threading

import pytest
import redis
from labs import redis_on_tcp
from redis.lock import Lock

from course_tasks.breakpoints import Breakpoint, Trace, boundaries, watched


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A client for a server of the test's own."""
    with redis_on_tcp(tmp_path_factory.mktemp("redis")) as client:
        yield client


@pytest.fixture
def client(server):
    server.flushall()
    server.script_flush()
    server.config_resetstat()
    return server


def sent(client):
    """The commands that the server has carried out since the test began, those of this question aside."""
    return {
        name.removeprefix("cmdstat_").partition("|")[0].upper()
        for name in client.info("commandstats")
        if not name.startswith(("cmdstat_info", "cmdstat_client", "cmdstat_hello", "cmdstat_config", "cmdstat_flush"))
    }


class Reached(Exception):
    """What an action raises, to end everything there."""


def reached():
    raise Reached


def test_before_nothing_of_the_command_was_sent(client):
    with watched(client, Breakpoint(reached, before="set")) as own, pytest.raises(Reached):
        own.set("x", 1)
    assert "SET" not in sent(client)
    assert client.get("x") is None


def test_after_the_server_has_carried_it_out(client):
    with watched(client, Breakpoint(reached, after="SET")) as own, pytest.raises(Reached):
        own.set("x", 1)
    assert client.get("x") == b"1"


def test_a_connection_is_usable_after_an_action_has_raised(client):
    for moment in ("before", "after"):
        with watched(client, Breakpoint(reached, **{moment: "GET"})) as own:
            own.set("x", moment)
            with pytest.raises(Reached):
                own.get("x")
            assert own.echo("again") == b"again"
            assert own.get("x") == moment.encode()
            assert own.connection_pool._created_connections == 1


def test_an_error_is_a_reply_too(client):
    struck = Breakpoint(lambda: None, after="INCRBY")
    with watched(client, struck) as own:
        own.set("x", "no number")
        with pytest.raises(redis.ResponseError, match="integer"):
            own.incr("x")
    assert struck.struck


def test_the_action_sees_and_changes_what_lies_between_two_commands(client):
    """Get, then set: somebody else's SET falls between the two, every time."""

    def get_then_set(own):
        taken = own.get("lock")
        own.set("lock", "mine")
        return taken is None

    with watched(client, Breakpoint(lambda: client.set("lock", "theirs"), after="GET")) as own:
        assert get_then_set(own)
    assert client.get("lock") == b"mine"
    with watched(client, Breakpoint(lambda: client.set("lock", "theirs"), before="GET")) as own:
        assert not get_then_set(own)


def test_the_nth_time_and_once(client):
    seen = []
    point = Breakpoint(lambda: seen.append(client.get("x")), before="INCRBY", nth=3)
    with watched(client, point) as own:
        for _ in range(2):
            own.incr("x")
        assert not point.struck
        for _ in range(5):
            own.incr("x")
    assert seen == [b"2"]
    assert point.struck


def test_what_the_action_sends_with_the_same_client_does_not_strike_again(client):
    seen = []
    with watched(client, Breakpoint(lambda: seen.append(own.get("x")), before="GET")) as own:
        own.get("x")
    assert seen == [None]


def test_a_reply_that_was_lost(client):
    """The client's own silent second attempt: it hides that the first was carried out."""

    def lose():
        raise redis.ConnectionError("lost")

    options = client.connection_pool.connection_kwargs
    retrying = redis.Redis(host=options["host"], port=options["port"])
    with retrying, watched(retrying, Breakpoint(lose, after="SET")) as own:
        assert own.set("x", 1, nx=True) is None
    assert client.get("x") == b"1"


@pytest.mark.parametrize("name", ["HELLO", "CLIENT", "SELECT", "PING", "AUTH"])
@pytest.mark.parametrize("protocol", [2, 3])
def test_setting_up_a_connection_does_not_count(client, name, protocol):
    options = client.connection_pool.connection_kwargs
    made = redis.Redis(
        host=options["host"],
        port=options["port"],
        db=1,
        client_name="me",
        protocol=protocol,
        health_check_interval=1e-9,
        password="",
    )
    points = [Breakpoint(reached, **{moment: name}) for moment in ("before", "after")]
    with made, watched(made, *points) as own:
        for value in range(3):
            own.set("x", value)
            own.connection_pool.disconnect()
        if name == "PING":
            with pytest.raises(Reached):
                own.ping()
    assert {"SELECT", "PING"} <= sent(client)


def test_a_pipeline_strikes_between_its_commands(client):
    seen = []
    points = [
        Breakpoint(lambda: seen.append(("before expire", client.ttl("x"))), before="EXPIRE"),
        Breakpoint(lambda: seen.append(("after set", client.exists("x"))), after="SET"),
    ]
    with watched(client, *points) as own:
        assert own.pipeline(transaction=False).set("x", 1).expire("x", 60).get("x").execute() == [True, True, b"1"]
    assert [what for what, _ in seen] == ["before expire", "after set"]
    assert seen[0][1] in (-1, -2)  # the server may not have come to SET yet; to EXPIRE it can't have
    assert seen[1][1] == 1


def test_a_transaction_that_is_cut_off_changes_nothing(client):
    for place in ({"before": "EXPIRE"}, {"before": "EXEC"}):
        with watched(client, Breakpoint(reached, **place)) as own:
            with pytest.raises(Reached):
                own.pipeline().set("x", 1).expire("x", 60).execute()
            assert own.echo("still in step") == b"still in step"
        assert client.get("x") is None
    with watched(client, Breakpoint(reached, after="MULTI")) as own:
        with pytest.raises(Reached):
            own.pipeline().set("x", 1).expire("x", 60).execute()
        assert own.get("x") == b"1"  # it was sent whole, and carried out before this


def test_the_replies_of_a_pipeline_stay_in_step(client):
    """An action that raises in the middle leaves no reply for the next command to find."""
    names = ["SET", "INCRBY", "GET", "ECHO"]
    for name, moment in itertools.product(names, ("before", "after")):
        with watched(client, Breakpoint(reached, **{moment: name})) as own:
            with pytest.raises(Reached):
                own.pipeline(transaction=False).set("x", 1).incr("x").get("x").echo("old").execute()
            assert own.echo("new") == b"new", (moment, name)


def test_a_connection_that_is_closed_in_the_middle_of_a_pipeline_is_not_made_anew_for_its_rest(client):
    point = Breakpoint(lambda: own.connection_pool.disconnect(), before="EXPIRE")
    options = client.connection_pool.connection_kwargs
    plain = redis.Redis(host=options["host"], port=options["port"], retry=None)
    with plain, watched(plain, point) as own, pytest.raises(redis.ConnectionError, match="in the middle"):
        own.pipeline().set("x", 1).expire("x", 60).execute()


def test_watch_and_multi(client):
    """An optimistic lock: the key changes between WATCH and EXEC, exactly there."""
    for place, outcome in (({"after": "GET"}, None), ({"before": "EXEC"}, None), ({"before": "WATCH"}, [True])):
        client.set("x", "old")
        with watched(client, Breakpoint(lambda: client.set("x", "new"), **place)) as own, own.pipeline() as pipe:
            pipe.watch("x")
            pipe.get("x")
            pipe.multi()
            pipe.set("x", "mine")
            if outcome:
                assert pipe.execute() == outcome
            else:
                with pytest.raises(redis.WatchError):
                    pipe.execute()


def test_scripts_and_locks_that_derive_a_client_of_their_own(client):
    """A lock may make a client from the pool that it was given: the breakpoint goes with the connection's class."""

    class Derived(Lock):
        def __init__(self, given, name):
            pool = given.connection_pool
            own = redis.ConnectionPool(pool.connection_class, **{**pool.connection_kwargs, "retry": None})
            super().__init__(redis.Redis.from_pool(own), name, timeout=5)

    point = Breakpoint(reached, before="EVALSHA")
    with watched(client, point) as own:
        lock = Derived(own, "lock")
        assert lock.acquire(blocking=False)
        with pytest.raises(Reached):
            lock.release()
        lock.redis.close()
    assert client.exists("lock")


def test_subscriptions(client):
    trace = Trace()
    with watched(client, trace) as own, own.pubsub() as channel:
        channel.subscribe("a", "b")
        got = [channel.get_message(timeout=5)["type"] for _ in range(2)]
        client.publish("a", "hello")
        message = channel.get_message(timeout=5)
        assert got == ["subscribe", "subscribe"]
        assert message["data"] == b"hello"
    assert trace[:2] == [("before", "SUBSCRIBE"), ("after", "SUBSCRIBE")]


def test_every_connection_of_the_client_and_every_thread_counts(client):
    point = Breakpoint(lambda: struck.append(threading.get_ident()), before="INCRBY", nth=40)
    struck = []
    with watched(client, point) as own:
        threads = [threading.Thread(target=lambda: [own.incr("x") for _ in range(25)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.get("x") == b"100"
    assert len(struck) == 1


def test_the_places_of_an_operation_are_listed_and_each_can_be_struck(client):
    def use(own):
        lock = Lock(own, "lock", timeout=5)
        assert lock.acquire(blocking=False)
        lock.release()

    use(client)  # from now on the server knows the scripts
    places = boundaries(client, use)
    assert places == [
        {"before": "SET", "nth": 1},
        {"after": "SET", "nth": 1},
        {"before": "EVALSHA", "nth": 1},
        {"after": "EVALSHA", "nth": 1},
    ]
    held = []
    for place in places:
        with watched(client, Breakpoint(lambda: held.append(client.exists("lock")), **place)) as own:
            use(own)
    assert held == [0, 1, 1, 0]


def test_the_same_command_twice_has_two_places_of_each_kind(client):
    places = boundaries(client, lambda own: (own.get("x"), own.set("x", 1), own.get("x")))
    assert [place for place in places if "GET" in place.values()] == [
        {"before": "GET", "nth": 1},
        {"after": "GET", "nth": 1},
        {"before": "GET", "nth": 2},
        {"after": "GET", "nth": 2},
    ]


def test_a_trace_tells_all_that_is_sent_and_the_given_client_is_not_watched(client):
    trace = Trace()
    with watched(client, trace) as own:
        client.set("x", 1)
        own.execute_command(b"get", "x")
        own.script_load("return 1")
    assert trace.commands == ["GET", "SCRIPT"]


def test_a_unix_socket_and_decoded_replies(shared_server):
    trace = Trace()
    with watched(shared_server.client(decode_responses=True), trace) as own:
        own.set("breakpoint", "x")
        assert own.get("breakpoint") == "x"
        assert own.delete("breakpoint") == 1
    assert trace.commands == ["SET", "GET", "DEL"]


def test_after_a_fork_the_child_has_connections_of_its_own(client):
    with watched(client, Breakpoint(lambda: os._exit(7), before="INCRBY")) as own:
        own.set("x", 1)
        pid = os.fork()
        if pid == 0:
            own.incr("x")
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert own.get("x") == b"1"


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({}, ValueError, "either before= or after="),
        ({"before": "SET", "after": "GET"}, ValueError, "either before= or after="),
        ({"before": ""}, ValueError, "before must be the name of a command"),
        ({"after": "SET NX"}, ValueError, "after must be the name of a command, one word"),
        ({"before": 3}, TypeError, 'before is the name of a command, such as "EXPIRE", not 3'),
        ({"before": "SET", "nth": 0}, ValueError, "nth is a whole number that counts from 1, not 0"),
        ({"before": "SET", "nth": 1.5}, ValueError, "nth is a whole number that counts from 1, not 1.5"),
    ],
)
def test_bad_arguments(arguments, error, says):
    with pytest.raises(error, match=says):
        Breakpoint(reached, **arguments)
