"""The relay alone: between real clients and real servers, or sockets of the test's own where every byte matters."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest
import redis
from conftest import ROOT
from labs import LONG, wait_for
from servers import serving

from course_tasks.breakpoints import Breakpoint, watched
from course_tasks.lab.relay.flow import ROOM
from course_tasks.locks import LeaseLock, LockOutcomeUnknown

PING, PONG = b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"


class Relay:
    """A relay, and what can be asked of it. The link of a process called "one" listens at the file "one" in ``directory``."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.process = subprocess.Popen(self.command(directory), cwd=ROOT)
        wait_for((self.directory / "asked").exists, "for the relay")

    @staticmethod
    def command(directory):
        return [sys.executable, "-P", "-m", "course_tasks.lab.relay", str(Path(directory) / "asked")]

    def post(self, request):
        """Send ``request`` (bytes), or a part of it; return the socket on which the answer will come."""
        line = socket.socket(socket.AF_UNIX)
        line.connect(str(self.directory / "asked"))
        line.sendall(request)
        return line

    def send(self, request):
        """Send ``request`` (bytes) and return the answer, None where there is none."""
        with self.post(request) as line, line.makefile() as answer:
            line.shutdown(socket.SHUT_WR)
            return json.loads(answer.readline() or "null")

    def ask(self, op, *processes, **arguments):
        answer = self.send(asking(op, *processes, **arguments))
        assert "result" in answer, answer
        return answer["result"]

    def carry(self, there, *processes):
        """Make links of the ``processes`` to the server at ``there``, and return where each listens."""
        links = [[[process, "server"], str(self.directory / process), there] for process in processes]
        return self.ask("carry", links=links)

    def close(self):
        self.process.kill()
        self.process.wait()


def asking(op, *processes, **arguments):
    """The request for ``op``, on the links of these ``processes`` if any are named."""
    if processes:
        arguments["keys"] = [[process, "server"] for process in processes]
    return json.dumps({"op": op, **arguments}).encode() + b"\n"


@pytest.fixture
def relay():
    with tempfile.TemporaryDirectory(prefix="course-") as directory:
        relay = Relay(directory)
        yield relay
        relay.close()


def listening(relay, name):
    """A server's socket that the test listens at, in the directory of ``relay``."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(relay.directory / name))
    listener.listen()
    listener.settimeout(LONG)
    return listener


class Played:
    """A server that the test plays, and the links of "one" and "two" to it. ``listener`` is its socket."""

    def __init__(self, relay, stack):
        self.relay, self._stack = relay, stack
        self.listener = stack.enter_context(listening(relay, "played"))
        self._links = dict(zip(("one", "two"), relay.carry(str(relay.directory / "played"), "one", "two"), strict=True))
        self.accept()  # the relay's own connection

    def accept(self):
        server = self._stack.enter_context(self.listener.accept()[0])
        server.settimeout(LONG)
        return server

    def call(self, process="one"):
        """Connect as ``process``; return the client's socket."""
        client = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        client.settimeout(LONG)
        client.connect(self._links[process])
        return client

    def connect(self, process="one"):
        """A connection through the link of ``process``: both ends."""
        return self.call(process), self.accept()

    def settle(self):
        """Return when the relay has taken note of all that was sent until now."""
        if not hasattr(self, "_other"):
            self._other = self.connect("two")
        for _ in range(2):  # what comes back the second time was sent after a turn that had seen everything
            self._other[0].sendall(b"x")
            assert self._other[1].recv(1) == b"x"


@pytest.fixture
def played(relay):
    with contextlib.ExitStack() as stack:
        yield Played(relay, stack)


@pytest.fixture
def clients(server, relay):
    """Clients of the real server, through the links of "one" and "two"."""
    yield [server.client(unix_socket_path=link) for link in relay.carry(server.socket, "one", "two")]
    relay.ask("clear", "one", "two")


def received(sock, count):
    """The next ``count`` bytes that come out of ``sock``."""
    data = bytearray()
    while len(data) < count:
        data += (part := sock.recv(2**16))
        assert part, f"it closed after {len(data)} bytes"
    return bytes(data)


def silent(sock):
    """Whether nothing has come out of ``sock``, not even its end."""
    return not select.select([sock], [], [], 0)[0]


