"""Placing labels so that none lies on another, nor on a bar: the first place that is free, or none.

All boxes are in pixels of the figure, so the axes must have their final size and limits first.
"""

from functools import lru_cache

import numpy as np
from matplotlib.textpath import text_to_path

from course_tasks.history import theme

AIR = 1.5
"""Points of air around a label."""


@lru_cache(maxsize=4096)
def extent(text, size, weight="normal"):
    """Width and height of ``text`` in points."""
    width, height, _ = text_to_path.get_text_width_height_descent(text, theme.font(size, weight), ismath=False)
    return width, max(height, 0.95 * size)


class Labels:
    """The labels of one Axes: ``block`` what they must not cover, then ``place`` them, the most important first."""

    def __init__(self, ax):
        self.ax = ax
        self.scale = ax.figure.dpi / 72
        self.taken = np.empty((0, 4))
        self.view = ax.get_window_extent().extents

    def block(self, boxes, points=0.0):
        """Keep clear of ``boxes``: rows of ``x0, x1, y0, y1`` in data coordinates, ``points`` wider on all sides."""
        boxes = np.asarray(boxes, dtype=float).reshape(-1, 4)
        corners = [self.ax.transData.transform(boxes[:, pair]) for pair in ((0, 2), (1, 3))]
        low, high = np.minimum(*corners), np.maximum(*corners)
        self.taken = np.vstack([self.taken, np.hstack([low - points * self.scale, high + points * self.scale])])

    def place(self, text, places, size=theme.LABEL_SIZE, weight="normal", color=theme.MUTED, cover=False):
        """Write ``text`` at the first of ``places`` that is free, and return the artist, or None where none is.

        A place is ``(x, y, dx, dy, align)``: a point in data coordinates, an offset from it in points (up is
        positive), and "left", "right" or "center". The text is centred vertically on it. ``cover`` puts paper
        behind it, where it interrupts a line.
        """
        for place in places:
            box = self._box(place, *extent(text, size, weight))
            if self._free(box):
                self.taken = np.vstack([self.taken, box])
                return self.write(text, place, size, weight, color, cover)
        return None

    def write(self, text, place, size=theme.LABEL_SIZE, weight="normal", color=theme.MUTED, cover=False):
        """Write ``text`` at ``place``, whatever is there, and return the artist."""
        x, y, dx, dy, align = place
        return self.ax.annotate(
            text,
            (x, y),
            (dx, dy),
            textcoords="offset points",
            ha=align,
            va="center_baseline",
            color=color,
            fontproperties=theme.font(size, weight),
            parse_math=False,
            zorder=6,
            annotation_clip=False,
            bbox={"facecolor": theme.PAPER, "edgecolor": "none", "pad": 2.5} if cover else None,
        )

    def _box(self, place, width, height):
        """The pixels that a label of this size covers there, as ``x0, y0, x1, y1``."""
        x, y, dx, dy, align = place
        across, up = self.ax.transData.transform((x, y)) + np.array([dx, dy]) * self.scale
        across -= {"left": 0, "center": width / 2, "right": width}[align] * self.scale
        air = AIR * self.scale
        half = height / 2 * self.scale
        return np.array([across - air, up - half - air, across + width * self.scale + air, up + half + air])

    def _free(self, box):
        """Whether the box lies within the axes, give or take the margin on the right, and touches nothing taken."""
        left, bottom, right, top = self.view
        if box[0] < left - 1 or box[1] < bottom or box[2] > right + theme.RIGHT * self.scale or box[3] > top:
            return False
        taken = self.taken
        hit = (taken[:, 0] < box[2]) & (taken[:, 2] > box[0]) & (taken[:, 1] < box[3]) & (taken[:, 3] > box[1])
        return not hit.any()
