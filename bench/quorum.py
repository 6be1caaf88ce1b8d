"""Random schedules of kills, restarts, pauses and cut links over five servers: do two ever hold a Redlock at once, and when?

Holders are told by their validity (bench/claims.py). A schedule is drawn from its seed: which servers are hit, how, and how
long after which hold has begun; whose clock is slow, and who is stopped with the votes in hand. It counts if the lock was
wanted while it was held, and something broke then.

The same seeds are carried out again where Redlock promises nothing: with servers that forget what they had when they are
restarted, and with servers whose clocks jump ahead instead. If nothing went wrong there, the schedules would show nothing. And
with mutants: a Redlock with one thing wrong must be caught.

``python -m bench.quorum`` prints a line for each schedule, and the table; ``--seeds 17`` that one's events, and its picture.
"""

import argparse
import collections
import itertools
from dataclasses import dataclass
from pathlib import Path

from bench.blows import draw
from bench.claimant import CountedRedlock
from bench.figures import attempts, total
from bench.lives import side_by_side
from bench.mutants import FromAfter, Half, NoDrift
from bench.trials import AHEAD, FORGET, JUMP, REMEMBER, carry_out
from course_tasks.history.wording import count, listing
from course_tasks.lab import movable_clocks

COUNT = 200  # schedules that count
TRIED = 40  # schedules for each mutant
PICTURES = Path("build") / "quorum"


@dataclass(frozen=True)
class Case:
    """What the schedules are carried out with: a ``lock``, and what becomes of servers that are to be ``restarted``.

    ``name`` is short, ``what`` says it in the table.
    """

    name: str
    what: str
    lock: type
    restarted: str = REMEMBER


REDLOCK = Case("redlock", "Redlock", CountedRedlock)
CONTROLS = (
    Case("forgetful", "Redlock, and restarted servers have forgotten what they had", CountedRedlock, FORGET),
    Case(
        "clocks",
        f"Redlock, and instead of being restarted, servers have their clocks jump by {JUMP} s",
        CountedRedlock,
        AHEAD,
    ),
)
MUTANTS = (
    Case("half", "a mutant: two of five are enough", Half),
    Case("no-drift", "a mutant: no allowance for drift", NoDrift),
    Case("from-after", "a mutant: validity counts from when the votes are in", FromAfter),
)
CASES = (REDLOCK, *CONTROLS, *MUTANTS)
FAULTS = {"restart": "restart", "pause": "pause", "cut": "cut link", "kill": "kill", "clock": "moved clock"}
UNTOLD = ("began", "finished", "ended")  # events that say nothing of what happened


def outcomes(case, seeds):
    """Yields the Outcome of each of ``seeds`` in that ``case``, in their order; several are carried out side by side."""
    library = movable_clocks().library if case.restarted == AHEAD else None
    return side_by_side(carry_out, [(draw(seed), case.lock, case.restarted, library) for seed in seeds])


def experiment(wanted, tell=lambda case, outcome: None):
    """Carry out seeds 0, 1, 2 … until ``wanted`` have counted with Redlock; the controls with the same, the mutants with some.

    Returns Case -> [Outcome, …], also of those that don't count; [] where clocks can't be moved. ``tell`` is called with each.
    """
    found = {case: [] for case in CASES}

    def carry(case, seeds):
        for outcome in outcomes(case, seeds):
            found[case].append(outcome)
            tell(case, outcome)

    seeds = itertools.count()
    while (missing := wanted - sum(outcome.counts for outcome in found[REDLOCK])) > 0:
        carry(REDLOCK, list(itertools.islice(seeds, missing)))
    drawn = range(len(found[REDLOCK]))
    for case in CONTROLS:
        if case.restarted != AHEAD or movable_clocks():
            carry(case, drawn)
    for case in MUTANTS:
        carry(case, drawn[:TRIED])
    return found


def measure(wanted=COUNT, tell=lambda case, outcome: None):
    """Rows (what, figure) for ``wanted`` schedules that count; ``tell`` is called with each Case and Outcome as it comes."""
    found = experiment(wanted, tell)
    return [row for case, outcomes in found.items() for row in _rows(case, outcomes)]


def _rows(case, outcomes):
    if not outcomes:
        return [(case.what, "not tried: no libfaketime that can move clocks was found here")]
    counted = [outcome for outcome in outcomes if outcome.counts]
    strikes = collections.Counter(strike["detail"]["fault"] for outcome in counted for strike in outcome.strikes)
    rows = [
        (f"{case.what}: schedules that count", f"{len(counted)} of {len(outcomes)}"),
        ("  holds", f"{sum(len(outcome.claims) for outcome in counted):,}"),
        attempts(counted),
        (
            "  faults inside a hold",
            f"{strikes.total():,}: " + ", ".join(count(number, FAULTS[what]) for what, number in strikes.most_common()),
        ),
        ("  pairs of valid holders", total(counted, lambda outcome: len(outcome.pairs))),
    ]
    together = [outcome for outcome in counted if outcome.pairs]
    if together:
        clearest = min(together, key=lambda outcome: (len(outcome.pairs), -outcome.together))
        rows.append((f"  the picture of seed {clearest.schedule.seed}", str(portray(case, clearest))))
    return rows


def portray(case, outcome):
    """Draw the timeline of ``outcome`` into PICTURES; return its path."""
    from course_tasks.history import frame, picture  # and with it all that takes its time to load

    PICTURES.mkdir(parents=True, exist_ok=True)
    path = PICTURES / f"{case.name}-{outcome.schedule.seed}.svg"
    picture(frame(outcome.events)).save(path)
    return path


def show(seed, case):
    """Print what the schedule of ``seed`` is and what happens in it, and draw its picture."""
    [outcome] = outcomes(case, [seed])
    print(f"{outcome}\n")
    for who, rate in outcome.schedule.rates.items():
        print(f"  {who}'s clock: {rate:.3f} s in a second")
    for fault in (*outcome.schedule.blows, *outcome.schedule.stops):
        print(f"  {fault}")
    print()
    for event in outcome.events:
        if event["kind"] not in UNTOLD:
            print(f"  {event['t'] - outcome.events[0]['t']:6.3f} s  {event['lane']:<10}  {told(event)}")
    print(f"\n{portray(case, outcome)}")


def told(event):
    """What happened, in words."""
    detail = event.get("detail") or {}
    if event["kind"] == "acquired":
        return f"acquired, valid for {event['lease']:.3f} s, granted by {listing(detail['granted'])}"
    said = [detail.get("fault"), listing(detail.get("servers", ()))]
    return ", ".join([event["kind"], *filter(None, said)])


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.quorum", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=(), metavar="SEED", help="show these, with events")
    parser.add_argument(
        "--case", choices=[case.name for case in CASES], default=REDLOCK.name, help="in which case, there"
    )
    parser.add_argument("--count", type=int, default=COUNT, help="how many schedules that count, without --seeds")
    arguments = parser.parse_args()
    case = next(case for case in CASES if case.name == arguments.case)
    if case.restarted == AHEAD and arguments.seeds and not movable_clocks():
        parser.error(repr(movable_clocks()))
    for seed in arguments.seeds:
        show(seed, case)
    if not arguments.seeds:
        for what, figure in measure(arguments.count, lambda case, outcome: print(case.name, outcome, flush=True)):
            print(f"{what:<80} {figure}")


if __name__ == "__main__":
    main()
