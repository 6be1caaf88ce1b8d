"""The exercises of lesson 13, Redlock on trial."""

from course_tasks.exercises.definition import Exercise, not_yet, passed
from course_tasks.exercises.wording import short
from course_tasks.history.wording import listing

# Which assumption failed? -----------------------------------------------------------------------------------------------


def why(first, second, faults):
    if second["at"] >= first["left"]:
        return None
    lease_ends = first["at"] + first["lease"]
    if second["at"] >= lease_ends:
        return "late"
    for fault in faults:
        granted_both = fault["where"] in first["granted"] and fault["where"] in second["granted"]
        if granted_both and first["at"] < fault["at"] < second["at"]:
            if fault["fault"] == "restart":
                return "memory"
            if fault["fault"] == "clock" and lease_ends - fault["seconds"] <= second["at"]:
                return "clock"
    return None


# Small cases, each with what it takes to get it right: (finding, what is right, what it is, what happens). A hold is when it was
# granted, by which servers, and when it was left; a lease is 2 s.
CASES = [
    ("memory", "memory", "lock3 restarts", "0.1 123 1.6, 0.7 345 2.2, 0 worker1 cut, 0 worker2 cut, 0.2 lock3 restart"),
    ("clock", "clock", "lock3's clock jumps", "0.1 345 1.6, 0.7 123 2.2, 0 worker1 cut, 0.2 lock3 clock 60"),
    ("late", "late", "the first one is paused", "0.1 1234 3.2, 2.5 124 4.0, 0.3 worker1 pause 2.8"),
    ("late", "late", "the work takes too long", "0.1 1235 3.2, 2.3 235 4.0"),
    ("ends", "memory", "late in the run, lock3 restarts", "5.1 123 6.6, 5.7 345 7.2, 5.3 lock3 restart"),
    (
        "early",
        "memory",
        "lock3 restarts, and the first one stays for too long",
        "0.1 123 3.2, 0.7 345 2.2, 0.2 lock3 restart",
    ),
    ("together", None, "lock3 restarts, and the first one is done", "0.1 123 0.6, 0.7 345 2.2, 0.2 lock3 restart"),
    (
        "harmless",
        "memory",
        "a short pause, and then lock3 restarts",
        "0.1 345 1.6, 0.7 123 2.2, 0.2 worker2 pause 0.3, 0.3 lock3 restart",
    ),
    (
        "both",
        "clock",
        "lock1 restarts, and lock3's clock jumps",
        "0.1 123 1.6, 0.7 345 2.2, 0.2 lock1 restart, 0.3 lock3 clock 60",
    ),
    (
        "both",
        "memory",
        "lock5's clock jumps, and lock2 restarts",
        "0.1 124 1.6, 0.7 235 2.2, 0.2 lock5 clock 60, 0.3 lock2 restart",
    ),
    (
        "both",
        "memory",
        "lock2 restarts, and the clocks of lock1 and lock5 jump",
        "0.1 124 1.6, 0.7 235 2.2, 0.2 lock2 restart, 0.3 lock1 clock 60, 0.4 lock5 clock 60",
    ),
    (
        "between",
        "clock",
        "lock3 restarts before anybody comes, and then its clock jumps",
        "0.1 123 1.6, 0.7 345 2.2, 0.05 lock3 restart, 0.3 lock3 clock 60",
    ),
    (
        "between",
        "memory",
        "lock3's clock jumps before anybody comes, and then it restarts",
        "0.1 123 1.6, 0.7 345 2.2, 0.05 lock3 clock 60, 0.3 lock3 restart",
    ),
    (
        "between",
        "memory",
        "lock3 restarts, and its clock jumps when the second one is inside",
        "0.1 123 1.6, 0.7 345 2.2, 0.4 lock3 restart, 0.9 lock3 clock 60",
    ),
    (
        "between",
        "clock",
        "lock3's clock jumps, and it restarts when the second one is inside; that is told first",
        "0.1 123 1.6, 0.7 345 2.2, 0.9 lock3 restart, 0.4 lock3 clock 60",
    ),
    (
        "far",
        "memory",
        "lock3's clock is set back, and then lock3 restarts",
        "0.1 345 1.6, 0.7 123 2.2, 0.2 lock3 clock -60, 0.3 lock3 restart",
    ),
    (
        "far",
        "memory",
        "lock3's clock is set forward by half a second, and then lock3 restarts",
        "0.1 123 1.6, 0.7 345 2.2, 0.2 lock3 clock 0.5, 0.3 lock3 restart",
    ),
    (
        "far",
        "memory",
        "lock3 restarts, and then its clock is set back",
        "0.1 345 1.6, 0.7 123 2.2, 0.2 lock3 restart, 0.3 lock3 clock -60",
    ),
    (
        "far",
        "clock",
        "lock3's clock is set forward by half a second",
        "0.1 345 2.0, 1.8 123 3.3, 0.2 lock3 clock 0.5",
    ),
    (
        "first",
        "late",
        "lock3 restarts, and the second one comes when the lease is over",
        "0.1 123 3.2, 2.4 345 3.9, 0.2 lock3 restart",
    ),
]


