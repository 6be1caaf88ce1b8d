"""Addresses. Servers have the path of a Unix socket (str); links, such a path, or a TCP port on the loopback (int)."""

import os
import socket

LOOPBACK = "127.0.0.1"


def connect(sock, there):
    """Connect ``sock`` to the Unix socket ``there``. Raises OSError where nobody listens, or nobody has time for it."""
    sock.setblocking(False)  # it answers at once, whatever it answers
    sock.connect(there)


def listen(here):
    """A socket that listens at the address ``here``; 0 is a free TCP port."""
    sock = socket.socket(socket.AF_INET if isinstance(here, int) else socket.AF_UNIX)
    sock.setblocking(False)
    if isinstance(here, int):
        sock.bind((LOOPBACK, here))
        sock.listen(socket.SOMAXCONN)
        return sock
    sock.bind(f"{here}+")  # it takes the name's place in one step, as soon as somebody listens
    sock.listen(socket.SOMAXCONN)
    os.replace(f"{here}+", here)
    return sock


def settle(sock):
    """Make ``sock``, which is connected, ready for the loop: it never waits, neither for its peer nor for more to send."""
    sock.setblocking(False)
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
