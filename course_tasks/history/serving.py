"""The lanes of lock servers in the timeline: what each granted, and how it fared.

A lane has its line as long as the server is up. On it lies a line like that of a held lock: from when the server granted the
lock, as far as its holder says, until it knew of that no longer. Where it granted the lock to two who were inside together,
both are hatched bars instead. A dot is a server that is back, hollow where it remembers nothing; a dial a clock that was moved;
a triangle a replica that was promoted.
"""

import math
from collections import defaultdict
from itertools import pairwise

from matplotlib.path import Path

from course_tasks.history import theme
from course_tasks.history.labels import extent
from course_tasks.history.thinning import spaced

DIAL = Path.make_compound_path(Path.unit_circle(), Path([(0, 0.65), (0, 0), (0.5, 0)]))
"""A clock's face, and its hands."""

HOLLOW = {"edge": 1.5, "markerfacecolor": theme.PAPER}
MARKS = {
    "restarted from disk": ("o", {}),
    "restarted empty": ("o", HOLLOW),
    "clock moved": (DIAL, {**HOLLOW, "edge": 1.2, "size": 10}),
    "promoted": ("^", {"size": theme.MARKER + 1}),
}
"""What the marks look like: gid -> marker and style."""

TRIED = 200
"""How many names of holders are tried."""


class Serving:
    """What is drawn where on the lanes of the servers of ``scene`` (a timeline.Scene).

    ``granted`` and ``to_both`` are parts of lanes, as a Canvas has them; ``marks`` are pairs of a time and a height, by gid.
    ``named`` are the Grants beside which a label names the holder.
    """

    def __init__(self, scene):
        self.scene, self.findings = scene, scene.findings
        self.granted, self.to_both, self.named = [], [], set()
        doubled = {
            (hold.begin_order, server)
            for double in self.findings.doubles
            for hold in (double.first, double.second)
            for server in double.why
        }
        for grant in self.findings.grants.all:
            twice = (grant.hold.begin_order, grant.lane) in doubled
            (self.to_both if twice else self.granted).extend(self._known(grant))
        servers = self.findings.servers
        back = [(down.end, scene.y[down.lane], down.detail["memory"]) for down in servers.down if down.end < math.inf]
        self.marks = {
            "restarted from disk": [(t, y) for t, y, memory in back if memory],
            "restarted empty": [(t, y) for t, y, memory in back if not memory],
            "clock moved": [(spell.begin, scene.y[spell.lane]) for spell in servers.moved],
            "promoted": [(spell.begin, scene.y[spell.lane]) for spell in servers.promoted],
        }

    def _known(self, grant):
        """The parts of its lane on which the server knew of ``grant``: not while it was dead and had it on disk."""
        end, y = min(grant.end, self.findings.end), self.scene.y[grant.lane]
        dead = [down for down in self.findings.servers.down if down.lane == grant.lane]
        edges = [t for down in dead if grant.begin < down.begin < end for t in (down.begin, min(down.end, end))]
        edges = [grant.begin, *edges, end]
        return [(y, since, until, False) for since, until in zip(edges[::2], edges[1::2], strict=True) if since < until]

    def draw(self):
        """Draw it."""
        canvas, y = self.scene.canvas, self.scene.y
        canvas.lines("granted", self.granted, colors=theme.INK, linewidths=theme.STROKE, zorder=3)
        style = {"facecolor": theme.TOGETHER, "edgecolor": theme.ON_BAR, "hatch": "/////"}
        canvas.bars("granted to both", self.to_both, theme.SHARED, zorder=3, **style).set_hatch_linewidth(1.3)
        # One that ended with the server has no tick: it was not the lock that ended.
        ended = [grant for grant in self.findings.grants.all if grant.end <= self.findings.end and grant.why != "died"]
        ends = [(grant.end, y[grant.lane]) for grant in spaced(ended, canvas.points(5 * theme.STROKE))]
        ticks = [[(t, y - theme.HELD_TICK), (t, y + theme.HELD_TICK)] for t, y in ends]
        canvas.segments("granted until", ticks, colors=theme.INK, linewidths=theme.STROKE, zorder=3)
        for gid, points in self.marks.items():
            marker, style = MARKS[gid]
            canvas.markers(gid, points, marker, theme.INK, **style)

    def block(self, labels):
        """No label may cover any of it."""
        bar = theme.SHARED
        labels.block([(since, until, y, y) for y, since, until, _ in self.granted], points=1)
        labels.block([(since, until, y - bar, y + bar) for y, since, until, _ in self.to_both])
        labels.block([(t, t, y, y) for points in self.marks.values() for t, y in points], points=theme.MARKER / 2)


def to_both(scene, labels):
    """Where one server granted the lock to two who were inside together, and to whom."""
    of = scene.findings.grants.of
    for double in scene.findings.doubles[:TRIED]:
        for server in double.why:
            for hold in (double.first, double.second):
                _holder(scene, labels, of[hold.begin_order][server])
            t, y = double.second.begin, scene.y[server]
            places = [(t, y, 0, -10, "left"), (t, y, 0, 10, "left"), (t, y, -6, 0, "right")]
            labels.place("granted to both", places, weight="bold", color=theme.TOGETHER)


def holders(scene, labels):
    """To whom a server granted the lock, where there is room for the name until it grants it again."""
    lanes, tried = defaultdict(list), 0
    for grant in scene.findings.grants.all:
        lanes[grant.lane].append(grant)
    for grants in lanes.values():
        begins = [*(grant.begin for grant in grants), scene.canvas.end]
        for grant, (begin, following) in zip(grants, pairwise(begins), strict=True):
            if tried < TRIED and extent(grant.hold.lane, theme.LABEL_SIZE)[0] < (
                following - begin
            ) / scene.canvas.points(1):
                tried += 1
                _holder(scene, labels, grant)


def _holder(scene, labels, grant):
    """Write the name beside a grant; once only, however often it is asked for."""
    if grant not in scene.serving.named:
        y = scene.y[grant.lane]
        places = [(grant.begin, y, 0, 9, "left"), (grant.begin, y, 0, -9, "left")]
        if labels.place(grant.hold.lane, places):
            scene.serving.named.add(grant)
