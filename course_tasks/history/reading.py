"""Reading the history: the entries of one run's stream, as dictionaries or as a DataFrame.

``frame`` documents the columns. Reading goes in pages, so that a long history is never one reply, and a picture
that grows during the run asks only for what is new.
"""

import json
from collections import namedtuple

import pandas as pd

from course_tasks.history.recording import stream

PAGE = 5000
"""Entries in one reply: enough to make the round trips cheap, and still only about a megabyte."""

LONGEST_BLOCK = 2.0
"""Seconds. redis-py gives up on a reply after 5 s by default and then asks again ten times, silently."""


def read(client, run):
    """Return all events of run number ``run`` so far, as ``frame`` makes them.

    ``client`` is a ``redis.Redis`` connected to the history server.
    """
    events, new, last_id = [], True, "0"
    while new:
        last_id, new = follow(client, run, last_id)
        events += new
    return frame(events)


def follow(client, run, last_id="0", block_seconds=0):
    """Return ``(last_id, events)``: at most ``PAGE`` events recorded after the entry ``last_id``, oldest first.

    ``last_id`` is the id that the call before returned ("0": from the beginning), ``events`` a list of
    dictionaries as recording.py describes them, with ``t`` as recorded (``time.monotonic()``, seconds). Where there is
    nothing new, waits for it for ``block_seconds`` seconds, never longer than ``LONGEST_BLOCK``, and may return an
    empty list.
    """
    key = stream(run)
    if block_seconds > 0:
        # Only to wait: the reply's shape depends on the protocol version, XRANGE's doesn't.
        client.xread({key: last_id}, count=1, block=max(1, int(1000 * min(block_seconds, LONGEST_BLOCK))))
    entries = client.xrange(key, min=f"({last_id}", count=PAGE)
    if not entries:
        return last_id, []
    last_id = entries[-1][0]
    return last_id if isinstance(last_id, str) else last_id.decode(), _decode(entries)


def _decode(entries):
    """The objects of ``entries``. One JSON document is decoded in half the time of a thousand small ones."""
    bodies = [body for _, fields in entries for body in fields.values()]
    comma = "," if isinstance(bodies[0], str) else b","
    return json.loads(comma.join(bodies).join(["[", "]"] if isinstance(comma, str) else [b"[", b"]"]))


def frame(events, now=None):
    """Return a DataFrame of ``events``, a list of dictionaries as recording.py describes them, in the stream's order.

    ``now``, as ``time.monotonic()`` gives it, is for a picture of a run that goes on: a last row of kind "now" makes
    what is open last until then.

    The index 0, 1, 2 ... is the order in which the events were appended. ``t`` may contradict it by the microseconds
    between looking at the clock and appending, and that of "waiting", which may be noticed late, by more. Columns:

    ========== ======= ==========================================================================================
    column     dtype   meaning
    ========== ======= ==========================================================================================
    ``t``      float   seconds since the run's "began" event (since the first event, where there is none)
    ``kind``   object  what happened, one of ``recording.KINDS``
    ``lane``   object  who: "beat", "invoker", "worker1" ..., "inbox", "lab"
    ``pid``    Int64   the process that recorded the event
    ``task``   object  the Celery task id, or None
    ``name``   object  the task's name, or None
    ``mail``   Int64   the number of the mail concerned, or NA
    ``lease``  float   seconds until the lock frees itself, or NaN
    ``token``  Int64   the fencing token, or NA
    ``detail`` object  a dictionary of whatever else belongs to the kind, or None
    ========== ======= ==========================================================================================
    """
    if now is not None:
        events = [*events, {"t": now, "kind": "now", "lane": "lab"}]
    begin = next((event["t"] for event in events if event["kind"] == "began"), events[0]["t"] if events else 0.0)

    def column(key, dtype):
        return pd.Series([event.get(key) for event in events], dtype=dtype)

    return pd.DataFrame(
        {
            "t": column("t", float) - begin,
            "kind": column("kind", object),
            "lane": column("lane", object),
            "pid": column("pid", "Int64"),
            "task": column("task", object),
            "name": column("name", object),
            "mail": column("mail", "Int64"),
            "lease": column("lease", float),
            "token": column("token", "Int64"),
            "detail": column("detail", object),
        }
    )


def rows(table):
    """The rows of a DataFrame as named tuples of plain Python values, ``Index`` first.

    Twice as fast as ``itertuples`` for columns of nullable integers, and a mail's number is an ``int``, as recorded.
    """
    row = namedtuple("Row", ["Index", *table.columns])
    return map(row._make, zip(table.index.tolist(), *(table[name].tolist() for name in table.columns), strict=True))
