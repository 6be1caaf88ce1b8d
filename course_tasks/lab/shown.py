"""How a lab shows text and tables: plainly in a terminal, as a table in a notebook."""

import html


class Shown(str):
    """A text that is shown as it is, without quotes: a log, a command."""

    def __repr__(self):
        return str(self)


class Processes:
    """A table of processes; ``rows`` are (name, command, pid, seconds until ready)."""

    def __init__(self, rows):
        self.rows = rows

    def __repr__(self):
        width = max((len(row[0]) for row in self.rows), default=0)
        return "\n".join(
            f"{name:<{width}}  ready after {ready:5.2f} s  pid {pid:<7} {command}"
            for name, command, pid, ready in self.rows
        )

    def _repr_html_(self):
        cell = 'style="text-align:left;white-space:nowrap"'
        head = "".join(f"<th {cell}>{title}</th>" for title in ("process", "ready after", "pid", "command"))
        rows = "".join(
            f"<tr><td {cell}>{name}</td><td {cell}>{ready:.2f} s</td><td {cell}>{pid}</td>"
            f'<td style="text-align:left"><code>{_unbroken(command)}</code></td></tr>'
            for name, command, pid, ready in self.rows
        )
        return f'<table aria-label="processes of the lab"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _unbroken(command):
    """``command`` as HTML in which no option is broken at its hyphens; only between words."""
    words = (html.escape(word) for word in command.split(" "))
    return " ".join(
        f'<span style="white-space:nowrap">{word}</span>' if word.startswith("-") else word for word in words
    )
