"""What the timeline says of what went otherwise than it should: each where it happened, as far as there is room."""

import math
from collections import namedtuple
from itertools import islice

from course_tasks.history import theme
from course_tasks.history.findings import seen_before
from course_tasks.history.wording import named, shift

MANY = 40
"""How many labels of one kind are tried. In a picture so full that more would matter, none has room."""

CLEAR = 16
"""Points from a lane's line to a label above or below its bars."""

Moment = namedtuple("Moment", "t lane")
"""Where a mark is that is no event's."""


def again(scene, labels):
    """Which mails came again, each once."""
    for mail in islice(scene.findings.duplicates, MANY):
        second = scene.findings.deliveries[mail][1]
        beside(scene, labels, second, f"mail {mail} again", weight="bold", color=theme.TOGETHER)


def stale(scene, labels):
    """Which writes the database accepted, though it had seen a higher token: each at the end of its bar."""
    for event in scene.findings.stale_writes[:MANY]:
        text = f"stale write accepted: token {event.token} < {seen_before(event)}"
        beside(scene, labels, event, text, weight="bold", color=theme.TOGETHER)


def refused(scene, labels):
    """Which writes the database refused, and why."""
    for event in scene.happened["refused"][:MANY]:
        text = f"write refused: token {event.token} < {seen_before(event)}"
        beside(scene, labels, event, text, color=theme.INK)


def dropped(scene, labels):
    """Which mails the inbox had already."""
    for event in scene.happened["dropped"][:MANY]:
        beside(scene, labels, event, f"mail {event.mail} dropped: had it")


def lost(scene, labels):
    """Where a holder found its lock lost."""
    for event in scene.happened["lost"][:MANY]:
        y = scene.y[event.lane] + theme.HELD
        labels.place("lost", [(event.t, y, 5, -4.5, "left"), (event.t, y, -3, -8, "right")], color=theme.INK)


def killed(scene, labels):
    """Who was killed, to be restarted or not, and is not back; and a lock that stays taken after its holder's death."""
    for kill in scene.findings.kills[:MANY]:
        beside(scene, labels, kill, f"killed{scene.findings.place(kill.Index) or ' (SIGKILL)'}", color=theme.INK)
        for row in scene.lasted["holding"]:
            if row.lane == kill.lane and row.begin_order <= kill.Index < row.until_order:
                text = "still locked" if row.end != row.end else "still locked until the lease ends"
                below = scene.y[row.lane] + theme.HELD
                places = [(kill.t, below, 4, -8, "left"), (kill.t, below, -4, -8, "right")]
                if labels.place(text, places, color=theme.INK):
                    scene.told.add(row.begin_order)
    for spell in [spell for spell in scene.findings.faults if spell.fault == "restart" and spell.end == math.inf]:
        beside(scene, labels, Moment(spell.begin, spell.lane), "killed (SIGKILL)", color=theme.INK)


def restarted(scene, labels):
    """What a server knew when it was back."""
    for down in [down for down in scene.findings.servers.down if down.end < math.inf][:MANY]:
        text = "restarted from disk" if down.detail["memory"] else "restarted, remembers nothing"
        beside(scene, labels, Moment(down.end, down.lane), text, color=theme.INK)


def moved(scene, labels):
    """By how much a server's clock was moved."""
    for spell in scene.findings.servers.moved[:MANY]:
        text = f"clock {shift(spell.detail['seconds'])}"
        beside(scene, labels, Moment(spell.begin, spell.lane), text, color=theme.INK)


def promoted(scene, labels):
    """Which replica was promoted."""
    for spell in scene.findings.servers.promoted[:MANY]:
        beside(scene, labels, Moment(spell.begin, spell.lane), "promoted", color=theme.INK)


def paused(scene, labels):
    """Who was paused."""
    for row in scene.lasted["paused"][:MANY]:
        place = scene.findings.place(row.begin_order)
        text = f"paused{place} (SIGSTOP)" if place else f"{row.lane} paused (SIGSTOP)"
        _at_band(labels, scene.y[row.lane], theme.BAND_HALF, row.begin, row.until, text)


def links(scene, labels):
    """Who was cut off from which servers, and to whom they were slow."""
    cut, slow = scene.findings.servers.cut, scene.findings.servers.slow
    bands = [(spell, theme.CUT_HALF, "cut off from") for spell in cut[:MANY]]
    bands += [(spell, theme.BAND_HALF, f"{spell.detail['milliseconds']:g} ms slower to") for spell in slow[:MANY]]
    # A thin band is no place for a label of less weight than those written before.
    thin = [(spell.begin, spell.end, scene.y[spell.lane] - theme.THIN) for spell in slow]
    labels.block([(begin, min(end, scene.findings.end), y, y) for begin, end, y in thin], points=1)
    for spell, half, text in bands:
        end = min(spell.end, scene.findings.end)
        _at_band(labels, scene.y[spell.lane], half, spell.begin, end, f"{text} {named(spell.servers)}")


def _at_band(labels, y, half, begin, end, text):
    """Write ``text`` at a band, ``half`` a lane high to each side of ``y``: above it, below, or behind."""
    above, below = y - half, y + half
    places = [
        (begin, above, 3, 6, "left"),
        (end, above, -3, 6, "right"),
        (begin, below, 3, -6, "left"),
        (end, y, 4, 0, "left"),
    ]
    labels.place(text, places)


def failed(scene, labels):
    """When a failed task runs again; or with what it failed."""
    said = "failed, "
    for event in scene.happened["retried"][:MANY]:
        countdown = (event.detail or {}).get("countdown")
        again = f"again in {countdown:.3g} s" if countdown is not None else "runs again"
        if beside(scene, labels, event, said + again):
            said = ""
    for event in scene.happened["failed"][:MANY]:
        error = scene.findings.error(event)
        beside(scene, labels, event, f"failed: {error}" if error else "failed for good", color=theme.INK)


def beside(scene, labels, event, text, **style):
    """Write ``text`` beside the mark of an event: right of it on its lane's line, else left, above or below."""
    y, gap = scene.y[event.lane], theme.MARKER / 2 + 4
    on_the_line = [(event.t, y, gap, 0, "left"), (event.t, y, -gap, 0, "right")]
    off_the_line = [
        (event.t, y, dx, dy, align)
        for dy in (11, -11, CLEAR, -CLEAR)
        for dx, align in ((0, "center"), (-4, "left"), (4, "right"))
    ]
    return labels.place(text, on_the_line, cover=True, **style) or labels.place(text, off_the_line, **style)