def ended(sock):
    """Whether ``sock`` tells that its other end has closed."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


# Whole ---------------------------------------------------------------------------------------------------------------


def test_a_whole_link_changes_nothing(clients, server):
    one, two = clients
    assert one.set("key", b"\0\r\n" * 400_000)  # more than a flow keeps
    assert server.client().get("key") == two.get("key") == b"\0\r\n" * 400_000


def test_hundreds_of_connections_and_to_each_its_own(played):
    ends = [played.connect() for _ in range(300)]
    for number, (client, _) in enumerate(ends):
        client.sendall(b"%03d" % number)
    for number, (_, server) in enumerate(ends):
        assert received(server, 3) == b"%03d" % number


def test_breakpoints_work_through_a_link(clients, server):
    direct = server.client()
    client = watched(clients[0], Breakpoint(lambda: direct.set("mail", "somebody else's"), before="SET"))
    assert LeaseLock(client, "mail").acquire(blocking=False) is False
    client.close()


def test_half_a_close_is_half_a_close(played):
    client, server = played.connect()
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    assert received(server, 8) == b"question"
    assert server.recv(1) == b""
    server.sendall(b"answer")
    assert received(client, 6) == b"answer"
    server.close()
    assert client.recv(1) == b""


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_close_comes_after_what_was_said_and_is_whole(played, who):
    ends = played.connect()
    teller, hearer = ends if who == "client" else ends[::-1]
    teller.sendall(b"bye")
    teller.close()
    assert received(hearer, 3) == b"bye"
    assert hearer.recv(1) == b""
    wait_for(lambda: _refuses(hearer))  # as at once as the relay notices: nobody is there to be spoken to


def _refuses(sock):
    try:
        sock.send(b"x")
    except (BrokenPipeError, ConnectionResetError):
        return True


def test_a_replica_has_a_port(relay):
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listening(relay, "primary"))
        (port,) = relay.ask("carry", links=[[["replica1", "server"], 0, listener.getsockname()]])
        stack.enter_context(listener.accept()[0])  # the relay's own connection
        replica = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        primary = stack.enter_context(listener.accept()[0])
        replica.sendall(b"PSYNC")
        assert received(primary, 5) == b"PSYNC"
        relay.ask("cut", "replica1")
        primary.sendall(b"SET")
        assert silent(replica)
        relay.ask("heal", "replica1")
        assert received(replica, 3) == b"SET"
        replica.close()
        assert primary.recv(1) == b""


# Cut -----------------------------------------------------------------------------------------------------------------


def test_what_is_sent_while_cut_arrives_in_order_when_it_heals(played):
    client, server = played.connect()
    client.sendall(b"0")
    assert received(server, 1) == b"0"  # the control: without a cut it passes
    played.relay.ask("cut", "one")
    for digit in b"123":
        client.sendall(bytes([digit]))
        server.sendall(bytes([digit]))
    played.settle()
    assert silent(server)
    assert silent(client)
    played.relay.ask("heal", "one")
    assert received(server, 3) == received(client, 3) == b"123"
    client.sendall(b"4")
    assert received(server, 1) == b"4"


def test_a_cut_holds_back_what_is_under_way(played):
    """It was sent before the cut, and is late."""
    client, server = played.connect()
    played.relay.ask("slow", "one", seconds=0.05)
    client.sendall(b"early")
    played.settle()
    played.relay.ask("cut", "one")
    begin = time.monotonic()
    while time.monotonic() < begin + 0.1:
        played.settle()
    assert silent(server)
    played.relay.ask("heal", "one")
    assert received(server, 5) == b"early"


def test_the_late_set_of_a_lock_is_followed_by_its_release(relay, server):
    """It gave up waiting, and gave back what it may have been given. Both commands were on their way."""
    direct = server.client()
    direct.config_resetstat()
    (link,) = relay.carry(server.socket, "one")
    lock = LeaseLock(server.client(unix_socket_path=link, socket_timeout=0.2), "mail", timeout=60)
    assert lock.acquire(blocking=False)  # the control: the same on a link that is whole
    lock.release()
    relay.ask("cut", "one")
    with pytest.raises(LockOutcomeUnknown):
        lock.acquire(blocking=False)
    assert _sets(direct) == 1
    relay.ask("heal", "one")
    wait_for(lambda: _sets(direct) == 2)
    wait_for(lambda: not direct.exists("mail"), "for the release", seconds=10)


def _sets(client):
    return client.info("commandstats")["cmdstat_set"]["calls"]


def test_one_process_is_cut_off_from_two_of_three_servers_and_another_is_not(relay):
    """An asymmetric partition."""
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(serving()) for name in ("lock1", "lock2", "lock3")}
        keys = [[process, name] for process in ("worker1", "worker2") for name in servers]
        links = [[key, str(relay.directory / "-".join(key)), servers[key[1]].socket] for key in keys]
        reach = {}
        for key, link in zip(keys, relay.ask("carry", links=links), strict=True):
            reach[tuple(key)] = servers[key[1]].client(unix_socket_path=link, socket_timeout=0.3, retry=None)
        assert all(client.ping() for client in reach.values())
        relay.ask("cut", keys=[["worker1", "lock2"], ["worker1", "lock3"]])
        for (process, name), client in reach.items():
            if process == "worker1" and name != "lock1":
                with pytest.raises(redis.TimeoutError):
                    client.ping()
            else:
                assert client.ping()
        relay.ask("heal", keys=[["worker1", "lock3"]])
        assert reach["worker1", "lock3"].ping()
        with pytest.raises(redis.TimeoutError):
            reach["worker1", "lock2"].ping()


def test_who_calls_during_a_cut_is_neither_refused_nor_answered(played):
    played.relay.ask("cut", "one")
    client = played.call()
    client.sendall(b"hello")
    played.settle()
    assert silent(client)
    played.relay.ask("heal", "one")
    server = played.accept()
    assert received(server, 5) == b"hello"
    server.sendall(b"at last")
    assert received(client, 7) == b"at last"


def test_who_called_during_a_cut_and_gave_up_was_never_there(played):
    """Of a TCP client whose SYN got no answer, nothing arrives either. Nor does its last word wait for ever."""
    played.relay.ask("cut", "one")
    played.settle()
    files = psutil.Process(played.relay.process.pid).num_fds()
    for _ in range(10):
        with played.call() as client:
            client.sendall(b"SET")
    played.settle()
    wait_for(lambda: psutil.Process(played.relay.process.pid).num_fds() == files)
    patient = played.call()
    patient.sendall(b"GET")
    played.relay.ask("heal", "one")
    assert received(played.accept(), 3) == b"GET"


def test_who_gave_up_while_the_relay_was_busy_was_never_there_either(played):
    played.relay.ask("cut", "one")
    played.relay.process.send_signal(signal.SIGSTOP)
    with played.call() as client:
        client.sendall(b"SET")
    patient = played.call()
    patient.sendall(b"GET")
    with played.relay.post(asking("heal", "one")):
        played.relay.process.send_signal(signal.SIGCONT)
    assert received(played.accept(), 3) == b"GET"


def test_a_close_during_a_cut_is_not_heard_of_until_it_heals(played):
    (caller, called), (other, its_server) = played.connect(), played.connect()
    played.relay.ask("cut", "one")
    caller.sendall(b"last words")
    caller.close()
    its_server.sendall(b"good bye")
    its_server.close()
    played.settle()
    assert silent(called)
    assert silent(other)
    played.relay.ask("heal", "one")
    assert received(called, 10) == b"last words"
    assert called.recv(1) == b""
    assert received(other, 8) == b"good bye"
    assert other.recv(1) == b""


def test_who_sends_more_than_fits_is_made_to_wait(played):
    client, server = played.connect()
    played.relay.ask("cut", "one")
    block, sent = bytes(range(256)) * 256, 0
    client.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        while sent < 64 * ROOM:
            sent += client.send(block[sent % len(block) :])
    assert ROOM <= sent < 4 * ROOM
    played.relay.ask("heal", "one")
    assert received(server, sent) == (block * (sent // len(block) + 1))[:sent]
    client.sendall(b"again")
    assert received(server, 5) == b"again"


def test_a_hearer_that_does_not_listen_makes_its_speaker_wait(played):
    """The same on a link that is whole, or merely late: what the hearer's socket does not take is kept, and no more than fits."""
    client, server = played.connect()
    played.relay.ask("slow", "one", seconds=0.001)
    data = os.urandom(8 * ROOM)
    speaking = threading.Thread(target=client.sendall, args=[data])
    speaking.start()
    played.settle()
    assert received(server, len(data)) == data
    speaking.join()


