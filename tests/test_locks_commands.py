"""Commands that are sent exactly once, and what a lock makes of an answer that does not come."""

import gc
import socket
import threading
import time
import types
import weakref

import pytest
import redis
from labs import LONG, redis_on_tcp
from lock_contract import in_a_fork, raised
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool
from servers import playing

from course_tasks.breakpoints import Breakpoint, Trace, watched
from course_tasks.locks import FairLock, LeaseLock, LockOutcomeUnknown, lost
from course_tasks.locks.commands import commands_of
from course_tasks.locks.likeness import BOUND
from course_tasks.locks.lost import ReplyLost
from course_tasks.locks.script import Script

SHORT = 0.2  # seconds that a client waits for a reply, where none will come

# Once ---------------------------------------------------------------------------------------------------------------


def test_a_command_is_sent_once_where_redis_py_sends_it_again(server, link):
    client = server.client(unix_socket_path=link.socket)
    for _ in range(2):
        link.cut(b"INCRBY")
    client.incr("sent by redis-py")
    with pytest.raises(ReplyLost) as lost:
        link.cut(b"INCRBY")
        commands_of(client).send("INCRBY", "sent by us", 1)
    assert isinstance(lost.value.__cause__, redis.ConnectionError) and lost.value.replies == ()
    assert server.client().mget("sent by redis-py", "sent by us") == [b"3", b"1"]


def test_connecting_is_tried_once(own_server):
    own_server.kill()
    attempts = []

    class Counting(redis.UnixDomainSocketConnection):
        def _connect(self):
            attempts.append(self)
            return super()._connect()

    pool = redis.ConnectionPool(Counting, path=own_server.socket, retry=Retry(NoBackoff(), 5))
    lock = LeaseLock(redis.Redis(connection_pool=pool), "mail")
    error = raised(lock.acquire)
    assert (
        isinstance(error, redis.ConnectionError) and len(attempts) == 1
    )  # nothing was sent: that is no unknown outcome


def test_only_a_lost_reply_is_unknown(server):
    lock = LeaseLock(server.client(), "mail")
    server.client().config_set("maxmemory", 1)
    try:
        assert isinstance(raised(lock.acquire), redis.OutOfMemoryError)
    finally:
        server.client().config_set("maxmemory", 0)
    assert lock.acquire()  # over the same connection, which is in step
    lock.release()

    def load():
        raise redis.BusyLoadingError(
            "the server is loading its data"
        )  # a reply, whose class is one of ConnectionError's

    with watched(server.client(), Breakpoint(load, after="SET")) as client:
        assert isinstance(raised(LeaseLock(client, "mail").acquire), redis.BusyLoadingError)


def test_a_reply_that_is_in_time_costs_one_command_each(server):
    with watched(server.client(), trace := Trace()) as client:
        lock = LeaseLock(client, "mail")
        for use in (lock.acquire, lock.owned, lock.locked, lambda: lock.extend(1), lock.reacquire, lock.release):
            use()
        trace.clear()
        for use in (lock.acquire, lock.owned, lock.locked, lambda: lock.extend(1), lock.reacquire, lock.release):
            use()
    assert trace.commands == ["SET", "GET", "EXISTS", "EVALSHA", "EVALSHA", "EVALSHA"]


def test_a_script_is_sent_whole_where_the_server_does_not_know_it(server):
    double = Script("return 2 * ARGV[1]")
    with watched(server.client(), trace := Trace()) as client:
        commands = commands_of(client)
        assert [commands.send(double, 0, 21), commands.send(double, 0, 4)] == [42, 8]
        client.script_flush()
        assert commands.send(double, 0, 5) == 10
    assert trace.commands == ["EVALSHA", "EVAL", "EVALSHA", "SCRIPT", "EVALSHA", "EVAL"]


# Over connections of one's own --------------------------------------------------------------------------------------


