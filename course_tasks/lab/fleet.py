"""The lock servers of a lab: killed, paused and started again, by hand or by a fault, and whole again for the next run."""

import signal

from course_tasks.lab import directory, faketime, servers
from course_tasks.lab.arguments import shift
from course_tasks.lab.errors import NO_CLOCKS, NO_REPLICAS, LabError
from course_tasks.lab.settings import Settings


class Fleet:
    """``lab.servers``: the lock servers of the lab ``crew``, and their replicas, each with a name in ``names``.

    What is done to them by hand lasts until it is undone, or until the next run, which begins with all of them whole. Shown,
    they say how each of them is. Every method returns when it is done. They raise ValueError where no server is called so,
    LabError where the lab is closed.
    """

    def __init__(self, crew):
        self._crew, self._settings = crew, Settings(crew)
        self._welcomed = {}  # name -> run id, which every start of a server gives anew

    @property
    def names(self):
        return (*self._crew.lock_servers, *self._crew.replicas)

    def __repr__(self):
        return "\n".join(f"{name}: {self._state(name)}{self._role(name)}{self._clock(name)}" for name in self.names)

    def up(self, server):
        """Whether ``server`` is alive and not paused."""
        return self._state(self._known(server)) == "up"

    # By hand, and for faults

    def kill(self, server):
        """Kill ``server`` (SIGKILL). What it had not written to disk is gone. Killing it twice does no harm."""
        self._crew.end([self._known(server)])

    def restart(self, server):
        """Kill ``server``, if it is alive, and start it with the same command line; return when it answers."""
        self.kill(server)
        self._crew.start_servers([server])

    def pause(self, server):
        """Stop ``server`` (SIGSTOP): it keeps what it has and answers nobody. What is sent to it waits in its socket."""
        self._crew.send_signal([self._alive(server)], signal.SIGSTOP)

    def resume(self, server):
        """Let ``server`` go on (SIGCONT), where it was paused."""
        self._crew.send_signal([self._alive(server)], signal.SIGCONT)

    def move_clock(self, server, seconds):
        """Let the wall clock of ``server`` jump by so many ``seconds``; back, where they are negative. Its monotonic clock stays.

        Twice 60 are 120. A server that is started again finds its clock as it was. Raises LabError in a lab whose clocks can't be
        moved: it must have been made with ``clocks=True``.
        """
        name, seconds = self._known(server), shift("seconds", seconds)
        if not self._crew.clocks:
            raise LabError(NO_CLOCKS)
        up = self.up(name)  # which raises LabError where the lab is closed, and its files are gone
        ahead = faketime.ahead(self._crew.place, name) + seconds
        self._set_clock(name, ahead)
        if up:  # else it will notice in its own time
            faketime.noticed(self._crew.itself(name), ahead, abs(seconds))

    def promote(self, replica):
        """Make ``replica`` the primary: from now on it is "lock" for everybody, and the other replicas that are up replicate it.

        It knows what it has received by now, and nothing else. Where the primary of before is up, its clients' connections are
        closed, and nobody finds it any more; where it is paused, its clients stay with it, and wait. What is started again
        afterwards comes back as a replica. Promoting the primary changes nothing.
        """
        if replica not in self._crew.replicas:
            there = ", ".join(self._crew.replicas) or NO_REPLICAS
            raise ValueError(f"no replica is called {replica!r}; there are {there}")
        if not self.up(replica):
            raise LabError(f"{replica} is {self._state(replica)}: only a replica that answers can be promoted.")
        self._crew.replication.promote(replica)

    # For the lab

    def command(self, name):
        """The command line (a list) of the server called ``name``."""
        crew = self._crew
        command = servers.command(crew.place, name, crew.durable, self.own_socket(name))
        if crew.replicas:
            command = crew.replication.command(name, command)
        return faketime.carrying(crew.place, name, command) if crew.clocks else command

    def own_socket(self, name):
        """Where the process listens that is started as the server ``name``, whether or not it is the primary."""
        crew = self._crew
        return crew.replication.own_socket(name) if crew.replicas else crew.place.socket(name)

    def lay_ready(self):
        """Lay ready, in the lab's directory, what the servers look for when they start."""
        where = self._crew.place
        if self._crew.durable:
            for name in self.names:
                where.disk(name).mkdir(mode=0o700)
        if self._crew.clocks:
            faketime.lay_ready(where, self._crew.clocks)
        self._set_clocks_right()
        if self._crew.replicas:
            self._crew.replication.lay_ready()

    def welcome(self, names):
        """Those called ``names`` answer. Do what is to be done with each that has been started since the last time."""
        told = {name: self._crew.itself(name).info("server") for name in names}
        new = [name for name in names if told[name]["run_id"] != self._welcomed.get(name)]
        if self._crew.clocks:
            for name in new:
                faketime.forget(told[name]["process_id"])
        if self._crew.replicas:
            self._crew.replication.started(new)
        for name in new:
            self._settings.remember(name)
            self._welcomed[name] = told[name]["run_id"]

    def revive(self):
        """Undo all that was done to the servers: each is up, in its first role, and answers, and its clock is right."""
        self._set_clocks_right()
        if paused := [name for name in self.names if name in self._crew.stopped]:
            self._crew.send_signal(paused, signal.SIGCONT)
        self._crew.start_servers(self.names)
        if self._crew.replicas:
            self._crew.replication.restore()

    def clear(self):
        """Delete all that they hold, and set back what was set."""
        for name in self.names:
            # One that was paused finds what was sent to it meanwhile, by whoever is gone now; when it answers, it has carried
            # that out.
            self._crew.itself(name).ping()
            self._settings.restore(name)
        for client in self._crew.clients:
            client.flushall()
        if self._crew.replicas:
            self._crew.replication.await_sync()

    def _set_clocks_right(self):
        for name in self.names if self._crew.clocks else ():
            self._set_clock(name, 0)

    def _set_clock(self, name, seconds):
        with directory.writing(self._crew.place.path.parent):
            faketime.set_ahead(self._crew.place, name, seconds)

    def _known(self, server):
        if server not in self.names:
            raise ValueError(f"no lock server is called {server!r}; there are {', '.join(self.names)}")
        return server

    def _alive(self, server):
        if self._state(self._known(server)) == "down":
            raise LabError(f'{server} is down: start it first, with lab.servers.restart("{server}").')
        return server

    def _role(self, server):
        return ", the primary" if self._crew.replicas and server == self._crew.replication.primary else ""

    def _clock(self, server):
        off = faketime.ahead(self._crew.place, server) if self._crew.clocks else 0
        return f", its clock {abs(off):g} s {'ahead' if off > 0 else 'behind'}" if off else ""

    def _state(self, server):
        if not self._crew.alive(server):
            return "down"
        return "paused" if server in self._crew.stopped else "up"
