"""Liveness: could anybody enter, and how long did they wait?"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Starvation:
    """The longest time during which somebody wanted to enter and nobody was inside.

    ``seconds`` is its length, ``begin`` when it began, in seconds since the run began; ``after`` is the lane of the
    last one inside before it if that one was killed there, or of one that was killed on its way in; else None.
    """

    seconds: float = 0.0
    begin: float = 0.0
    after: str | None = None


def starvation(happened, lasted, end):
    """Return the longest :class:`Starvation` in a run that ended after ``end`` seconds.

    ``happened`` has the events by kind, ``lasted`` the intervals by kind, as :class:`Findings` has them.

    Somebody wants to enter while a task waits; and where tasks don't wait but go away, from the first one that found
    the lock taken to the last. Whenever the lock is granted or given back, such a time is over: there was progress.
    """
    longest, since, last, inside, waiting, after = Starvation(), None, None, 0, 0, None
    moved = 0.0  # when there was progress last: a wait that began before that, and is told of later, counts from then
    for _, _, what, t, closed_by, lane in _marks(happened, lasted, end):
        if what == "skipped" and not inside:
            since, last = t if since is None else since, t
        elif what == "waits":
            waiting += 1
            since = max(t, moved) if since is None and not inside else since
        elif what == "stops waiting":
            waiting, last = waiting - 1, t
        elif what in ("progress", "enters", "leaves"):
            if since is not None:
                longest = max(longest, Starvation((t if waiting else last) - since, since, after), key=_length)
            inside += {"enters": 1, "leaves": -1, "progress": 0}[what]
            after = {"enters": None, "leaves": lane if closed_by == "killed" else None}.get(what, after)
            since = last = t if waiting and not inside else None
            moved = t
        elif what == "dies on its way in":
            after = lane
    return longest


def _marks(happened, lasted, end):
    """What matters here, in the stream's order: ``(order, rank, what, t, closed_by, lane)``."""
    marks = [(float("inf"), 0, "progress", end, None, None)]
    for kind, what in (("acquired", "progress"), ("released", "progress"), ("skipped", "skipped")):
        marks += [(event.Index, 0, what, event.t, None, event.lane) for event in happened[kind]]
    for kind, opening, closing in (("inside", "enters", "leaves"), ("waiting", "waits", "stops waiting")):
        for row in lasted[kind]:
            marks.append((row.begin_order, 1, opening, row.begin, None, row.lane))
            marks.append((row.until_order, 1, closing, row.until, row.closed_by, row.lane))
    kills = {kill.Index for kill in happened["fault ended"]}
    marks += [
        (row.begin_order, 2, "dies on its way in", row.begin, None, row.lane)
        for row in lasted["holding"]
        if row.begin_order in kills
    ]
    return sorted(marks, key=lambda mark: mark[:2])


def _length(starvation):
    return starvation.seconds