def evidence_of(story):
    """The arguments of an answer for a ``story``, as the lesson's ``evidence(run)`` returns them."""
    first, second, *faults = (part.split() for part in story.split(", "))
    return _hold(*first), _hold(*second), [_fault(*each) for each in faults]


def _hold(at, servers, left):
    return {"at": float(at), "lease": 2.0, "left": float(left), "granted": [f"lock{number}" for number in servers]}


def _fault(at, where, kind, seconds=None):
    more = {"servers": ["lock4", "lock5"]} if kind == "cut" else {"seconds": float(seconds or 0)}
    return {"at": float(at), "where": where, "fault": kind} | more


def check_why(answer, bench):
    """Right for small cases, each of which has something that one can miss, and for the learner's own runs."""
    (trials,) = bench.given
    cases = [(finding, right, f"“{what}”", evidence_of(story)) for finding, right, what, story in CASES]
    for number, trial in enumerate(trials, 1):
        right = why(*trial)
        cases.append((right or "together", right, f"your run number {number} in trials", trial))
    for (finding, right, what, case), value in zip(
        cases, bench.calls(answer, [each[3] for each in cases]), strict=True
    ):
        if value not in ("late", "memory", "clock", None):
            return not_yet("nonsense", f"In the case {what}, your function returns {short(value)}.")
        if value != right:
            return not_yet(
                finding, f"In the case {what}, your function says {value!r}; it is {right!r}. {_told(*case)}"
            )
    told = ", ".join(str(right) for _, right, _, _ in cases[len(CASES) :])
    return passed(f"Right for {len(CASES)} small cases. And your own runs: {told}.")


def _told(first, second, faults):
    """The evidence in a sentence or two."""
    granted = [f"{listing(hold['granted'])} at {hold['at']:.2f} s" for hold in (first, second)]
    happened = [
        f"{fault['fault']}{_by(fault)} of {fault['where']} at {fault['at']:.2f} s"
        for fault in faults
        if fault["fault"] != "cut"
    ]
    return (
        f"The first was granted it by {granted[0]} for {first['lease']:.1f} s, and left at {first['left']:.2f} s; the second by "
        f"{granted[1]}. Faults: {'; '.join(happened) or 'none'}."
    )


def _by(fault):
    return f" ({fault['seconds']:+g} s)" if fault["fault"] == "clock" else ""


EXERCISES = [
    Exercise(
        "13.1",
        "Which assumption failed?",
        check_why,
        why,
        hints=(
            "First: were they inside together? Compare first['left'] with second['at'].",
            "Then: when did the first one's lease end? At first['at'] + first['lease'].",
            "Then: which servers are in both lists, first['granted'] and second['granted']? Look only at faults of those, at a "
            "time between the two grants.",
            "A clock that is set forward by so many seconds ends the lease so many seconds earlier. Was that before the second "
            "one was granted the lock?",
        ),
        findings={
            "memory": "A server that is in both lists was restarted between the two grants: it had forgotten the first.",
            "clock": "A server that is in both lists had its clock set forward between the two grants, and far enough.",
            "late": "The lease was over, and the first one still inside. That needs no fault of any server, and a pause is only "
            "one of its causes.",
            "ends": "A lease is so many seconds long. It ends at first['at'] + first['lease'].",
            "early": "The first one stayed for too long; but when the second one was given the lock, that lease still ran.",
            "together": "Whoever has left is not inside any more, whatever happened to the servers.",
            "harmless": "There was a pause, but the lease was not over. So it let nobody in.",
            "both": "A server that granted the lock to only one of the two could forget what it liked. It takes one that said "
            "yes to both.",
            "between": "What it forgot before the first grant, or after the second, did no harm. Faults need not come in order.",
            "far": "Set back, a clock ends a lease later. Set forward, it ends it so much earlier, which need not be at once.",
            "first": "Look at the lease first. When it is over, every server may say yes, and needs to forget nothing.",
            "nonsense": 'Return "late", "memory", "clock" or None, and None without quotation marks.',
            "raised": 'KeyError? Not every fault has the same keys: a "cut" has no "seconds". The cell above prints some.',
        },
        given=("trials",),
    ),
]
