"""The exercises of lesson 01, a queue and its workers."""

import math
import random

from course_tasks.exercises.definition import Exercise, not_yet, passed
from course_tasks.lab.faults import pause

# What is certain ----------------------------------------------------------------------------------------------------


def certain(times, workers):
    idle = max(0, workers - times)
    busiest = math.ceil(times / workers)
    return idle, busiest


CASES = [(case, certain(*case)) for case in [(5, 10), (11, 10), (10, 10), (20, 3), (1, 1), (21, 10), (0, 4)]]


def check_certain(answer, bench):
    """Both numbers are right, whatever the tasks and workers; then a run in which a worker stalls."""
    if wrong := bench.first_wrong(answer, CASES):
        return not_yet(_what_is_wrong(wrong), str(wrong))
    run = bench.invoke(times=7, takes=0.2, faults=pause(1.0, "worker1", when="started"))
    most = run.intervals.query("kind == 'running'").groupby("lane").size().max()
    said = (
        f"Of seven tasks on three workers, somebody runs three or more. Here worker1 stalled, and somebody ran {most}."
    )
    return passed(said, run)


def _what_is_wrong(wrong):
    idle, busiest = wrong.value  # two values are asked for: others are an error, which is told
    if idle < 0:
        return "negative"
    if idle != wrong.wanted[0]:
        return "idle"
    return "fewer" if busiest < wrong.wanted[1] else "more"


# Backoff ------------------------------------------------------------------------------------------------------------


def countdown(retries):
    longest = min(60, 2**retries)
    return random.uniform(longest / 2, longest)


RETRIES = [*range(10), 100]
TRIES = 300  # so many numbers from a range come near to both its ends, all but certainly


def check_countdown(answer, bench):
    """In its bounds, all over them, and not the same numbers in two processes."""
    values = bench.calls(answer, [(retries,) for retries in RETRIES for _ in range(TRIES)])
    for number, retries in enumerate(RETRIES):
        mine, longest = values[number * TRIES : (number + 1) * TRIES], min(60, 2**retries)
        least, most = min(mine), max(mine)
        if most > longest:
            found = "no_cap" if longest == 60 else "too_long"
            return not_yet(found, f"countdown({retries}) was {most:.4g} s, and {longest} s is the longest.")
        if least < longest / 2:
            return not_yet(
                "too_short", f"countdown({retries}) was {least:.4g} s, and {longest / 2:g} s is the shortest."
            )
        if least == most:
            found = "cap_last" if longest == 60 and len(set(values)) > len(RETRIES) else "no_jitter"
            return not_yet(found, f"countdown({retries}) was {most:.4g} s each of {TRIES} times.")
        if least > longest * 0.55 or most < longest * 0.95:
            told = f"Of {TRIES} times, countdown({retries}) was never outside {least:.3g} to {most:.3g} s"
            return not_yet("narrow", f"{told}; {longest / 2:g} to {longest} s was asked for.")
    at_once = bench.together(_five, [(answer,)] * 3, what="countdown() in three processes")
    if at_once[0] == at_once[1] == at_once[2]:
        told = ", ".join(f"{value:.2f}" for value in at_once[0][:3])
        return not_yet("in_step", f"Three processes, and in each of them countdown(9) was {told} … s.")
    return passed(
        f"{len(values):,} countdowns within their bounds, spread all over them, and three processes out of step."
    )


def _five(answer):
    return [answer(9) for _ in range(5)]


EXERCISES = [
    Exercise(
        "01.1",
        "What is certain?",
        check_certain,
        certain,
        hints=(
            "If you looked at a few runs, you know what can be. For certainty, count.",
            "A task runs on one worker. So how many workers take part at most, when there are so few tasks?",
            "How many tasks can so many workers run at most, if none of them runs more than two?",
        ),
        findings={
            "idle": "So many tasks keep so many workers busy at most; the others run nothing, whatever happens.",
            "negative": "Fewer than no workers can't be idle.",
            "fewer": "If nobody ran more than you say, all together could not run as many tasks as there are.",
            "more": "It may be so, and it need not: the tasks could be shared out evenly.",
        },
    ),
    Exercise(
        "01.2",
        "Backoff with jitter",
        check_countdown,
        countdown,
        hints=(
            "First the longest time, without chance: it doubles with each retry, and 60 is the most.",
            "random.uniform(a, b) is a random number from a to b.",
            "longest = min(60, 2**retries); the answer lies between longest / 2 and longest.",
        ),
        findings={
            "no_cap": "After some doublings it is days. Nobody waits longer than 60 s, with the chance included.",
            "too_long": "The first retry, number 0, waits for 1 s at most: 2**0 is 1. And chance makes it shorter, never longer.",
            "too_short": "Half of the longest time is the least: a retry that comes at once helps nobody.",
            "no_jitter": "Tasks that failed in the same moment all come back in the same moment. Add some chance.",
            "cap_last": "Take the smaller one first, and then add the chance. The other way round, all late retries wait for "
            "60 s sharp.",
            "narrow": "Any time from half of the longest to all of it should be possible.",
            "in_step": "A generator of random numbers with a fixed beginning is the same in every worker, and so all come back "
            "together. The functions of the module random begin differently in each process.",
        },
    ),
]
