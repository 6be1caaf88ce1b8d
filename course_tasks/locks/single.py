"""A lock on one server: three commands, each sent once, and what can be said where an answer doesn't come."""

from course_tasks.locks.base import BaseLock
from course_tasks.locks.commands import commands_of
from course_tasks.locks.hold import DRIFT, milliseconds
from course_tasks.locks.lost import Remedy, ReplyLost


class SingleServerLock(BaseLock):
    """A BaseLock whose key is on one server, that of the client ``redis``. A subclass says with which commands:

    - ``_acquire_command(token, *how)`` is answered with nil where the lock is not given;
    - ``_release_command(token)``, a script's, also follows one of those that was not answered: it may come when nothing was
      acquired, and answers 1 where it found something of this token's to undo, otherwise 0;
    - ``_extend_command(token, span, replace)``, with ``span`` in milliseconds, answers 1 or, if it is not held any more, 0.
    """

    def locked(self):
        """Whether anybody holds the lock."""
        return self._commands.look("EXISTS", self.name) == 1

    def owned(self):
        """Whether the server says that this lock object (in this thread, with ``thread_local``) holds the lock."""
        hold = self._hold
        return hold is not None and self._commands.look("GET", self.name) == hold.token

    def _reach(self, redis):
        self._commands = commands_of(redis)

    def _encoded(self, token):
        return self._commands.encode(token)

    def _ask(self, hold, *how):
        hold.remedy = hold.remedy or Remedy(*self._release_command(hold.token))
        try:
            return self._commands.send(*self._acquire_command(hold.token, *how), remedy=hold.remedy)
        except ReplyLost as lost:
            if lost.undone:
                raise lost.__cause__ from None
            lease = milliseconds(self.timeout, "timeout") / 1000
            raise self._unknown("whether it was acquired", lease * (1 + DRIFT)) from lost.__cause__

    def _lengthen(self, hold, span, replace):
        try:
            try:
                return self._commands.send(*self._extend_command(hold.token, span, replace)) == 1
            finally:
                hold.may_be_longer(span / 1000, replace)
        except ReplyLost as lost:
            raise self._unknown("whether its lease was extended", hold.clears_in) from lost.__cause__

    def _give_back(self, hold):
        try:
            return self._commands.send(*self._release_command(hold.token), remedy=hold.remedy) == 1
        except ReplyLost as lost:
            if lost.undone:
                # The late first reply, if that was none of an error; else the second one's, which then found all undone.
                first, last = lost.replies[0], lost.replies[-1]
                return (first if first in (0, 1) else last) == 1
            if lost.replies == (0,):
                raise self._unknown("it is not held any more; whether it was until now", 0.0) from lost.__cause__
            raise self._unknown("whether it was released", hold.clears_in) from lost.__cause__

    def _drop(self, hold):
        if hold.remedy:
            self._commands.post(hold.remedy)
