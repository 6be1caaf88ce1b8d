"""The exercises of lesson 11, failover forgets."""

from course_tasks.breakpoints import AFTER, Breakpoint, watched
from course_tasks.exercises.definition import Exercise, not_yet, passed
from course_tasks.exercises.wording import short
from course_tasks.locks import LeaseLock

# Only if enough replicas have it --------------------------------------------------------------------------------------


def take(client, name, token, lease, replicas, patience):
    if not client.set(name, token, nx=True, px=int(lease * 1000)):
        return False
    if client.wait(replicas, int(patience * 1000)) >= replicas:
        return True
    client.eval(LeaseLock.RELEASE.text, 1, name, token)
    return False


NAME, OURS, THEIRS = "mail", b"3a0c-ours", b"7be2-theirs"
CAME = "came"  # a key that is there once another one has come in between
BARE = "bare"  # a key with the name of a command after which the lock had no lease
LEASE = 60.0  # seconds; so long that it doesn't end in a check
BRIEF = 0.2  # seconds that replicas are waited for in vain
LONG = 3.0  # seconds in which they answer, on a busy machine too; a client waits no longer than 5 for any answer
LATE = 200  # milliseconds, each way, by which their links are slow


def check_take(answer, bench):
    """Tried on a server without replicas, and then on one with two whose links are slow, or cut."""
    if wrong := _alone(bench, answer):
        return wrong
    if wrong := _replicated(bench, answer, bench.replicated):
        return wrong
    return passed(
        "On a server without replicas it took nothing and left nothing, also where another one had come in between. With two "
        "replicas it had the lock when both had been sent it, and with one of them cut off when one was enough; with too few, "
        "nothing was left behind."
    )


def _alone(bench, answer):
    """No replica ever acknowledges anything."""
    client, there = bench.client, "The server had no replica"
    for replicas in (2, 1):
        got, value = _try(bench, answer, client, replicas, BRIEF, _bare(client))
        if got:
            return not_yet(
                "itself" if replicas == 1 else "ignored", f"{there}, {replicas} had to have it, and {_said(got)}."
            )
        if value == OURS:
            return not_yet("left", f"{there}, and {_said(got)}. Its token was still in the key.")
        if command := client.get(BARE):
            return not_yet("bare", f"After your {command.decode()} the key was set, and had no lease.")
    got, value = _try(bench, answer, client, 1, BRIEF, before=THEIRS)
    if got or value != THEIRS:
        return not_yet("theirs", f"Another one had the lock; {_said(got)}, and then the key was {short(value)}.")
    for command in ("WAIT", "GET"):
        comes = Breakpoint(lambda: client.mset({NAME: THEIRS, CAME: 1}), after=command)
        _, value = _try(bench, answer, client, 1, BRIEF, comes)
        if value is None and client.exists(CAME):
            finding = "unasked" if command == "WAIT" else "between"
            said = f"After your {command} the lease ended, and another one got the lock. Its key is gone."
            return not_yet(finding, said)
    return None


def _replicated(bench, answer, lab):
    both, client = list(lab.replicas), lab.client("lock")
    lab.links.slow(LATE, both)
    got, value = _try(bench, answer, client, 2, LONG)
    if not got or value != OURS:
        return not_yet(
            "refused", f"Both replicas were {LATE / 1000} s late, you had {LONG:g} s to wait for two, and {_said(got)}."
        )
    left = client.pttl(NAME) / 1000
    if not LEASE - 10 < left <= LEASE:
        return not_yet("lease", f"The lease was to be {LEASE:g} s, and {left:g} s of it were left.")
    lab.links.heal()
    got, value = _try(bench, answer, client, 1, LONG, Breakpoint(lambda: _known_to(2, client), after="SET"))
    if not got:
        return not_yet("more", f"Both replicas had acknowledged it, one had to, and {_said(got)}.")
    lab.links.cut(both, "lock")
    got, value = _try(bench, answer, client, 1, BRIEF)
    if got:
        return not_yet("unacknowledged", f"Both replicas were cut off, one had to have it, and {_said(got)}.")
    lab.links.heal()
    lab.links.cut(both[0], "lock")
    got, value = _try(bench, answer, client, 1, LONG)
    if not got:
        return not_yet("enough", f"One of two replicas was cut off, one had to have it, and {_said(got)}.")
    got, value = _try(bench, answer, client, 2, BRIEF)
    if got:
        return not_yet("fewer", f"One of two replicas was cut off, two had to have it, and {_said(got)}.")
    if value == OURS:
        return not_yet(
            "left", f"One of two replicas was cut off, two had to have it, and {_said(got)}. Its token was left."
        )
    return None


