"""What the holder of a lock knows of its hold, by its own monotonic clock; and the checks of what it may ask for."""

import dataclasses
import math
import os
import time

# The server measures a lease with its clock, the holder with another. The holder counts on this much of it less, and fears
# this much more, in case the two run apart: a hundredth is many times what clocks do, and what Redlock allows as well.
DRIFT = 0.01


@dataclasses.dataclass(eq=False)
class Hold:
    """One time that a lock was given: from the server's yes until it is given back.

    ``token`` is what the lock's key holds meanwhile, ``pid`` the process that it was given to, ``answer`` what the server
    said. By ``time.monotonic()``, the lease runs ``until`` then at least, and the lock is free ``by`` then at the latest.
    """

    token: bytes
    pid: int
    answer: object
    until: float
    by: float

    @classmethod
    def granted(cls, token, pid, answer, lease, asked):
        """The Hold of a lease of so many seconds, which was asked for at ``asked`` and has been answered now."""
        return cls(token, pid, answer, asked + lease * (1 - DRIFT), time.monotonic() + lease * (1 + DRIFT))

    @property
    def validity(self):
        """Seconds for which the lease certainly still runs; 0.0 when it may be over."""
        return max(0.0, self.until - time.monotonic())

    @property
    def clears_in(self):
        """Seconds after which the lease is certainly over."""
        return max(0.0, self.by - time.monotonic())

    def may_be_longer(self, seconds, replace):
        """The lease was perhaps lengthened until now: by ``seconds``, or with ``replace`` to so many from now."""
        start = time.monotonic() if replace else self.by
        self.by = max(self.by, start + seconds * (1 + DRIFT))

    def is_longer(self, seconds, replace, asked):
        """The lease was lengthened after ``asked``, when it had certainly not ended."""
        start = asked if replace else max(asked, self.until)
        self.until = max(self.until, start + seconds * (1 - DRIFT))


def new_token():
    """A token (bytes) that no hold ever had: random, and in hexadecimal, so that one can read it."""
    return os.urandom(16).hex().encode()


def milliseconds(seconds, what):
    """``seconds`` as whole milliseconds, which is how the server counts a lease; ``what`` names it in the error.

    Raises ValueError where that is no time to hold a lock for: not a number, not finite, less than a millisecond.
    """
    if not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds < 0.001:
        raise ValueError(f"{what} must be a number of seconds, finite and at least 0.001; it is {seconds!r}")
    return int(seconds * 1000)


def not_negative(seconds, what):
    """``seconds``, checked. Raises ValueError where one can't wait so long: not a number, NaN, less than 0."""
    if not isinstance(seconds, int | float) or not seconds >= 0:
        raise ValueError(f"{what} must be a number of seconds, at least 0; it is {seconds!r}")
    return seconds