def test_connections_are_made_as_the_clients_own(server):
    class Special(redis.UnixDomainSocketConnection):
        pass

    settings = {"path": server.socket, "db": 3, "client_name": "me", "protocol": 2, "encoding": "latin-1"}
    pool = redis.ConnectionPool(Special, max_connections=7, decode_responses=True, retry_on_timeout=True, **settings)
    client = redis.Redis(connection_pool=pool)
    commands = commands_of(client)
    own = commands.pool
    assert type(own.make_connection()) is Special and own.max_connections == 7
    assert {key: own.connection_kwargs[key] for key in settings} == settings
    assert own.make_connection().retry.get_retries() == 0
    assert commands.send("CLIENT", "GETNAME") == b"me"
    commands.send("SET", b"key", "ü")
    assert client.get("key") == "ü" and server.client().exists("key") == 0
    client.close()


@pytest.mark.parametrize("given", [None, 0.5, 20])
@pytest.mark.parametrize("longer", [0, 1])
def test_a_reply_is_waited_for_as_long_as_the_client_says(server, given, longer):
    client = server.client(socket_timeout=given, socket_connect_timeout=given and given + longer)
    connection = commands_of(client).pool.make_connection()
    assert connection.socket_timeout == connection.socket_connect_timeout == (given or BOUND)


def test_clients_share_what_their_pool_has_and_it_goes_with_the_pool(server):
    local = redis.ConnectionPool(redis.UnixDomainSocketConnection, path=server.socket)
    remote = redis.ConnectionPool(host="nowhere", protocol=3)  # has redis-py's handlers, which refer to it
    gone = [weakref.ref(local), weakref.ref(remote)]
    for pool in (local, remote):
        one, two = redis.Redis(connection_pool=pool), redis.Redis(connection_pool=pool)
        assert commands_of(one) is commands_of(two) is not commands_of(server.client())
    assert commands_of(redis.Redis(connection_pool=local)).send("PING") == b"PONG"
    del local, remote, pool, one, two
    gc.collect()
    assert [pool() for pool in gone] == [None, None]


def test_a_blocking_pool_waits_no_longer_than_a_reply(server):
    pool = redis.BlockingConnectionPool(
        max_connections=2,
        timeout=20,
        connection_class=redis.UnixDomainSocketConnection,
        path=server.socket,
        socket_timeout=3,
    )
    own = commands_of(redis.Redis(connection_pool=pool)).pool
    assert type(own) is redis.BlockingConnectionPool and (own.timeout, own.max_connections) == (3, 2)
    pool = redis.BlockingConnectionPool(
        timeout=None, connection_class=redis.UnixDomainSocketConnection, path=server.socket
    )
    assert commands_of(redis.Redis(connection_pool=pool)).pool.timeout == BOUND
    pool = redis.BlockingConnectionPool(
        timeout=0, connection_class=redis.UnixDomainSocketConnection, path=server.socket
    )
    assert commands_of(redis.Redis(connection_pool=pool)).pool.timeout == 0


def test_a_client_of_sentinels_and_one_over_tcp(tmp_path):
    with redis_on_tcp(tmp_path) as plain:
        port = plain.connection_pool.connection_kwargs["port"]

        class Watching(Sentinel):
            def discover_master(self, service_name):
                assert service_name == "post"
                return "127.0.0.1", port

        sentinel = Watching([])
        for client in (plain, sentinel.master_for("post"), sentinel.master_for("post", decode_responses=True)):
            lock = client.lock("mail", timeout=10, lock_class=LeaseLock)
            with lock:
                assert lock.owned()
            own = lock._commands.pool
            assert not own.maint_notifications_enabled()
            assert type(own) is type(client.connection_pool)
            if isinstance(own, SentinelConnectionPool):
                assert own.proxy is not client.connection_pool.proxy and own.master_address == ("127.0.0.1", port)
            own.disconnect()
            client.close()
        with pytest.raises(TypeError, match="master_for"):
            LeaseLock(sentinel.slave_for("post"), "mail")


