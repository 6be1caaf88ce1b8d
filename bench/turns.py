"""Timing in turns: short blocks of each, in an order that changes, everything twice.

The second time is the control. What the same code differs by from itself is what a difference between two has to exceed
before it says anything.
"""

import random
import time

from bench.figures import ratio


def used(lock):
    """What is timed of a ``lock``: one acquire and one release."""

    def use():
        assert lock.acquire()
        lock.release()

    return use


def timed(use, block):
    """Microseconds for one ``use()``, the mean of a ``block`` of so many in a row."""
    begin = time.perf_counter()
    for _ in range(block):
        use()
    return (time.perf_counter() - begin) / block * 1e6


class Turns:
    """What so many ``rounds`` of blocks took: ``makers`` are name -> a function that makes what is timed, called twice.

    ``first`` and ``second`` are name -> its figures in microseconds, one for each round: the thing itself, and its control.
    """

    def __init__(self, makers, rounds, block):
        self.first, self.second = {name: [] for name in makers}, {name: [] for name in makers}
        sides, order = (self.first, self.second), random.Random(0)
        uses = [(side[name], make()) for name, make in makers.items() for side in sides]
        for _, use in uses:
            timed(use, block)
        for _ in range(rounds):
            for figures, use in order.sample(uses, len(uses)):
                figures.append(timed(use, block))

    def both(self, name):
        """All figures of it, the control's too."""
        return self.first[name] + self.second[name]

    def ratios(self, over, under):
        """The median ratio of the one to the other, of the thing itself and of the control: two numbers."""
        return ratio(self.first[over], self.first[under]), ratio(self.second[over], self.second[under])

    @property
    def control(self):
        """A row (what, figure) that says by how much each differs from itself."""
        ratios = [ratio(self.first[name], self.second[name]) for name in self.first]
        return "the same code against itself, all of them", f"{min(ratios):.2f} to {max(ratios):.2f}"
