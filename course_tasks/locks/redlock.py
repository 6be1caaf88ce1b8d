"""Redlock: a lock on several independent servers, held by whoever a majority of them granted it to."""

import logging
import random

from redis.exceptions import ConnectionError
from redis.sentinel import SentinelConnectionPool

from course_tasks.locks.ballot import Ballot, Census, Packed, majority
from course_tasks.locks.base import BaseLock
from course_tasks.locks.hold import DRIFT, LONGEST, milliseconds
from course_tasks.locks.lease import LeaseLock
from course_tasks.locks.likeness import pool_of
from course_tasks.locks.lost import BRIEFLY
from course_tasks.locks.node import stock_of
from course_tasks.locks.panel import Panel

logger = logging.getLogger(__name__)

ROUNDING = 0.002  # seconds: servers count whole milliseconds, and DRIFT of a short lease is next to nothing


class Redlock(BaseLock):
    """A lock on several independent servers, held by whoever a majority of them granted it to.

    ``clients`` is a list of ``redis.Redis``, one for each server. ``node_timeout``: seconds that a server is given to answer, at
    most half of the lease. The other arguments are LeaseLock's; the pause between two tries is random, ``sleep`` on average.
    """

    def __init__(
        self,
        clients,
        name,
        timeout=10,
        sleep=0.1,
        blocking=True,
        blocking_timeout=None,
        thread_local=True,
        raise_on_release_error=True,
        node_timeout=0.1,
    ):
        super().__init__(
            clients, name, timeout, sleep, blocking, blocking_timeout, thread_local, raise_on_release_error
        )
        milliseconds(node_timeout, "node_timeout")
        if node_timeout > timeout / 2:
            raise ValueError(
                f"node_timeout ({node_timeout} s) must be far below the lease, timeout ({timeout} s), at most half of it: "
                "waiting for a server that does not answer would use the lease up."
            )
        self.node_timeout = node_timeout

    @property
    def granted(self):
        """Which servers had granted the present hold when acquire() returned: positions in the list, from 0; () if not held."""
        hold = self._hold
        return hold.answer if hold else ()

    def locked(self):
        """Whether anybody holds the lock: whether a majority of the servers has it for the same one."""
        return self._look(Census(Packed("GET", self._key)))

    def owned(self):
        """Whether a majority of the servers says that this lock object (in this thread, with ``thread_local``) holds the lock."""
        hold = self._hold
        return hold is not None and self._look(Ballot(Packed("GET", self._key), hold.token))

    def _look(self, ballot):
        panel = Panel(self._stocks, self.node_timeout)
        try:
            panel.ask(ballot)
        finally:
            panel.close()
        silent = len(self._stocks) - ballot.answered
        if ballot.votes < panel.quorum <= ballot.votes + silent:
            raise ConnectionError(f"Whether the lock {self.name!r} is held can't be said: {self._count(ballot)}")
        return ballot.votes >= panel.quorum

    def _reach(self, clients):
        self._stocks = [stock_of(client) for client in _separate(clients)]
        self._encode = clients[0].connection_pool.get_encoder().encode
        self._key = self._encode(self.name)
        self._is_answered = True

    def _encoded(self, token):
        return self._encode(token)

    def _ask(self, hold):
        hold.spare = ROUNDING
        undo = Packed("EVAL", LeaseLock.RELEASE.text, 1, self._key, hold.token)
        hold.remedy = panel = Panel(self._stocks, self.node_timeout, undo)
        lease = milliseconds(self.timeout, "timeout")
        ballot = panel.ask(Ballot(Packed("SET", self._key, hold.token, "NX", "PX", lease), b"OK", undo))
        if ballot.votes >= panel.quorum:
            return tuple(where for where, node in enumerate(panel.nodes) if ballot.replies.get(node) == b"OK")
        panel.tell(Ballot(undo, undoing=True))
        self._part(hold)
        self._warn_of_silence(ballot)
        return None

    def _extend(self, hold, seconds, replace):
        milliseconds(seconds, "additional_time")
        if not replace and hold.validity:
            # "So many more" than each server has left would be added where an earlier extension is missing, too.
            seconds += (hold.validity + ROUNDING) / (1 - DRIFT)
        return super()._extend(hold, seconds, True)

    def _lengthen(self, hold, span, replace):
        panel = hold.remedy
        if not panel:
            return False  # another thread gave it back
        command = Packed("EVAL", LeaseLock.EXTEND.text, 1, self._key, hold.token, span, int(replace))
        try:
            ballot = panel.ask(Ballot(command, 1))
        finally:
            hold.may_be_longer(span / 1000, replace)
        if ballot.votes >= panel.quorum:
            return True
        if panel.holders - ballot.refusals < panel.quorum:
            return False
        self._check_asked(ballot, "extended")
        raise self._unknown("whether its lease was extended", hold.clears_in)

    def _give_back(self, hold):
        panel = hold.remedy
        if not panel:
            return False  # another thread did
        ballot = panel.ask(Ballot(panel.undo, 1, undoing=True))
        holders = panel.holders
        if holders >= panel.quorum:
            self._check_asked(ballot, "released")
        self._part(hold)
        if ballot.votes >= panel.quorum:
            return True
        if ballot.votes + holders < panel.quorum:
            return False
        if holders < panel.quorum:
            raise self._unknown("it is not held any more; whether it was until now", 0.0)
        raise self._unknown("whether it was released", hold.clears_in)

    def _drop(self, hold):
        if panel := hold.remedy:
            panel.ask(Ballot(panel.undo, undoing=True), min(BRIEFLY, self.node_timeout))
            self._part(hold)

    @staticmethod
    def _part(hold):
        panel, hold.remedy = hold.remedy, None
        if panel:
            panel.close()

    @staticmethod
    def _pause(sleep):
        return min(random.uniform(0, 2 * sleep), LONGEST)

    def _check_asked(self, ballot, what):
        if not ballot.asked:
            raise ConnectionError(f"The lock {self.name!r} can't be {what}: {self._count(ballot)}")

    def _warn_of_silence(self, ballot):
        """Where too few answered to make a majority: once, and again when that was over."""
        was_answered, self._is_answered = self._is_answered, ballot.answered >= majority(len(self._stocks))
        if was_answered and not self._is_answered:
            logger.warning("The lock %r can't be acquired: %s", self.name, self._count(ballot))

    def _count(self, ballot):
        """Who answered, as the end of a sentence."""
        servers = len(self._stocks)
        return f"{ballot.answered} of {servers} servers answered, {majority(servers)} are needed."


def _separate(clients):
    """``clients``, if they are a list of clients of different servers. TypeError or ValueError otherwise."""
    if not isinstance(clients, list | tuple):
        raise TypeError(
            f"Redlock takes a list of clients, one for each of its servers, not a {type(clients).__name__}. "
            "For a lock on one server there is LeaseLock."
        )
    if not clients:
        raise ValueError("Redlock needs servers: a list of clients, one for each; three or five are usual.")
    places = [_place(client) for client in clients]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise ValueError(
                f"clients[{places.index(place)}] and clients[{number}] are of the same server, {place}. It would have more than "
                "one vote, and databases of one server fail together: give each client a server of its own."
            )
    return clients


def _place(client):
    """Where the server of ``client`` is, as far as its settings say: two databases of one server are at the same place."""
    pool = pool_of(client)
    if isinstance(pool, SentinelConnectionPool):
        return f"{pool.service_name} of {', '.join(map(_place, pool.sentinel_manager.sentinels))}"
    settings = pool.connection_kwargs
    return settings.get("path") or f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}"
