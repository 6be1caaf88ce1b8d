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
        packed = self._by_class.get(type(connection))
        if packed is None:
            packed = self._by_class[type(connection)] = connection.pack_command(*self._words)
        return packed


class Ballot:
    """One round: ``command`` (Packed), and how many ``votes`` it has, replies that equal ``yes``.

    ``undo`` (Packed) is what undoes the command, where it asks for the lock; ``undoing``: it is itself such a one, and ``last``:
    it is not put again, whatever is said to it. ``began`` is when, by ``time.monotonic()``; ``asked`` holds the Nodes that it was
    written to, ``replies`` what each said, an error as the exception; ``silent`` is how many of them were waited for in vain.
    """

    def __init__(self, command, yes=None, undo=None, undoing=False, last=False):
        self.command, self.yes, self.undo, self.undoing, self.last = command, yes, undo, undoing, last
        self.began = time.monotonic()
        self.asked, self.replies = set(), {}
        self.votes = self.silent = 0

    def take(self, node, reply):
        self.replies[node] = reply
        self.votes += reply == self.yes

    @property
    def outstanding(self):
        """How many have been asked and have not replied."""
        return len(self.asked) - len(self.replies)

    @property
    def errors(self):
        return sum(isinstance(reply, Exception) for reply in self.replies.values())

    @property
    def answered(self):
        """How many have replied with something else than an error."""
        return len(self.replies) - self.errors

    @property
    def answering(self):
        """How many have, or would have if the round hadn't been decided before."""
        return len(self.asked) - self.errors - self.silent


class Census(Ballot):
    """A Ballot that asks who has something: its votes are how many name the same one, at most."""

    def take(self, node, reply):
        self.replies[node] = reply
        named = collections.Counter(each for each in self.replies.values() if isinstance(each, bytes))
        self.votes = max(named.values(), default=0)
