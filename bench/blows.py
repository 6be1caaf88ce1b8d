"""What a seed decides: which servers are hit, how, and in which hold; who is stopped; whose clock is slow."""

import random
from dataclasses import dataclass

from bench.fleet import FIVE
from course_tasks.history.wording import listing

LEASE, SECONDS = 0.5, 1.8
HOLD = (0.4, 1.4)  # leases, from and to
HOLDS = 5  # about as many as there are in a schedule
RATES = (0.99, 0.99, 1.0)  # of the contenders' clocks, seconds in one: Redlock allows for a hundredth
BLOWS = {"restart": 4, "pause": 2, "cut": 3, "kill": 1}  # and how often they are drawn


@dataclass(frozen=True)
class Blow:
    """What hits ``servers`` (names), ``after`` so many seconds of the ``nth`` hold of all (1, 2, …).

    ``what`` is "kill", for good; "restart", with so many ``seconds`` in between; "pause", for ``seconds``; or "cut": nothing
    passes between them and ``who``, a contender or "holder", for ``seconds``.
    """

    nth: int
    after: float
    what: str
    servers: tuple
    seconds: float = 0.0
    who: str | None = None

    def __str__(self):
        whom = f"{listing(self.servers)} cut off from {self.who}" if self.what == "cut" else listing(self.servers)
        lasting = "" if self.what == "kill" else f", {self.seconds:.2f} s"
        return f"{self.what}: {whom}{lasting}; {self.after:.2f} s into hold {self.nth}"


@dataclass(frozen=True)
class Stop:
    """Contender ``who`` (its name) is stopped for ``seconds`` when it has the votes of its ``nth`` hold (1, 2, …)."""

    who: str
    nth: int
    seconds: float

    def __str__(self):
        return f"{self.who} stopped for {self.seconds:.2f} s, with the votes of its hold {self.nth} in hand"


@dataclass(frozen=True)
class Schedule:
    """What happens to whom: ``blows`` hit servers, ``stops`` contenders.

    ``rates`` are contender -> how many seconds pass by its clock while one passes. The lock's ``lease`` is in seconds; each
    ``hold`` takes so many leases, from and to, and for so many ``seconds`` the lock is wanted.
    """

    seed: int
    rates: dict
    blows: tuple
    stops: tuple
    lease: float = LEASE
    hold: tuple = HOLD
    seconds: float = SECONDS


def draw(seed):
    """The Schedule of ``seed``."""
    chance = random.Random(seed)
    contenders = [f"contender{number + 1}" for number in range(chance.choice((3, 4)))]
    holds = sorted(chance.sample(range(1, HOLDS + 1), chance.choice((3, 4, 5))))
    stops = [Stop(chance.choice(contenders), 1, LEASE * chance.uniform(0.1, 1.2))] * chance.choice((0, 1))
    return Schedule(
        seed,
        rates={who: chance.choice(RATES) for who in contenders},
        blows=tuple(_blow(chance, nth, contenders) for nth in holds),
        stops=tuple(stops),
    )


def _blow(chance, nth, contenders):
    [what] = chance.choices(list(BLOWS), BLOWS.values())
    most = {"restart": 3, "pause": 3, "cut": 4, "kill": 1}[what]
    return Blow(
        nth,
        after=LEASE * chance.uniform(0, 0.5),
        what=what,
        servers=tuple(sorted(chance.sample(FIVE, chance.randint(1, most)))),
        seconds={"restart": chance.uniform(0, 0.1), "kill": 0.0}.get(what, LEASE * chance.uniform(0.1, 1.2)),
        who=chance.choice(("holder", *contenders)) if what == "cut" else None,
    )