def test_a_refusal_by_what_was_the_master_is_a_reply(tmp_path):
    """A Sentinel's connection makes of it what it makes of a broken connection. But nothing was done."""
    with redis_on_tcp(tmp_path) as plain:

        class Watching(Sentinel):
            def discover_master(self, service_name):
                return "127.0.0.1", plain.connection_pool.connection_kwargs["port"]

        client = Watching([]).master_for("post")
        lock, other = LeaseLock(client, "mail"), LeaseLock(client, "post")
        lock.acquire()
        plain.replicaof("127.0.0.1", 1)
        for use in (other.acquire, lambda: lock.extend(1), lock.release):
            assert type(raised(use)) is redis.ConnectionError
        plain.replicaof("NO", "ONE")
        lock.release()  # it was still held
        commands_of(client).pool.disconnect()
        client.close()


def test_other_clients_are_refused_with_what_to_do():
    import redis.asyncio

    with pytest.raises(TypeError, match=r"get_node_from_key\(name\)"):
        LeaseLock(object.__new__(redis.RedisCluster), "mail")
    for client in (redis.asyncio.Redis(), types.SimpleNamespace()):
        with pytest.raises(TypeError, match="Pass a redis.Redis"):
            LeaseLock(client, "mail")


def test_a_connection_that_the_server_closed_is_replaced(server):
    lock = LeaseLock(server.client(), "mail")
    for use in (lock.acquire, lambda: lock.extend(1), lock.release):
        server.client().client_kill_filter(_type="normal", skipme=True)
        use()


def test_a_server_that_was_restarted(own_server):
    lock = LeaseLock(own_server.client(), "mail")
    lock.acquire()
    own_server.kill()
    assert isinstance(raised(lock.release), redis.ConnectionError)
    assert lock.validity > 0  # nothing was sent: release() may be called again
    own_server.start()
    assert isinstance(raised(lock.release), redis.exceptions.LockNotOwnedError)
    with lock:
        assert lock.owned()


def test_many_threads_at_once(server):
    commands, errors = commands_of(server.client()), []

    def count():
        try:
            for _ in range(50):
                commands.send("INCR", "n")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert errors == [] and commands.send("GET", "n") == b"400"
    assert commands.pool._created_connections <= 8


def test_a_fork_in_the_middle_of_another_threads_command(server):
    commands = commands_of(server.client())
    commands.send("SET", "who", "parent")
    held, done = threading.Event(), threading.Event()

    def hold():
        with commands.pool._lock:
            held.set()
            done.wait(LONG)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(LONG)
    try:
        assert in_a_fork(lambda: commands.send("GETSET", "who", "child").decode()) == "parent"
    finally:
        done.set()
        thread.join()
    assert commands.send("GET", "who") == b"child"


def test_a_health_check_that_fails_means_that_nothing_was_sent(server):
    lock = LeaseLock(server.client(socket_timeout=SHORT, health_check_interval=1e-9), "mail")
    assert not lock.locked()
    with server.stopped():
        assert isinstance(raised(lock.acquire), redis.TimeoutError)
    assert lock.acquire(blocking=False)


# No answer ----------------------------------------------------------------------------------------------------------


def test_a_server_that_stalls_is_left_with_no_lock(server):
    lock = LeaseLock(server.client(socket_timeout=SHORT), "mail")
    assert not lock.locked()
    start = time.monotonic()
    with server.stopped():
        unknown = raised(lock.acquire)
        took = time.monotonic() - start
        assert isinstance(unknown, LockOutcomeUnknown) and unknown.clears_in == pytest.approx(10.1)  # clocks may drift
    assert isinstance(unknown.__cause__, redis.TimeoutError)
    assert 2 * SHORT <= took < LONG / 2
    for _ in range(10):  # on whatever connection, nobody ever finds it
        assert server.client().get("mail") is None
    assert lock.acquire(blocking=False)


def test_redis_py_leaves_one_there(server):
    lock = redis.lock.Lock(server.client(socket_timeout=SHORT, retry=Retry(NoBackoff(), 0)), "mail", timeout=10)
    lock.locked()
    with server.stopped():
        assert isinstance(raised(lock.acquire), redis.TimeoutError)
    server.client().ping()
    assert server.client().exists("mail")


