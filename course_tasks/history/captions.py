"""What the timeline says in words, directly beside what it shows: the first of each kind, and more where there is room."""

from itertools import islice

import numpy as np

from course_tasks.history import theme
from course_tasks.history.labels import extent
from course_tasks.history.wording import count, seconds

MANY = 40
"""How many labels of one kind are tried. In a picture so full that more would matter, none has room."""


def caption(scene, labels):
    """Write the labels of ``scene`` (a timeline.Scene) with ``labels`` (Labels), the most important first."""
    _block(scene, labels)
    for write in (_overlap, _again, _killed, _paused, _skipped, _lock, _producer, _tried, _waiting, _inside, _running):
        write(scene, labels)


def _block(scene, labels):
    """No label may cover a bar, a lock's line or a mark."""
    y, bar = scene.y, theme.BAR
    bars = [(begin, end, y[row.lane] - bar, y[row.lane] + bar) for row, begin, end in scene.solid + scene.together]
    bars += [(row.begin, row.until, y[row.lane] - bar, y[row.lane] + bar) for row in scene.running]
    held = [(row.begin, row.until, y[row.lane] + theme.HELD) for row in scene.holding]
    waiting = [(row.begin, row.until, y[row.lane]) for row in scene.waiting]
    kinds = ("sent", "skipped", "retried", "failed", "delivered")
    marks = scene.events[scene.events.kind.isin(kinds) & scene.events.lane.isin(y)]
    lanes = marks.lane.map(y).astype(float)
    labels.block(bars)
    labels.block([(begin, end, at, at) for begin, end, at in held + waiting], points=1)
    labels.block(np.column_stack([marks.t, marks.t, lanes, lanes]), points=theme.MARKER / 2)


def _overlap(scene, labels):
    """How many were inside for how long, beside the longest time at which two or more were."""
    stretches = scene.findings.together.stretches
    if not stretches:
        return
    longest = max(stretches, key=lambda stretch: stretch.seconds)
    concerned = sorted(
        {scene.y[row.lane] for row, begin, end in scene.together if begin >= longest.begin and end <= longest.end}
    )
    more = "up to " if longest.most > 2 else ""
    text = f"{more}{longest.most} inside for {seconds(longest.seconds)}"
    gaps = [lane + 0.5 for lane in concerned[:-1]] + [lane - 0.5 for lane in concerned[:1]] + [concerned[-1] + 0.5]
    places = [(longest.end, gap, 10, 0, "left") for gap in gaps]
    places += [(longest.end, gap, -4, 0, "right") for gap in gaps]
    places += [((longest.begin + longest.end) / 2, gap, 0, 0, "center") for gap in gaps]
    places += [(longest.begin, gap, -10, 0, "right") for gap in gaps]
    labels.place(text, places, theme.FINDING_SIZE, "bold", theme.TOGETHER)


def _again(scene, labels):
    """Which mails came again, each once."""
    delivered = scene.events[scene.events.kind == "delivered"]
    again = delivered[delivered.mail.duplicated() & delivered.mail.notna()].drop_duplicates("mail")
    for row in islice(again.itertuples(), MANY):
        _beside(scene, labels, row, f"mail {row.mail} again", weight="bold", color=theme.TOGETHER)


def _killed(scene, labels):
    """Who was killed, and a lock that stays taken after its holder's death."""
    for row in scene.kills[:MANY]:
        _beside(scene, labels, row, "killed (SIGKILL)", color=theme.INK)
    for row in scene.holding:
        for kill in scene.kills:
            if row.lane == kill.lane and row.begin_order < kill.Index < row.until_order:
                text = "still locked" if row.end != row.end else "still locked until the lease ends"
                below = scene.y[row.lane] + theme.HELD
                labels.place(text, [(kill.t, below, 4, -8, "left"), (kill.t, below, -4, -8, "right")], color=theme.INK)
                return


def _paused(scene, labels):
    """Who was paused."""
    for row in scene.paused[:MANY]:
        y = scene.y[row.lane]
        above, below = y - theme.BAND_HALF, y + theme.BAND_HALF
        places = [(row.begin, above, 3, 6, "left"), (row.until, above, -3, 6, "right"),
                  (row.begin, below, 3, -6, "left"), (row.until, y, 4, 0, "left")]
        labels.place(f"{row.lane} paused (SIGSTOP)", places)


