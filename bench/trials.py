"""One schedule of bench/quorum.py carried out: contenders under Redlock in real processes, over five real servers.

What a seed does not decide is the course of things: who is given the lock, and how far the others are when something breaks.
"""

import contextlib
import functools
import os
import signal
import time

import redis

from bench.claimant import Claimant
from bench.claims import Outcome
from bench.fleet import FIVE, Fleet, private_place
from bench.links import Links
from bench.lives import Life, Stage

LOOK = 0.005  # seconds between two looks at a server that was started
JUMP = 60  # seconds
REMEMBER, FORGET, AHEAD = "remember", "forget", "are ahead"  # what becomes of servers that are to be restarted


class Trial(Stage):
    """Starts the contenders of ``schedule``, and strikes servers of the ``fleet`` and ``links`` when their holds begin.

    ``lock`` is the contenders' lock, a class; ``restarted`` what becomes of servers that are to be restarted.
    """

    def __init__(self, schedule, lock, restarted, fleet, links):
        super().__init__(f"seed {schedule.seed}")
        self.schedule, self.restarted, self.fleet, self.links = schedule, restarted, fleet, links
        self.events, self._holds = [], 0
        self._busy = set()  # servers and contenders to whom something is being done: nothing more is, meanwhile
        self._say("began", "lab", lanes=[*schedule.rates, *fleet.names], servers=fleet.names, seconds=schedule.seconds)
        end = time.monotonic() + schedule.seconds
        self.lives += [Life(functools.partial(self._live, who, lock, end), who) for who in schedule.rates]

    def _live(self, who, lock, end, say):
        with contextlib.ExitStack() as stack:
            sockets = [str(self.fleet.where.link(who, name)) for name in self.fleet.names]
            clients = [stack.enter_context(redis.Redis(unix_socket_path=socket)) for socket in sockets]
            Claimant(who, self.schedule, lock, say).live(clients, self.fleet.names, end)

    def heard(self, life, event):
        self.events.append(event)
        if event["kind"] == "fault began":  # it has stopped itself
            os.waitpid(life.process.pid, os.WUNTRACED)  # a SIGCONT that comes before the SIGSTOP would be lost
            self.at(time.monotonic() + event["detail"]["seconds"], functools.partial(life.signal, signal.SIGCONT))
        elif event["kind"] == "acquired":
            self._holds += 1
            for blow in self.schedule.blows:
                if blow.nth == self._holds:
                    self.at(event["t"] + blow.after, functools.partial(self._strike, blow, event["lane"]))

    def ended(self, life):
        super().ended(life)
        if not self.lives:
            self.due.clear()
            self._say("ended", "lab")

    def _strike(self, blow, holder):
        if blow.what == "cut":
            self._cut(holder if blow.who == "holder" else blow.who, blow)
            return
        what = {"kill": self._kill, "pause": self._pause, "restart": self._restart}[blow.what]
        for name in blow.servers:
            if name not in self._busy:
                what(name, blow)

    def _kill(self, name, blow):
        self._busy.add(name)
        self._say("fault began", name, fault="kill")
        self.fleet.kill(name)
        self._say("fault ended", name, fault="kill")

    def _pause(self, name, blow):
        self._busy.add(name)
        self.fleet.stop(name)
        self._say("fault began", name, fault="pause", seconds=blow.seconds)

        def resume():
            self._say("fault ended", name, fault="pause")
            self.fleet.resume(name)
            self._busy.discard(name)

        self.at(time.monotonic() + blow.seconds, resume)

    def _restart(self, name, blow):
        if self.restarted == AHEAD:
            self.fleet.move_clock(name, JUMP)
            self._say("fault began", name, fault="clock", seconds=JUMP)
            return
        self._busy.add(name)
        self.fleet.kill(name)
        self._say("fault began", name, fault="restart", seconds=blow.seconds)

        def start():
            self.fleet.start(name)
            look()

        def look():
            if self.fleet.answers(name):
                self._say("fault ended", name, fault="restart", memory=self.fleet.durable)
                self._busy.discard(name)
            else:
                self.at(time.monotonic() + LOOK, look)

        self.at(time.monotonic() + blow.seconds, start)

    def _cut(self, who, blow):
        if who in self._busy:
            return
        self._busy.add(who)
        self.links.cut(who, blow.servers)
        self._say("fault began", who, fault="cut", servers=blow.servers)

        def heal():
            self._say("fault ended", who, fault="cut", servers=blow.servers)
            self.links.heal(who, blow.servers)
            self._busy.discard(who)

        self.at(time.monotonic() + blow.seconds, heal)

    def _say(self, kind, lane, **detail):
        self.events.append({"t": time.monotonic(), "kind": kind, "lane": lane, "pid": os.getpid(), "detail": detail})


def carry_out(schedule, lock, restarted, library=None):
    """Carry ``schedule`` out, on servers of its own; return the Outcome.

    ``lock`` is the class of the contenders' locks (a CountedRedlock), ``restarted`` what becomes of servers that the schedule has
    restarted: they REMEMBER what they had; they FORGET it; or they are not restarted, and their clocks are AHEAD, for which
    ``library`` is the path of a libfaketime. Raises RuntimeError where a contender fails, TimeoutError where all of them hang.
    """
    with (
        private_place() as where,
        Fleet(where, FIVE, durable=restarted != FORGET, library=library) as fleet,
        Links(fleet, schedule.rates) as links,
    ):
        trial = Trial(schedule, lock, restarted, fleet, links)
        trial.play()
    return Outcome(schedule, tuple(sorted(trial.events, key=lambda event: event["t"])))