@pytest.mark.parametrize("taken", [False, True])
def test_a_server_that_stalls_and_answers_late(server, taken):
    """What was late is undone in order, so it is certain: an error that is none of the lock's."""
    other = LeaseLock(server.client(), "mail")
    if taken:
        other.acquire()
    with watched(server.client(socket_timeout=SHORT), Breakpoint(server.resume, before="EVAL")) as client:
        lock = LeaseLock(client, "mail")
        lock.locked()
        with server.stopped():
            assert isinstance(raised(lock.acquire), redis.TimeoutError)
    assert other.owned() is taken and other.locked() is taken


def test_a_connection_that_breaks_after_the_lock_was_given(server, link):
    link.cut(b"SET")
    lock = LeaseLock(server.client(unix_socket_path=link.socket), "mail")
    assert isinstance(raised(lock.acquire), redis.ConnectionError)
    assert not lock.locked()


def test_a_question_that_arrives_after_all(server, link):
    """The one case that nothing settles: the connection is broken, and the question still on its way."""
    link.hold(b"SET")
    lock = LeaseLock(server.client(unix_socket_path=link.socket), "mail", timeout=0.2)
    unknown = raised(lock.acquire)
    assert isinstance(unknown, LockOutcomeUnknown) and unknown.clears_in == pytest.approx(0.202)
    assert "free in 0.202 s at the latest" in str(unknown)
    link.deliver()
    assert lock.locked()
    assert lock.acquire(blocking_timeout=LONG)  # the lease bounds it


def test_an_answer_that_comes_too_late_and_then_none(server):
    def be_slow_and_stop():
        time.sleep(0.1)
        server.stop()

    with watched(server.client(socket_timeout=SHORT), Breakpoint(be_slow_and_stop, after="SET")) as client:
        unknown = raised(LeaseLock(client, "mail", timeout=0.1).acquire)
    server.resume()
    assert isinstance(unknown, LockOutcomeUnknown) and unknown.clears_in <= 0.11


def test_two_answers_that_are_late_share_one_wait():
    def part(connection):
        connection.recv(1000)
        connection.settimeout(LONG)
        began = time.monotonic()
        connection.recv(1000)
        time.sleep(3.6 - (time.monotonic() - began))  # the client gave up at 2, and does so again at 4
        connection.sendall(b"+OK\r\n")
        connection.recv(1000)

    with playing(part, patience=2.0) as client:
        start = time.monotonic()
        assert isinstance(raised(LeaseLock(client, "mail").acquire), LockOutcomeUnknown)
        assert time.monotonic() - start < 5.0  # 4; 5.6 where the second answer is waited for anew


def test_an_interrupt_while_the_answer_is_awaited_leaves_no_lock(server, interrupted):
    lock = LeaseLock(server.client(), "mail")
    lock.locked()
    with server.stopped():
        assert interrupted(lock.acquire)
    assert server.client().get("mail") is None
    assert lock.acquire(blocking=False)


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("kind", [LeaseLock, FairLock])
def test_who_is_interrupted_does_not_wait_for_a_server_that_is_silent(server, interrupted, kind, connected):
    """Undoing is tried once, where there may be something to undo."""
    lock = kind(server.client(), "mail")
    if connected:
        lock.locked()
    start = time.monotonic()
    with server.stopped():
        assert interrupted(lock.acquire)
        assert time.monotonic() - start < server.client().connection_pool.connection_kwargs["socket_timeout"] / 2


@pytest.mark.parametrize("waiting", [True, False])
def test_who_is_interrupted_waits_until_the_server_has_read_on(interrupted, monkeypatch, waiting):
    """It answers the first command before it reads the second, and reads no more where nobody is left to hear that."""
    read = []

    def part(connection):
        connection.recv(1000)
        connection.recv(1, socket.MSG_PEEK)  # the second is there
        time.sleep(0.05)
        connection.sendall(b"+OK\r\n")
        read.append(connection.recv(1000))

    monkeypatch.setattr(lost, "BRIEFLY", LONG if waiting else 0)
    with playing(part) as client:
        assert interrupted(LeaseLock(client, "mail").acquire)
    assert [b"EVAL" in command for command in read] == [True] * waiting


