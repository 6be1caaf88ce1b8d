"""Pairing events into intervals: from when until when somebody was running, waiting, inside, holding or paused.

An interval belongs to one attempt: one lane, one Celery task id, one process. The id alone would not do, since Celery
runs the same id again when it retries a task or delivers it anew; within one attempt nothing happens twice at once.

Three things end an interval without an event of its own:

* a *kill*: the lane's open intervals end when the whole process tree is confirmed gone. Only a lock may outlive its
  holder: until its lease ends; or without a lease, if somebody finds it taken later on although nobody alive holds it,
  or waits on for it. That is also how a lock shows whose holder was killed between two commands, before it could tell
  that it had it.
* a *lease's end*: the server frees the lock, and nobody is told.
* the *run's end*: what is open then was never seen to close.
"""

from collections import defaultdict

import numpy as np
import pandas as pd

from course_tasks.history.reading import rows

OPENS = {
    "started": "running",
    "waiting": "waiting",
    "acquired": "holding",
    "entered": "inside",
    "pause began": "paused",
}

CLOSES = {
    "acquired": ("waiting",),
    "left": ("inside",),
    "released": ("holding",),
    "lost": ("holding",),
    "skipped": ("waiting", "running"),
    # An attempt that is over is neither running nor inside, but whether it gave its lock back is another matter.
    "retried": ("waiting", "inside", "running"),
    "failed": ("waiting", "inside", "running"),
    "finished": ("waiting", "inside", "running"),
    "pause ended": ("paused",),
    "restart began": ("paused",),
}

SHOWS = ("skipped", "waiting", "acquired", "ended", "now")
"""The kinds of events that show whether a dead holder's lock is still taken."""

ASKS = 1.0
"""Seconds within which whoever waits for a lock has asked for it again."""

COLUMNS = {
    "lane": object,
    "kind": object,
    "task": object,
    "name": object,
    "mail": "Int64",
    "begin": float,
    "end": float,
    "until": float,
    "closed_by": object,
    "begin_order": "int64",
    "until_order": "int64",
    "lease": float,
    "pid": "Int64",
}


def intervals(events):
    """Return a DataFrame of the intervals in ``events`` (a DataFrame from ``frame``), in the order of their beginnings.

    =============== ====================================================================================================
    column          meaning
    =============== ====================================================================================================
    ``lane``        who
    ``kind``        "running", "waiting", "inside" (the critical section), "holding" (the lock), "paused" (a fault)
    ``task``        the Celery task id; None for "paused"
    ``name``        the task's name, or None
    ``mail``        the number of the mail concerned, or NA
    ``begin``       seconds since the run began
    ``end``         likewise; NaN where the interval never closed
    ``until``       the last moment at which the interval can have been open: ``end``, the kill, or the run's end
    ``closed_by``   the kind of event that closed it ("left", "released" ...), or "lease ended", "killed", "run ended"
    ``begin_order`` the index of the event that began it
    ``until_order`` the index of the event that ended it; one past the last event where none did. What overlaps is
                    decided by these two alone.
    ``lease``       "holding": seconds that the lock was granted for at first, or NaN
    ``pid``         the process
    =============== ====================================================================================================
    """
    found, opened, orphaned = [], defaultdict(dict), []  # opened: lane -> _key -> row
    halted = set()  # lanes of processes that stand still between two commands, to be killed, and have told of no lock
    for event in rows(events):
        mine, what = opened[event.lane], _what(event)
        _note_mail(mine, event)
        if orphaned and what in SHOWS:
            orphaned = _outlived(orphaned, opened, event)
        for kind in CLOSES.get(what, ()):
            _close(mine, _key(kind, event), event)
        if kind := OPENS.get(what):
            before = mine.get(_key(kind, event))
            if before is None or before["free_at"] < event.t:
                found.append(_begin(kind, event))
                mine[_key(kind, event)] = found[-1]
        elif what == "renewed" and (held := mine.get(_key("holding", event))):
            held["free_at"] = event.t + event.lease
        elif what == "kill began" and "command" in event.detail and not _holders([mine], event.t):
            halted.add(event.lane)
        elif what == "kill ended":
            orphaned += _killed(opened.pop(event.lane), event)
            if event.lane in halted and not orphaned:
                orphaned.append(_begin("holding", event) | _orphaned(event) | {"assumed": True})
                found.append(orphaned[-1])
    found = [row for row in found if row["outlived"] or "assumed" not in row]
    for row in orphaned:
        if row["outlived"]:
            del row["until"]
    _close_the_rest(found, events)
    return pd.DataFrame({name: pd.Series([row[name] for row in found], dtype=dtype) for name, dtype in COLUMNS.items()})


