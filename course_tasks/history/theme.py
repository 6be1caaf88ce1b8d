"""Colours and sizes of the picture and the card, as names. Lengths are in points unless stated otherwise.

A picture shown in JupyterLab takes ink, paper and grey from the reader's theme: each colour in ``VARIABLES`` stands
for itself when a picture is saved, and for the named CSS variable when it is shown. So whatever must stay white on a
blue bar in a dark theme too has a white of its own.
"""

from functools import cache

INK = "#1b1f24"
PAPER = "#ffffff"
ON_BAR = "#fefefe"
MUTED = "#7a7f87"
INSIDE = "#0072b2"
TOGETHER = "#d55e00"

VARIABLES = {
    INK: f"var(--jp-content-font-color1, {INK})",
    PAPER: f"var(--jp-layout-color0, {PAPER})",
    MUTED: f"var(--jp-content-font-color2, {MUTED})",
}

FAINT = 0.28
"""Opacity of MUTED for a lane's line: reads on white and on black."""
BAND = 0.17
"""Opacity of MUTED for a fault's band."""
PALE = 0.3
"""Opacity of INSIDE for a task that runs outside the critical section."""

TITLE_SIZE = 13
LANE_SIZE = 10.5
TICK_SIZE = 10
LABEL_SIZE = 9
FINDING_SIZE = 11

BAR = 0.215
"""Half a bar's height, in lanes."""
HELD = 0.31
"""How far below its lane's line the line of a held lock lies, in lanes."""
HELD_TICK = 0.08
"""Half the height of the tick at its end, in lanes."""
BAND_HALF = 0.40
"""Half the height of a fault's band, in lanes."""
CUT_HALF = 0.33
"""Half the height of the band of a link that is cut, in lanes: two, one above the other, leave room for a label."""
STRIPES = 8
"""Between two of its stripes."""
THIN, THIN_HALF = 0.36, 0.04
"""How far above its lane's line the band of a slow link lies, and half its height, in lanes."""
SHARED = 0.1
"""Half the height of the bar where a server granted the lock to two who were inside together, in lanes."""

MARKER = 6.5
STROKE = 1.7
"""Width of a held lock's line, and of the tick at its end."""
JAG = 4
"""Depth of the teeth of an open end."""

WIDTH = 720
"""Width of a picture: 960 CSS pixels, about that of a JupyterLab cell."""
RIGHT = 12
"""Room for half of the last tick's label."""
LANE_PAD = 8
"""Between a lane's name and its line."""
MARGIN = 15
"""From the picture's edge to the title and to the line of text."""


@cache
def font(size, weight="normal"):
    """The one typeface of the picture, which comes with matplotlib, in this size and weight."""
    from matplotlib.font_manager import FontProperties  # here, so that who needs only the colours doesn't load it

    return FontProperties(family="DejaVu Sans", size=size, weight=weight)


def pitch(lanes):
    """The distance between lanes in a picture of so many: roomy for a few, closer for ten workers."""
    return max(32.0, min(43.0, 60.0 - 3.0 * lanes))
