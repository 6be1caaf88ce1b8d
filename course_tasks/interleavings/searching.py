"""The search: breadth first through every state that can come about, so that the first fault found is a nearest one."""

import time
from collections import deque

from course_tasks.interleavings.model import Model
from course_tasks.interleavings.result import Result
from course_tasks.interleavings.trace import CRASH, LEASE_ENDS, SERVER, Step
from course_tasks.interleavings.wording import MUTUAL_EXCLUSION, NO_DEADLOCK, NO_STALE_WRITE, PROPERTIES


def search(lock, clients=2, lease_ends=False, crashes=False, *, count_overdue=True, limit=200_000, seconds=60.0):
    """Try every order in which the steps of several clients can come, and return a :class:`Result`.

    ``lock`` is a generator function. It takes a client's name, "client1" and so on, and yields one command for each step
    that a server executes; the yield gives it the answer. What stands between two yields, the client does by itself. It
    yields ENTER when it has the lock, and LEAVE before it gives it back. One call is one attempt: a client that finds the
    lock taken returns, or tries a bounded number of times. What differs from client to client, such as a token, is made
    from the name. A part can be a function of its own, with ``yield from``.

    ``clients`` (an int) clients run it once each. Their steps come in every order, and among them, if asked for,

    * ``lease_ends``: a key that has a lease (EX, PX, EXPIRE) may vanish at any later step, however long the lease is;
    * ``crashes``: a client that has begun may stop for ever before any further step.

    Three properties are looked after, each as far as the lock has to do with it:

    * *mutual exclusion*: no two clients are inside together. With ``count_overdue=False``, a client no longer counts once
      its lease has ended: no lock can call it back, and the question is whether anything else is wrong.
    * *no deadlock*: when every client is done or has crashed, somebody who comes later can enter, at the latest when
      every lease has ended.
    * *no stale write*: the database accepts no write with a lower token than that of the write before, and none of a
      client that was granted the lock before the last writer was. To set a key that is not one's own is to be granted
      the lock.

    The search ends as soon as one of them is violated; or cut short, after ``limit`` states or ``seconds`` seconds, and
    then its outcome is "unknown". Raises StepsError where ``lock`` is not written as steps, ValueError for fewer than one client.
    """
    if clients < 1:
        raise ValueError(f"clients={clients!r}: there has to be one at least")
    found = _Search(Model(lock, clients), lease_ends, crashes, count_overdue)
    outcome, violated, depth, trace = found.run(limit, time.monotonic() + seconds)
    return Result(
        outcome=outcome,
        violated=violated,
        trace=trace,
        states=len(found.came_from),
        depth=depth,
        asked=tuple(name for name in PROPERTIES if name in found.asked),
        leases=found.leases,
        lease_ends=lease_ends,
        crashes=crashes,
        count_overdue=count_overdue,
        model=found.model,
    )


class _Search:
    """One search through the states of ``model`` (a Model); the options are those of :func:`search`.

    ``came_from``: State -> the State before it and the Step between, for all that were reached. ``asked``: the properties
    that have been put to the test so far; ``leases``: whether any key has had a lease.
    """

    def __init__(self, model, lease_ends, crashes, count_overdue):
        self.model, self.lease_ends, self.crashes, self.count_overdue = model, lease_ends, crashes, count_overdue
        self.came_from = {model.start: None}
        self.leases = False
        self.asked = {NO_DEADLOCK} if model.can_enter(()) else set()

    def run(self, limit, deadline):
        """``(outcome, violated, depth, trace)``, as :class:`Result` has them."""
        reached, depth = deque([(self.model.start, 0)]), 0
        while reached:
            state, depth = reached.popleft()
            for step, following in self.steps(state):
                if following in self.came_from:
                    continue
                if len(self.came_from) >= limit or time.monotonic() > deadline:
                    return "unknown", None, depth, ()
                self.came_from[following] = state, step
                if violated := self.violated(following):
                    return "broken", violated, depth, self.trace(following)
                reached.append((following, depth + 1))
        return "holds" if self.asked else "unknown", None, depth, ()

    def steps(self, state):
        """Each ``(Step, State after it)`` that is possible in ``state``."""
        # In this order, so that of equally short counterexamples the one is found in which the low numbers come first.
        model = self.model
        for name, position in model.positions(state).items():
            answer, following = model.after(state, name, position.next)
            yield Step(name, position.next, answer), following
            if self.crashes and model.begun(state, name):
                yield Step(name, CRASH()), model.after(state, name, CRASH())[1]
        for name, key in state.store.keys if self.lease_ends else ():
            if key.leased:
                yield Step(SERVER, LEASE_ENDS(name)), model.after(state, SERVER, LEASE_ENDS(name))[1]

    def violated(self, state):
        """The property that does not hold in ``state``, or None."""
        inside, overdue = self.model.inside(state), () if self.count_overdue else state.store.overdue
        self.leases = self.leases or any(key.leased for _, key in state.store.keys)
        if inside and len(self.model.names) > 1:
            self.asked.add(MUTUAL_EXCLUSION)
        if state.store.rows:
            self.asked.add(NO_STALE_WRITE)
        if sum(name not in overdue for name in inside) > 1:
            return MUTUAL_EXCLUSION
        if state.store.stale:
            return NO_STALE_WRITE
        over = NO_DEADLOCK in self.asked and not self.model.positions(state)
        return NO_DEADLOCK if over and not self.model.can_enter(state.store.keys) else None

    def trace(self, state):
        """The steps that led to ``state``."""
        steps = []
        while self.came_from[state]:
            state, step = self.came_from[state]
            steps.append(step)
        return tuple(reversed(steps))
