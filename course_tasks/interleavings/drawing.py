"""A counterexample as the events of a run, one step a second, so that it is drawn by the same hand."""

from course_tasks import history
from course_tasks.interleavings.commands import WRITE, Marker
from course_tasks.interleavings.trace import CRASH, SERVER
from course_tasks.interleavings.wording import NO_STALE_WRITE
from course_tasks.interleavings.wording import title as finding


def picture(result, title=None):
    """Return the ``history.Picture`` of a counterexample, ``result`` (a Result); ``title`` is the finding by default."""
    steps = "; ".join(f"{number}. {step}" for number, step in enumerate(result.trace, 1))
    told = f"{steps}. {result.sentence}"
    return history.picture(history.frame(events(result)), title=title or finding(result), text=told)


def events(result):
    """The counterexample of ``result`` as a list of dictionaries that ``history.frame`` takes; the first step is at 1 s."""
    story, told = result.told, []

    def say(t, kind, lane, **fields):
        told.append({"t": float(t), "kind": kind, "lane": lane, "task": lane, **fields})

    lanes = [name for name in result.model.names if name in {this.step.who for this in story}]
    say(0, "began", "lab", detail={"lanes": lanes, "unit": "steps"})
    for t, this in enumerate(story, 1):
        who, command = this.step.who, this.step.command
        if who == SERVER:
            continue  # the lock's line ends here, because "acquired" says so
        if this.begins:
            say(t, "started", who)
        if isinstance(command, CRASH):
            last = [before.command.name for before in result.trace[: t - 1] if before.who == who][-1]
            for what in ("fault began", "fault ended"):
                say(t, what, who, detail={"fault": "kill", "command": f"after {last}"})
        elif not isinstance(command, Marker):
            wrong = t == len(story) and result.violated == NO_STALE_WRITE
            say(t, "command", who, detail={"says": _label(this.step), "wrong": wrong})
        for owner in this.lost.values():
            if owner != who:
                say(t, "lost", owner)
        if this.leaves:
            say(t, "left", who)
        if who in this.lost.values():
            say(t, "released", who)
        for key in this.got:
            say(t, "acquired", who, lease=_lease(story[t:], key, who))
        if this.enters:
            say(t, "entered", who)
        if this.in_vain:
            say(t, "skipped", who)
        if this.ends:
            say(t, "finished", who)
    say(len(story) + 1, "ended", "lab")
    return told


def _label(step):
    """The command without what is the same for all, and its answer: "GET → None", "WRITE 1 → True"."""
    token = f" {step.command.token}" if isinstance(step.command, WRITE) and step.command.token else ""
    return f"{step.command.name}{token} → {step.answered}"


def _lease(later, key, who):
    """In how many steps the lease of ``key`` ends, which ``who`` has just set; None if it doesn't end in what comes ``later``."""
    for steps, this in enumerate(later, 1):
        if this.lost.get(key) == who:
            return steps if this.step.who == SERVER else None
    return None
