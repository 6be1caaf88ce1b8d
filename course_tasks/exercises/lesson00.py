"""The exercise of lesson 00, start here."""

import math

from course_tasks.exercises.definition import Exercise, not_yet, passed


def at_least(times, takes, workers):
    return math.ceil(times / workers) * takes


CASES = [(case, at_least(*case)) for case in [(6, 0.5, 3), (4, 1, 3), (7, 1, 3), (1, 2.0, 5), (20, 0.3, 10), (0, 1, 3)]]


def check_at_least(answer, bench):
    """The number is right, whatever the tasks and workers; then four real tasks on three real workers."""
    if wrong := bench.first_wrong(answer, CASES):
        times, takes, workers = wrong.args
        kinds = {
            "parted": times * takes / workers,
            "rounded_down": times // workers * takes,
            "one_by_one": times * takes,
            "all_at_once": takes,
        }
        found = next((kind for kind, value in kinds.items() if value == wrong.value), "other")
        return not_yet(found, str(wrong))
    run = bench.invoke(times=4, takes=0.5)
    ran = run.intervals.query("kind == 'running'")
    lasted = ran["until"].max() - ran["begin"].min()
    return passed(
        f"Four tasks of 0.5 s need 1 s at least on three workers. Here are four: they took {lasted:.2f} s.", run
    )


EXERCISES = [
    Exercise(
        "00.1",
        "How long at least?",
        check_at_least,
        at_least,
        hints=(
            "Begin with four tasks on three workers. Somebody runs two of them, one after the other.",
            "How many tasks does the worker run that has most of them, if they are shared out as evenly as possible?",
            "math.ceil(times / workers) is that number.",
        ),
        findings={
            "parted": "A task is not divided among workers: one worker runs it, from its beginning to its end.",
            "rounded_down": "What is left over when the tasks are shared out needs a worker, too.",
            "one_by_one": "The workers are at it at the same time.",
            "all_at_once": "Where there are more tasks than workers, somebody runs a second one, after the first.",
            "other": "Share the tasks out as evenly as you can, and look at the worker that has most of them.",
        },
    ),
]
