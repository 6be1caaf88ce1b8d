"""Drawing along lanes: bars, lines and marks in one artist for each kind, and nothing smaller than a pixel."""

import numpy as np
from matplotlib.collections import LineCollection, PolyCollection

from course_tasks.history import theme
from course_tasks.history.thinning import joined, thinned


class Canvas:
    """The axes ``ax``, with the times 0 to ``end`` from left to right.

    Every artist is named by its ``gid``. A part of a lane is ``(y, begin, end, is_open)``; times are in seconds, heights in
    lanes. ``hair`` is half a pixel, in seconds.
    """

    def __init__(self, ax, end):
        self.ax, self.end = ax, end
        self.hair = 0.5 * end / ax.get_window_extent().width

    def points(self, number):
        """So many points, in seconds."""
        return number * self.ax.figure.dpi / 72 * 2 * self.hair

    def bars(self, gid, parts, half, **style):
        """Bars ``half`` a lane high to each side, jagged where open. Returns the artist."""
        jag = self.points(theme.JAG)
        outlines = [
            _outline(y, begin, end, half, min(jag, (end - begin) / 2) * is_open)
            for y, begin, end, is_open in self._visible(parts)
        ]
        style = {"edgecolor": "none", "linewidth": 0, "snap": True} | style
        return self.ax.add_collection(PolyCollection(outlines, gid=gid, **style), autolim=False)

    def lines(self, gid, parts, **style):
        """Lines along the lanes."""
        self.segments(gid, [[(begin, y), (end, y)] for y, begin, end, _ in self._visible(parts)], **style)

    def stripes(self, gid, parts, half, apart, **style):
        """Upright lines, ``apart`` points from one another, across what would be bars of these parts."""
        step = self.points(apart)
        upright = [
            [(t, y - half), (t, y + half)] for y, begin, end, _ in parts for t in np.arange(begin + step / 2, end, step)
        ]
        self.segments(gid, upright, linewidths=0.9, zorder=0.6, **style)

    def segments(self, gid, segments, **style):
        """Straight lines, each between two pairs of a time and a height."""
        self.ax.add_collection(LineCollection(segments, gid=gid, capstyle="butt", **style), autolim=False)

    def markers(self, gid, points, marker, color, size=theme.MARKER, edge=0.0, **style):
        """A marker at each of ``points``, pairs of a time and a height; ``edge`` is the width of its outline."""
        self.ax.plot(
            *np.array(thinned(points, self.hair)).reshape(-1, 2).T,
            linestyle="none",
            marker=marker,
            markersize=size,
            color=color,
            markeredgewidth=edge,
            clip_on=False,
            gid=gid,
            zorder=5,
            **style,
        )

    def _visible(self, parts):
        """Each part at least a pixel long; of very many, those that touch as one."""
        return joined(
            [(y, begin, max(end, begin + 2 * self.hair), is_open) for y, begin, end, is_open in parts], self.hair
        )


def _outline(y, begin, end, half, jag):
    """The outline of a bar around ``y``; its end is torn ``jag`` seconds deep."""
    teeth = 6 if jag else 1
    right = [(end - jag * (number % 2), y - half + 2 * half * number / teeth) for number in range(teeth + 1)]
    return [(begin, y + half), (begin, y - half), *right]
