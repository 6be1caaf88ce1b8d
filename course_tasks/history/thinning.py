"""Leaving out what no eye could see: a picture costs as much as it has pixels, however many events there are.

A hundred thousand bars on a thousand pixels are drawn one over the other for seconds, and weigh megabytes as SVG. Where
there are ``MANY`` of a kind, neighbours less than half a pixel apart become one.
"""

from collections import defaultdict
from itertools import pairwise

MANY = 1000


def joined(parts, hair):
    """Return ``parts``, with neighbours on one height joined where they lie at most ``hair`` apart.

    A part is ``(y, begin, end, is_open)``: a height, two times in the unit of ``hair``, and whether its end is open;
    that of the last part joined holds. Few parts are returned as they are.
    """
    if len(parts) < MANY:
        return parts
    whole = []
    for y, begin, end, is_open in sorted(parts):
        if whole and whole[-1][0] == y and begin <= whole[-1][2] + hair:
            if end >= whole[-1][2]:
                whole[-1] = (y, whole[-1][1], end, is_open)
        else:
            whole.append((y, begin, end, is_open))
    return whole


def spaced(rows, room):
    """Return those of ``rows``, intervals that ended, whose ends lie ``room`` seconds from their neighbours on the lane."""
    ends = defaultdict(list)
    for row in rows:
        ends[row.lane].append(row.end)
    crowded = set()
    for lane, moments in ends.items():
        for one, another in pairwise(sorted(moments)):
            if another - one < room:
                crowded |= {(lane, one), (lane, another)}
    return [row for row in rows if (row.lane, row.end) not in crowded]


def thinned(points, hair):
    """Return ``points``, pairs of a time and a height, without those that others of their height hide.

    ``hair`` is the unit of ``joined``. A marker is wide: a neighbour four such units away shows no less of it.
    """
    if len(points) < MANY:
        return points
    return list({(round(t / hair / 4), y): (t, y) for t, y in points}.values())
