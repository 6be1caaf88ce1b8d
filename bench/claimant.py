"""A contender under Redlock, in a process of its own, that says for how long it may believe that it holds the lock.

It believes so from when acquire() has returned, for as long as the lock's ``validity`` said at that moment, by its own clock;
and at most until it calls release(). What it says are events as the course's history has them (history/recording.py), and
it says them through a pipe.

Its clock may run apart from those of the servers, as far as Redlock allows for. And it may be stopped where that hurts most:
when the votes are in, and nothing has been made of them yet.
"""

import logging
import os
import random
import signal
import time
from time import monotonic as now  # the machine's own, also where this process has another

from redis.exceptions import RedisError

from course_tasks.locks import Redlock

NAME = "lock"
BREAK, POLL = (0.0, 0.05), (0.004, 0.012)  # seconds, from and to: between two holds, between two attempts
NODE = 0.2  # leases that a server is given to answer
VAIN = "in vain"  # in the detail of a contender's last event: when it asked for the lock and was not given it


class CountedRedlock(Redlock):
    """Redlock as it is, with a place between the votes and what is made of them: ``counted()`` is called there."""

    @staticmethod
    def counted():
        pass

    def _ask(self, hold):
        answer = super()._ask(hold)
        if answer is not None:
            self.counted()
        return answer


class Claimant:
    """The contender called ``who``. ``lock`` is a subclass of CountedRedlock, ``tell`` takes its events.

    It keeps to the ``schedule`` (blows.py): to the lease, the lengths of holds, the rate of its clock, and its own Stops.
    """

    def __init__(self, who, schedule, lock, tell):
        self.who, self._lock, self._tell = who, lock, tell
        self.lease, self.hold, self.rate = schedule.lease, schedule.hold, schedule.rates[who]
        self._stops = {stop.nth: stop for stop in schedule.stops if stop.who == who}
        self._chance = random.Random(f"{schedule.seed} {who}")
        self._stays, self._counts, self._vain, self._end = 0, 0, [], 0.0

    def live(self, clients, servers, end):
        """Want the lock again and again until ``end`` (``now()``). ``servers`` are the names of those of the ``clients``."""
        self._end = end
        logging.disable()  # a lock that finds no majority says so
        began = now()
        time.monotonic = lambda: began + (now() - began) * self.rate
        lock = self._lock(clients, NAME, timeout=self.lease, node_timeout=self.lease * NODE)
        lock.counted = self._counted
        while now() < end:
            self._stays += 1
            if self._is_given(lock):
                self._stay(lock, servers)
                self._sleep(self._chance.uniform(*BREAK))
        self._say("finished", detail={VAIN: self._vain})

    def _is_given(self, lock):
        asked, waits = now(), False
        while now() < self._end:
            try:
                if lock.acquire(blocking=False):
                    return True
            except RedisError:  # no majority could be asked; or nobody knows what came of it
                pass
            self._vain.append(now())
            if not waits:
                waits = True
                self._say("waiting", t=asked)
            self._sleep(self._chance.uniform(*POLL))
        return False

    def _stay(self, lock, servers):
        """Be inside for some time, as long as the lock is valid; give it back then, or only when its lease is long over."""
        since = now()  # before the validity is asked for: the claim is rather too short by a moment than too long
        validity = lock.validity / self.rate
        granted = [servers[position] for position in lock.granted]
        self._say("acquired", t=since, lease=validity, detail={"granted": granted})
        planned = self._chance.uniform(*self.hold) * self.lease
        self._say("entered")
        self._sleep(min(planned, validity))
        if now() > self._end:
            return
        self._say("left")
        self._sleep(max(0.0, planned - validity))
        try:
            lock.release()
        except RedisError:
            self._say("lost")
        else:
            self._say("released")

    def _sleep(self, seconds):
        time.sleep(min(seconds, max(0.0, self._end - now())))

    def _counted(self):
        self._counts += 1
        if stop := self._stops.get(self._counts):
            self._say("fault began", detail={"fault": "pause", "seconds": stop.seconds})
            os.kill(os.getpid(), signal.SIGSTOP)
            self._say("fault ended", detail={"fault": "pause"})

    def _say(self, kind, t=None, **fields):
        what = {"t": now() if t is None else t, "kind": kind, "lane": self.who, "pid": os.getpid()}
        self._tell({**what, "task": f"{self.who}-{self._stays}", **fields})
