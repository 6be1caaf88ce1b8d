"""How things look in a cell: the outcome of a check, a hint, a solution, the table of what was passed.

Each is laid out twice: as HTML in the colours of the reader's theme, and as plain text for a terminal.
"""

from html import escape

from course_tasks.exercises.definition import NOT_ATTEMPTED, NOT_YET, PASSED
from course_tasks.history import theme

SYMBOLS = {PASSED: "✓", NOT_YET: "✗", NOT_ATTEMPTED: "○"}
COLORS = {PASSED: theme.INSIDE, NOT_YET: theme.TOGETHER, NOT_ATTEMPTED: theme.VARIABLES[theme.MUTED]}
INK, GREY = theme.VARIABLES[theme.INK], theme.VARIABLES[theme.MUTED]
FRAME = f"border-left: 5px solid {{}}; padding: 6px 0 6px 14px; margin: 4px 0; max-width: 920px; color: {INK}; line-height: 1.4"
PRE = "margin: 6px 0; padding: 0; white-space: pre-wrap; background: none; color: inherit; font-size: 92%"


class Card:
    """The outcome of a check, as a cell shows it; ``notes`` are sentences to be told beside it."""

    def __init__(self, exercise, outcome, notes=()):
        self.exercise, self.outcome, self.notes = exercise, outcome, tuple(notes)

    @property
    def heading(self):
        return f"{self.exercise.id} {self.exercise.title}"

    @property
    def sentence(self):
        """What was seen, as a whole sentence: a verdict's has no full stop."""
        said = self.outcome.sentence
        return said if said.endswith((".", "!", "?")) or "\n" in said else f"{said}."

    @property
    def hint(self):
        """What to look at next; None where there is nothing to add."""
        if self.outcome.state == NOT_ATTEMPTED:
            return (
                f"Write it where it says raise NotImplementedError, and run the cell again. "
                f"hint({self.exercise.id!r}) helps on, and solution({self.exercise.id!r}) shows an answer."
            )
        return self.exercise.hint_for(self.outcome.finding)

    def __repr__(self):
        outcome = self.outcome
        lines = [f"{SYMBOLS[outcome.state]} {outcome.state}: {self.heading}", f"  {self.sentence}"]
        if outcome.trace:
            lines += [f"    {line}" for line in outcome.trace.lines()]
        if self.hint:
            lines.append(f"  {'' if outcome.state == NOT_ATTEMPTED else 'Hint: '}{self.hint}")
        if outcome.printed:
            lines += ["  It printed", *(f"    {line}" for line in outcome.printed.splitlines())]
        lines += [f"  Note: {note}" for note in self.notes]
        if outcome.run is not None:
            lines += [repr(outcome.run), repr(outcome.run.timeline())]
        return "\n".join(lines)

    def _repr_html_(self):
        outcome, color = self.outcome, COLORS[self.outcome.state]
        parts = [
            f'<div style="font-size: 115%; margin-bottom: 4px"><b style="color: {color}">{SYMBOLS[outcome.state]} '
            f"{outcome.state}</b>&ensp;{escape(self.heading)}</div>",
            f'<div style="white-space: pre-line">{escape(self.sentence)}</div>',
        ]
        if outcome.trace:
            parts.append(f'<pre style="{PRE}">{escape(chr(10).join(outcome.trace.lines()))}</pre>')
        if self.hint:
            named = "" if outcome.state == NOT_ATTEMPTED else "<b>Hint.</b> "
            parts.append(f'<div style="margin-top: 4px">{named}{escape(self.hint)}</div>')
        if outcome.printed:
            said = f'<summary>What it printed</summary><pre style="{PRE}">{escape(outcome.printed)}</pre>'
            parts.append(f'<details style="margin-top: 4px; color: {GREY}">{said}</details>')
        parts += [f'<div style="margin-top: 4px; color: {GREY}">Note: {escape(note)}</div>' for note in self.notes]
        label = escape(f"exercise {self.heading}: {outcome.state}. {self.sentence}")
        html = f'<div role="group" aria-label="{label}" style="{FRAME.format(color)}">{"".join(parts)}</div>'
        if outcome.run is not None:
            html += outcome.run._repr_html_() + outcome.run.timeline().svg()
        return html


class Told:
    """A sentence or two, under a heading."""

    def __init__(self, heading, text):
        self.heading, self.text = heading, text

    def __repr__(self):
        return f"{self.heading}\n  {self.text}"

    def _repr_html_(self):
        return f'<div style="{FRAME.format(GREY)}"><b>{escape(self.heading)}</b><br>{escape(self.text)}</div>'


class Source(str):
    """Code, which a notebook shows in colours."""

    def __repr__(self):
        return str(self)

    def _repr_markdown_(self):
        return f"```python\n{self}\n```"


class Table:
    """The table of all exercises; ``rows`` are (lesson, exercise, title, state, when), ``note`` a sentence or None."""

    HEAD = ("lesson", "exercise", "title", "state", "passed at")

    def __init__(self, rows, note=None):
        self.rows, self.note = rows, note

    @property
    def summary(self):
        """How many of them are passed, as a sentence."""
        return f"{sum(row[3] == PASSED for row in self.rows)} of {len(self.rows)} exercises passed"

    def __repr__(self):
        table = [self.HEAD, *self.rows]
        widths = [max(len(row[column]) for row in table) for column in range(len(self.HEAD))]
        lines = [
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
        ]
        return "\n".join([*lines, self.summary, *([f"Note: {self.note}"] if self.note else [])])

    def _repr_html_(self):
        cell = 'style="text-align:left"'
        head = "".join(f'<th scope="col" {cell}>{title}</th>' for title in self.HEAD)
        rows = "".join(
            f"<tr><td {cell}>{escape(lesson)}</td><td {cell}>{escape(identity)}</td><td {cell}>{escape(title)}</td>"
            f'<td {cell}><span style="color: {COLORS[state]}">{SYMBOLS[state]}</span> {state}</td>'
            f"<td {cell}>{escape(when)}</td></tr>"
            for lesson, identity, title, state, when in self.rows
        )
        note = f"<p>Note: {escape(self.note)}</p>" if self.note else ""
        return (
            f'<table aria-label="exercises: {self.summary}"><caption {cell}>{self.summary}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{note}"
        )
