"""What taking a lock on several servers must do, whatever befalls some of them: tried on five real servers, without a lab."""

import redis

from course_tasks.exercises.definition import not_yet
from course_tasks.exercises.troubles import DOWN, OVERTAKEN, SLOW, TAKEN, UNHEARD, moving_clock, names, tried
from course_tasks.exercises.wording import short

LEASE = 10.0  # seconds; so long that no pause of the machine comes near what is told apart here
DRIFT = 0.01  # of the lease, as the exercise says
BRIEF = 1.2  # seconds: a lease that is over before five answers have arrived that are SLOW, and yet outlasts a stall after that
CLOSE = 0.01  # seconds between two ways to count the same; the servers count whole milliseconds

# How many servers; what befalls which of them, by number; whether that leaves a majority.
VOTES = [
    (5, {}, True),
    (5, {4: TAKEN, 5: TAKEN}, True),
    (5, {1: TAKEN, 2: TAKEN}, True),
    (5, {3: TAKEN, 4: TAKEN, 5: TAKEN}, False),
    (5, {1: TAKEN, 2: TAKEN, 3: TAKEN}, False),
    (4, {4: TAKEN}, True),
    (4, {3: TAKEN, 4: TAKEN}, False),
    (3, {1: TAKEN}, True),
    (3, {2: TAKEN, 3: TAKEN}, False),
    (1, {}, True),
    (1, {1: TAKEN}, False),
]
SILENCE = [
    (5, {1: DOWN, 4: DOWN}, True),
    (5, {2: UNHEARD}, True),
    (5, {1: DOWN, 3: TAKEN, 4: TAKEN}, False),
    (5, {1: DOWN, 2: DOWN, 4: DOWN}, False),
    (5, {2: UNHEARD, 3: TAKEN, 4: TAKEN}, False),
    (5, {1: TAKEN, 2: TAKEN, 3: TAKEN, 4: TAKEN, 5: UNHEARD}, False),
    (5, {1: OVERTAKEN, 2: OVERTAKEN, 3: TAKEN, 4: TAKEN, 5: TAKEN}, False),
]
HINTS = {
    "answer": "Return a number: for how many seconds the lock is yours; 0 where it isn't.",
    "lease": "SET … PX counts in milliseconds, a whole number. Every server is to forget the lock after the lease.",
    "command": "This is no silent server: the command itself is wrong, and the error says why. SET … PX wants a whole number of "
    "milliseconds, also where lease is 10.0: int(lease * 1000).",
    "free": "Every server was free, and said so unless the command is wrong. Perhaps redis.RedisError is caught and hides that: "
    "SET … PX wants a whole number of milliseconds, int(lease * 1000).",
    "refused": "More than half of all servers is enough; the others may be taken, dead or silent.",
    "minority": "Both halves of the servers can't have the lock. It takes more than half of all there are.",
    "error": "A server that doesn't answer is one vote less, and no more than that: catch redis.RedisError at each "
    "server, at SET and when you give back.",
    "kept": "Where it isn't yours, take back what you have set, on each server that can be reached. Otherwise nobody "
    "gets the lock until your leases are over.",
    "unheard": "No answer doesn't mean that nothing was set. Give back on all servers, not only where you heard a yes.",
    "theirs": "Compare with your token when you delete, in one step on the server: LeaseLock.RELEASE.text.",
    "drift": "The servers' clocks may run a little faster than yours. Count on a hundredth of the lease less.",
    "less": "What is left is the lease, less the time that asking took, less a hundredth of the lease.",
    "since": "The first server that said yes has counted from that moment on. Begin to measure before you ask the first, "
    "and end when you have asked the last.",
    "too_late": "A majority is not enough: look whether any of the lease is left. If not, it is as if too few had said "
    "yes.",
    "wall": "time.time() is what the clock on the wall says, and that can be set. time.monotonic() only goes forward.",
}
"""For an exercise's findings: the hint for each of those of :func:`takes_by_majority`."""


def takes_by_majority(bench, take):
    """It has the lock where a majority says so, for as long as that is true; where not, nothing is left behind.

    ``take`` takes (clients, name, token, lease in seconds), and returns for how many seconds it has the lock, or 0. Returns the
    Outcome of a wrong answer, or None. Findings: those of HINTS.
    """
    found = bench.call(_found, take, bench.clients, seconds=9.0, what="Your function, tried on five servers,")
    return not_yet(*found) if found else None


def _found(take, clients):
    """(finding, what was seen) for the first thing that is wrong, or None."""

    def wrong(servers, troubles, wins, lease=LEASE):
        trial = tried(take, clients[:servers], troubles, lease)
        finding = _what_is_wrong(trial, servers // 2 + 1, wins, lease)
        if finding == "refused" and not troubles:
            finding = "free"
        return finding and (finding, f"{trial}{_seen(trial, finding)}")

    for servers, troubles, wins in VOTES + SILENCE:
        if found := wrong(servers, troubles, wins):
            return found
    for late, down in ((1, (4, 5)), (5, (1, 2))):  # just a majority, so that each of its leases counts
        if found := wrong(5, dict.fromkeys(down, DOWN) | {late: SLOW}, True):
            return found
    return _too_late(take, clients) or _by_the_wall(take, clients)


def _too_late(take, clients):
    """All say yes, and it takes longer than the lease. One that asks all at once may still be in time."""
    trial = tried(take, clients, dict.fromkeys(range(1, 6), SLOW), BRIEF)
    finding = _what_is_wrong(trial, 3, bool(trial.ours) and trial.took < BRIEF * (1 - DRIFT), BRIEF)
    if finding in ("minority", "refused", "since"):
        finding = "too_late"
    there = f"The lease was {BRIEF} s, and each of five servers answered {SLOW} s late."
    return finding and (finding, f"{there} Your function returned {short(trial.said)} after {trial.took:.1f} s.")


def _by_the_wall(take, clients):
    with moving_clock(take) as (moved, move):
        trial = tried(moved, clients, {1: move}, LEASE)
    if _what_is_wrong(trial, 3, True, LEASE):
        return "wall", f"While it asked, the clock on the wall was set back by an hour. {trial}"
    return None


def _what_is_wrong(trial, quorum, wins, lease):
    """The finding, or None. ``quorum``: how many are more than half; ``wins``: whether so many could say yes."""
    said = trial.said
    if isinstance(said, redis.RedisError):
        return "error" if isinstance(said, redis.ConnectionError | redis.TimeoutError) else "command"
    if said is True or not isinstance(said, int | float):
        return "answer"
    if trial.robbed:
        return "theirs"
    if trial.endless:
        return "lease"
    if not wins:
        return "minority" if said else "unheard" if trial.strays else "kept" if trial.ours else None
    if said <= 0:
        return "refused"
    if len(trial.ours) < quorum:
        return "minority"
    if said > 2 * lease:  # milliseconds, or a time of day
        return "answer"
    if said > lease:
        return "drift"
    if said > sorted(trial.ours, reverse=True)[quorum - 1] + CLOSE:
        return "since"
    if said > lease * (1 - DRIFT) + CLOSE / 10:
        return "drift"
    return "less" if said < lease * 0.9 - trial.took else None


def _seen(trial, finding):
    """What else was seen, as the rest of the sentence."""
    if finding in ("kept", "unheard"):
        return f" Its token was left on {len(trial.ours)} of them."
    if finding == "minority":
        return f" Its token is on {len(trial.ours) or 'none'} of them."
    if finding == "since":
        return f" A majority of them has it for {min(trial.ours):.2f} s."
    if finding == "theirs":
        return f" Another one's lock is gone from {names(trial.robbed)}."
    return ""
