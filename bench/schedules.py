"""Random schedules of kills and pauses over a FencedLock, before a database that compares tokens, and before one that doesn't.

A schedule is drawn from its seed: who is paused or killed, and where, to a command. It counts if a fault landed inside a
hold. The same seeds are carried out without the comparison: what goes wrong there is what the fence held back; if nothing
did, the schedules would show nothing. And a third time with the tokens compared at writes alone, which is not enough
(bench/ledger.py tells why).

``python -m bench.schedules`` prints a line for each schedule, and the table; ``--seeds 17`` that one's events.
"""

import argparse
import itertools
import random

from bench.conductor import carry_out
from bench.faulty import KILL, LEASE, PAUSE, STAYS, TAKEN, Fault, Schedule
from bench.figures import attempts, total
from bench.fleet import serving
from bench.ledger import FENCED, FENCES, READ, UNFENCED, WRITE, WRITES_ALONE
from bench.lives import side_by_side
from course_tasks.breakpoints import AFTER, BEFORE

COUNT = 200  # schedules that count
COMMAND = "EVALSHA"  # what FencedLock sends, once for each attempt and each release
COMMANDS = 30  # of them, about as many as a contender sends in a schedule
LONG, SHORT = (1.2, 3), (0.2, 0.8)  # pauses, in leases: one in five ends before the lease does
PLACES = {  # and how often they are drawn: mostly between the read and the write that is based on it
    (AFTER, READ): 3,
    (BEFORE, WRITE): 3,
    (BEFORE, READ): 1,
    (AFTER, WRITE): 1,
    (BEFORE, COMMAND): 1,
    (AFTER, COMMAND): 1,
}
MEASURED = {
    FENCED: "tokens compared at reads and writes",
    UNFENCED: "the control, nothing compared",
    WRITES_ALONE: "tokens compared at writes alone",
}


def draw(seed):
    """The Schedule of ``seed``."""
    chance = random.Random(seed)
    contenders = chance.choice((3, 4))
    faults = []
    for who in range(contenders):
        last = chance.choice((0, 0, 1))  # of its lives; those before it end by a kill
        for life in range(last + 1):
            whats = [PAUSE] * chance.choice((0, 1, 1, 2)) + [KILL] * (life < last)
            faults += [_fault(chance, who, life, what) for what in whats]
    return Schedule(seed, contenders, tuple(faults))


def _fault(chance, who, life, what):
    [(moment, command)] = chance.choices(list(PLACES), PLACES.values())
    nth = chance.randint(1, COMMANDS if command == COMMAND else STAYS - 1)
    if what == KILL:
        leases, until = chance.uniform(0, 1), None
    else:
        leases = chance.uniform(*chance.choice((SHORT, *4 * [LONG])))
        until = chance.choice((None, None, "read", "wrote"))
    return Fault(who, life, what, moment, command, nth, LEASE * leases, until)


def outcomes(jobs, socket):
    """Yields the Outcome of each of ``jobs``, (Schedule, fence), in their order; several are carried out side by side."""
    return side_by_side(carry_out, [(schedule, socket, fence) for schedule, fence in jobs])


def experiment(wanted, socket, tell=lambda outcome: None):
    """Carry out seeds 0, 1, 2 … until ``wanted`` have counted with the fence, each seed with all fences in turn.

    Returns fence -> [Outcome, …], also of those that don't count. ``tell`` is called with each Outcome.
    """
    found, seeds = {fence: [] for fence in FENCES}, itertools.count()
    while (missing := wanted - sum(bool(outcome.strikes) for outcome in found[FENCED])) > 0:
        for outcome in outcomes(itertools.product(map(draw, itertools.islice(seeds, missing)), FENCES), socket):
            found[outcome.fence].append(outcome)
            tell(outcome)
    return found


def measure(wanted=COUNT, tell=lambda outcome: None):
    """Rows (what, figure) for ``wanted`` schedules that count; ``tell`` is called with each Outcome as it comes."""
    with serving() as socket:
        found = experiment(wanted, socket, tell)
    return [row for fence, what in MEASURED.items() for row in _rows(what, found[fence])]


def _rows(what, outcomes):
    counted = [outcome for outcome in outcomes if outcome.strikes]
    strikes = [strike for outcome in counted for strike in outcome.strikes]
    kills = sum(strike.kind == KILL for strike in strikes)

    return [
        (f"{what}: schedules that count", f"{len(counted)} of {len(outcomes)}"),
        attempts(counted),
        ("  faults inside a hold", f"{len(strikes)}: {len(strikes) - kills} pauses, {kills} kills"),
        ("  holds longer than their lease", total(counted, lambda outcome: outcome.outlived)),
        ("  stale reads and writes refused", total(counted, lambda outcome: len(outcome.account.refused))),
        ("  writes accepted", f"{sum(len(outcome.account.writes) for outcome in counted):,}"),
        ("  writes accepted out of order", total(counted, lambda outcome: len(outcome.account.out_of_order))),
        ("  updates lost", total(counted, lambda outcome: outcome.account.lost)),
    ]


def show(seed, fence):
    """Print what the schedule of ``seed`` is, and what happens in it; who finds the lock taken is only counted."""
    with serving() as socket:
        outcome = carry_out(draw(seed), socket, fence)
    print(f"{outcome}\n")
    for fault in outcome.schedule.faults:
        print(f"  contender {fault.who}  {fault}")
    print()
    for event in outcome.events:
        if event.kind != TAKEN:
            print(f"  {event.t - outcome.events[0].t:6.3f} s  {event}")


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.schedules", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=(), metavar="SEED", help="show these, with events")
    parser.add_argument("--fence", choices=FENCES, default=FENCED, help="what is compared there")
    parser.add_argument("--count", type=int, default=COUNT, help="how many schedules that count, without --seeds")
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        show(seed, arguments.fence)
    if not arguments.seeds:
        for what, figure in measure(arguments.count, lambda outcome: print(outcome, flush=True)):
            print(f"{what:<80} {figure}")


if __name__ == "__main__":
    main()
