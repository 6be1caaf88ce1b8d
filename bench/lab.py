"""The lab's own figures: how long until the workers answer, beside Celery's commands; memory; closing."""

import statistics
import subprocess
import time

import psutil
from celery import Celery

from bench.figures import spread
from course_tasks import Lab
from course_tasks.lab.line import environment
from course_tasks.lab.processes import worker_command
from course_tasks.observation import READY

REPEATS = 5
SIZES = (3, 10)


def answering(lab, nodes):
    """Return once every one of ``nodes`` has answered Celery's ping."""
    app = Celery("bench", broker=lab.place.url("broker"), set_as_current=False)
    while len(app.control.ping(destination=nodes, timeout=5, limit=len(nodes))) < len(nodes):
        pass
    app.close()


def lab_start(count):
    """Seconds from the call until ``count`` workers answer; MB of the whole lab (PSS); seconds to close it."""
    began = time.monotonic()
    lab = Lab(workers=count, live=False)
    answering(lab, [f"{name}@localhost" for name in lab.workers])
    up = time.monotonic() - began
    warden = psutil.Process(lab.warden_pid)
    memory = sum(p.memory_full_info().pss for p in [warden, *warden.children(recursive=True)]) / 2**20
    began = time.monotonic()
    lab.close()
    return up, memory, time.monotonic() - began


def celery_start(count, trimmed):
    """Seconds from the first command until ``count`` workers answer that are started as one would in terminals.

    The broker is up already. ``trimmed`` spares them the greetings, as the lab's own command line does.
    """
    with Lab(workers=1, live=False) as lab:
        names = [f"peer{number}" for number in range(1, count + 1)]
        commands = [worker_command(name)[: None if trimmed else 7] for name in names]
        settings = {"env": environment(lab.place), "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        began = time.monotonic()
        peers = [subprocess.Popen(command, cwd=lab.place.path, **settings) for command in commands]
        try:
            while not {name.encode() for name in names} <= set(lab.client("history").hkeys(READY)):
                time.sleep(0.01)
            answering(lab, [f"{name}@localhost" for name in names])
            return time.monotonic() - began
        finally:
            for peer in peers:
                peer.terminate()
            for peer in peers:
                peer.wait()


def measure():
    """Rows (what, figure) for the table of ``make bench``; the ways of starting take turns."""
    rows, memory = [], {}
    for count in SIZES:
        labs, default, trimmed = [], [], []
        for _ in range(REPEATS):
            labs.append(lab_start(count))
            default.append(celery_start(count, trimmed=False))
            trimmed.append(celery_start(count, trimmed=True))
        ups, memories, closings = zip(*labs, strict=True)
        memory[count] = statistics.median(memories)
        rows += [
            (f"Lab(workers={count}): call to all answering, servers and mail included", f"{spread(ups, 2)} s"),
            (f"  the same {count} workers, Celery's default command", f"{spread(default, 2)} s"),
            (f"  the same {count} workers, the trimmed command", f"{spread(trimmed, 2)} s"),
            (
                "  ratio to the default, to the trimmed command",
                " and ".join(
                    f"{statistics.median(ups) / statistics.median(other):.2f}" for other in (default, trimmed)
                ),
            ),
            (f"  memory of the whole lab with {count} workers (PSS)", f"{spread(memories, 2)} MB"),
            ("  lab.close()", f"{spread(closings, 2)} s"),
        ]
    small, large = SIZES
    each = (memory[large] - memory[small]) / (large - small)
    rows.append(("memory for each more worker", f"{each:.1f} MB"))
    return rows