def _said(got):
    return f"your function returned {short(got)}"


def _bare(client):
    """A watcher that notes after which command the key has no lease: whoever dies there leaves it for ever."""

    def look(moment, command):
        if moment == AFTER and client.pttl(NAME) == -1:
            client.set(BARE, command)

    return look


def _known_to(replicas, client):
    """Wait until so many replicas have acknowledged all that was written."""
    with client.client() as one:  # WAIT answers for its own connection
        one.set(CAME, 1)
        one.wait(replicas, int(LONG * 1000))


def _try(bench, answer, client, replicas, patience, *watchers, before=None):
    """What one call returned, and what is in the key then. ``before``: what was in it; ``watchers`` see its commands."""
    client.delete(NAME, CAME, BARE)
    if before:
        client.set(NAME, before)
    with watched(client, *watchers) as own:
        args = (own, NAME, OURS, LEASE, replicas, patience)
        # Where BRIEF is all the patience, well before the client itself gives up: an endless wait is told as one.
        got = bench.call(answer, *args, seconds=patience + 3, what="Your function")
    return got, client.get(NAME)


EXERCISES = [
    Exercise(
        "11.1",
        "Only if enough replicas have it",
        check_take,
        take,
        hints=(
            "SET with NX and PX, both numbers in milliseconds and whole. If it was not free, you are done: return False.",
            "client.wait(replicas, milliseconds) says how many replicas have what was written before. Compare that with how many "
            "there have to be.",
            "If there are too few, delete the key, if it still has your token, in one step on the server: "
            "client.eval(LeaseLock.RELEASE.text, 1, name, token).",
        ),
        findings={
            "ignored": "WAIT raises nothing where too few replicas answer. It only says how many did.",
            "itself": "WAIT counts replicas, and not the primary. Is at least as many as “replicas” what you compare with?",
            "left": "WAIT takes nothing back. Where too few have it, the key has to go, or nobody gets in for the whole lease.",
            "bare": "Whoever dies at that moment leaves it locked for ever (lesson 06). SET takes NX and PX together.",
            "theirs": "Where the lock is another one's, nothing here is yours: don't wait, don't delete.",
            "unasked": "Between your SET and now the lease may have ended. Delete the key only if it still has your token.",
            "between": "You look, then another one gets the lock, then you delete. It must be one step on the server: a script.",
            "refused": "WAIT takes milliseconds, patience is in seconds. It returns as soon as enough have answered, so let it "
            "wait that long. As many as “replicas” are enough.",
            "lease": "px= is in milliseconds, and lease is in seconds.",
            "unacknowledged": "WAIT answers for what was written before it, and over the same connection. Over a new one nothing "
            "was written, and each replica has that; in a transaction it doesn't wait. How many are connected says nothing.",
            "more": "WAIT says how many have it, which may be more than you have asked for.",
            "enough": "It is enough if as many as “replicas” have it; the others may be away.",
            "fewer": "Some replica is not enough: as many as “replicas” must have acknowledged it.",
            "endless": "WAIT with 0 milliseconds waits for ever. Is patience, which is in seconds, milliseconds by then?",
            "raised": "Not an integer? WAIT and px= take whole numbers of milliseconds: int(seconds * 1000). LockNotOwnedError? "
            "What isn't yours any more needs no giving back.",
        },
    ),
]
