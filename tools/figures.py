"""Make the pictures in img/, from real runs: `make figures`.

Run again, the pictures differ as two runs differ: by milliseconds, and in which worker took which task.
"""

import functools
import inspect
import json
from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from course_tasks import Lab, compare, cut, interleavings, move_clock, pause, tasks
from course_tasks.history import theme
from course_tasks.locks import FairLock, FencedLock, LeaseLock, Redlock

ROOT = Path(__file__).resolve().parent.parent
IMG = ROOT / "img"
FIRST, LAST = "outbox.oldest_unsent()", "outbox.mark_sent("  # where the lines begin and end that must be alone


def redis_lock(client, name):
    """redis-py's own lock, with a lease of ten seconds."""
    return client.lock(name, timeout=10)


def save(picture, name):
    for suffix in (".svg", ".png"):
        picture.save(IMG / f"{name}{suffix}")


def code():
    """The source of the task, with the lines that must be alone on a band."""
    lines = inspect.getsource(tasks.send_mail_from_queue.run).rstrip().splitlines()
    first = next(number for number, line in enumerate(lines) if FIRST in line)
    last = next(number for number, line in enumerate(lines) if LAST in line)
    figure = Figure(figsize=(9.5, 0.23 * len(lines) + 0.4))
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, 100), ylim=(len(lines) + 0.9, -0.9))
    ax.set_axis_off()
    ax.add_patch(Rectangle((0, first - 0.5), 100, last - first + 1, color=theme.INSIDE, alpha=0.14, linewidth=0))
    ax.add_patch(Rectangle((0, first - 0.5), 0.6, last - first + 1, color=theme.INSIDE, linewidth=0))
    ax.text(
        98.5, first - 0.55, "from reading to marking: alone", color=theme.INSIDE, ha="right", va="bottom", fontsize=10
    )
    for number, line in enumerate(lines):
        ax.text(
            2, number, line, family="DejaVu Sans Mono", fontsize=9.5, va="center", color=theme.INK, parse_math=False
        )
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": "code"}):
        figure.savefig(IMG / "code.svg", metadata={"Title": "The task send_mail_from_queue", "Date": None})
        figure.savefig(IMG / "code.png", dpi=192)


def of_lesson(stem, cell_id, names, known):
    """What a cell of a lesson defines as ``names``: it is written there, and nowhere else. ``known`` is what it uses, by name."""
    cells = json.loads((ROOT / "notebooks" / f"{stem}.ipynb").read_text(encoding="utf-8"))["cells"]
    known = dict(known)
    exec("".join(next(cell["source"] for cell in cells if cell["id"] == cell_id)), known)
    return [known[name] for name in names]


def main():
    IMG.mkdir(exist_ok=True)
    steps = {each: getattr(interleavings, each) for each in interleavings.__all__}
    (get_then_set,) = of_lesson("05_get_then_set", "steps", ["get_then_set"], steps)
    save(interleavings.search(get_then_set).timeline(), "counterexample")
    with Lab(workers=3, live=False) as lab:
        short = lab.run(every=3, takes=0.5, seconds=11)
        save(short.timeline(title="A tick every 3 s, and each task is done before the next"), "schedule")
        save(lab.run(every=1, takes=2.5, seconds=8).timeline(), "mail")
        before, after = (lab.run(lock, every=1, takes=1.6, seconds=8) for lock in (None, redis_lock))
        save(compare({"Without a lock": before, "With a lock": after}), "before_after")
        fenced, paused = functools.partial(FencedLock, timeout=2), pause(3, when="read")
        save(lab.run(fenced, every=0.8, takes=0.5, seconds=4.6, mails=2, faults=paused).timeline(), "paused_holder")
        poll, queue = (lab.contend(lock, contenders=4, holds=0.15, seconds=3) for lock in (LeaseLock, FairLock))
        save(compare({"Asking again and again": poll, "A queue": queue}), "waiting")
    code()
    # Last, for not every machine can move clocks: those that can't are shown this picture in lesson 13.
    known = {"partial": functools.partial, "Redlock": Redlock, "cut": cut}
    redlock, split, same = of_lesson("13_redlock_on_trial", "cuts", ["redlock", "split", "same"], known)
    with Lab(workers=2, lock_servers=5, clocks=True, live=False) as lab:
        jump = move_clock("lock3", 60, when="skipped")
        save(lab.run(redlock, faults=[*split, jump], **same).timeline(), "clock_jump")


if __name__ == "__main__":
    main()
