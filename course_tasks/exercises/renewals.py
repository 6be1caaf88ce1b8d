"""What a renewal must do wherever the lease ends that it renews, tried without a lab, in a fraction of a second.

What a release must do there is in :mod:`~course_tasks.exercises.leases`. It takes a whole lock, whose own ``acquire()`` is the
next holder's. A renewal is one function, so the next holder is a key that the check sets.
"""

from redis.exceptions import WatchError

from course_tasks.breakpoints import Breakpoint, boundaries, watched
from course_tasks.exercises.definition import not_yet
from course_tasks.exercises.wording import place_told

NAME = "mail"
OURS, THEIRS = b"8c1f-ours", b"47e0-theirs"
LEASE = 30.5  # seconds to renew to; so long that no pause of the machine comes near what is told apart here
CALLED = f"renew(…, lease={LEASE})"
LITTLE, MUCH = 20_000, 60_000  # milliseconds that are left of a lease before

HINTS = {
    "length": "The lease is to be so many seconds from now. PEXPIRE counts in milliseconds, a whole number.",
    "answer": "Return True where the lock is the token's own, renewed or long enough already, and False otherwise. "
    "The client answers in bytes, as the token is.",
    "recreated": "SET makes a key where there was none. A lock that was lost must stay lost: somebody may have been "
    "inside meanwhile.",
    "lengthened": "The key is there, and it isn't yours. Compare its value with the token first.",
    "taken": "SET replaces the value, whoever's it was; XX only asks for a key to be there.",
    "between": "You look, then the lease ends, then you act on what you saw. It has to be one step on the server: a "
    "script, or a transaction that watches the key from before you look.",
    "watch": "WatchError says that somebody touched the key since WATCH, and that EXEC did nothing. So look again, or "
    "return False.",
    "shorter": "Work may count on the time that is left. Look at PTTL in the same step, and only lengthen.",
}
"""For an exercise's findings: the hint for each of those of :func:`renews_only_its_own`."""


def renews_only_its_own(bench, renew):
    """It lengthens one's own lease to as much as was asked for, and nobody else's, wherever that lease ends.

    ``renew`` takes (client, name, token, lease in seconds) and returns whether the lock is the token's. Returns
    ``(outcome, places)``: the Outcome of a wrong answer, or None; and at how many places the lease was ended. Findings:
    those of HINTS.
    """
    found = bench.call(_renewed, renew, bench.client, what="Your function, tried on a server,")
    return (not_yet(*found), 0) if isinstance(found, tuple) else (None, found)


def _renewed(renew, client):
    """(finding, what was seen) for the first thing that is wrong; how many places there were where all is right."""

    def ask(own):
        return renew(own, NAME, OURS, LEASE)

    _put(client, OURS, LITTLE)
    answer, left = ask(client), client.pttl(NAME) / 1000
    if not answer and 30 < left <= LEASE:
        return "answer", f"The lock was the token's own. {CALLED} renewed it, and returned {answer!r}."
    if not answer and 15 < left <= LITTLE / 1000:
        return "answer", f"The lock was the token's own. {CALLED} left it as it was, and returned {answer!r}."
    if not 30 < left <= LEASE:
        return "length", f"The lock was the token's own, with 20 s left. After {CALLED} it has {max(0, left):.3g} s."

    client.delete(NAME)
    answer = ask(client)
    if client.exists(NAME):
        return "recreated", f"The lease was over, and nobody had the lock. {CALLED} made it anew."
    if answer:
        return "answer", f"The lease was over, and nobody had the lock. {CALLED} returned {answer!r}."

    _put(client, THEIRS, LITTLE)
    answer = ask(client)
    if wrong := _theirs(client, f"Another one had the lock. {CALLED}"):
        return wrong
    if answer:
        return "answer", f"Another one had the lock. {CALLED} returned {answer!r}."

    _put(client, OURS, LITTLE)
    places = boundaries(client, ask)
    for place in places:
        if wrong := _between(ask, client, place):
            return wrong

    _put(client, OURS, MUCH)
    answer, left = ask(client), client.pttl(NAME) / 1000
    if left <= LEASE:
        return "shorter", f"The lock was the token's own, with 60 s left. After {CALLED} it has {left:.3g} s."
    if not answer:
        return "answer", f"The lock was the token's own, with 60 s left. {CALLED} returned {answer!r}."
    return len(places)


def _put(client, value, left):
    client.set(NAME, value, px=left)


def _theirs(client, did, finding=None):
    """What ``did`` wrong to the lock that another one has, as (finding, sentence); ``finding`` replaces the finding."""
    if client.get(NAME) != THEIRS:
        return finding or "taken", f"{did} took it away from them."
    if (left := client.pttl(NAME)) > LITTLE:
        return finding or "lengthened", f"{did} made their lease longer, from 20 s to {left / 1000:.3g} s."
    return None


def _between(ask, client, place):
    """What is wrong where the lease ends at this ``place`` of renew(): another one gets the lock there, or nobody does."""
    ends = {
        "another one got the lock": lambda: _put(client, THEIRS, LITTLE),
        "nobody got the lock": lambda: client.delete(NAME),
    }
    for then, end in ends.items():
        _put(client, OURS, LITTLE)
        happened = f"The lease ended {place_told(place)}, and {then}. Your function"
        with watched(client, Breakpoint(end, **place)) as own:
            try:
                ask(own)
            except WatchError:
                return "watch", f"{happened} raised WatchError."
        if client.get(NAME) == OURS:
            return "between", f"{happened} made the lock its own again."
        if client.exists(NAME) and (wrong := _theirs(client, happened, "between")):
            return wrong
    return None
