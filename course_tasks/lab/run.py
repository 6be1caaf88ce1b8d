"""What a run leaves: its history, its inbox, a verdict, and the picture."""

from __future__ import annotations

import dataclasses
import html
from functools import cached_property
from typing import TYPE_CHECKING

from course_tasks import history, mailroom

if TYPE_CHECKING:  # it takes half a second to load: not before there is a run
    import pandas as pd


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """One run of a lab; made by ``Lab.run``, ``Lab.invoke`` and ``Lab.contend``, and usable after the lab is closed.

    ``number`` counts the lab's runs from 1. ``events`` is the history and ``inbox`` the delivered mail, both DataFrames.
    ``notes`` are sentences on what went otherwise than asked, such as a fault that never landed or a task that raised.

    The columns of ``inbox``, one row a delivered message in the order of delivery: ``mail`` (the mail's number),
    ``at`` (seconds since the run began), ``sender`` (the worker), ``to``, ``subject``, ``message_id``, and ``copy``
    (1 for the first delivery of a mail, 2 for the second …).
    """

    number: int
    events: pd.DataFrame
    inbox: pd.DataFrame
    notes: tuple = ()

    @cached_property
    def intervals(self):
        """Who was running, waiting, inside and holding, from when to when: see ``history.intervals`` for the columns."""
        return history.intervals(self.events)

    @cached_property
    def verdict(self):
        """What the history shows (a ``history.Verdict``): ``.outcome`` is "valid", "invalid" or "unknown"."""
        return history.judge(self.events, self.intervals)

    def timeline(self, ax=None, title=None):
        """The picture of this run; drawn into ``ax`` (matplotlib Axes, which is returned) if one is given.

        ``title`` replaces the finding as the title.
        """
        if ax is not None:
            return history.draw(self.events, ax, title=title)
        return history.picture(self.events, title=title)

    def __repr__(self):
        return "\n".join([repr(history.card(self.verdict)), *(f"Note: {note}" for note in self.notes)])

    def _repr_html_(self):
        notes = "".join(f'<p style="margin:0.4em 0">Note: {html.escape(note)}</p>' for note in self.notes)
        return history.card(self.verdict)._repr_html_() + notes


def compare(runs):
    """One Picture of several runs, one above the other on one time axis; ``runs`` is a dict of name -> :class:`Run`."""
    return history.compare({name: run.events for name, run in runs.items()})


def read_inbox(maildir, events):
    """The DataFrame of the messages in ``maildir``; the times of delivery are those of ``events``."""
    import pandas as pd

    delivered = events[events["kind"] == "delivered"]
    letters = {letter["Message-ID"]: letter for letter in mailroom.letters(maildir)}
    rows = [
        {
            "mail": event.mail,
            "at": event.t,
            "sender": event.detail["sender"],
            "to": letters[event.detail["message_id"]]["To"],
            "subject": letters[event.detail["message_id"]]["Subject"],
            "message_id": event.detail["message_id"],
        }
        for event in delivered.itertuples()
    ]
    columns = ["mail", "at", "sender", "to", "subject", "message_id"]
    inbox = pd.DataFrame(rows, columns=columns).astype({"mail": "Int64", "at": float})
    return inbox.assign(copy=inbox.groupby("mail").cumcount() + 1)
