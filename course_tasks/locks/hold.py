"""What the holder of a lock knows of its hold, by its own monotonic clock; and the checks of what it may ask for."""

import dataclasses
import math
import os
import threading
import time

# The server measures a lease with its clock, the holder with another. The holder counts on this much of it less, and fears
# this much more, in case the two run apart: a hundredth is many times what clocks do, and what Redlock allows as well.
DRIFT = 0.01

LONGEST = threading.TIMEOUT_MAX  # seconds, 292 years: nothing here can wait for longer


@dataclasses.dataclass(eq=False)
class Hold:
    """One time that a lock is asked for; and held, if the answer is yes, until it is given back.

    ``token`` is what the lock's key holds meanwhile, ``taker`` the thread that asks, ``pid`` its process, ``remedy`` what
    gives it back if it is interrupted, ``answer`` what the server said. By ``time.monotonic()``, it was ``asked`` for then, the
    lease runs ``until`` then at least, and the lock is free ``by`` then at the latest. ``over`` is whether it was found to be
    lost: an answer that comes later doesn't change that. ``ended`` is whether it was given back: then nobody has it any more,
    in whichever thread it is known. ``spare`` seconds more than DRIFT are allowed for. Who lengthens the lease takes the
    ``mutex``: what is added, and to what, must be known before another thread adds to it.
    """

    token: bytes
    taker: threading.Thread = dataclasses.field(default_factory=threading.current_thread)
    pid: int = dataclasses.field(default_factory=os.getpid)
    remedy: object = None
    answer: object = None
    asked: float = -math.inf
    until: float = -math.inf
    by: float = -math.inf
    over: bool = False
    ended: bool = False
    spare: float = 0.0
    mutex: object = dataclasses.field(default_factory=threading.RLock)

    def is_granted(self, answer, lease, asked):
        """The answer is a yes to a lease of so many seconds, which was asked for at ``asked``."""
        self.answer, self.asked = answer, asked
        self.until, self.by = asked + self._at_least(lease), time.monotonic() + self._at_most(lease)

    @property
    def validity(self):
        """Seconds for which the lease certainly still runs; 0.0 when it may be over."""
        return 0.0 if self.over else max(0.0, self.until - time.monotonic())

    @property
    def clears_in(self):
        """Seconds after which the lease is certainly over."""
        return max(0.0, self.by - time.monotonic())

    def may_be_longer(self, seconds, replace):
        """The lease was perhaps lengthened until now: by ``seconds``, or with ``replace`` to so many from now."""
        start = time.monotonic() if replace else self.by
        self.by = max(self.by, start + self._at_most(seconds))

    def is_longer(self, seconds, start):
        """The lease was lengthened, to end so many seconds after ``start`` or later."""
        self.until = max(self.until, start + self._at_least(seconds))

    def _at_least(self, lease):
        return lease * (1 - DRIFT) - self.spare

    def _at_most(self, lease):
        return lease * (1 + DRIFT) + self.spare


def new_token():
    """A token (bytes) that no hold ever had: random, and in hexadecimal, so that one can read it."""
    return os.urandom(16).hex().encode()


def milliseconds(seconds, what):
    """``seconds`` as whole milliseconds, which is how the server counts a lease; ``what`` names it in the error.

    Raises ValueError where that is no time to hold a lock for: not a number, less than a millisecond, more than LONGEST.
    """
    if not isinstance(seconds, int | float) or not 0.001 <= seconds <= LONGEST:
        raise ValueError(f"{what} must be a number of seconds, from 0.001 to {LONGEST:.0f}; it is {seconds!r}")
    return int(seconds * 1000)


def not_negative(seconds, what, most=math.inf):
    """``seconds``, checked. Raises ValueError where one can't wait so long: not a number, NaN, below 0, above ``most``."""
    if not isinstance(seconds, int | float) or not 0 <= seconds <= most:
        limit = f"from 0 to {most:.0f}" if most < math.inf else "at least 0"
        raise ValueError(f"{what} must be a number of seconds, {limit}; it is {seconds!r}")
    return seconds
