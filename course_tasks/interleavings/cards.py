"""The card of a search: the outcome as a word, a symbol and a colour; the counterexample as a table; what it means.

The same content is laid out twice, in the style of a run's card: as HTML in the colours of the reader's theme, and as text.
"""

from html import escape

from course_tasks.history import theme
from course_tasks.history.cards import COLORS, SYMBOLS
from course_tasks.history.wording import count

LIKE = {"holds": "valid", "broken": "invalid", "unknown": "unknown"}
"""Which outcome of a run each outcome of a search looks like."""


def headline(result):
    """Such as "broken in 4 steps; 12 states searched"."""
    where = f" in {count(len(result.trace), 'step')}" if result.trace else ""
    return f"{result.outcome}{where}; {count(result.states, 'state')} searched"


def facts(result):
    """What was searched, as ``(name, value)``, both text."""
    yes = {True: "at any step", False: "never"}
    names = len(result.model.names)
    return [
        ("lock", result.model.program.name),
        ("clients", str(names)),
        ("a lease ends", yes[result.lease_ends]),
        ("a client crashes", yes[result.crashes]),
    ]


def rows(result):
    """The counterexample as rows of text: number, who, command, answer, what it means."""
    return [
        (
            str(number),
            told.step.who,
            str(told.step.command),
            told.step.answered and f"→ {told.step.answered}",
            ", ".join(told.notes),
        )
        for number, told in enumerate(result.told, 1)
    ]


def card_text(result):
    """Return the card of ``result`` (a Result) as plain text."""
    lines = [f"{SYMBOLS[LIKE[result.outcome]]} {headline(result)}", f"  {result.sentence}"]
    table = rows(result)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines += [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    ]
    return "\n".join([*lines, "  " + "; ".join(f"{name}: {value}" for name, value in facts(result))])


def card_html(result):
    """Return the card of ``result`` (a Result) as HTML."""
    ink, muted, color = theme.VARIABLES[theme.INK], theme.VARIABLES[theme.MUTED], COLORS[LIKE[result.outcome]]
    told = "".join(
        f'<div style="margin: 0 24px 4px 0"><span style="color: {muted}">{escape(name)}</span> '
        f'<b style="font-weight: 600">{escape(value)}</b></div>'
        for name, value in facts(result)
    )
    return (
        f'<div role="group" aria-label="search: {escape(headline(result))}" style="border-left: 5px solid {color}; '
        f'padding: 6px 0 6px 14px; margin: 4px 0; max-width: 920px; color: {ink}; line-height: 1.4">'
        f'<div style="font-size: 115%; margin-bottom: 6px"><b style="color: {color}">'
        f"{SYMBOLS[LIKE[result.outcome]]} {result.outcome}</b>{escape(headline(result).removeprefix(result.outcome))}</div>"
        f'<div style="margin-bottom: 6px">{escape(result.sentence)}</div>{_table(result) if result.trace else ""}'
        f'<div style="display: flex; flex-wrap: wrap">{told}</div></div>'
    )


def _table(result):
    """The counterexample as an HTML table."""
    style = "text-align: left; padding: 2px 18px 2px 0; white-space: nowrap; border: none; font-size: inherit"
    cell = f'<td style="{style}">'
    body = "".join(
        f'<tr style="background: none">{cell}{number}</td>{cell}{who}</td>{cell}<code>{escape(command)}</code></td>'
        f"{cell}<code>{escape(answer)}</code></td>{cell}{escape(notes)}</td></tr>"
        for number, who, command, answer, notes in rows(result)
    )
    table = "margin: 8px 0; border: none; color: inherit; font-size: inherit"
    return f'<table aria-label="the steps of the counterexample" style="{table}">{body}</table>'
