"""The verdict card: the outcome as a word, a symbol and a colour; the finding; the numbers; the first witnesses.

The same content is laid out twice: as HTML in the colours of the reader's theme, and as plain text for a terminal.
"""

from html import escape

from course_tasks.history import theme
from course_tasks.history.wording import capital, mails, seconds, times

SYMBOLS = {"valid": "✓", "invalid": "✗", "unknown": "?"}
COLORS = {"valid": theme.INSIDE, "invalid": theme.TOGETHER, "unknown": theme.MUTED}

SHOWN = 3
"""How many witnesses a card shows."""


class Card:
    """A verdict as a cell shows it. ``print`` it for plain text."""

    def __init__(self, verdict):
        self.verdict = verdict

    def _repr_html_(self):
        return card_html(self.verdict)

    def __repr__(self):
        return card_text(self.verdict)


def card(verdict):
    """Return the :class:`Card` of ``verdict`` (a Verdict)."""
    return Card(verdict)


def facts(verdict):
    """The numbers of ``verdict`` worth showing, as ``(name, value)``, both text."""
    lines = [("stays" if verdict.contenders else "runs", f"{verdict.runs:,}")]
    if verdict.contenders:
        lines.insert(0, ("contenders", f"{verdict.contenders:,}"))
    if verdict.ticks:
        lines.insert(0, ("ticks", f"{verdict.ticks:,}"))
    if verdict.sent > verdict.ticks:
        lines.insert(0, ("tasks sent", f"{verdict.sent - verdict.ticks:,}"))
    for name in ("skipped", "waited", "retried", "failed"):
        if getattr(verdict, name):
            lines.append((name, f"{getattr(verdict, name):,}"))
    if verdict.most_inside:
        lines.append(("contended", f"{verdict.contended:,}"))
        lines.append(("most inside at once", f"{verdict.most_inside:,}"))
    if verdict.overlap:
        lines.append(("overlap", seconds(verdict.overlap)))
    if verdict.waited:
        lines.append(("longest wait", seconds(verdict.longest_wait)))
    if verdict.contenders:
        lines.append(("fairness", f"{verdict.fairness:.2f}"))
    if verdict.starved:
        lines.append(("nobody could enter", f"{seconds(verdict.starved)} at most"))
    for name, number in (
        ("leases renewed", verdict.renewed),
        ("locks lost", verdict.lost),
        ("stale writes refused", verdict.refused),
        ("stale writes accepted", verdict.stale),
    ):
        if number:
            lines.append((name, f"{number:,}"))
    if verdict.delivered:
        lines.append(("mails delivered", f"{verdict.delivered:,}"))
    if verdict.duplicates:
        most = times(max(verdict.duplicates.values()))
        most += " at most" if len(set(verdict.duplicates.values())) > 1 else ""
        lines.append(("delivered again", f"{mails(verdict.duplicates)} ({most})"))
    if verdict.dropped:
        lines.append(("dropped by the inbox", f"{verdict.dropped:,}"))
    if verdict.unsent:
        lines.append(("never delivered", mails(verdict.unsent)))
    return lines


def shown(verdict):
    """The sentences that a card shows below the numbers: the first witnesses, or why there is nothing to judge."""
    if verdict.outcome != "unknown":
        # One of each kind, so that none is missing.
        first = {witness.kind: witness for witness in reversed(verdict.witnesses)}
        rest = [witness for witness in verdict.witnesses if witness not in first.values()]
        told = sorted([*first.values(), *rest[: SHOWN - len(first)]], key=lambda witness: witness.order)
        return [capital(str(witness)) for witness in told]
    if verdict.most_inside:
        return ["Nobody found another one inside, or the lock taken. That is no evidence, and so no pass."]
    return ["Nobody entered a critical section, so there is nothing to judge."]


def card_text(verdict):
    """Return the card of ``verdict`` as plain text."""
    width = max(len(name) for name, _ in facts(verdict))
    lines = [f"{SYMBOLS[verdict.outcome]} {verdict.outcome}: {verdict.sentence}"]
    lines += [f"  {name:<{width}}  {value}" for name, value in facts(verdict)]
    return "\n".join(lines + [f"  - {sentence}" for sentence in shown(verdict)])


def card_html(verdict):
    """Return the card of ``verdict`` as HTML."""
    ink, muted, color = theme.VARIABLES[theme.INK], theme.VARIABLES[theme.MUTED], COLORS[verdict.outcome]
    cells = "".join(
        f'<div style="margin: 0 24px 4px 0"><span style="color: {muted}">{escape(name)}</span> '
        f'<b style="font-weight: 600">{escape(value)}</b></div>'
        for name, value in facts(verdict)
    )
    witnesses = "".join(f'<li style="margin: 2px 0">{escape(sentence)}</li>' for sentence in shown(verdict))
    witnesses = f'<ul style="margin: 8px 0 0; padding-left: 18px">{witnesses}</ul>' if witnesses else ""
    return (
        f'<div role="group" aria-label="verdict: {escape(str(verdict))}" style="border-left: 5px solid {color}; '
        f'padding: 6px 0 6px 14px; margin: 4px 0; max-width: 920px; color: {ink}; line-height: 1.4">'
        f'<div style="font-size: 115%; margin-bottom: 6px"><b style="color: {color}">'
        f"{SYMBOLS[verdict.outcome]} {verdict.outcome}</b>&ensp;{escape(verdict.sentence)}</div>"
        f'<div style="display: flex; flex-wrap: wrap">{cells}</div>{witnesses}</div>'
    )