def test_a_reply_that_comes_after_an_interrupt_is_nobodys(server, interrupted):
    bare = server.client(protocol=2, driver_info=None)  # connects without asking the server, which can't answer
    with watched(bare, Breakpoint(server.resume, before="INCR")) as client:
        commands = commands_of(client)
        commands.send("SET", "n", 1)
        with server.stopped():
            assert interrupted(lambda: commands.send("SET", "n", 41))
            assert commands.send("INCR", "n") in (42, 2)  # two connections, so in either order


def test_a_release_that_is_not_heard_of(server, link):
    """It was carried out, so the second one finds nothing: the lock is free, and was perhaps lost before."""
    lock = LeaseLock(server.client(unix_socket_path=link.socket), "mail")
    with lock:
        pass  # the server knows the script from now on
    lock.acquire()
    link.cut(b"EVALSHA")
    unknown = raised(lock.release)
    assert isinstance(unknown, LockOutcomeUnknown) and unknown.clears_in == 0.0
    assert not lock.locked()


def test_a_release_that_does_not_arrive_is_sent_again(server, link):
    lock = LeaseLock(server.client(unix_socket_path=link.socket), "mail")
    lock.acquire()
    link.hold(b"EVALSHA")
    lock.release()
    assert not lock.locked()
    other = LeaseLock(server.client(), "mail")
    other.acquire()
    link.deliver()
    assert other.owned()  # the first one, arriving now, compares


def test_a_release_to_a_server_that_stalls(server):
    lock = LeaseLock(server.client(socket_timeout=SHORT), "mail", timeout=5)
    lock.acquire()
    with server.stopped():
        unknown = raised(lock.release)
        assert isinstance(unknown, LockOutcomeUnknown) and 0 < unknown.clears_in < 5.1
    assert server.client().get("mail") is None


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_a_release_to_a_server_that_answers_late(server, gone, known):
    with watched(server.client(socket_timeout=SHORT), Breakpoint(server.resume, before="EVAL", nth=2)) as client:
        lock = LeaseLock(client, "mail")
        lock.acquire()
        lock.release()  # the server knows the script from now on, having been sent it with EVAL
        lock.acquire()
        if gone:
            server.client().delete("mail")
        if not known:  # then the first answer is that there is no such script
            server.client().script_flush()
        with server.stopped():
            error = raised(lock.release)
        assert type(error) is (redis.exceptions.LockNotOwnedError if gone else type(None))
        assert not lock.locked()


def test_an_extension_without_an_answer(server, link):
    lock = LeaseLock(server.client(unix_socket_path=link.socket), "mail")
    lock.acquire()
    lock.extend(0.001)
    for order, left in ((link.hold, 10), (link.cut, 20)):
        order(b"EVALSHA")
        unknown = raised(lock.extend, 10)
        assert isinstance(unknown, LockOutcomeUnknown) and unknown.clears_in > left
        assert lock.validity <= 10  # what is certain
        assert left - 5 < server.client().pttl("mail") / 1000 <= left + 0.1
    lock.release()


def test_an_extension_that_arrives_late_shortens_nothing(server, link):
    lock = LeaseLock(server.client(unix_socket_path=link.socket), "mail")
    lock.acquire()
    lock.extend(0.001)
    link.hold(b"EVALSHA")
    assert isinstance(raised(lock.extend, 1, replace_ttl=True), LockOutcomeUnknown)
    lock.extend(100, replace_ttl=True)
    link.deliver()
    assert 90 < lock.validity <= server.client().pttl("mail") / 1000
    lock.release()


def test_an_error_can_be_pickled():
    import pickle

    error = pickle.loads(pickle.dumps(LockOutcomeUnknown("unknown", "mail", 2.5)))
    assert (str(error), error.lock_name, error.clears_in) == ("unknown", "mail", 2.5)
