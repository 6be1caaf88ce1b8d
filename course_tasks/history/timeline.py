"""The timeline: one picture of who was inside, who held the lock, who waited, and what the inbox received.

The grammar, the same in every lesson: one lane for each process, time to the right. A thick bar is a stay inside the
critical section; hatched where two or more are inside. A pale bar is a task that runs outside of it. The thin line under
a bar is the lock being held, with a tick where it is given back or its lease ends, and dots where the lease is renewed.
Dots on the lane are waiting, a cross is a task that went away, a jagged end one that was never seen to end. A pale band
is a pause; a lane's line is missing while its process is dead.

``draw`` needs a DataFrame and an Axes, and neither Redis nor Celery. Marks of one kind are one artist, named by its gid.
"""

import numpy as np
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.ticker import MaxNLocator

from course_tasks.history import theme
from course_tasks.history.captions import caption
from course_tasks.history.findings import Findings
from course_tasks.history.labels import Labels
from course_tasks.history.pairing import intervals
from course_tasks.history.story import finding


def draw(events, ax, title=None, findings=None, end=None):
    """Draw ``events`` (a DataFrame from ``frame``) on ``ax`` and return it.

    ``title`` is the finding by default; ``findings`` are the :class:`Findings` of ``events`` where they are known
    already; ``end`` is where the time axis ends, in seconds, by default with the run. The axes should have their final place and size: labels are put where there is room for them, and left
    out where there is none. A run that goes on has no "ended" event: it is drawn up to its last event, on an axis as long
    as was planned.
    """
    findings = findings or Findings(events, intervals(events))
    scene = Scene(findings, ax, end or end_of_axis(findings))
    scene.prepare(finding(findings) if title is None else title)
    scene.faults()
    scene.lines()
    scene.bars()
    scene.locks()
    scene.marks()
    caption(scene, Labels(ax))
    return ax


def end_of_axis(findings):
    """Where the time axis ends, in seconds: at the run's end, or, while it goes on, where it is planned to."""
    events = findings.events
    last = events.t.max() if len(events) else 0.0
    if findings.kinds["ended"]:
        last = events.t[events.kind == "ended"].iloc[-1]
    else:
        last = max(last, findings.began.get("seconds") or 0.0)
    return last or 1.0


