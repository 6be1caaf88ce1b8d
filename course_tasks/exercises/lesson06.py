"""The exercises of lesson 06, the holder dies."""

import functools
import math

from course_tasks.breakpoints import Trace, watched
from course_tasks.exercises import killing, locking
from course_tasks.exercises.comparing import same
from course_tasks.exercises.definition import Exercise, not_yet, passed
from course_tasks.exercises.wording import short
from course_tasks.lab.faults import kill

# Another lock with a lease ------------------------------------------------------------------------------------------


class LeasedLock:
    TAKE = """
        local count = redis.call('incr', KEYS[1])
        if count > 1 then
            return 0
        end
        redis.call('expire', KEYS[1], ARGV[1])
        return 1
    """

    def __init__(self, client, name, timeout=2):
        self.client, self.name, self.timeout = client, name, timeout

    def acquire(self):
        return self.client.eval(self.TAKE, 1, self.name, self.timeout) == 1

    def release(self):
        self.client.delete(self.name)


def check_leased(lock, bench):
    """One at a time; and wherever a process is killed, the lock is free when its lease is over; not by SET alone."""
    long = functools.partial(lock, timeout=killing.LONG)
    if wrong := locking.in_turn(bench, long) or locking.one_step(bench, long):
        return wrong
    sent = bench.call(_taking, lock, bench.client, what="acquire()")
    if not sent:
        return not_yet("unseen", "acquire() sent no command through the client that the lock was given.")
    if wrong := killing.frees_itself(bench, lock):
        return wrong
    if set(sent) == {"SET"}:
        return not_yet(
            "lessons",
            "Right: it comes free in time. But it takes the lock by SET alone, and the exercise asks for another way.",
        )
    run = bench.contend(functools.partial(lock, timeout=1), seconds=2.5, faults=kill(after=0.5))
    if run.verdict.outcome == "invalid":
        return not_yet("together", f"Six contended. {run.verdict.sentence}.", run)
    if run.verdict.outcome == "unknown":
        return not_yet("unused", "Six contended, and nobody found the lock taken.", run)
    return passed(
        "Killed before and after each of its commands, it kept nobody out for longer than its lease, asked for or not. Here six "
        "contend, and one of them is killed.",
        run,
    )


def _taking(lock, client):
    """The names of the commands with which the lock is taken."""
    sent = Trace()
    with watched(client, sent) as own:
        locking.attempt(lock(own, "taken"))
    return sent.commands


# How long they are kept out -----------------------------------------------------------------------------------------


def kept_out(events):
    found, held = [], {}
    for event in events.itertuples():
        if event.kind == "acquired":
            held[event.lane] = event.t + event.lease
        elif event.kind == "released":
            held.pop(event.lane)
        elif event.kind == "fault ended" and event.detail["fault"] == "kill" and event.lane in held:
            free = held.pop(event.lane)
            if math.isnan(free):
                found.append((event.lane, event.t, None))
            elif free > event.t:
                found.append((event.lane, event.t, free))
    return found


TOLERANCE = 0.1  # seconds: a fault has a beginning and an end

# Small histories, each with what it takes to get it right: (finding, what it is, what happens). A lease is 2.5 s, "0" is none.
HISTORIES = [
    ("from_death", "killed inside", "0 1 gets, 1 1 dies, 2 2 skips, 3 2 gets, 4 2 releases"),
    ("no_lease", "killed inside, without a lease", "0 1 keeps, 1 1 dies, 2 2 skips, 3 3 skips"),
    (
        "released",
        "killed when it had given the lock back",
        "0 1 gets, 1 1 releases, 1.2 1 dies, 2 2 gets, 3 2 releases",
    ),
    ("others", "killed while another one has the lock", "0 1 gets, 1 2 skips, 1.1 2 dies, 2 1 releases"),
    ("paused", "not killed, but paused", "0 1 gets, 0.5 1 pauses, 1.5 1 releases, 2 2 gets, 3 2 releases"),
    ("over", "killed when its lease was over", "0 1 gets, 3 2 gets, 3.2 1 dies, 4 2 releases"),
    ("last", "it had the lock before", "0 1 gets, 1 1 releases, 4 1 gets, 5 1 dies, 6 2 skips, 7 2 gets, 8 2 releases"),
    ("all", "two die, one after the other", "0 1 gets, 1 1 dies, 3 2 gets, 4.5 2 dies, 6 3 gets, 7 3 releases"),
]


