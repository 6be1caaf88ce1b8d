"""What a lock with a lease must do wherever that lease ends, tried without a lab, in a fraction of a second.

That its lease does end is for :mod:`~course_tasks.exercises.killing` to find out, before this.
"""

from redis.exceptions import LockNotOwnedError

from course_tasks.breakpoints import Breakpoint, boundaries, watched
from course_tasks.exercises import locking
from course_tasks.exercises.definition import not_yet
from course_tasks.exercises.wording import place_told

HOLDS = 50  # that are compared: far more than objects can be made before an address is used again


def deletes_only_its_own(bench, lock):
    """A ``release()`` leaves the lock alone that another one was given when the lease ended, before it or within it.

    ``lock`` takes (client, name) and has a lease. Returns the Outcome of a wrong answer, or None. Findings: "theirs",
    "between", "same_value"; and "silent" where a late one does not raise LockNotOwnedError.
    """
    found = bench.call(_released_late, lock, bench.client, seconds=8.0, what="The lock, whose lease ended,")
    return found and not_yet(*found)


def _released_late(lock, client):
    """(finding, what was seen), or None."""

    def make(own):
        return lock(own, locking.NAME)

    def use(own):
        one = make(own)
        locking.attempt(one)
        one.release()

    client.flushall()
    places = boundaries(client, use)
    client.flushall()
    acquiring = len(boundaries(client, lambda own: locking.attempt(make(own))))
    for place in [None, *places[acquiring:]]:
        client.flushall()
        others = _Others(make, client)
        ends = [Breakpoint(others.second, **place)] if place else []
        with watched(client, *ends, others.third) as own:
            late = make(own)
            locking.attempt(late)
            if not place:
                others.second()
            raised = _raised_by(late.release)
        others.third()
        if others.both_in:
            when = f"within release(), {place_told(place)}" if place else "before release()"
            said = f"The lease ended {when}, and a second one got the lock. The release deleted it: a third one got it too."
            return "same_value" if others.same_value else "between" if place else "theirs", said
        if not place and not isinstance(raised, LockNotOwnedError):
            told = f"raised {type(raised).__name__}" if raised else "returned as if all were well"
            return "silent", f"The lease ended, a second one got the lock, and the first one's release() {told}."
    return None


def has_a_token_of_its_own(bench, lock):
    """No two holds write the same, not even through objects of which one was there when the other was gone.

    ``lock`` as above. Finding: "same_token".
    """
    count = bench.call(_holds_until_the_same, lock, bench.client, what="A lock, acquired again and again,")
    if count is None:
        return None
    return not_yet(
        "same_token",
        f"{count} locks were made and acquired, one after the other, and two of them had written the same.",
    )


def _holds_until_the_same(lock, client):
    client.flushall()
    seen = set()
    for count in range(1, HOLDS + 1):
        acquired = locking.attempt(lock(client, locking.NAME))
        values = _values(client)
        written = frozenset(values.items())
        if acquired and written in seen:
            return count
        seen.add(written)
        _end_leases(client, values)
    return None


def _values(client):
    return {key: client.dump(key) for key in client.keys()}


def _end_leases(client, keys):
    """What the server does when time is over; return whether there was any lease."""
    leased = [key for key in keys if client.pttl(key) > 0]
    return bool(leased and client.delete(*leased))


def _raised_by(function):
    try:
        function()
    except Exception as error:
        return error
    return None


class _Others:
    """Those who want the lock that a first one has: the ``second()`` gets it when the lease ends, the ``third()`` must not."""

    def __init__(self, make, client):
        self.make, self.client = make, client
        self.has_second = self.both_in = self.same_value = False

    def second(self):
        """The lease ends, as the server does it, and the second one asks."""
        before = _values(self.client)
        leased = _end_leases(self.client, before)
        self.has_second = bool(locking.attempt(self.make(self.client)))
        self.same_value = leased and _values(self.client) == before

    def third(self, *place):
        """The third one asks, at any ``place`` from then on."""
        if self.has_second and not self.both_in:
            self.both_in = bool(locking.attempt(self.make(self.client)))
