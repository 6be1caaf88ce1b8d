"""What a search has shown, in sentences."""

from course_tasks.history.wording import count, listing
from course_tasks.interleavings.commands import WRITE
from course_tasks.interleavings.trace import CRASH, SERVER

MUTUAL_EXCLUSION, NO_DEADLOCK, NO_STALE_WRITE = PROPERTIES = ("mutual exclusion", "no deadlock", "no stale write")

PROMISES = {
    MUTUAL_EXCLUSION: "no two clients are inside together",
    NO_DEADLOCK: "nobody is locked out for ever",
    NO_STALE_WRITE: "no stale write is accepted",
}

VIOLATIONS = {
    MUTUAL_EXCLUSION: "two inside together",
    NO_DEADLOCK: "locked for ever",
    NO_STALE_WRITE: "a stale write accepted",
}


def sentence(result):
    """Return what ``result`` (a Result) means, in a few sentences."""
    if result.outcome == "broken":
        said = {MUTUAL_EXCLUSION: _together, NO_DEADLOCK: _locked, NO_STALE_WRITE: _stale}[result.violated]
        return " ".join([said(result), *_causes(result.told)])
    if result.outcome == "holds":
        promises = listing(PROMISES[name] for name in result.asked)
        return " ".join([f"In every order of the steps, {promises}.", *_limits(result)])
    if not result.asked:
        return "Nobody ever entered or wrote anything, so nothing was shown. Does the lock yield ENTER?"
    near = count(result.depth, "step")
    return f"The search was cut short. Within {near} nothing is violated; about longer orders it says nothing."


def title(result):
    """Return the title of the picture of a counterexample."""
    return f"{result.model.program.name}: {VIOLATIONS[result.violated]} after {count(len(result.trace), 'step')}"


def _together(result):
    last = result.told[-1]
    if result.count_overdue or not result.lease_ends:
        return f"{listing(last.inside)} are inside together."
    counted = [name for name in last.inside if name not in last.state.store.overdue]
    return f"{listing(counted)} are inside together, and the lease of neither has ended."


def _locked(result):
    left = {name: key.owner for name, key in result.told[-1].state.store.keys if key.owner and not key.leased}
    crashed = {told.step.who for told in result.told if isinstance(told.step.command, CRASH)}
    said = [
        f"{owner} {'crashed' if owner in crashed else 'is done'}, and its {name} stays" for name, owner in left.items()
    ]
    return f"Nobody can enter any more: {listing(said)}, without a lease." if said else "Nobody can enter any more."


def _stale(result):
    """The last step is a write; the one before it to the same row is the one that should have been the last."""
    late = result.trace[-1]
    writes = [step for step in result.trace if isinstance(step.command, WRITE) and step.answer]
    before = [step for step in writes if step.command.row == late.command.row][-2]
    tokens = [f" with token {step.command.token}" * bool(step.command.token) for step in (late, before)]
    said = f"{late.who}'s write{tokens[0]} was accepted after {before.who}'s{tokens[1]}"
    lower = late.command.token < before.command.token
    return f"{said}." if lower else f"{said}, though {before.who} was granted the lock later."


def _causes(story):
    """The steps by which somebody came to be inside without the lock, or was to."""
    for told in story:
        who, command = told.step.who, told.step.command
        for owner in told.lost.values():
            if who == SERVER and owner in told.underway:
                yield f"The lease of {owner} ended {'while it was inside' if owner in told.inside else 'before it was done'}."
            elif who == owner and who in told.inside:
                yield f"{who}'s {command.name} gave the lock back while it was inside."
            elif who not in (SERVER, owner):
                yield f"{who}'s {command.name} {'replaced' if told.got else 'removed'} the lock of {owner}."


def _limits(result):
    """What the search has left out."""
    left_out = ["the end of a lease"] * (result.leases and not result.lease_ends) + ["a crash"] * (not result.crashes)
    if left_out:
        yield f"Not among the steps: {listing(left_out)}."
    if result.lease_ends and not result.count_overdue:
        yield "Who was still inside after the end of its lease was not counted."
