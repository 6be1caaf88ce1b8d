"""Holding back an interrupt for a moment, where the cell would break the kernel if it ended there."""

import contextlib
import signal
import threading


@contextlib.contextmanager
def held_back():
    """``with held_back():`` or ``@held_back()``: an interrupt (SIGINT) that comes meanwhile takes effect at the end.

    For imports above all: numpy that was imported by half cannot be imported again in the same process. Does nothing in
    a thread other than the main one, which no interrupt reaches.
    """
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    came = []
    signal.signal(signal.SIGINT, lambda *arguments: came.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            handler(*came[0])
