"""A command that is put to several servers at once, and how they vote on it."""

import collections
import time


def majority(servers):
    """How many of so many servers are more than half. Two majorities have a server in common, and that server says yes once."""
    return servers // 2 + 1


class Packed:
    """A command, its words packed into the bytes that are sent, once for all connections of a class."""

    def __init__(self, *words):
        self._words = words
        self._by_class = {}

    def on(self, connection):
        """What ``connection.send_packed_command`` takes."""
        kind = type(connection)
        if kind not in self._by_class:
            self._by_class[kind] = connection.pack_command(*self._words)
        return self._by_class[kind]


class Ballot:
    """One round: ``command`` (Packed), and how many ``votes`` it has, replies that equal ``yes``.

    ``undo`` (Packed) is what undoes the command, if anything has to; ``undoing``: it is itself such a one. ``began`` is when,
    by ``time.monotonic()``; ``asked`` holds the Nodes that it was written to, ``replies`` what each said: an error as the
    exception.
    """

    def __init__(self, command, yes=None, undo=None, undoing=False):
        self.command, self.yes, self.undo, self.undoing = command, yes, undo, undoing
        self.began = time.monotonic()
        self.asked, self.replies = set(), {}
        self.votes = 0

    def take(self, node, reply):
        self.replies[node] = reply
        self.votes += reply == self.yes

    @property
    def answered(self):
        """How many have answered, other than with an error."""
        return sum(not isinstance(reply, Exception) for reply in self.replies.values())


class Census(Ballot):
    """A Ballot that asks who has something: its votes are how many name the same one, at most."""

    def take(self, node, reply):
        self.replies[node] = reply
        named = collections.Counter(each for each in self.replies.values() if isinstance(each, bytes))
        self.votes = max(named.values(), default=0)
