"""The exercises of lesson 12, Redlock."""

import contextlib
import time

import redis

from course_tasks.exercises import quorums
from course_tasks.exercises.definition import Exercise, not_yet, passed
from course_tasks.exercises.troubles import names
from course_tasks.exercises.wording import short
from course_tasks.locks import LeaseLock

# How many are enough? ---------------------------------------------------------------------------------------------------


def quorum(servers):
    yes = servers // 2 + 1
    return yes, servers - yes


SIZES = (5, 4, 3, 6, 7, 8, 9, 2, 1)  # what one thinks of first comes first


def check_quorum(answer, bench):
    """Two that are given the lock have a server in common; no more than that is asked for; the others may be down."""
    for servers, given in zip(SIZES, bench.calls(answer, [(number,) for number in SIZES]), strict=True):
        there = f"For {servers} servers" if servers > 1 else "For one server"
        yes, down = given
        if any(number != int(number) for number in given):
            return not_yet("whole", f"{there}, your function returns {short(given)}.")
        if 2 * yes <= servers:
            yes = int(yes)
            one, other = names(range(1, yes + 1)), names(range(yes + 1, 2 * yes + 1))
            return not_yet(
                "disjoint",
                f"{there}, your function says {yes}. Then one has a yes from {one or 'nobody'}, another one from "
                f"{other or 'nobody'}, and both have the lock.",
            )
        if yes > servers // 2 + 1:
            return not_yet("more", f"{there}, your function says {yes}, and {servers // 2 + 1} are enough.")
        if down != servers - yes:
            left = f"Then only {max(0, servers - down)} are left." if down > servers - yes else "More may be down."
            return not_yet(
                "down", f"{there}, {yes} must say yes: right. Your function says that {down} may be down. {left}"
            )
    return passed(
        "Right for 1 to 9 servers. Of five, 3 must say yes, and 2 may be down; of six, 4 must, and no more than 2 may be "
        "down: the sixth is one more that can fail."
    )


# For how long is it mine? -----------------------------------------------------------------------------------------------


def take(clients, name, token, lease):
    begin, votes = time.monotonic(), 0
    for client in clients:
        with contextlib.suppress(redis.RedisError):
            votes += bool(client.set(name, token, nx=True, px=int(lease * 1000)))
    validity = lease - (time.monotonic() - begin) - lease * 0.01
    if votes > len(clients) // 2 and validity > 0:
        return validity
    for client in clients:
        with contextlib.suppress(redis.RedisError):
            client.eval(LeaseLock.RELEASE.text, 1, name, token)
    return 0


def check_take(answer, bench):
    """A majority, whatever befalls the others; for as long as it is true; and nothing left behind where it is none."""
    if wrong := quorums.takes_by_majority(bench, answer):
        return wrong
    return passed(
        "On five servers, and on four, three and one: it had the lock where a majority said yes, for no longer than they keep "
        "it. Where too few did, or too late, nothing was left behind, not even where the answer was lost. And it doesn't mind "
        "what the clock on the wall says."
    )


EXERCISES = [
    Exercise(
        "12.1",
        "How many are enough?",
        check_quorum,
        quorum,
        hints=(
            "Draw four servers. With how many can two both have their number, and no server in common?",
            "Whole numbers: servers // 2 is half, rounded down.",
            "Those that must say yes must be up. The others may be down.",
        ),
        findings={
            "whole": "Servers are whole. // divides and rounds down.",
            "disjoint": "Any two that have the lock must share a server, which says yes to one of them only. That takes more "
            "than half, also where the number is even.",
            "more": "Just more than half is enough for two to share a server. Each one more that you ask for is one less that "
            "may be down.",
            "down": "As many as you need must be there to say yes. The others may be down.",
        },
    ),
    Exercise(
        "12.2",
        "For how long is it mine?",
        check_take,
        take,
        hints=(
            "begin = time.monotonic() comes first. Then ask each server, count the yes, and only then look at the clock again.",
            "validity = lease - (time.monotonic() - begin) - lease * 0.01",
            "with suppress(redis.RedisError): around the command for one server, inside the loop.",
            "Where it isn't yours, one loop over all clients gives back: client.eval(LeaseLock.RELEASE.text, 1, name, token).",
        ),
        findings=quorums.HINTS,
    ),
]
