"""Contention: was the lock put to the test? Only what met somebody else shows anything about mutual exclusion."""

from bisect import bisect_left, bisect_right


def contended(happened, lasted, at_once=1):
    """How many attempts found another one inside, or the lock taken; where ``at_once`` may be inside: as many as may be.

    ``happened`` has the events by kind, ``lasted`` the intervals by kind, as :class:`Findings` has them.

    By the stream's order: while it waited or when it went away, another one was inside or held the lock, be it
    dead; or when it entered, not having waited, another one was inside.
    """
    inside, taken = _Going(lasted["inside"]), _Going(lasted["holding"])

    def full(first, last, *stays):
        return any(going.between(first, last) >= at_once for going in stays)

    waited = [row for row in lasted["waiting"] if full(row.begin_order, row.until_order, inside, taken)]
    skipped = [event for event in happened["skipped"] if full(event.Index, event.Index, inside, taken)]
    entered = [row for row in lasted["inside"] if full(row.begin_order, row.begin_order, inside)]
    in_vain, who = {row.until_order for row in waited}, {_attempt(row) for row in waited}
    skipped = [event for event in skipped if event.Index not in in_vain]
    return len(waited) + len(skipped) + len([row for row in entered if _attempt(row) not in who])


def _attempt(row):
    """Who tries: Celery runs the same task id in another process when it delivers the task anew."""
    return row.lane, row.task, row.pid


class _Going:
    """How many of ``stays`` were going on."""

    def __init__(self, stays):
        self.begun, self.over = sorted(stay.begin_order for stay in stays), sorted(stay.until_order for stay in stays)

    def between(self, first, last):
        """At any time between these two orders."""
        return bisect_left(self.begun, last) - bisect_right(self.over, first)