def _skipped(scene, labels):
    """What a cross means."""
    for row in scene.happened("skipped")[:MANY]:
        if _beside(scene, labels, row, "skipped: locked"):
            return


def _lock(scene, labels):
    """What the ticks under the bars mean."""
    for closed_by, text in (("lease ended", "lease ends"), ("lost", "lost"), ("released", "released")):
        for row in [row for row in scene.holding if row.closed_by == closed_by][:MANY]:
            y = scene.y[row.lane] + theme.HELD
            if labels.place(text, [(row.end, y, 5, -4.5, "left"), (row.end, y, -3, -8, "right")], color=theme.INK):
                break


def _producer(scene, labels):
    """What the triangles mean."""
    sent = [row for row in scene.happened("sent") if row.lane in scene.y]
    if not sent:
        return
    every = scene.findings.began.get("every")
    text = f"a tick every {every:g} s" if every and sent[0].lane == "beat" else count(len(sent), "task") + " sent"
    y = scene.y[sent[0].lane]
    labels.place(text, [(sent[0].t, y, 10, 11, "left"), (sent[0].t, y, 0, 11, "left")])


def _tried(scene, labels):
    """When a failed task runs again."""
    first = True
    for row in scene.happened("retried")[:MANY]:
        countdown = (row.detail or {}).get("countdown")
        again = f"again in {countdown:.3g} s" if countdown is not None else "runs again"
        if _beside(scene, labels, row, f"failed, {again}" if first else again):
            first = False
    for row in scene.happened("failed")[:MANY]:
        _beside(scene, labels, row, "failed for good", color=theme.INK)


def _waiting(scene, labels):
    """What the dots on a lane mean."""
    for row in sorted(scene.waiting, key=lambda row: row.begin - row.until)[:MANY]:
        y = scene.y[row.lane]
        if labels.place("waiting", [(row.begin, y, 2, 8, "left"), (row.begin, y, 2, -8, "left")]):
            return


def _inside(scene, labels):
    """Which mail a stay is about; on the first, what a bar means."""
    longest = {}
    for row, begin, end in scene.solid:
        if end - begin > longest.get(row.begin_order, (0, 0, None))[0]:
            longest[row.begin_order] = (end - begin, begin, row)
    first = True
    for length, begin, row in longest.values():
        mail = f"mail {row.mail}" if row.mail == row.mail and row.mail is not None else ""
        texts = ["inside, " + mail, "inside", mail] if first and mail else [mail or "inside"]
        first = not _within(scene, labels, row, begin, length, texts, theme.ON_BAR) and first


def _running(scene, labels):
    """The name of a task that has no critical section, on the first bar of each lane with room for it."""
    named = set()
    for row in () if scene.findings.has_section else scene.running:
        name = (row.name or "").rpartition(".")[2]
        if row.lane not in named and _within(scene, labels, row, row.begin, row.until - row.begin, [name], theme.INK):
            named.add(row.lane)


def _within(scene, labels, row, begin, length, texts, color):
    """Write the first of ``texts`` that fits into a bar; return whether one did."""
    room = length / scene.end * labels.ax.get_window_extent().width / labels.scale
    for text in texts:
        if extent(text, theme.LABEL_SIZE)[0] + 12 < room:
            labels.ax.annotate(
                text, (begin, scene.y[row.lane]), (6, 0), textcoords="offset points", va="center_baseline", color=color,
                fontproperties=theme.font(theme.LABEL_SIZE), parse_math=False, zorder=6,
            )
            return True
    return False


def _beside(scene, labels, row, text, **style):
    """Write ``text`` beside the mark of an event: right of it on its lane's line, else left, above or below."""
    y, gap = scene.y[row.lane], theme.MARKER / 2 + 4
    on_the_line = [(row.t, y, gap, 0, "left"), (row.t, y, -gap, 0, "right")]
    off_the_line = [(row.t, y, 0, 11, "center"), (row.t, y, 0, -11, "center"), (row.t, y, 0, 11, "left")]
    return labels.place(text, on_the_line, cover=True, **style) or labels.place(text, off_the_line, **style)