def test_clearing_leaves_nothing_held_and_no_connection(played):
    client, server = played.connect()
    played.relay.ask("cut", "one")
    played.relay.ask("slow", "one", seconds=30)
    client.sendall(b"SET")
    late = played.call()
    late.sendall(b"SET")
    played.settle()
    played.relay.ask("clear", "one", "two")
    assert ended(client)
    assert ended(late)
    assert server.recv(1) == b""
    del played._other  # closed as well
    client, server = played.connect()  # nothing of the late one's in between
    client.sendall(b"now")
    assert received(server, 3) == b"now"


def test_clearing_spares_nobody_who_has_just_called(played):
    with played.relay.post(b"") as line:
        request = asking("clear", "one")
        line.sendall(request[:-1])
        played.settle()
        played.relay.process.send_signal(signal.SIGSTOP)
        line.sendall(request[-1:])
        late = played.call()
        late.sendall(b"SET")
        played.relay.process.send_signal(signal.SIGCONT)
        assert ended(late)


# Servers that die ----------------------------------------------------------------------------------------------------


def test_a_server_that_dies_closes_its_links_and_refuses_until_it_is_back(relay, own_server):
    (link,) = relay.carry(own_server.socket, "one")
    client = own_server.client(unix_socket_path=link, retry=None)
    with client.pubsub() as waiting:
        waiting.subscribe("news")
        waiting.get_message(timeout=LONG)
        own_server.kill()
        with pytest.raises(redis.ConnectionError):
            waiting.get_message(timeout=LONG)
        wait_for(lambda: _refused(link))
        with pytest.raises(redis.ConnectionError):
            client.ping()
        own_server.start()
        wait_for(lambda: not _refused(link))
        assert client.ping()


