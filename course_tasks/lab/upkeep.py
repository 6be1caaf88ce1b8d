"""Between the runs of a lab: making all clean, reviving what was killed, noticing what is broken."""

import importlib

from course_tasks.experiment import Experiment
from course_tasks.lab import directory
from course_tasks.lab.errors import ended
from course_tasks.lab.interrupts import held_back
from course_tasks.lab.processes import Crew

BINDINGS = b"_kombu.binding"  # keys by which Celery finds its queues: they outlive a run


class Upkeep(Crew):
    """A Crew that can be used for one run after the other. ``unsettled`` is whether a run was cut short, and left something."""

    unsettled = False

    def begin(self):
        """Return when the lab is clean and every worker ready. Raises LabError where the lab is closed."""
        with held_back():
            importlib.import_module("course_tasks.history.reading")  # and pandas with it
        self._check()
        if self.unsettled or self._sender.under_way():
            self.settle(everything=True)
        self.links.clear()  # somebody may have been at them since the last run, and at the servers
        self.servers.revive()
        self._revive_workers()
        self.await_workers()

    def settle(self, everything=False):
        """Make the lab clean for the next run: nothing queued or held, every worker and server alive.

        ``everything`` ends whatever is at work first: after an interrupt nobody knows what it is at.
        """
        self.unsettled = True
        self._check()
        if everything:
            self.end([name for name in self._commands if name not in self._lasting])
            self.connections.close()  # an interrupt may have left a reply unread
            self._sender.forget()
        with directory.writing(self.place.path.parent):
            Experiment().write(self.place)
        broker = self.client("broker")
        for key in broker.scan_iter():
            if not key.startswith(BINDINGS):
                broker.delete(key)
        self.links.clear()  # before the servers are: nothing may come late
        self.servers.revive()
        self.servers.clear()
        self._revive_workers()
        self.unsettled = False

    def understands(self, command):
        """Whether the lock servers know a ``command`` of that name. Raises LabError where the lab is closed."""
        self._check()
        # Asked of the broker, which is the same program, and never down.
        return self.client("broker").execute_command("COMMAND INFO", command)[0] is not None

    def _check(self):
        """Raise LabError where the lab is closed, or where something of it has ended by itself that no run can do without."""
        status = self._line.call("status")  # redis-py and Celery would knock for a while where nobody is
        for name in self._lasting:
            if status.get(name) is not None:
                raise ended(name, status[name], self.place.log(name))

    def _revive_workers(self):
        """Start every worker that is not alive; it is not ready yet."""
        status = self._line.call("status")
        for worker in self.workers:
            if worker not in status or status[worker] is not None:
                self.start(worker, self._commands[worker])
