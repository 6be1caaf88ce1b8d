"""Redlock: a lock on several independent servers, held by whoever a majority of them granted it to."""

import logging
import math
import random

from redis.exceptions import ConnectionError

from course_tasks.locks.ballot import Ballot, Census, Packed
from course_tasks.locks.base import BaseLock
from course_tasks.locks.hold import DRIFT, LONGEST, milliseconds
from course_tasks.locks.lease import LeaseLock
from course_tasks.locks.lost import BRIEFLY
from course_tasks.locks.node import stock_of
from course_tasks.locks.panel import Panel
from course_tasks.locks.separate import separate

logger = logging.getLogger(__name__)

ROUNDING = 0.002  # seconds: servers count whole milliseconds, and DRIFT of a short lease is next to nothing


class Redlock(BaseLock):
    """A lock on several independent servers: whoever a majority of them granted it to has it, until the lease is over.

    The races and failures that it closes:

    - At 0 s worker 1 takes a lock on one server. At 1 s that server dies. Either nobody has a lock until it is back; or a
      replica takes its place that never heard of the key, and at 1.1 s worker 2 is inside as well. So there are five servers
      here that know nothing of each other, and three have to say yes. Worker 1 has the lock from A, B and C, and A dies: worker
      2 gets D and E at most. Two majorities have a server in common, and each server has one key.
    - At 0.0 s worker 1 asks A, and A is silent. At 5 s it gives up and asks B; of a lease of 10 s half is gone. So all are
      asked before any answer is awaited, on a connection each, and acquire() returns with the third yes, or when three have
      become impossible. A server that is silent costs nothing while the others answer.
    - At 0.0 s worker 1 asks five servers, and C stands still. It gets the lock without C, and gives it back at 1 s where it
      was granted. At 2 s C goes on, and grants it, with nobody left to give it back: one vote less for everybody. So the
      release goes to every server that was asked, answer or not, on the same connection, where it can't overtake the
      question. And C is asked nothing more on that connection until it has answered.
    - At 0.0 s three workers ask at once, and get two servers, two, and one. All wait for 0.1 s, and ask at once again. So who
      has no majority gives back at once what it got, and the pause is random.
    - At 0 s worker 1 asks for 10 s. A grants that at 0 s, C, slow, at 4 s. Counted from the last answer the lock would be
      worker 1's until 14 s; A and B are free at 10 s. So ``validity`` counts from before the first question, and is shorter
      by 1 % and 2 ms: clocks don't run alike, and servers count whole milliseconds. An answer with which nothing is left is
      no success.
    - At 0 s worker 1 has the lock for 10 s from all five. "10 s more" is heard by A, B and C alone, and again "10 s more" by C, D
      and E: each time a majority says yes, and only on C does the lease run until 30 s. So extend() tells every server how
      long the lease is to be from now on, and a majority has to say yes to that.

    What it does not promise, and what it stands on:

    - The servers' clocks run alike, to a hundredth, and don't jump. At 0 s worker 1 has the lock from A, B and C; C's wall clock
      is set forward by a minute, and its key expires; at 1 s worker 2 has it from C, D and E. Both are inside.
    - Nobody who holds it is paused without looking at ``validity`` afterwards. At 0 s worker 1 takes the lock for 10 s and is
      paused; at 11 s worker 2 takes it; at 12 s worker 1 writes. To look at ``validity`` before one writes makes that gap
      small. It doesn't close it: the pause, or a slow network, may come between the look and the write.
    - What would close it, a number that grows with every hold (see FencedLock), is not to be had here: servers that know
      nothing of each other can't count together, and the random token says nothing about who came later. There is no ``fence``
      (Kleppmann 2016, https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html; the answer of Redlock's
      author: http://antirez.com/news/101).
    - The servers don't forget. C is restarted without persistence at 1 s, and at 2 s worker 2 has the lock from C, D and E.
      Either each change is on disk before it is answered (``appendonly yes``, ``appendfsync always``), or a server that was
      down is started only when the longest lease is over. A replica that takes a server's place may have forgotten too.
    - A question that was under way when its connection broke may arrive later than the release, which then went over a new
      one. Its lease begins on that server when it arrives, and bounds it. A connection on which nothing was answered for a
      minute is given up as well (``node.PATIENCE``); if the server is there again then, the release comes first on the new one.
    - Each try of an acquire() that was given a ``token`` asks with that one. What gives an earlier try back may be under way
      still, on a connection that another thread uses by now, and take a vote from the later one. Give one where it doesn't wait.

    It is no consensus: nothing is agreed on but who has the lock now. It is not fair, and taking one's own lock again waits for
    oneself. While a majority of the servers is down, nobody gets the lock; acquire() waits, or says False, and a warning is
    logged. Three servers put up with the loss of one, five with two. An even number works and gains nothing: of four, three are
    a majority, so one may fail, as of three.

    ``clients`` is a list of ``redis.Redis``, one for each server. ``node_timeout`` is how long the servers are given to answer,
    in seconds; at most half of the lease, and a hundredth or less is usual. So long it also takes, and no longer than the
    client's socket_timeout, to connect to one that is silent; that is repeated so that it takes a twentieth of the time at
    most, and one that refuses is tried again almost at once. ``sleep`` is the mean of the pause between two tries. The other
    arguments are LeaseLock's, and so are the deviations from redis-py's Lock. The algorithm is that of the Redis documentation
    (https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/), the 2 ms those of its first implementation
    (https://github.com/antirez/redlock-rb). Besides:

    ===============================  ====================================  ======================================================
    other Redlocks, many of them     this one                              because
    ===============================  ====================================  ======================================================
    asks one server after the other  writes to all, then reads             a silent one would use up the lease
    waits for all                    waits for a majority                  the same
    an error of one is raised        counts as a no                        a majority is enough
    releases where it was granted    wherever it was asked                 an answer that was late may have been a yes
    ... on any connection            behind the question, on the same one  it could arrive first
    writes to who doesn't answer     asks it no second time                its socket fills up, and then writing waits
    measures by the wall clock       by the monotonic clock                that one is set, and jumps
    doesn't say what is left         ``validity``                          the holder must know when to stop
    waits 0.2 s, and again           at random, ``sleep`` on average       who collided would collide again
    a client that tries again        sends once, as LeaseLock              the second try finds the first one's key, and says no
    too few answer                   acquire() says False, logs a warning  a minority that is left decides nothing
    too few answer a release         LockOutcomeUnknown                    the lock may stand for the rest of its lease
    nobody could be sent a release   ConnectionError; may be called again  nothing was done
    ``locked()`` of one server       what a majority says                  one alone may have kept what was lost
    too few answer that              ConnectionError                       both would be a guess
    five databases of one server     ValueError                            they fail together
    ===============================  ====================================  ======================================================
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
            silent = len(self._stocks) - ballot.answered
            if ballot.votes < panel.quorum <= ballot.votes + silent:
                raise self._error("whether it is held can't be said", ballot, panel)
            return ballot.votes >= panel.quorum
        finally:
            panel.close()

    def _reach(self, clients):
        self._stocks = [stock_of(client) for client in separate(clients)]
        self._encode = clients[0].connection_pool.get_encoder().encode
        self._key = self._encode(self.name)
        self._was_answered = True

    def _encoded(self, token):
        return self._encode(token)

    def _ask(self, hold):
        hold.spare = ROUNDING
        # The script, not its hash: that it is unknown may be answered when nobody listens any more.
        undo = Packed("EVAL", LeaseLock.RELEASE.text, 1, self._key, hold.token)
        hold.remedy = panel = Panel(self._stocks, self.node_timeout, undo)
        lease = milliseconds(self.timeout, "timeout")
        question = Packed("SET", self._key, hold.token, "NX", "PX", lease)
        ballot = panel.ask(Ballot(question, b"OK", undo))
        if ballot.votes >= panel.quorum:
            self._was_answered = True
            said = [ballot.replies.get(node) for node in panel.nodes]
            return tuple(position for position, reply in enumerate(said) if reply == b"OK")
        panel.tell(Ballot(undo, undoing=True))
        self._warn_of_silence(ballot, panel)
        self._part(hold)
        return None

    def _lengthen(self, hold, span, replace):
        panel = hold.remedy
        if not panel:
            return False  # another thread gave it back
        span = span if replace else self._from_now(hold, span)
        try:
            ballot = panel.ask(Ballot(self._extend_command(hold, span), 1))
        finally:
            hold.may_be_longer(span / 1000, replace=True)
        if ballot.votes >= panel.quorum:
            return True
        if panel.may_hold(ballot) < panel.quorum:
            return False
        if not ballot.asked:
            raise self._error("it can't be extended", ballot, panel)
        raise self._unknown("whether its lease was extended", hold.clears_in)

    @staticmethod
    def _from_now(hold, span):
        """To how many milliseconds from now the lease has to be lengthened, where it is to be so many (``span``) longer."""
        left = hold.validity
        return span + (math.ceil(1000 * (left + ROUNDING) / (1 - DRIFT)) if left else 0)

    def _extend_command(self, hold, span):
        return Packed("EVAL", LeaseLock.EXTEND.text, 1, self._key, hold.token, span, 1)

    def _give_back(self, hold):
        panel = hold.remedy
        if not panel:
            return False  # another thread did
        ballot = panel.ask(Ballot(panel.undo, 1, undoing=True))
        may_hold = panel.may_hold(ballot)
        if may_hold >= panel.quorum and not ballot.asked:
            raise self._error("it can't be released", ballot, panel)
        self._part(hold)
        if ballot.votes >= panel.quorum:
            return True
        if ballot.votes + may_hold < panel.quorum:
            return False
        if may_hold < panel.quorum:
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

    def _warn_of_silence(self, ballot, panel):
        """Where too few answered to make a majority: once, and again when that was over for a while."""
        before, self._was_answered = self._was_answered, ballot.answering >= panel.quorum
        if before and not self._was_answered:
            logger.warning("%s", self._error("it can't be acquired", ballot, panel))

    def _error(self, what, ballot, panel):
        errors = "; ".join(dict.fromkeys(str(node.error) for node in panel.nodes if node.error))
        return ConnectionError(
            f"The lock {self.name!r}: {what}, for {ballot.answering} of {len(self._stocks)} servers answer, and {panel.quorum} "
            "have to." + (f" ({errors})" if errors else "")
        )
