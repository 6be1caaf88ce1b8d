"""Redlock over five servers, beside other people's Redlocks and a lock on one server: all up, far away, one of them stopped.

All take turns (bench/turns.py), each beside its control; bench/peers.py says who they are.
"""

import functools
import statistics

from bench import stopped
from bench.figures import spread
from bench.fleet import FIVE, Fleet, private_place
from bench.links import Links
from bench.lives import apart
from bench.peers import LOCKS, ONE, OURS, POTTERY, REDLOCK_PY, made
from bench.turns import Turns

ROUNDS, BLOCK = 40, 50  # all up
DELAY = 0.005  # seconds added each way
FAR_ROUNDS, FAR_BLOCK = 8, 3


def turns(sockets, rounds, block):
    return Turns({name: functools.partial(made, name, sockets) for name in LOCKS}, rounds, block)


# All up --------------------------------------------------------------------------------------------------------------


def all_up(sockets):
    """Rows (what, figure)."""
    found = turns(sockets, ROUNDS, BLOCK)
    rows = [
        (f"{name}: acquire and release, nobody else", f"{statistics.median(found.both(name)):,.0f} µs")
        for name in LOCKS
    ]
    for name in (REDLOCK_PY, POTTERY, ONE):
        first, second = found.ratios(OURS, name)
        rows.append((f"  Redlock, as a multiple of {name}", f"{first:.2f} and {second:.2f}"))
    return [*rows, ("  " + found.control[0], found.control[1])]


# Far away ------------------------------------------------------------------------------------------------------------


def far_away(fleet, sockets):
    """Rows (what, figure): over links, first without a delay, then with one."""
    with Links(fleet, ["client"]) as links:
        linked = [str(fleet.where.link("client", name)) for name in fleet.names]
        overhead = through(sockets, linked)
        links.slow(DELAY)
        found = turns(linked, FAR_ROUNDS, FAR_BLOCK)
    rtt = 2 * DELAY * 1e6
    rows = [
        (
            f"{name}, {DELAY * 1000:.0f} ms added each way: acquire and release",
            f"{spread([each / 1000 for each in found.both(name)], 1)} ms, "
            f"{statistics.median(found.both(name)) / (2 * rtt):.2f} times two round trips",
        )
        for name in LOCKS
    ]
    return [*rows, ("  " + found.control[0], found.control[1]), *overhead]


def through(sockets, linked):
    """Rows (what, figure): what a link without a delay adds."""
    makers = {}
    for name in (OURS, ONE):
        makers[name] = functools.partial(made, name, sockets)
        makers[f"{name}, linked"] = functools.partial(made, name, linked)
    found = Turns(makers, ROUNDS, BLOCK)
    return [
        (
            f"  the links themselves, without a delay: {name}",
            f"{statistics.median(found.both(f'{name}, linked')):.0f} µs instead of "
            f"{statistics.median(found.both(name)):.0f} µs",
        )
        for name in (OURS, ONE)
    ]


def measure():
    """Rows (what, figure). Where pottery is among them, in a process of its own: it leaves threads behind."""
    with private_place() as where, Fleet(where, FIVE) as fleet:
        sockets = [fleet.socket(name) for name in fleet.names]
        rows = apart(lambda: all_up(sockets))
        rows += apart(lambda: far_away(fleet, sockets))
        rows += stopped.one_stopped(fleet, sockets)
    return rows


if __name__ == "__main__":
    for what, figure in measure():
        print(f"{what:<100} {figure}")
