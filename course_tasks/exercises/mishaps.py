"""What can go wrong in any answer: it raises, it never ends, it ends its process. Found in a call and in a run, and told
as the outcome of the check.
"""

from course_tasks.exercises import traces
from course_tasks.exercises.definition import NOT_ATTEMPTED, Outcome, Stop, not_yet
from course_tasks.exercises.wording import ended

HUNG = 1.0  # seconds after which an acquire() that need not wait should have come back
GONE = ("WorkerLostError(", "Terminated(", "SystemExit(")  # how Celery says that a task's process is no more

UNWRITTEN = Outcome(NOT_ATTEMPTED, "Nothing has been written yet.")


def stop_at_call(answer, what, seconds, touched):
    """Raise Stop unless ``answer`` (a calling.Answer) is a value that was returned.

    ``what`` is how a sentence calls it, ``seconds`` how long it was given, ``touched`` whether the learner's code has been
    seen to do anything before.
    """
    if answer.kind == "returned":
        return
    if answer.value == "NotImplementedError" and not touched:
        raise Stop(UNWRITTEN)
    finding, said = {
        "raised": ("raised", f"{what} raised {answer.value}."),
        "ended": ("ended", f"{what} ended its process, {ended(answer.value)}." if answer.kind == "ended" else ""),
        "endless": ("endless", f"{what} had not come back after {seconds:g} s."),
        "large": ("large", f"{what} returned more than can be looked at."),
        "unsendable": ("nonsense", f"{what} returned an object of {answer.value}, which belongs to one process alone."),
    }[answer.kind]
    if answer.value == "NotImplementedError":
        finding, said = "unfinished", f"{what} still raises NotImplementedError."
    raise Stop(not_yet(finding, said, trace=answer.trace, printed=answer.printed))


def stop_at_run(run, logs, waits, may_raise):
    """Raise Stop where a task of ``run`` raised an error, or asked for the lock and got no answer.

    ``logs(lane)`` is what a worker has written; ``waits`` whether tasks wait for the lock; errors of the classes named in
    ``may_raise`` are no mishap.
    """
    for task in run.events[run.events["kind"] == "failed"].itertuples():
        error = task.detail["error"]
        name = error.partition("(")[0]
        if error.startswith(GONE):
            raise Stop(not_yet("ended", f"On {task.lane}, the process that ran the task ended: {error}.", run))
        if name not in may_raise:
            finding = "unfinished" if name == "NotImplementedError" else "raised"
            trace = traces.in_log(logs(task.lane), task.task) or traces.Trace(error)
            raise Stop(not_yet(finding, f"On {task.lane}, the task raised {name}.", run, trace=trace))
    if stuck := _stuck(run, {"left"} if waits else {"left", "started", "waiting"}):
        lane, after = stuck
        if after == "left":
            raise Stop(not_yet("endless", f"On {lane}, release() did not come back, or has ended its process.", run))
        said = f"On {lane}, acquire() said neither that the lock is given nor that it is taken: it did not come back."
        raise Stop(not_yet("endless", said, run))


def _stuck(run, places):
    """Where a task stood still until the run ended: (lane, the last event of the task), the event one of ``places``.

    None where none did. Lanes that a fault has hit don't count. A process that ended itself may look the same: Celery says
    so only after ten seconds.
    """
    events = run.events
    hit = set(events.loc[events["kind"] == "fault began", "lane"])
    for last in events.dropna(subset="task").groupby("task", sort=False).tail(1).itertuples():
        if last.kind in places and last.lane not in hit and events["t"].iloc[-1] - last.t > HUNG:
            return last.lane, last.kind
    return None