def _what(event):
    """The event's kind, where a fault is called by its own name: "pause began", "kill ended"."""
    return event.kind.replace("fault", event.detail["fault"]) if event.kind.startswith("fault") else event.kind


def _key(kind, event):
    """What distinguishes an interval from others open on its lane. A pause concerns the lane, whoever records it."""
    return kind if kind == "paused" else (kind, event.task, event.pid)


def _begin(kind, event):
    """A row for an interval of this ``kind`` that ``event`` begins; ``free_at`` is when its lease ends, or NaN."""
    lease = event.lease if kind == "holding" else np.nan
    taken_over = {name: getattr(event, name) for name in ("lane", "task", "name", "mail", "pid")}
    begin = {"begin": event.t, "begin_order": event.Index, "end": np.nan}
    return {"kind": kind, "lease": lease, "free_at": event.t + lease, "outlived": False, **taken_over, **begin}


def _note_mail(mine, event):
    """A task learns which mail it is about only when it has read it."""
    if event.mail is not pd.NA:
        for kind in ("running", "holding", "inside"):
            if row := mine.get(_key(kind, event)):
                row["mail"] = event.mail


def _close(mine, key, event):
    """Close the open interval ``key`` at ``event``; if its lease was over by then, nothing is left to close."""
    row = mine.pop(key, None)
    if row and not row["free_at"] < event.t:
        row |= {"end": event.t} | _until(event, event.kind)


def _until(event, closed_by):
    """What a row says of its end at ``event``."""
    return {"until": event.t, "until_order": event.Index, "closed_by": closed_by}


def _killed(mine, event):
    """End what the killed lane had open, and return the locks without a lease that it held: they may outlive it."""
    without_lease = [row for row in mine.values() if row["lease"] != row["lease"]]
    for row in without_lease:
        row |= _orphaned(event)
    return [row for row in without_lease if row["kind"] == "holding"]


def _orphaned(event):
    """What a row says of its end when its lane was killed at ``event``."""
    return _until(event, "killed") | {"orphaned_at": event.t}


def _outlived(orphaned, opened, event):
    """Note whether a dead holder's lock was still taken at ``event``; return those of which that may be found later on.

    Somebody finds it taken, or has been waiting for it for so long since the kill that it must have asked.
    """
    granted, taken = event.kind == "acquired", event.kind in ("skipped", "waiting")
    waits = [row["begin"] for row in _open(opened.values(), "waiting")]
    for row in () if _holders(opened.values(), event.t) else orphaned:
        if taken or any(event.t - max(begin, row["orphaned_at"]) > ASKS for begin in waits):
            row |= {"until": event.t, "until_order": event.Index + (0 if granted else 1), "outlived": True}
    return [] if granted else orphaned


def _holders(opened, t):
    """The locks that are held at ``t`` among what is ``opened``, dictionaries of rows."""
    return [row for row in _open(opened, "holding") if not row["free_at"] < t]


def _open(opened, kind):
    """The rows of this kind."""
    return [row for mine in opened for row in mine.values() if row["kind"] == kind]


def _close_the_rest(found, events):
    """Give an ``until`` to the intervals that no event closed: their lease's end, or the run's."""
    if not found:
        return
    latest = np.maximum.accumulate(events.t.to_numpy())
    ended = events.t[events.kind == "ended"]
    horizon = ended.iloc[-1] if len(ended) else latest[-1]
    after = events.index[-1] + 1
    for row in found:
        if "until" in row:
            continue
        if row["free_at"] <= horizon:
            place = np.searchsorted(latest, row["free_at"])
            row |= {
                "end": row["free_at"],
                "until": row["free_at"],
                "closed_by": "lease ended",
                "until_order": events.index[place],
            }
        else:
            row |= {"until": max(row["begin"], horizon), "closed_by": "run ended", "until_order": after}