def history_of(story):
    """The events of a ``story`` as a DataFrame like ``run.events``."""
    from course_tasks.history.reading import frame

    events = [{"t": 0.0, "kind": "began", "lane": "lab"}]
    for step in story.split(", "):
        at, who, does = step.split()
        fields = {"t": float(at), "lane": f"worker{who}", "task": f"task{at}", "name": "tasks.send_mail_from_queue"}
        fault = {"fault": "pause" if does == "pauses" else "kill"}
        events += {
            "gets": [fields | {"kind": "acquired", "lease": 2.5}, fields | {"kind": "entered"}],
            "keeps": [fields | {"kind": "acquired"}, fields | {"kind": "entered"}],
            "releases": [fields | {"kind": "left"}, fields | {"kind": "released"}],
            "skips": [fields | {"kind": "skipped"}],
        }.get(
            does,
            [
                {"t": float(at), "lane": f"worker{who}", "kind": f"fault {end}", "detail": fault}
                for end in ("began", "ended")
            ],
        )
    return frame([*events, {"t": 9.0, "kind": "ended", "lane": "lab"}])


def check_kept_out(answer, bench):
    """Right for small histories, each of which has something that one can miss, and for the learner's own run."""
    (run,) = bench.given
    stories = [(finding, f"the history “{what}”", history_of(story)) for finding, what, story in HISTORIES]
    stories.append(("from_death", "your run", run.events))
    for (finding, what, events), got in zip(stories, bench.calls(answer, [each[2:] for each in stories]), strict=True):
        wanted = kept_out(events)
        rows = [(str(who), _rounded(died), _rounded(free)) for who, died, free in got]
        if len(rows) != len(wanted) or not all(map(_alike, rows, wanted)):
            told = [(who, _rounded(died), _rounded(free)) for who, died, free in wanted]
            return not_yet(finding, f"In {what}, your function finds {short(rows)}; there is {short(told)} to find.")
    lost = sum(free - died for _, died, free in wanted)
    return passed(f"Right for {len(HISTORIES)} small histories. In your run, nobody could enter for {lost:.1f} s.")


def _rounded(moment):
    """A time to be told; None for none, be it None or NaN."""
    return None if moment is None or math.isnan(moment) else round(float(moment), 2)


def _alike(row, wanted):
    return row[0] == wanted[0] and all(
        same(one, other) or (None not in (one, other) and abs(one - other) < TOLERANCE)
        for one, other in zip(row[1:], wanted[1:], strict=True)
    )


EXERCISES = [
    Exercise(
        "06.1",
        "A lease for another lock",
        check_leased,
        LeasedLock,
        hints=(
            "As long as taking the lock and giving it a lease are two commands, a process can die between them. What makes "
            "one step of several commands? A script in Lua, or MULTI and EXEC.",
            "In a transaction you can't ask, and then decide. So what would EXPIRE do for those who are refused? With WATCH you "
            "can ask before it; and since Redis 7, EXPIRE has an option NX as well.",
            "A script can decide: client.eval(script, 1, self.name, self.timeout) runs it with KEYS[1] and ARGV[1]. Take the "
            "lock as in exercise 05.1; if it is taken, return 0; else EXPIRE, and return 1.",
        ),
        findings={
            "unseen": "The workers are different processes, on different hosts one day. Send commands through self.client.",
            **killing.HINTS,
            "lessons": "Take a script in Lua, or a transaction: MULTI and EXEC, with WATCH where you have to look first.",
            "everybody": "What comes back to the second one? Compare it exactly: a count of 2 is not the first. In Lua every "
            "number is true, 0 as well: write == 1.",
            "kept": "release() must undo all of it, also what those have done who were refused: where six count up and one "
            "counts down, five are left.",
            "raised": "Read those lines from the last one upwards. A script knows neither self nor your variables: it has "
            "KEYS[1] and ARGV[1], from client.eval(script, 1, key, argument). A WatchError says that somebody else was first: "
            "return False.",
            "together": "All processes must look at the same key, and leave it alone while another one has the lock.",
        },
    ),
    Exercise(
        "06.2",
        "Who is kept out, and until when?",
        check_kept_out,
        kept_out,
        hints=(
            "Go through the events in their order, and keep in mind for each lane whether it has the lock.",
            "At “acquired” its lease begins: it ends at t + lease. At “released” the lane has the lock no more.",
            "A kill is a “fault ended” whose detail['fault'] is 'kill'. for event in events.itertuples(): has event.kind, "
            "event.lane, event.t, event.lease, event.detail.",
        ),
        findings={
            "from_death": "The server counts from the moment at which the lock was taken: “acquired”, t + lease. It does not "
            "know when the holder died. And one kill is one row to return: that of its “fault ended”.",
            "no_lease": "Without a lease, event.lease is NaN, and the lock never comes free: None.",
            "released": "Who has released the lock leaves none behind.",
            "others": "Only a worker that had the lock itself leaves it behind.",
            "paused": "A pause is a fault as well. Look at detail['fault'].",
            "over": "Its lease was over before it died. By then, the lock was no longer its own.",
            "last": "It is the last “acquired” before its death that counts.",
            "all": "One (who, died, free) for each of them, in the order of their deaths.",
            "nonsense": "Return a list with (who, died, free), three values, for each of them; an empty list where nobody was.",
        },
        given=("longer",),
    ),
]