def _refused(path):
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(path)
        except ConnectionRefusedError:
            return True
    return False


def test_a_server_that_dies_behind_a_cut_is_missed_when_it_heals(relay, own_server):
    link, other = relay.carry(own_server.socket, "one", "two")
    with socket.socket(socket.AF_UNIX) as client, socket.socket(socket.AF_UNIX) as later:
        client.settimeout(LONG)
        client.connect(link)
        client.sendall(PING)
        assert received(client, len(PONG)) == PONG
        relay.ask("cut", "one")
        client.sendall(PING)
        own_server.kill()
        wait_for(lambda: _refused(other))  # the relay knows
        assert silent(client)
        later.settimeout(LONG)
        later.connect(link)
        later.sendall(PING)
        assert silent(later)
        relay.ask("heal", "one")
        assert ended(client)
        assert ended(later)
        assert _refused(link)


def test_a_server_that_stands_still_is_there(clients, server):
    with server.stopped(), pytest.raises(redis.TimeoutError):
        server.client(unix_socket_path=_path(clients[0]), socket_timeout=0.2, retry=None).ping()
    assert clients[0].ping()


def _path(client):
    return client.connection_pool.connection_kwargs["path"]


# Slow ----------------------------------------------------------------------------------------------------------------


def test_each_direction_is_late_by_so_much(clients, relay):
    one, two = clients
    assert one.ping() and two.ping()
    relay.ask("slow", "one", seconds=0.05)
    begin = time.monotonic()
    assert one.ping()
    assert time.monotonic() - begin >= 0.1
    fastest = float("inf")
    for _ in range(10):
        begin = time.monotonic()
        two.ping()
        fastest = min(fastest, time.monotonic() - begin)
    assert fastest < 0.1  # the control: nobody else is
    relay.ask("heal", "one")  # not slow by being cut: it stays late
    begin = time.monotonic()
    one.ping()
    assert time.monotonic() - begin >= 0.1


def test_a_shorter_delay_overtakes_nothing(played):
    client, server = played.connect()
    played.relay.ask("slow", "one", seconds=0.3)
    begin = time.monotonic()
    client.sendall(b"1")
    server.sendall(b"1")
    played.settle()
    played.relay.ask("slow", "one", seconds=0)
    client.sendall(b"2")
    server.sendall(b"2")
    assert received(server, 2) == received(client, 2) == b"12"
    assert time.monotonic() - begin >= 0.3


def test_many_are_under_way_at_once(clients, relay):
    """Late, not narrow: a hundred commands take as long as one."""
    one, _ = clients
    relay.ask("slow", "one", seconds=0.2)
    begin = time.monotonic()
    pipeline = one.connection_pool.get_connection()
    for number in range(100):
        pipeline.send_command("ECHO", number)
    assert [int(pipeline.read_response()) for _ in range(100)] == list(range(100))
    assert time.monotonic() - begin < 100 * 0.4 / 4
    one.connection_pool.release(pipeline)


def test_a_close_is_as_late_as_a_word(played):
    client, server = played.connect()
    played.relay.ask("slow", "one", seconds=0.1)
    begin = time.monotonic()
    client.close()
    assert server.recv(1) == b""
    assert time.monotonic() - begin >= 0.1


# The process ---------------------------------------------------------------------------------------------------------


def test_it_does_nothing_while_nothing_happens(played):
    """A loop that is woken for what it does not want to know is busy for ever."""
    stuck, _deaf = played.connect()
    stuck.settimeout(0.2)
    with contextlib.suppress(TimeoutError):
        while True:
            stuck.send(bytes(2**16))
    half, _ = played.connect()
    half.shutdown(socket.SHUT_WR)
    (left, _), (_, lost) = held = played.connect(), played.connect()
    played.settle()
    played.relay.ask("cut", "one")
    left.close()
    lost.close()
    waiting = played.call()
    waiting.sendall(b"hello")
    played.settle()
    process = psutil.Process(played.relay.process.pid)
    before = sum(process.cpu_times()[:2])
    assert not select.select([waiting, held[1][0]], [], [], 1.0)[0]
    assert sum(process.cpu_times()[:2]) - before < 0.3


