"""What a cell shows while a run goes on: a progress bar, and the timeline growing.

Nothing of it where no one looks: outside notebooks there is a text bar if there is a terminal, and
``COURSE_TASKS_LIVE=0`` (lessons executed without a reader, benchmarks) turns both off.
"""

import os
import sys
import time

from course_tasks.lab.interrupts import held_back

SWITCH = "COURSE_TASKS_LIVE"
REDRAW = 0.5  # seconds between two redraws at least
SHARE = 5  # a redraw may take one part in so many of the time


def notebook():
    """Whether this process is a notebook's kernel."""
    ipython = sys.modules.get("IPython")  # a kernel has loaded it; a plain script need not
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class Live:
    """Shows a run that lasts at most ``seconds``; used as a context manager. ``enabled`` False shows nothing."""

    def __init__(self, seconds, enabled=True):
        self.enabled = enabled and os.environ.get(SWITCH, "1") != "0"
        self.seconds = seconds
        self._events, self._next, self._picture = [], 0.0, None
        self._astir = False  # whether there is anything to see

    @held_back()  # half an import of what draws could not be repaired
    def __enter__(self):
        from tqdm.auto import tqdm

        tqdm.monitor_interval = 0  # no thread of its own: we update often enough
        bar = "{l_bar}{bar}| {n:.0f} of {total:g} s"
        # disable=None: a text bar only where there is a terminal
        self._bar = tqdm(
            total=self.seconds,
            bar_format=bar,
            leave=False,
            disable=(None if self.enabled and not notebook() else not self.enabled),
        )
        if self.enabled and notebook():
            from IPython.display import HTML, display

            # Now, before the run begins: what the import takes would count as the first redraw's, and delay the second.
            from course_tasks.history import frame, picture

            self._drawn = lambda: picture(frame(self._events, now=time.monotonic()), over=False)
            self._picture = display(HTML(""), display_id=True)
        return self

    def __exit__(self, *_):
        # A run may be done early; tqdm would take that for a failure, and leave a red bar.
        self._bar.total = self._bar.n
        self._bar.close()
        if self._picture:
            from IPython.display import HTML

            self._picture.update(HTML(""))  # the finished picture is the learner's to ask for: run.timeline()

    def update(self, elapsed, events, draw=True):
        """Note ``events`` (dicts, the new ones), ``elapsed`` seconds into the run; if it is time and ``draw``, redraw."""
        self._events += [self._planned(event) if event["kind"] == "began" else event for event in events]
        self._astir = self._astir or any(event["kind"] not in ("began", "sent", "received") for event in events)
        self._bar.update(min(elapsed, self.seconds) - self._bar.n)
        if draw and self._picture and self._astir and elapsed >= self._next:
            began = time.monotonic()
            with held_back():  # the first drawing imports this and that
                self._picture.update(self._drawn())
            self._next = elapsed + max(REDRAW, SHARE * (time.monotonic() - began))

    def _planned(self, began):
        """The event ``began``; without the planned end where the invoker sends: such a run is over when its tasks are."""
        detail = began.get("detail") or {}
        if "invoker" not in detail["lanes"]:
            return began
        self._bar.bar_format = "{bar}| {n:.0f} s, {total:g} s at most"
        return began | {"detail": {name: value for name, value in detail.items() if name != "seconds"}}
