"""What a lock can say other than yes and no. The first two are redis-py's own, so that code which catches them keeps working."""

from redis.exceptions import LockError, LockNotOwnedError

__all__ = ["LockError", "LockNotOwnedError", "LockOutcomeUnknown"]


class LockOutcomeUnknown(LockError):
    """A command was sent, its answer never came, and nothing that could be tried afterwards has settled what it did.

    ``message`` says what is unknown; ``lock_name`` is the lock's name. ``clears_in`` is by when it clears: so many
    seconds after this was raised the lock is free at the latest, if its holder does nothing. That holds if the server had
    carried out the command by then. One that is still under way (the server is stopped, the network holds it back) starts
    its lease when it arrives, and no clock on this side bounds that.
    """

    def __init__(self, message=None, lock_name=None, clears_in=0.0):
        super().__init__(message, lock_name)
        self.clears_in = clears_in