STARTER = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:]).pid, flush=True); input()"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_it_ends_when_whoever_has_started_it_is_killed():
    """In a lab, the warden sees to that as well; but a test may start one, and be killed."""
    with tempfile.TemporaryDirectory(prefix="course-") as directory:
        command = [sys.executable, "-c", STARTER, *Relay.command(directory)]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as starter:
            relay = psutil.Process(int(starter.stdout.readline()))
            wait_for((Path(directory) / "asked").exists, "for the relay")
            assert relay.is_running()
            starter.kill()
        wait_for(lambda: not relay.is_running() or relay.status() == psutil.STATUS_ZOMBIE, "until it has ended")


def test_what_it_does_not_understand_it_says_and_goes_on(relay):
    assert relay.send(b"nonsense\n")["error"].startswith("JSONDecodeError")
    assert "KeyError" in relay.send(b'{"op": "burn"}\n')["error"]
    assert relay.send(b'{"op": "cut", "keys": [["nobody", "server"]]}\n') == {"error": "KeyError: ('nobody', 'server')"}
    assert relay.send(b'{"op": "cl') is None  # whoever asked was interrupted
    assert relay.ask("carry", links=[]) == []


def test_a_link_may_lead_elsewhere(relay, server, own_server):
    (link,) = relay.carry(server.socket, "one")
    client = own_server.client(unix_socket_path=link)
    client.set("where", "first")
    assert relay.carry(server.socket, "one") == [link]
    assert client.get("where") == b"first"
    relay.ask("slow", "one", seconds=0.05)
    assert relay.carry(own_server.socket, "one") == [link]
    begin = time.monotonic()
    assert client.get("where") is None
    assert time.monotonic() - begin >= 0.1  # it is still slow
    assert server.client().get("where") == b"first"


def test_a_server_to_which_no_link_leads_any_more_is_let_alone(relay, server):
    """Whether it was up then or dead."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(listening(relay, "first"))
        there = first.getsockname()
        relay.carry(there, "one", "two")
        probe = stack.enter_context(first.accept()[0])
        relay.carry(server.socket, "one")
        probe.settimeout(0.2)
        with pytest.raises(TimeoutError):  # the other link still leads there
            probe.recv(1)
        probe.settimeout(10)
        relay.carry(server.socket, "two")
        assert ended(probe)
        (link,) = relay.carry(there, "one")
        first.accept()[0].close()
        first.close()
        wait_for(lambda: _refused(link))  # so it is looked for, time and again
        relay.carry(server.socket, "one")
        os.unlink(there)
        another = stack.enter_context(listening(relay, "first"))
        another.settimeout(0.5)
        with pytest.raises(TimeoutError):
            another.accept()
        relay.carry(there, "one")  # the control
        stack.enter_context(another.accept()[0])


def test_a_link_that_leads_elsewhere_may_be_called_at_the_same_moment(relay, server, own_server):
    [port] = relay.ask("carry", links=[[["one", "server"], 0, server.socket]])
    request = asking("carry", links=[[["one", "server"], 0, own_server.socket]])
    with relay.post(request[:10]) as line, line.makefile() as answer:
        relay.ask("carry", links=[])  # so it has read those ten bytes
        relay.process.send_signal(signal.SIGSTOP)
        line.sendall(request[10:])
        with socket.create_connection(("127.0.0.1", port)):
            relay.process.send_signal(signal.SIGCONT)
            assert json.loads(answer.readline())["result"] != [port]
    relay.ask("carry", links=[])  # it is still there


def test_a_link_may_lead_elsewhere_at_the_moment_when_its_server_hangs_up(relay, server):
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(listening(relay, "first"))
        relay.carry(first.getsockname(), "one")
        probe = stack.enter_context(first.accept()[0])
        request = asking("carry", links=[[["one", "server"], str(relay.directory / "one"), server.socket]])
        line = stack.enter_context(relay.post(request[:10]))
        relay.ask("carry", links=[])  # so it has read those ten bytes
        relay.process.send_signal(signal.SIGSTOP)
        line.sendall(request[10:])
        probe.close()
        relay.process.send_signal(signal.SIGCONT)
        assert "result" in json.loads(stack.enter_context(line.makefile()).readline())
        relay.ask("carry", links=[])  # it is still there
