"""Servers of a test's own, and what may go wrong on the way to them: a server that stops, a connection that breaks."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import threading
from multiprocessing.connection import wait
from pathlib import Path

import pytest
import redis
from labs import wait_for

from course_tasks.lab.servers import binary
from course_tasks.locks.commands import commands_of

SEVERAL = 3  # servers, where a lock needs more than one: the fewest of which a majority is not all


class Server:
    """A real server on a Unix socket in ``directory``; ``options`` are further words of its command line."""

    def __init__(self, directory, *options):
        self.directory = Path(directory)
        self.socket = str(self.directory / "redis.sock")
        self._options = options
        self._process = None
        self.clients = []

    def start(self):
        """Start it, and return when it answers."""
        command = [binary(), "--port", "0", "--unixsocket", self.socket, "--save", "", "--dir", str(self.directory)]
        with (self.directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self._options], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        with self.client() as client:
            wait_for(lambda: self._process.poll() is not None or _answers(client), "for the server")
        assert self._process.poll() is None, (self.directory / "redis.log").read_text()

    def client(self, **options):
        """A new client, closed at the test's end. It waits for as long as a busy machine may need, unless told."""
        client = redis.Redis(**{"unix_socket_path": self.socket, "socket_timeout": 30.0, **options})
        self.clients.append(client)
        return client

    @contextlib.contextmanager
    def stopped(self):
        """The server's process stands still inside; what is sent meanwhile waits in its socket."""
        self.stop()
        try:
            yield
        finally:
            self.resume()

    def stop(self):
        self._process.send_signal(signal.SIGSTOP)

    def resume(self):
        self._process.send_signal(signal.SIGCONT)

    def kill(self):
        """What a power cut does to the process; the files stay."""
        self._process.kill()
        self._process.wait()
        Path(self.socket).unlink(missing_ok=True)

    def drop_clients(self):
        """Close the clients, and forget them: with a client's pool goes the one that locks made in its likeness."""
        for client in self.clients:
            client.close()
        self.clients.clear()

    def close(self):
        self.drop_clients()
        self.kill()


def _answers(client):
    with contextlib.suppress(redis.ConnectionError):
        return client.ping()


@contextlib.contextmanager
def serving(*options):
    """A started Server in a short-lived directory; a socket's path has room for about 100 bytes, and pytest's are long."""
    with tempfile.TemporaryDirectory(prefix="course-") as directory:
        server = Server(directory, *options)
        try:
            server.start()
            yield server
        finally:
            server.close()


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory):
    tmp_path_factory.getbasetemp()  # made now, it lies outside of any test's TMPDIR
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def further_servers(shared_server):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(serving()) for _ in range(SEVERAL - 1)]


@pytest.fixture
def server(shared_server):
    """A Server with nothing in it, which a module's tests share: don't kill it."""
    with emptied(shared_server):
        yield shared_server


@pytest.fixture
def servers(server, further_servers):
    """SEVERAL such servers, ``server`` the first of them."""
    with contextlib.ExitStack() as stack:
        yield [server, *(stack.enter_context(emptied(each)) for each in further_servers)]


@contextlib.contextmanager
def emptied(server):
    server.resume()
    with server.client() as client:
        client.flushall()
        client.script_flush()
    yield server
    server.drop_clients()


@pytest.fixture
def own_server():
    """A Server that the test may kill."""
    with serving() as server:
        yield server


class Link:
    """A way to ``server`` that may break: a Unix socket of its own (``socket``), whose bytes it hands on both ways.

    ``cut(command)`` breaks the next connection that sends ``command`` (b"SET"): the command reaches the server, and when
    the server has answered, the connection is closed instead. ``hold(command)`` closes it at once and keeps the command
    until ``deliver()``. Several such orders are carried out one after the other. Use it as a context manager.
    """

    def __init__(self, server):
        self._server = server
        self.socket = str(server.directory / "link.sock")
        self._orders, self._kept = [], []
        self._ended, self._end = os.pipe()
        self._listener = socket.socket(socket.AF_UNIX)
        self._pairs = {}  # the socket of either side -> the other side's
        self._thread = threading.Thread(target=self._run)

    def cut(self, command):
        self._orders.append(("cut", command))

    def hold(self, command):
        self._orders.append(("hold", command))

    def deliver(self):
        """Send what was kept; return when the server has carried it out."""
        for data in self._kept:
            with socket.socket(socket.AF_UNIX) as upstream:
                upstream.connect(self._server.socket)
                upstream.sendall(data)
                assert upstream.recv(1000)
        self._kept.clear()

    def __enter__(self):
        self._listener.bind(self.socket)
        self._listener.listen()
        self._thread.start()
        return self

    def __exit__(self, *_):
        os.close(self._end)
        self._thread.join()
        for each in (*self._pairs, self._listener):
            each.close()
        os.close(self._ended)
        os.unlink(self.socket)

    def _run(self):
        while True:
            ready = wait(
                [self._ended, self._listener, *self._pairs]
            )  # not select(), which knows no descriptor above 1023
            if self._ended in ready:
                return
            for each in ready:
                if each is self._listener:
                    here, there = self._listener.accept()[0], socket.socket(socket.AF_UNIX)
                    there.connect(self._server.socket)
                    self._pairs |= {here: there, there: here}
                elif each in self._pairs:
                    self._pass_on(each)

    def _pass_on(self, side):
        try:
            data = side.recv(65536)
        except ConnectionError:
            data = b""
        order, command = self._orders[0] if self._orders else (None, b"")
        if not data:
            self._close(side)
        elif order and data.startswith(b"*") and data.split(b"\r\n", 3)[2].upper() == command:
            del self._orders[0]
            if order == "hold":
                self._kept.append(data)
            else:
                self._pairs[side].sendall(data)
                self._pairs[side].recv(65536)
            self._close(side)
        else:
            with contextlib.suppress(ConnectionError):
                self._pairs[side].sendall(data)

    def _close(self, side):
        other = self._pairs.pop(side)
        del self._pairs[other]
        side.close()
        other.close()


@pytest.fixture
def link(server):
    """A Link to the server."""
    with Link(server) as link:
        yield link


@contextlib.contextmanager
def playing(part, patience=0.6):
    """Yields a client of a server that is played by ``part(connection)``, in a thread, on the first connection's socket.

    The client connects without a word, and waits for an answer for ``patience`` seconds. ``part`` may raise ConnectionError.
    """
    with tempfile.TemporaryDirectory(prefix="course-") as directory, socket.socket(socket.AF_UNIX) as listener:
        path = f"{directory}/played.sock"
        listener.bind(path)
        listener.listen()

        def play():
            with contextlib.suppress(ConnectionError), listener.accept()[0] as connection:
                part(connection)

        thread = threading.Thread(target=play)
        thread.start()
        with redis.Redis(unix_socket_path=path, protocol=2, driver_info=None, socket_timeout=patience) as client:
            yield client
            commands_of(client).pool.disconnect()
        thread.join()
