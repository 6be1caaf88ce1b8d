"""Addresses of the two kinds that the relay knows: the path of a Unix socket (str), or a TCP port on the loopback (int)."""

import os
import socket

LOOPBACK = "127.0.0.1"
PATIENCE = 1.0  # seconds for a TCP connection on one's own machine


def socket_for(there):
    """A socket with which one can connect to the address ``there``."""
    return socket.socket(socket.AF_INET if isinstance(there, int) else socket.AF_UNIX)


def connect(sock, there):
    """Connect ``sock`` to the address ``there``. Raises OSError where nobody listens, or nobody has time for it."""
    sock.settimeout(PATIENCE if isinstance(there, int) else 0)  # a Unix socket answers at once, whatever it answers
    sock.connect((LOOPBACK, there) if isinstance(there, int) else there)
    settle(sock)


def listen(here):
    """A socket that listens at the address ``here``; 0 is a free TCP port."""
    sock = socket_for(here)
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
