"""The timeline: one picture of who was inside, who held the lock, who waited, and what the inbox received.

The grammar, the same in every lesson: one lane for each process, time to the right. A thick bar is a stay inside the
critical section; hatched where two or more are inside, or more than may be. A pale bar is a task that runs outside of it.
The thin line under a bar is the lock being held, with a tick where it ends or is given back, dots where its lease is
renewed, and an open dot where its holder finds it lost. Dots on the lane are waiting, a cross is a task that went away, a
"no entry" a write that the database refused, a jagged end one that was never seen to end. A pale band is a pause, a striped
one a link that is cut, a thin one a link that is slow; a lane's line is missing while its process is dead. Of the lanes of lock
servers, serving.py tells.

``draw`` needs a DataFrame and an Axes, neither Redis nor Celery. Marks of one kind are one artist, named by its gid.
"""

from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from course_tasks.history import theme
from course_tasks.history.canvas import Canvas
from course_tasks.history.captions import caption
from course_tasks.history.findings import Findings
from course_tasks.history.labels import Labels
from course_tasks.history.pairing import intervals
from course_tasks.history.serving import Serving
from course_tasks.history.story import finding
from course_tasks.history.thinning import spaced, thinned

# A disc, and a slit left out of it, drawn the other way round: the marker's edge, in paper's colour, makes it a bar.
_BAR = Path([(-0.5, -0.06), (-0.5, 0.06), (0.5, 0.06), (0.5, -0.06), (-0.5, -0.06)], closed=True)
NO_ENTRY = Path.make_compound_path(Path.unit_circle(), _BAR)


def draw(events, ax, title=None, findings=None, end=None):
    """Draw ``events`` (a DataFrame from ``frame``) on ``ax`` and return it.

    ``title`` is the finding by default; ``findings`` are the :class:`Findings` of ``events`` where they are known
    already; ``end`` is where the time axis ends, in seconds, by default with the run. The axes should have their final
    place and size: labels are put where there is room for them, and left out where there is none.
    """
    findings = findings or Findings(events, intervals(events))
    scene = Scene(findings, ax, end or end_of_axis(findings))
    scene.prepare(finding(findings) if title is None else title)
    scene.faults()
    scene.lines()
    scene.bars()
    scene.locks()
    scene.marks()
    if scene.serving:
        scene.serving.draw()
    caption(scene, Labels(ax))
    return ax


def end_of_axis(findings):
    """Where the time axis ends, in seconds: with the run, or, as long as it goes on, where it is planned to end."""
    if findings.happened["ended"]:
        return findings.happened["ended"][-1].t
    latest = findings.events.t.max() if len(findings.events) else 0.0
    return max(latest, findings.began.get("seconds") or 0.0) or 1.0