class Scene:
    """What is drawn where. ``y`` gives each lane's height; ``solid`` and ``together`` are the bars' parts."""

    def __init__(self, findings, ax, end):
        self.findings, self.ax, self.end = findings, ax, end
        self.events, self.intervals = findings.events, findings.intervals
        self.y = {lane: number for number, lane in enumerate(findings.lanes)}
        self.paused = self.of("paused")
        self.waiting = self.of("waiting")
        self.holding = self.of("holding")
        self.running = self.of("running")
        self.together = [(stay, begin, end) for stay, begin, end in findings.together.pieces]
        self.solid = list(_alone(self.of("inside"), self.together))
        self.kills = [row for row in self.happened("fault ended") if row.detail["fault"] == "kill"]

    def of(self, kind):
        """The intervals of this kind, as named tuples."""
        return list(self.intervals[self.intervals.kind == kind].itertuples())

    def happened(self, kind):
        """The events of this kind, as named tuples."""
        return list(self.events[self.events.kind == kind].itertuples())

    def prepare(self, title):
        """Axes without a frame, lanes from top to bottom, the time below, the title flush with the lanes' names."""
        ax = self.ax
        ax.set_xlim(0, self.end)
        ax.set_ylim(max(len(self.y), 1) - 0.44, -0.62)
        ax.set_yticks(list(self.y.values()), list(self.y), fontproperties=theme.font(theme.LANE_SIZE), color=theme.INK)
        ax.tick_params(axis="y", length=0, pad=8)
        ax.tick_params(axis="x", color=theme.MUTED, labelcolor=theme.MUTED, length=4)
        ax.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
        for label in ax.get_xticklabels():
            label.set_fontproperties(theme.font(theme.TICK_SIZE))
        ax.spines[["left", "top", "right"]].set_visible(False)
        ax.spines["bottom"].set_color(theme.MUTED)
        ax.patch.set_visible(False)
        ax.set_xlabel("seconds since the run began", loc="left", color=theme.MUTED,
                      fontproperties=theme.font(theme.TICK_SIZE))
        left = ax.get_window_extent().x0 / ax.figure.dpi * 72 - theme.MARGIN
        ax.annotate(title, (0, 1), (-left, 16), xycoords="axes fraction", textcoords="offset points", va="bottom",
                    color=theme.INK, fontproperties=theme.font(theme.TITLE_SIZE), parse_math=False, gid="title",
                    annotation_clip=False)

    def faults(self):
        """A pale band for each pause."""
        boxes = [_bar(row.begin, row.until, self.y[row.lane], theme.BAND_HALF) for row in self.paused]
        self._polygons("paused", boxes, facecolor=theme.MUTED, alpha=theme.BAND, zorder=0.5)

    def lines(self):
        """Each lane's line, as long as its process lives."""
        segments = []
        for lane, y in self.y.items():
            edges = [0.0]
            for kill in (kill for kill in self.kills if kill.lane == lane):
                later = self.events.t[(self.events.lane == lane) & (self.events.index > kill.Index)]
                edges += [kill.t, later.iloc[0] if len(later) else self.end]
            segments += [[(begin, y), (end, y)] for begin, end in zip(edges[::2], [*edges[1::2], self.end], strict=True)]
        self._lines("lanes", segments, colors=theme.MUTED, alpha=theme.FAINT, linewidths=1.1, zorder=1)

    def bars(self):
        """Pale: a task runs; solid: inside the critical section; hatched: inside together with another."""
        pale = [self._stay(row, row.begin, row.until) for row in self.running]
        solid = [self._stay(*part) for part in self.solid]
        together = [self._stay(*part) for part in self.together]
        self._polygons("running", pale, facecolor=theme.INSIDE, alpha=theme.PALE, zorder=2)
        self._polygons("inside", solid, facecolor=theme.INSIDE, zorder=3)
        hatched = self._polygons("together", together, facecolor=theme.TOGETHER, edgecolor=theme.ON_BAR, hatch="/////",
                                 zorder=3)
        hatched.set_hatch_linewidth(1.3)

    def locks(self):
        """A line while the lock is held, its end a tick; dots where the lease was renewed; dots on the lane: waiting."""
        below = {lane: y + theme.HELD for lane, y in self.y.items()}
        held = [[(row.begin, below[row.lane]), (row.until, below[row.lane])] for row in self.holding]
        ticks = [
            [(row.end, below[row.lane] - theme.HELD_TICK), (row.end, below[row.lane] + theme.HELD_TICK)]
            for row in self.holding if row.end == row.end
        ]
        renewed = [(row.t, below[row.lane]) for row in self.happened("renewed")]
        waiting = [[(row.begin, self.y[row.lane]), (row.until, self.y[row.lane])] for row in self.waiting]
        self._lines("holding", held, colors=theme.INK, linewidths=1.7, zorder=3)
        self._lines("held until", ticks, colors=theme.INK, linewidths=1.7, zorder=3)
        self._markers("renewed", renewed, "o", theme.INK, size=4.5)
        self._lines("waiting", waiting, colors=theme.MUTED, linewidths=2.4, linestyles=[(0, (1, 1.2))], zorder=4)

    def marks(self):
        """What takes no time: ticks, tasks that went away or failed, mails in the inbox."""
        delivered = self.events[self.events.kind == "delivered"]
        again = delivered.mail.duplicated() & delivered.mail.notna()
        for gid, rows, marker, color in (
            ("sent", [row for row in self.happened("sent") if row.lane in self.y], "v", theme.INK),
            ("skipped", self.happened("skipped"), "x", theme.MUTED),
            ("retried", self.happened("retried"), "o", theme.INK),
            ("failed", self.happened("failed"), "X", theme.INK),
            ("delivered", list(delivered[~again].itertuples()), "s", theme.INSIDE),
            ("delivered again", list(delivered[again].itertuples()), "D", theme.TOGETHER),
        ):
            self._markers(gid, [(row.t, self.y[row.lane]) for row in rows], marker, color)

    def _stay(self, row, begin, end):
        """The outline of a part of an interval; jagged where it stops without having ended."""
        is_open = row.end != row.end and end == row.until
        jag = theme.JAG * self.ax.figure.dpi / 72 * self.end / self.ax.get_window_extent().width if is_open else 0.0
        return _bar(begin, end, self.y[row.lane], theme.BAR, min(jag, (end - begin) / 2))

    def _polygons(self, gid, outlines, **style):
        style = {"edgecolor": "none", "linewidth": 0, "snap": True} | style
        return self.ax.add_collection(
            PolyCollection(outlines, gid=gid, rasterized=len(outlines) > theme.RASTER, **style), autolim=False
        )

    def _lines(self, gid, segments, **style):
        lines = LineCollection(segments, gid=gid, rasterized=len(segments) > theme.RASTER, capstyle="butt", **style)
        return self.ax.add_collection(lines, autolim=False)

    def _markers(self, gid, points, marker, color, size=theme.MARKER):
        points = np.array(points, dtype=float).reshape(-1, 2)
        edge = {"markeredgewidth": 2.0 if marker == "x" else 1.5 if marker == "o" and size == theme.MARKER else 0.0}
        face = theme.PAPER if marker == "o" and size == theme.MARKER else color
        self.ax.plot(*points.T, linestyle="none", marker=marker, markersize=size, color=color, markerfacecolor=face,
                     clip_on=False, gid=gid, zorder=5, rasterized=len(points) > theme.RASTER, **edge)


def _bar(begin, end, y, half, jag=0.0):
    """The outline of a bar around ``y``, ``half`` a lane high to each side; its end is torn ``jag`` seconds deep."""
    right = [(end - jag * (number % 2), y - half + 2 * half * number / 6) for number in range(7)] if jag else [
        (end, y - half), (end, y + half)
    ]
    return [(begin, y + half), (begin, y - half), *right]


def _alone(stays, together):
    """What is left of ``stays`` when the parts ``together`` are cut out, as ``(stay, begin, end)`` like those."""
    cut = {}
    for stay, begin, end in together:
        cut.setdefault(stay.begin_order, []).append((begin, end))
    for stay in stays:
        edges = [stay.begin, *(edge for part in cut.get(stay.begin_order, ()) for edge in part), stay.until]
        yield from ((stay, begin, end) for begin, end in zip(edges[::2], edges[1::2], strict=True) if end > begin)
