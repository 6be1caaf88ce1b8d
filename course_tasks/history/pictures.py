"""What a cell shows: the timeline, the line of text beneath it, and the same text for who cannot see the picture.

Figures are made without pyplot, so that nothing is kept, counted or shown behind the reader's back.
"""

import html
import io
import re
import secrets
from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from course_tasks.history import theme
from course_tasks.history.findings import Findings
from course_tasks.history.labels import extent
from course_tasks.history.pairing import intervals
from course_tasks.history.story import finding, summary
from course_tasks.history.timeline import draw, end_of_axis

TITLE_ROOM, AXIS_ROOM, LINE = 34, 40, 14
"""Points above a timeline (its title), below it (the axis) and for each line of text."""


class Picture:
    """One figure and its text. In a notebook it shows itself in the colours of the reader's theme.

    ``figure`` is a matplotlib Figure, ``title`` its finding, ``text`` the line beneath it, which says the same as the
    picture.
    """

    def __init__(self, figure, title, text):
        self.figure, self.title, self.text = figure, title, text

    def svg(self):
        """The picture as SVG to be shown inside a page: as wide as there is room, in the page's colours."""
        drawn = self._printed("svg", facecolor="none").decode()
        drawn = drawn[drawn.index("<svg") :]
        # A style sheet inside a page's SVG would hold for the whole page, JupyterLab's icons included.
        drawn = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</defs>", "", drawn, flags=re.DOTALL)
        for color, variable in theme.VARIABLES.items():
            drawn = drawn.replace(color, variable)
        # Ids are the page's, not the picture's: without a prefix, two pictures would share their hatching.
        prefix = f"t{secrets.token_hex(4)}-"
        drawn = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{prefix}", drawn)
        width = self.figure.get_figwidth() * 96
        style = f"width: 100%; max-width: {width:.0f}px; height: auto; stroke-linejoin: round"
        root = f'role="img" aria-label="{html.escape(self.text)}" style="{style}"'
        return re.sub(r'(?<= )width="[\d.]+pt" height="[\d.]+pt"', root, drawn, count=1)

    def png(self, scale=1.0):
        """The picture as PNG bytes, on white; ``scale`` is the number of pixels for a CSS pixel."""
        return self._printed("png", dpi=96 * scale, facecolor=theme.PAPER, metadata={"Description": self.text})

    def save(self, path):
        """Write the picture, on white, to ``path``, whose suffix is .svg or .png. The same picture is the same file."""
        if Path(path).suffix == ".png":
            drawn = self.png(2.0)
        else:
            drawn = self._printed("svg", metadata={"Title": self.text, "Date": None}, facecolor=theme.PAPER)
        Path(path).write_bytes(drawn)

    def _printed(self, suffix, **options):
        buffer = io.BytesIO()
        with rc_context({"svg.fonttype": "path", "svg.hashsalt": "history", "savefig.bbox": None}):
            self.figure.savefig(buffer, format=suffix, **options)
        return buffer.getvalue()

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/html": self.svg(), "text/plain": repr(self)}

    def __repr__(self):
        return f"{self.title}\n{self.text}"


def picture(events, title=None, over=True, text=None):
    """Return the :class:`Picture` of one run's ``events`` (from ``frame``).

    ``title`` is the finding by default, ``text`` the summary.

    Where the run is not ``over``, nothing is written beneath: the text would say what never came, and was still open.
    """
    return _pictured({None if over else "So far": events}, title, over, text)


def compare(runs):
    """Return one :class:`Picture` of several runs on one time axis. ``runs``: name -> events (from ``frame``)."""
    return _pictured(runs, None)


def _pictured(runs, title, over=True, text=None):
    """One timeline below the other for ``runs``, name -> events; the name None says nothing."""
    found = {name: Findings(events, intervals(events)) for name, events in runs.items()}
    titles = [title or _named(name, finding(run), " \N{EN DASH} ", lower=True) for name, run in found.items()]
    texts = [text or _named(name, summary(run), ": ") for name, run in found.items()] if over else titles
    panels = [_Panel(run, _wrapped(said, theme.TITLE_SIZE)) for run, said in zip(found.values(), titles, strict=True)]
    lines = [line for text in texts for line in _wrapped(text, theme.LABEL_SIZE)] if over else []
    left = max(panel.left for panel in panels)
    end = max(end_of_axis(panel.findings) for panel in panels)
    top = total = sum(panel.room for panel in panels) + LINE * len(lines) + theme.MARGIN
    figure = Figure(figsize=(theme.WIDTH / 72, total / 72), dpi=96)
    FigureCanvasAgg(figure)
    for panel in panels:
        bottom = top - panel.above - panel.height
        width = theme.WIDTH - left - theme.RIGHT
        ax = figure.add_axes((left / theme.WIDTH, bottom / total, width / theme.WIDTH, panel.height / total))
        draw(panel.findings.events, ax, "\n".join(panel.title), panel.findings, end)
        top -= panel.room
    for number, line in enumerate(lines):
        figure.text(
            theme.MARGIN / theme.WIDTH,
            (top - LINE * (number + 0.5)) / total,
            line,
            color=theme.MUTED,
            va="center",
            fontproperties=theme.font(theme.LABEL_SIZE),
            parse_math=False,
            gid="text",
        )
    return Picture(figure, "\n".join(titles), "\n".join(texts))


class _Panel:
    """The room that one run's timeline takes: ``title`` in lines, all lengths in points."""

    def __init__(self, findings, title):
        self.findings, self.title = findings, title
        lanes = findings.lanes
        self.above = TITLE_ROOM + 1.3 * theme.TITLE_SIZE * (len(title) - 1)
        self.height = theme.pitch(len(lanes)) * (max(1, len(lanes)) + 0.18)
        self.room = self.above + self.height + AXIS_ROOM
        self.left = max((extent(lane, theme.LANE_SIZE)[0] for lane in lanes), default=0) + theme.LANE_PAD + theme.MARGIN


def _named(name, sentence, mark, lower=False):
    """The sentence after the run's name, if it has one."""
    if name is None:
        return sentence
    return name + mark + (sentence[:1].lower() + sentence[1:] if lower else sentence)


def _wrapped(text, size):
    """``text`` in lines that fit the picture's width."""
    lines = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and extent(longer, size)[0] <= theme.WIDTH - 2 * theme.MARGIN:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
