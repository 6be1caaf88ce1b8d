"""What a cell shows: the timeline, the line of text beneath it, and the same text for who cannot see the picture.

Figures are made without pyplot, so that nothing is kept, counted or shown behind the reader's back.
"""

import html
import io
import re
import secrets

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
        drawn = self._printed("svg").decode()
        drawn = drawn[drawn.index("<svg"):]
        drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
        for color, variable in theme.VARIABLES.items():
            drawn = drawn.replace(color, variable)
        # Ids are the page's, not the picture's: without a prefix, two pictures would share their hatching.
        prefix = f"t{secrets.token_hex(4)}-"
        drawn = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{prefix}", drawn)
        width = self.figure.get_figwidth() * 96
        style = f"width: 100%; max-width: {width:.0f}px; height: auto"
        root = f'role="img" aria-label="{html.escape(self._alt)}" style="{style}"'
        return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"|height="[\d.]+pt" ', "", drawn, count=2).replace(
            "<svg", f"<svg {root}", 1
        )

    def png(self, scale=1.0):
        """The picture as PNG bytes, on white; ``scale`` is the number of pixels for a CSS pixel."""
        return self._printed("png", dpi=96 * scale, metadata={"Description": self._alt})

    def save(self, path):
        """Write the picture, on white, to ``path``, whose suffix is .svg or .png. The same picture is the same file."""
        path = str(path)
        if path.endswith(".png"):
            drawn = self.png(2.0)
        else:
            drawn = self._printed("svg", metadata={"Title": self._alt, "Date": None}, facecolor=theme.PAPER)
        with open(path, "wb") as file:
            file.write(drawn)

    def _printed(self, suffix, **options):
        buffer = io.BytesIO()
        options = {"transparent": suffix == "svg" and "facecolor" not in options} | options
        with rc_context({"svg.fonttype": "path", "svg.hashsalt": "history"}):
            self.figure.savefig(buffer, format=suffix, **options)
        return buffer.getvalue()

    @property
    def _alt(self):
        return self.text

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/html": self.svg(), "text/plain": repr(self)}

    def __repr__(self):
        return f"{self.title}\n{self.text}"


def picture(events, title=None):
    """Return the :class:`Picture` of one run's ``events`` (from ``frame``); ``title`` is the finding by default."""
    return _pictured({None: events}, title)


def compare(runs):
    """Return one :class:`Picture` of several runs on one time axis. ``runs``: name -> events (from ``frame``)."""
    return _pictured(runs, None)


def _pictured(runs, title):
    found = {name: Findings(events, intervals(events)) for name, events in runs.items()}
    titles = [title or (finding(run) if name is None else f"{name}: {_small(finding(run))}") for name, run in found.items()]
    texts = [summary(run) if name is None else f"{name}: {summary(run)}" for name, run in found.items()]
    lines = [line for text in texts for line in _wrapped(text)]
    heights = [theme.pitch(len(run.lanes)) * (max(1, len(run.lanes)) + 0.18) for run in found.values()]
    rooms = [TITLE_ROOM + height + AXIS_ROOM for height in heights]
    total = sum(rooms) + LINE * len(lines) + theme.MARGIN + 4
    figure = Figure(figsize=(theme.WIDTH / 72, total / 72), dpi=96)
    FigureCanvasAgg(figure)
    top, end = total - 4, max(end_of_axis(run) for run in found.values())
    for run, name, height, room in zip(found.values(), titles, heights, rooms, strict=True):
        bottom = top - TITLE_ROOM - height
        width = theme.WIDTH - theme.LEFT - theme.RIGHT
        ax = figure.add_axes((theme.LEFT / theme.WIDTH, bottom / total, width / theme.WIDTH, height / total))
        draw(run.events, ax, name, run, end)
        top -= room
    for number, line in enumerate(lines):
        figure.text(theme.MARGIN / theme.WIDTH, (top - LINE * (number + 0.5)) / total, line, color=theme.MUTED,
                    fontproperties=theme.font(theme.LABEL_SIZE), parse_math=False, va="center")
    return Picture(figure, "\n".join(titles), "\n".join(texts))


def _wrapped(text):
    """``text`` in lines that fit the picture's width."""
    lines = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and extent(longer, theme.LABEL_SIZE)[0] <= theme.WIDTH - 2 * theme.MARGIN:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _small(sentence):
    """The sentence as it continues after a colon."""
    return sentence[:1].lower() + sentence[1:]
