"""Safety: who was inside the critical section together, by one sweep over the beginnings and ends of all stays.

Whether stays overlap is decided by the stream's order alone: one entered after the others had entered and before they
had left. Clocks only say for how long. The sweep costs one step for each entry and exit, however many are inside
together, because it never lists all the pairs.
"""

from dataclasses import dataclass, field
from itertools import islice


@dataclass
class Stretch:
    """A time during which too many were inside, without a break.

    ``begin`` and ``end`` are in seconds since the run began; ``most`` is how many were inside at most.
    """

    begin: float
    end: float
    most: int

    @property
    def seconds(self):
        """How long it lasted; never negative, also where clocks and order disagree by some microseconds."""
        return max(0.0, self.end - self.begin)


@dataclass
class Overlap:
    """What the sweep found.

    ``stretches`` are the times with too many inside; ``pieces`` are the parts of single stays that fall into them,
    each ``(stay, begin, end)``; ``crowds`` has a tuple of stays for each that began when as many were inside as may be:
    those who had been inside for longest, as many as may be, and the one that was too many; ``most`` is how many were
    inside at most. A stay is a row of the intervals, as a named tuple. All are in the order of the history.
    """

    stretches: list = field(default_factory=list)
    pieces: list = field(default_factory=list)
    crowds: list = field(default_factory=list)
    most: int = 0


def overlap(stays, at_once=1):
    """Return the :class:`Overlap` of ``stays``, the intervals of kind "inside" as named tuples.

    ``at_once`` is how many may be inside together; more are too many.
    """
    found, inside = Overlap(), {}  # inside: begin_order -> [stay, since when there were too many, or None]
    marks = [mark for stay in stays for mark in ((stay.begin_order, 1, stay), (stay.until_order, 0, stay))]
    marks.sort(key=lambda mark: mark[:2])
    for _, entering, stay in marks:
        if entering:
            if len(inside) >= at_once:
                found.crowds.append((*(other for other, _ in islice(inside.values(), at_once)), stay))
            inside[stay.begin_order] = [stay, None]
            found.most = max(found.most, len(inside))
            if len(inside) == at_once + 1:
                found.stretches.append(Stretch(stay.begin, stay.begin, 0))
            if len(inside) > at_once:
                found.stretches[-1].most = max(found.stretches[-1].most, len(inside))
                for other in inside.values() if len(inside) == at_once + 1 else [inside[stay.begin_order]]:
                    other[1] = stay.begin
        else:
            if len(inside) == at_once + 1:
                found.stretches[-1].end = stay.until
                found.pieces += [(other, since, stay.until) for other, since in inside.values()]
            elif len(inside) > at_once + 1:
                found.pieces.append((stay, inside[stay.begin_order][1], stay.until))
            del inside[stay.begin_order]
    return found
