"""The exercises of lesson 03, the same mail twice."""

import math
from itertools import combinations

from course_tasks.exercises.definition import Exercise, not_yet, passed

# Who read the same mail ---------------------------------------------------------------------------------------------


def same_mail(events):
    pairs = []
    for mail, reads in events[events["kind"] == "read"].groupby("mail"):
        pairs += [(mail, one, other) for one, other in combinations(reads["lane"], 2)]
    return pairs


# Small histories, each with what it takes to get it right: (finding, what it is, what happens). A step is "worker1 reads 1".
HISTORIES = [
    ("pairs", "two workers with mail 1", "1 reads 1, 2 reads 1, 1 delivers 1, 2 delivers 1"),
    ("alone", "each mail is read once", "1 reads 1, 1 delivers 1, 2 reads 2, 2 delivers 2"),
    (
        "mixed",
        "three workers, of which two have the same mail",
        "1 reads 1, 2 reads 2, 3 reads 1, 1 delivers 1, 3 delivers 1",
    ),
    ("three", "three workers with mail 1", "1 reads 1, 2 reads 1, 3 reads 1, 1 delivers 1, 2 delivers 1, 3 delivers 1"),
    ("undelivered", "the run ends before the second delivers", "1 reads 4, 3 reads 4, 1 delivers 4"),
    (
        "lane",
        "one worker's task fails, and its next one reads the mail again",
        "2 reads 5, 2 fails 5, 2 reads 5, 2 delivers 5",
    ),
    ("order", "worker3 reads before worker1", "3 reads 2, 1 reads 2, 1 delivers 2, 3 delivers 2"),
    ("by_time", "the times contradict the order by a hair", "2 reads 7, 1 reads 7 early, 2 delivers 7, 1 delivers 7"),
]


def history_of(story):
    """The events of a ``story`` as a DataFrame like ``run.events``."""
    from course_tasks.history.reading import frame

    events, tasks = [{"t": 0.0, "kind": "began", "lane": "lab"}], {}
    for number, (who, does, mail, *early) in enumerate(step.split() for step in story.split(", ")):
        lane, t = f"worker{who}", number + 1.0 - (1.001 if early else 0)
        fields = {"t": t, "task": f"task{tasks.setdefault(lane, len(tasks))}", "name": "tasks.send_mail_from_queue"}
        if does == "reads":
            events += [
                fields | {"kind": "entered", "lane": lane},
                fields | {"kind": "read", "lane": lane, "mail": int(mail)},
            ]
        elif does == "fails":
            events.append(fields | {"kind": "failed", "lane": lane, "detail": {"error": "OSError()"}})
            tasks[lane] = len(tasks) + 10
        else:
            sender = {"sender": lane, "message_id": f"<{number}>"}
            events += [
                {"t": t, "kind": "delivered", "lane": "inbox", "mail": int(mail), "detail": sender},
                fields | {"kind": "left", "lane": lane},
            ]
    return frame([*events, {"t": 99.0, "kind": "ended", "lane": "lab"}])


def check_same_mail(answer, bench):
    """Right for small histories, each of which has something that one can miss, and for the learner's own run."""
    (run,) = bench.given
    stories = [
        *((finding, what, history_of(story)) for finding, what, story in HISTORIES),
        ("pairs", "your run", run.events),
    ]
    for (finding, what, events), got in zip(
        stories, bench.calls(answer, [(each[2],) for each in stories]), strict=True
    ):
        wanted, pairs = _plain(same_mail(events)), _plain(got)
        if pairs != wanted:
            told = f"In the history “{what}”, your function finds {pairs or 'nothing'}; there is {wanted or 'nothing'} to find."
            return not_yet(finding, told)
    return passed(
        f"Right for {len(HISTORIES)} small histories, and for your run: {len(wanted)} pairs had the same mail in hand."
    )


def _plain(pairs):
    """The pairs in an order of their own, made of plain numbers and texts."""
    return sorted((int(mail), str(one), str(other)) for mail, one, other in pairs)


# How often --------------------------------------------------------------------------------------------------------------


def at_most(every, takes, workers):
    return min(workers, math.ceil(takes / every))


CASES = [
    (case, at_most(*case)) for case in [(1, 2.5, 3), (1, 0.1, 3), (1, 1.5, 3), (1, 3.5, 3), (2, 7, 9), (3, 7.5, 1)]
]


def check_at_most(answer, bench):
    """The number is right, whatever the interval; then a real run."""
    if wrong := bench.first_wrong(answer, CASES):
        every, takes, workers = wrong.args
        if wrong.value == math.ceil(takes / every) > workers:
            return not_yet("busy", str(wrong))
        return not_yet("fewer" if wrong.value < wrong.wanted else "more", str(wrong))
    run = bench.run(every=0.5, takes=0.75, seconds=2.5)
    most = max(run.verdict.duplicates.values(), default=1)
    return passed(
        f"Here, with a tick every 0.5 s and mails of 0.75 s, one may go out twice. The most that one did: {most}.", run
    )


EXERCISES = [
    Exercise(
        "03.1",
        "Who had the same mail in hand?",
        check_same_mail,
        same_mail,
        hints=(
            "run.events has a row of the kind “read” for each task that has read a mail, with the columns mail and lane.",
            "Look at one mail at a time: events[events['kind'] == 'read'].groupby('mail').",
            "itertools.combinations(lanes, 2) gives every two of the lanes, in their order.",
        ),
        findings={
            "pairs": "For every two tasks that read the same mail: (mail, the lane that read it first, the other lane).",
            "alone": "A mail that was read once has no pair.",
            "mixed": "Only who has the same mail in hand belongs together, and others may read in between.",
            "three": "Three with the same mail are three pairs: every two of them.",
            "undelivered": "Go by who read the mail. Who was still sending it at the end had it in hand too.",
            "lane": "It is about tasks. Two tasks of one worker can have read the same mail, one after the other.",
            "order": "First comes who read the mail first, whatever its name.",
            "by_time": "The order of the rows is the order of the events. Don't sort by t.",
        },
        given=("run",),
    ),
    Exercise(
        "03.2",
        "How often can one mail go out?",
        check_at_most,
        at_most,
        hints=(
            "A mail goes out as often as it is read before it is first marked. That is takes seconds after the first reading.",
            "Ticks come at 0, every, 2 * every …: how many of them come before takes?",
            "Whoever has the mail in hand is busy with it. When that worker is free again, the mail is marked.",
        ),
        findings={
            "fewer": "Count the ticks at 0, every, 2 * every … that come before takes; the first one is at 0.",
            "more": "Only who reads before the first marking has the same mail.",
            "busy": "Each worker can read it once: while it has the mail in hand it is busy, and afterwards the mail is marked.",
        },
    ),
]
