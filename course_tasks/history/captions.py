"""What the timeline says in words, beside what it shows: the first of each kind, and more where there is room."""

from itertools import islice

import pandas as pd

from course_tasks.history import incidents, serving, theme
from course_tasks.history.incidents import CLEAR, MANY, beside
from course_tasks.history.labels import extent
from course_tasks.history.wording import count, seconds

MARKS = ("sent", "skipped", "retried", "failed", "delivered", "dropped", "refused")
"""The kinds of events that are drawn as marks."""

NARROW = 30
"""Points below which no word fits into a bar, so that thousands of bars need no measuring."""


def caption(scene, labels):
    """Write the labels of ``scene`` (a timeline.Scene) with ``labels`` (Labels), the most important first."""
    _block(scene, labels)
    for write in IN_TURN:
        write(scene, labels)


def _block(scene, labels):
    """No label may cover a bar, a lock's line or a mark."""
    y, bar = scene.y, theme.BAR
    runs = [(row, row.begin, row.until) for row in scene.lasted["running"]]
    labels.block(
        [(begin, end, y[row.lane] - bar, y[row.lane] + bar) for row, begin, end in scene.solid + scene.together + runs]
    )
    held = [(row, y[row.lane] + theme.HELD) for row in scene.lasted["holding"]]
    waiting = [(row, y[row.lane]) for row in scene.lasted["waiting"]]
    labels.block([(row.begin, row.until, at, at) for row, at in held + waiting], points=1)
    marks = [event for kind in MARKS for event in scene.happened[kind] if event.lane in y]
    labels.block([(event.t, event.t, y[event.lane], y[event.lane]) for event in marks], points=theme.MARKER / 2)
    for spell in scene.findings.servers.cut:  # a label within the band may cover it, but not its ends
        at = y[spell.lane]
        labels.block([(t, t, at - theme.CUT_HALF, at + theme.CUT_HALF) for t in (spell.begin, spell.end)])
    if scene.serving:
        scene.serving.block(labels)


def _commands(scene, labels):
    """What each command was, and its answer; the one that did the damage stands out."""
    for event in scene.happened["command"][:MANY]:
        y = scene.y[event.lane]
        style = {"color": theme.TOGETHER, "weight": "bold"} if event.detail.get("wrong") else {"color": theme.INK}
        labels.place(event.detail["says"], [(event.t, y, 0, dy, "left") for dy in (CLEAR, -CLEAR)], **style)


def _overlap(scene, labels):
    """How many were inside for how long, beside the longest time at which two or more were."""
    stretches = scene.findings.together.stretches
    if not stretches:
        return
    # A counterexample ends with what it is about.
    longest = stretches[-1] if scene.findings.in_steps else max(stretches, key=lambda stretch: stretch.seconds)
    parts = [row for row, begin, end in scene.together if begin >= longest.begin and end <= longest.end]
    concerned = sorted({scene.y[row.lane] for row in parts})
    more = "up to " if longest.most > scene.findings.at_once + 1 else ""
    length = "" if scene.findings.in_steps else f" for {seconds(longest.seconds)}"
    text = f"{more}{longest.most} inside{length}"
    gaps = [lane + 0.5 for lane in concerned[:-1]] + [concerned[0] - 0.5, concerned[-1] + 0.5]
    places = [(longest.end, gap, 10, 0, "left") for gap in gaps]
    places += [(longest.end, gap, -4, 0, "right") for gap in gaps]
    places += [((longest.begin + longest.end) / 2, gap, 0, 0, "center") for gap in gaps]
    places += [(longest.begin, gap, -10, 0, "right") for gap in gaps]
    labels.place(text, places, theme.FINDING_SIZE, "bold", theme.TOGETHER)


def _skipped(scene, labels):
    """What a cross means, for each reason once."""
    told = set()
    for event in scene.happened["skipped"][:MANY]:
        text = _cross(scene.findings, event)
        if text not in told and beside(scene, labels, event, text):
            told.add(text)


def _cross(findings, event):
    """Why a task went away. Where it takes several servers to grant the lock, the lock need not be taken.

    Nor where the task stood still on its way: its own answer, a yes, may have come too late.
    """
    asked = _stood_still(findings, event)
    held = any(row.begin_order < asked and event.Index < row.until_order for row in findings.lasted["holding"])
    if asked < event.Index and not held:
        return "skipped after a pause"
    if not findings.servers.names:
        return "skipped: locked"
    if findings.servers.too_few(event.t, event.lane):
        return "skipped: no majority"
    return "skipped: locked" if held else "skipped: not granted"


