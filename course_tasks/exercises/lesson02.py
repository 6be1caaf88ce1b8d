"""The exercises of lesson 02, beat does not wait."""

from course_tasks.exercises.definition import Exercise, not_yet, passed

# The queue, foretold ------------------------------------------------------------------------------------------------


def waiting(every, takes, workers, seconds):
    free_at = [0] * workers
    count = ticks = 0
    while ticks * every <= seconds:
        worker = free_at.index(min(free_at))
        begins = max(ticks * every, free_at[worker])
        free_at[worker] = begins + takes
        count += begins > seconds
        ticks += 1
    return count


STORY = (3, 7.5, 1, 12.25)
SETS = [
    STORY,
    (3, 7.5, 1, 3600.25),
    (1, 2.5, 1, 9.25),
    (3, 0.5, 1, 100.25),
    (1, 2.5, 3, 30.25),
    (1, 2.5, 2, 30.25),
    (1, 9.5, 3, 5.25),
]
CASES = [(case, waiting(*case)) for case in SETS]


def check_waiting(answer, bench):
    """The number is right in the ideal world; then a real run, which is close to it."""
    if wrong := bench.first_wrong(answer, CASES):
        return not_yet(_what_is_wrong(wrong), str(wrong))
    plan = {"every": 0.2, "takes": 1.0, "seconds": 2.9}
    run = bench.run(**plan)
    left = run.verdict.ticks - len(run.events.query("kind == 'started'"))
    foretold = waiting(plan["every"], plan["takes"], 3, plan["seconds"])
    return passed(
        f"Right in all {len(CASES)} cases. Here {left} tasks wait at the end, where your rule says {foretold}.", run
    )


def _what_is_wrong(wrong):
    every, takes, workers, _ = wrong.args
    if wrong.value < 0:
        return "negative"
    if wrong.value != int(wrong.value):
        return "parted"
    if wrong.value == wrong.wanted - 1:
        return "first_tick"
    busy = min(workers, -(-takes // every))
    return "begun" if wrong.value == wrong.wanted + busy else "other"


# Two intervals ------------------------------------------------------------------------------------------------------


def intervals(takes, workers):
    falls_behind = 0.9 * takes / workers
    never_meet = 1.5 * takes
    return falls_behind, never_meet


def check_intervals(answer, bench):
    """Both intervals lie on the right side of their borders; then a run with the second one."""
    sets = [(2.5, 3), (0.5, 3), (7.5, 1), (10, 4)]
    for (takes, workers), (behind, apart) in zip(sets, bench.calls(answer, sets), strict=True):
        where = f"Tasks of {takes:g} s, {workers} workers:"
        if behind <= 0 or apart <= 0:
            return not_yet("nothing", f"{where} an interval of {min(behind, apart):g} s.")
        if behind >= takes / workers:
            return not_yet("keeps_up", f"{where} with a tick every {behind:.3g} s, they keep up.")
        if apart <= takes:
            return not_yet(
                "meet", f"{where} with a tick every {apart:.3g} s, a task begins before the last one has ended."
            )
    apart = bench.call(answer, 0.5, 3)[1]
    run = bench.run(every=apart, takes=0.5, seconds=3)
    met = "two of them met all the same" if run.verdict.most_inside > 1 else "no two of them met"
    return passed(
        f"Here, with a tick every {apart:.3g} s and tasks of 0.5 s, {met}. It is one run, and no promise.", run
    )


EXERCISES = [
    Exercise(
        "02.1",
        "The queue, foretold",
        check_waiting,
        waiting,
        hints=(
            "Ticks come at 0, every, 2 * every … as long as that is not after seconds. When does each task begin?",
            "A task begins at its tick if a worker is free then, and else as soon as one is. So keep a list with the time at "
            "which each worker is free again.",
            "For each tick: take the smallest of those times; the task begins at that time or at the tick, whichever is "
            "later; the worker is free again takes seconds after that. Count the tasks that begin after seconds.",
        ),
        findings={
            "negative": "Workers who could do more than there is to do have no tasks saved up for later: then nothing waits.",
            "parted": "The difference of two rates is what comes on average. Tasks are whole: follow them one by one.",
            "first_tick": "The first tick comes at 0 s.",
            "begun": "A task that has begun waits no longer, though it has not ended.",
            "other": "Draw the ticks and the bars on paper, as in the picture of this lesson, and compare.",
        },
    ),
    Exercise(
        "02.2",
        "Two intervals",
        check_intervals,
        intervals,
        hints=(
            "How many tasks can all the workers together finish while one task takes its time? How many are sent meanwhile?",
            "They fall behind with an interval shorter than takes / workers.",
            "If the next tick comes while a task is going on and a worker is free, they meet, however many keep up.",
        ),
        findings={
            "nothing": "An interval is longer than nothing.",
            "keeps_up": "While one task takes its time, all the workers together finish as many as there are workers. Send more.",
            "meet": "To keep up is not enough. The next tick has to come after the end of the task before it.",
        },
    ),
]
