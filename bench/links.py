"""Links between a benchmark's processes and its servers, through the lab's relay: they can be cut, and made slow."""

from bench.lives import Life
from course_tasks.lab import carrier
from course_tasks.lab.relay.__main__ import main


class Links:
    """Links from each of ``processes`` to each server of a ``fleet``, all names. Use it as a context manager.

    A relay carries them, in a process of its own. A Redis client reaches a server at ``fleet.where.link(process, server)``.
    """

    def __init__(self, fleet, processes):
        self._asked = str(fleet.where.path / "relay.sock")
        pairs = [(process, server) for process in processes for server in fleet.names]
        self._links = [[pair, str(fleet.where.link(*pair)), fleet.socket(pair[1])] for pair in pairs]

    def __enter__(self):
        self._relay = Life(lambda say: main(self._asked), "the relay")
        while not carrier.listens(self._asked):
            assert self._relay.process.is_alive(), "the relay ended while it started"
        self._ask("carry", links=self._links)
        return self

    def __exit__(self, *_):
        self._relay.end()

    def slow(self, seconds):
        """From now on, deliver so many ``seconds`` later, in each direction, whatever anybody sends."""
        self._ask("slow", keys=[pair for pair, _, _ in self._links], seconds=seconds)

    def cut(self, process, servers):
        """Hold back what ``process`` and ``servers`` send each other."""
        self._ask("cut", keys=[(process, server) for server in servers])

    def heal(self, process, servers):
        """Deliver it, and hold back nothing more."""
        self._ask("heal", keys=[(process, server) for server in servers])

    def _ask(self, op, **arguments):
        told = carrier.told(self._asked, op, **arguments)
        assert "error" not in told, told["error"]