def _stood_still(findings, skipped):
    """The order of the first pause within the attempt that ended in ``skipped``; where there is none, that event's own."""
    last = skipped.Index
    pauses = [
        row.begin_order for row in findings.lasted["paused"] if row.lane == skipped.lane and row.begin_order < last
    ]
    attempts = findings.lasted["running"] + findings.lasted["waiting"] if pauses else []
    begun = min((row.begin_order for row in attempts if row.until_order == last), default=last)
    return min((order for order in pauses if order > begun), default=last)


def _lock(scene, labels):
    """What the ticks under the bars mean, but for those of which something else has said it."""
    untold = [row for row in scene.ended if row.begin_order not in scene.told]
    for closed_by, text in (("lease ended", "lease ends"), ("released", "released")):
        for row in islice((row for row in untold if row.closed_by == closed_by), MANY):
            y = scene.y[row.lane] + theme.HELD
            if labels.place(text, [(row.end, y, 5, -4.5, "left"), (row.end, y, -3, -8, "right")], color=theme.INK):
                break


def _tokens(scene, labels):
    """The fencing token of a stay, under its bar."""
    for event in [event for event in scene.happened["acquired"] if event.token is not pd.NA][:MANY]:
        y = scene.y[event.lane] + theme.HELD
        places = [(event.t, y, 0, -8, "left"), (event.t, y, -4, 0, "right")]
        labels.place(f"token {event.token}", places)


def _producer(scene, labels):
    """What the triangles mean."""
    sent = [event for event in scene.happened["sent"] if event.lane in scene.y]
    if not sent:
        return
    every = scene.findings.began.get("every")
    text = f"a tick every {every:g} s" if every and sent[0].lane == "beat" else f"{count(len(sent), 'task')} sent"
    y = scene.y[sent[0].lane]
    labels.place(text, [(sent[0].t, y, 10, 11, "left"), (sent[0].t, y, 0, 11, "left")])


def _waiting(scene, labels):
    """What the dots on a lane mean."""
    room = NARROW * 2 * scene.canvas.hair * labels.scale
    for row in islice((row for row in scene.lasted["waiting"] if row.until - row.begin > room), MANY):
        y = scene.y[row.lane]
        if labels.place("waiting", [(row.begin, y, 2, CLEAR, "left"), (row.begin, y, 2, -CLEAR, "left")]):
            return


def _inside(scene, labels):
    """Which mail a stay is about; on the first, what a bar means."""
    longest = {}
    for row, begin, end in scene.solid:
        if end - begin > longest.get(row.begin_order, (None, 0, 0))[2]:
            longest[row.begin_order] = row, begin, end - begin
    first = True
    for row, begin, length in longest.values():
        mail = "" if row.mail is pd.NA else f"mail {row.mail}"
        texts = [f"inside, {mail}", "inside", mail] if first and mail else [mail or "inside"]
        first = not _within(scene, labels, row, begin, length, texts, theme.ON_BAR) and first
    if first:
        _after_any(scene, labels, [row for row, _, _ in scene.solid], lambda row: "inside")


def _running(scene, labels):
    """The name of a task that has no critical section, on the first bar of each lane with room for it."""
    named = set()
    for row in () if scene.findings.has_section else scene.lasted["running"]:
        length = row.until - row.begin
        if row.lane not in named and _within(scene, labels, row, row.begin, length, [_short(row)], theme.INK):
            named.add(row.lane)
    if not named and not scene.findings.has_section:
        _after_any(scene, labels, scene.lasted["running"], _short)


def _short(row):
    """The task's name without its module: "add" for "tasks.add"."""
    return (row.name or "").rpartition(".")[2]


def _after_any(scene, labels, rows, text):
    """Write ``text(row)`` after the first bar with room beside it, where none has room within."""
    for row in rows[:MANY]:
        if labels.place(text(row), [(row.until, scene.y[row.lane], 4, 0, "left")], cover=True):
            return


def _within(scene, labels, row, begin, length, texts, color):
    """Write the first of ``texts`` that fits into a bar; return whether one did."""
    room = length / scene.canvas.hair / 2 / labels.scale
    for text in texts if room > NARROW else ():
        if extent(text, theme.LABEL_SIZE)[0] + 12 < room:
            labels.write(text, (begin, scene.y[row.lane], 6, 0, "left"), color=color)
            return True
    return False


IN_TURN = (
    _commands,
    incidents.lost,
    _overlap,
    serving.to_both,
    incidents.again,
    incidents.stale,
    incidents.refused,
    incidents.dropped,
    incidents.killed,
    incidents.restarted,
    incidents.moved,
    incidents.promoted,
    incidents.paused,
    incidents.links,
    _skipped,
    _tokens,
    _lock,
    serving.holders,
    _producer,
    incidents.failed,
    _waiting,
    _inside,
    _running,
)
"""What writes the labels, the most important first."""
