"""The links between a lab's processes and its lock servers: cut, slowed and healed, by hand or by a fault."""

from course_tasks.experiment import Clients
from course_tasks.lab import arguments
from course_tasks.lab.carrier import Carrier

NOTEBOOK = "notebook"
BY_HAND = "by hand"


class Links:
    """``lab.links``: the ways from each process of the lab ``crew`` to each lock server, and from a replica to its primary.

    A run has them where :func:`cut` or :func:`slow` is among its faults. By hand, they are for replicas, and for clients made
    by :meth:`clients`; ``lab.clients`` and ``lab.client(…)`` go straight on, and nothing cuts them off. What is done by hand
    lasts until :meth:`heal`, or until the next run, which begins with all links whole.

    What a cut or slow link does to a connection is told in :mod:`course_tasks.lab.relay`. Shown, they say which are cut or
    slow. Every method returns when it is done. They raise ValueError or TypeError for a bad argument, LabError where the lab
    is closed.
    """

    def __init__(self, crew):
        self._crew, self._carrier = crew, Carrier(crew)
        self._actors = ()  # those of the run that is on
        self._laid = set()  # the pairs (process, server) that have a link
        self._cuts = {}  # what has cut some of them -> the pairs
        self._late = {}  # pair -> milliseconds, where it is slow

    @property
    def started(self):
        """Whether there is a process that carries them, without which the lab is none any more."""
        return self._carrier.started

    @property
    def everybody(self):
        """The names of all who have links."""
        return (*self._callers, *self._crew.replicas)

    @property
    def _callers(self):
        """The actors of the run that is on; between the runs, those whom a cell can play."""
        return self._actors or (NOTEBOOK, *self._crew.workers)

    def __repr__(self):
        told = {}  # (who, what) -> the servers
        for who, server in sorted(set().union(*self._cuts.values())):
            told.setdefault((who, "cut"), []).append(server)
        for (who, server), late in sorted(self._late.items()):
            told.setdefault((who, f"{late:g} ms late each way"), []).append(server)
        lines = [f"{who} to {', '.join(servers)}: {what}" for (who, what), servers in told.items()]
        return "\n".join(lines) or "all links are whole"

    # By hand

    def clients(self, who=NOTEBOOK):
        """Clients for the lock servers, in their order, that go through the links of ``who``: "notebook", or a worker's name.

        So one cell can play several processes, of which one is cut off.
        """
        if not isinstance(who, str):
            raise TypeError(f'say the name of one process, such as "{NOTEBOOK}", not {who!r}')
        pairs = self._pairs(arguments.names("process", who, self._callers))
        self._lay(pairs)
        return Clients(self._crew.connections.to(pair[1], self._crew.place.link(*pair)) for pair in pairs)

    def cut(self, who, servers):
        """Cut ``who`` off from ``servers``: what they send each other is held back until :meth:`heal`.

        Each is a name, a list of names, or None: everybody, or every server. ``who`` is "notebook", or a worker, which
        concerns the :meth:`clients` that go its way; or a replica, which is cut off from "lock", its primary.
        """
        self.begin_cut(BY_HAND, who, servers)

    def slow(self, milliseconds, who=None, servers=None):
        """Deliver what ``who`` and ``servers`` send each other so many ``milliseconds`` late, in each direction. 0: not late.

        It holds for what is sent from now on. The rest is as for :meth:`cut`.
        """
        late = arguments.milliseconds("milliseconds", milliseconds)
        pairs = self._those(who, servers)
        self._lay(pairs)
        self._carrier.ask("slow", keys=pairs, seconds=late / 1000)
        self._late = {pair: ms for pair, ms in {**self._late, **dict.fromkeys(pairs, late)}.items() if ms}

    def heal(self):
        """Make every link whole, and none slow. What a cut has held back is delivered now."""
        self._reset(self._laid, "heal")

    # For the lab and its faults

    def check(self):
        """Raise LabError where the process that carries them has ended."""
        self._carrier.check()

    def lay(self, actors):
        """See to it that each of ``actors`` (names), who take part in a run, has a link to each lock server."""
        self._actors = tuple(actors)
        self._lay(self._pairs(actors))

    def port(self, replica, there):
        """The TCP port on this machine at which ``replica`` finds its primary, by its link; ``there`` is the primary's socket.

        Asked again for another primary's, the link leads there, from another port, and stays cut if it was.
        """
        (pair,) = self._pairs([replica])
        self._carrier.start()
        (found,) = self._carrier.ask("carry", links=[[pair, 0, there]])
        self._laid.add(pair)
        return found

    def begin_cut(self, what, who, servers):
        """:meth:`cut` for ``what``, anything hashable, such as a fault. A link is cut as long as any of them wants it so."""
        pairs = self._those(who, servers)
        self._lay(pairs)
        self._carrier.ask("cut", keys=pairs)
        self._cuts.setdefault(what, set()).update(pairs)

    def end_cut(self, what):
        """Heal what was cut for ``what``."""
        pairs = self._cuts.pop(what, set())
        self._carrier.ask("heal", keys=list(pairs.difference(*self._cuts.values())))

    def clear(self):
        """Make every link whole, and none slow, for a run to begin. What was held back is dropped, and connections are closed.

        Not so a replica's: it goes on replicating.
        """
        self._actors = ()
        lasting = {pair for pair in self._laid if pair[0] in self._crew.replicas}
        self._reset(self._laid - lasting, "clear")
        self._reset(lasting, "heal")

    def _reset(self, pairs, how):
        if pairs:
            self._carrier.ask("slow", keys=list(pairs), seconds=0)
            self._carrier.ask(how, keys=list(pairs))
        self._cuts = {what: rest for what, cut in self._cuts.items() if (rest := cut - pairs)}
        self._late = {pair: late for pair, late in self._late.items() if pair not in pairs}

    def _those(self, who, servers):
        processes = arguments.names("process", who, self.everybody)
        return self._pairs(processes, arguments.names("lock server", servers, self._crew.lock_servers))

    def _pairs(self, processes, servers=None):
        return [(who, server) for who in processes for server in servers or self._crew.lock_servers]

    def _lay(self, pairs):
        """See to it that these have links."""
        self._carrier.start()
        missing, where = [pair for pair in pairs if pair not in self._laid], self._crew.place
        if missing:
            links = [[pair, str(where.link(*pair)), str(where.socket(pair[1]))] for pair in missing]
            self._carrier.ask("carry", links=links)
            self._laid.update(missing)
