"""The history's own figures: reading, intervals, verdict and picture, each apart, for longer and longer histories.

The events are those of ten workers that run tasks under a lock with a lease, and of as many that find it taken, told
with the same fields as real ones and task ids as long as Celery's. They are read from a real server; the picture is
drawn and made into SVG.
"""

import gc
import json
import statistics
import time
import uuid

import redis

from bench.fleet import serving
from course_tasks.history import intervals, judge, picture, read
from course_tasks.history.recording import stream

SIZES = (1_000, 10_000, 100_000)
REPEATS = 5
WORKERS = 10


def told(size):
    """``size`` events: every 0.1 s a task that gets the lock for 50 ms, and one that goes away."""
    lanes = ["beat", *(f"worker{number}" for number in range(1, WORKERS + 1)), "inbox"]
    detail = {"lanes": lanes, "every": 0.1, "takes": 0.05, "seconds": size / 130, "mails": size // 13}
    events = [{"t": 0.0, "kind": "began", "lane": "lab", "pid": 1, "detail": detail}]
    number = 0
    while len(events) < size - 1:
        t, number = 0.1 * (number + 1), number + 1
        first, second = (f"worker{1 + (number + other) % WORKERS}" for other in (0, 1))
        runs = {
            "task": str(uuid.uuid4()),
            "name": "tasks.send_mail_from_queue",
            "lane": first,
            "pid": 100 + number % 10,
        }
        skips = {**runs, "task": str(uuid.uuid4()), "lane": second}
        events.append({"t": t, "kind": "sent", "lane": "beat", "pid": 2, "name": runs["name"]})
        events += [{"t": t + 0.001, "kind": kind, **runs} for kind in ("received", "started")]
        events.append({"t": t + 0.001, "kind": "acquired", "lease": 1.0, **runs})
        events.append({"t": t + 0.001, "kind": "entered", **runs})
        events.append({"t": t + 0.002, "kind": "read", "mail": number, **runs})
        events += [{"t": t + 0.01, "kind": kind, **skips} for kind in ("received", "started", "skipped")]
        sender = {"sender": first}
        events.append({"t": t + 0.05, "kind": "delivered", "lane": "inbox", "pid": 3, "mail": number, "detail": sender})
        events += [{"t": t + 0.05, "kind": kind, **runs} for kind in ("left", "released", "finished")]
    return [*events[: size - 1], {"t": events[size - 2]["t"], "kind": "ended", "lane": "lab", "pid": 1}]


def timed(function, *arguments):
    """The function's result, and the seconds that it took, not counting the clearing up after what came before."""
    gc.collect()
    begin = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - begin


def once(client, size):
    """The seconds that each step takes for the history of ``size`` events that the server holds."""
    events, reading = timed(read, client, size)
    spans, pairing = timed(intervals, events)
    verdict, judging = timed(judge, events, spans)
    shown, drawing = timed(lambda: picture(events).svg())
    assert verdict.outcome == "valid"
    assert len(shown) > 10_000
    steps = {"reading": reading, "intervals": pairing, "verdict": judging, "picture": drawing}
    return {**steps, "together": sum(steps.values())}


def measure():
    """Rows of (what was measured, median and spread)."""
    with serving() as socket, redis.Redis(unix_socket_path=socket) as client:
        return [row for size in SIZES for row in _measure(client, size)]


def _measure(client, size):
    """The rows for histories of ``size`` events."""
    pipeline = client.pipeline(transaction=False)
    for event in told(size):
        pipeline.xadd(stream(size), {"e": json.dumps(event)})
        if len(pipeline) == 1000:
            pipeline.execute()
    pipeline.execute()
    once(client, size)  # the first time, fonts are looked for
    runs = [once(client, size) for _ in range(REPEATS)]
    client.delete(stream(size))
    return [
        (f"{step} of {size:,} events", _figure([run[step] for run in runs]))
        for step in ("reading", "intervals", "verdict", "picture", "together")
    ]


def _figure(seconds):
    """The median of ``seconds``, with its spread."""
    return f"{statistics.median(seconds):.3f} s ({min(seconds):.3f} to {max(seconds):.3f})"