class Scene:
    """What is drawn where, on the axes ``ax`` with the times 0 to ``end``.

    ``y`` gives each lane's height; ``solid`` and ``together`` are the parts of the stays inside, alone and with others,
    each ``(stay, begin, end)``; ``ended`` are the intervals of a held lock whose end gets a tick, ``told`` the begin_order
    of those of which a label says how they ended; ``serving`` is what the lanes of lock servers show, where there are any.
    It is drawn on ``canvas``.
    """

    def __init__(self, findings, ax, end):
        self.findings, self.canvas = findings, Canvas(ax, end)
        self.happened, self.lasted = findings.happened, findings.lasted
        self.y = {lane: number for number, lane in enumerate(findings.lanes)}
        self.together = findings.together.pieces
        self.solid = list(_alone(self.lasted["inside"], self.together))
        ended = [row for row in self.lasted["holding"] if row.end == row.end]
        self.serving = Serving(self) if findings.servers.names else None
        self.ended, self.told = spaced(ended, self.canvas.points(5 * theme.STROKE)), set()

    def prepare(self, title):
        """Axes without a frame, lanes from top to bottom, the time below, the title flush with the lanes' names."""
        ax = self.canvas.ax
        ax.set_xlim(0, self.canvas.end)
        ax.set_ylim(max(len(self.y), 1) - 0.44, -0.62)
        ax.set_yticks(list(self.y.values()), list(self.y), fontproperties=theme.font(theme.LANE_SIZE), color=theme.INK)
        ax.tick_params(axis="y", length=0, pad=theme.LANE_PAD)
        ax.tick_params(axis="x", color=theme.MUTED, labelcolor=theme.MUTED, length=4)
        in_steps = self.findings.in_steps
        ax.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=in_steps))
        for label in ax.get_xticklabels():
            label.set_fontproperties(theme.font(theme.TICK_SIZE))
        ax.spines[["left", "top", "right"]].set_visible(False)
        ax.spines["bottom"].set_color(theme.MUTED)
        ax.patch.set_visible(False)
        unit = "steps" if in_steps else "seconds since the run began"
        ax.set_xlabel(unit, loc="left", color=theme.MUTED, fontproperties=theme.font(theme.TICK_SIZE))
        to_margin = theme.MARGIN - ax.get_window_extent().x0 / ax.figure.dpi * 72
        ax.annotate(
            title,
            (0, 1),
            (to_margin, 11),
            xycoords="axes fraction",
            textcoords="offset points",
            va="bottom",
            gid="title",
            color=theme.INK,
            fontproperties=theme.font(theme.TITLE_SIZE),
            parse_math=False,
            annotation_clip=False,
        )

    def faults(self):
        """A pale band for each pause; striped, where a link is cut; thin, where one is slow."""
        pale = {"facecolor": theme.MUTED, "alpha": theme.BAND, "zorder": 0.5}
        bands = [(self.y[row.lane], row.begin, row.until, False) for row in self.lasted["paused"]]
        self.canvas.bars("paused", bands, theme.BAND_HALF, **pale)
        servers = self.findings.servers
        if servers.cut:
            cut = self._spells(servers.cut)
            self.canvas.bars("cut", cut, theme.CUT_HALF, **pale)
            self.canvas.stripes("stripes", cut, theme.CUT_HALF, theme.STRIPES, colors=theme.MUTED, alpha=theme.BAND)
        if servers.slow:
            slow = [(y - theme.THIN, *rest) for y, *rest in self._spells(servers.slow)]
            self.canvas.bars("slow", slow, theme.THIN_HALF, **pale | {"alpha": 2 * theme.BAND})

    def lines(self):
        """Each lane's line, as long as its process lives."""
        end, segments = self.canvas.end, []
        for lane, y in self.y.items():
            begin = 0.0
            for died, back in self._dead(lane):
                segments.append((y, begin, died, False))
                begin = back
            segments += [(y, begin, end, False)] if begin < end else []
        self.canvas.lines("lanes", segments, colors=theme.MUTED, alpha=theme.FAINT, linewidths=1.1, zorder=1)

    def _dead(self, lane):
        """From when until when the process of this lane was dead. A worker is back as soon as it is heard of."""
        if lane in self.findings.servers.names:
            return [(down.begin, down.end) for down in self.findings.servers.down if down.lane == lane]
        events, dead = self.findings.events, []
        for kill in (kill for kill in self.findings.kills if kill.lane == lane):
            later = events.t[(events.lane == lane) & (events.index > kill.Index)]
            dead.append((kill.t, later.iloc[0] if len(later) else self.canvas.end))
        return dead

    def bars(self):
        """Pale: a task runs; solid: inside the critical section; hatched: inside together with another.

        A seam of paper before each keeps two runs in a row from looking like one, as long as there is room for it.
        """
        # A task that went away at once is a cross and nothing else.
        ran = [
            row
            for row in self.lasted["running"]
            if row.closed_by != "skipped" or row.end - row.begin > 8 * self.canvas.hair
        ]
        pale = [self._part(row, row.begin, row.until) for row in ran]
        solid = [self._part(*part) for part in self.solid]
        together = [self._part(*part) for part in self.together]
        self.canvas.bars("running", pale, theme.BAR, facecolor=theme.INSIDE, alpha=theme.PALE, zorder=2)
        self.canvas.bars("inside", solid, theme.BAR, facecolor=theme.INSIDE, zorder=3)
        hatched = self.canvas.bars(
            "together", together, theme.BAR, facecolor=theme.TOGETHER, edgecolor=theme.ON_BAR, hatch="/////", zorder=3
        )
        hatched.set_hatch_linewidth(1.3)
        wide = [
            row for row in self.lasted["inside"] + ran if row.until - row.begin > self.canvas.points(2 * theme.STROKE)
        ]
        begins = [(row.begin, self.y[row.lane]) for row in wide]
        seams = [[(t, y - theme.BAR), (t, y + theme.BAR)] for t, y in begins]
        self.canvas.segments("seams", seams, colors=theme.PAPER, linewidths=0.9, zorder=3.5)

    def locks(self):
        """A line while the lock is held, its end a tick; dots where the lease was renewed or lost; dotted while waiting."""
        held = [self._part(row, row.begin, row.until, theme.HELD) for row in self.lasted["holding"]]
        self.canvas.lines("holding", held, colors=theme.INK, linewidths=theme.STROKE, zorder=3)
        ends = thinned([(row.end, self.y[row.lane] + theme.HELD) for row in self.ended], self.canvas.hair)
        ticks = [[(end, y - theme.HELD_TICK), (end, y + theme.HELD_TICK)] for end, y in ends]
        self.canvas.segments("held until", ticks, colors=theme.INK, linewidths=theme.STROKE, zorder=3)
        self._markers("renewed", self.happened["renewed"], "o", theme.INK, size=4.5, below=theme.HELD)
        hollow = {"edge": 1.3, "markerfacecolor": theme.PAPER}
        self._markers("lost", self.happened["lost"], "o", theme.INK, size=5, below=theme.HELD, **hollow)
        waiting = [self._part(row, row.begin, row.until) for row in self.lasted["waiting"]]
        self.canvas.lines("waiting", waiting, colors=theme.MUTED, linewidths=2.4, linestyles=[(0, (1, 1.2))], zorder=4)

    def marks(self):
        """What takes no time: ticks, tasks that went away or failed, mails in the inbox."""
        first = {events[0].Index for events in self.findings.deliveries.values()}
        mails = self.happened["delivered"]
        self._markers("sent", [event for event in self.happened["sent"] if event.lane in self.y], "v", theme.INK)
        self._markers("skipped", self.happened["skipped"], "x", theme.MUTED, edge=2.0)
        self._markers("retried", self.happened["retried"], "o", theme.INK, edge=1.5, markerfacecolor=theme.PAPER)
        self._markers("failed", self.happened["failed"], "X", theme.INK, size=8.5)
        self._markers("delivered", [mail for mail in mails if mail.Index in first], "s", theme.INSIDE)
        self._markers("delivered again", [mail for mail in mails if mail.Index not in first], "D", theme.TOGETHER)
        hollow = {"edge": 1.5, "markerfacecolor": theme.PAPER}
        self._markers("dropped", self.happened["dropped"], "s", theme.INSIDE, size=theme.MARKER - 1, **hollow)
        self._markers(
            "refused", self.happened["refused"], NO_ENTRY, theme.INK, size=11, edge=1.4, markeredgecolor=theme.PAPER
        )
        self._markers("stale", self.findings.stale_writes, "D", theme.TOGETHER, edge=0.8, markeredgecolor=theme.PAPER)

    def _spells(self, spells):
        """The parts of lanes on which these went on."""
        return [(self.y[spell.lane], spell.begin, min(spell.end, self.findings.end), False) for spell in spells]

    def _part(self, row, begin, end, below=0.0):
        """A part of an interval as ``(y, begin, end, is_open)``: open where it stops without having ended."""
        return self.y[row.lane] + below, begin, end, row.end != row.end and end == row.until

    def _markers(self, gid, events, marker, color, below=0.0, **style):
        """A marker for each event, on its lane or ``below`` it."""
        self.canvas.markers(gid, [(event.t, self.y[event.lane] + below) for event in events], marker, color, **style)


def _alone(stays, together):
    """What is left of ``stays`` when the parts ``together`` are cut out, as ``(stay, begin, end)`` like those."""
    cut = {}
    for stay, begin, end in together:
        cut.setdefault(stay.begin_order, []).extend((begin, end))
    for stay in stays:
        edges = [stay.begin, *cut.get(stay.begin_order, ()), stay.until]
        yield from ((stay, begin, end) for begin, end in zip(edges[::2], edges[1::2], strict=True) if end > begin)
