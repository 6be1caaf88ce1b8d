"""The lock servers of a lab, by hand: killed, started again, paused, between the runs or while a cell looks on."""

import signal

from course_tasks.lab.errors import LabError


class Fleet:
    """``lab.servers``: the lock servers of a lab, each with a name in ``names``. Whatever is done to them ends with the next run.

    All of these return when it is done. They raise ValueError where no server is called so, LabError where the lab is closed.
    """

    def __init__(self, crew):
        self._crew = crew

    @property
    def names(self):
        return (*self._crew.lock_servers, *self._crew.replicas)

    def __repr__(self):
        return "\n".join(f"{name}: {self._state(name)}" for name in self.names)

    def kill(self, server):
        """Kill ``server`` (SIGKILL). What it had not written to disk is gone. Killing it twice does no harm."""
        self._crew.end([self._known(server)])

    def restart(self, server):
        """Kill ``server``, if it is alive, and start it with the same command line; return when it answers."""
        self.kill(server)
        self._crew.start_servers([server])

    def pause(self, server):
        """Stop ``server`` (SIGSTOP): it keeps what it has and answers nobody. What is sent to it waits in its socket."""
        self._alive(server)
        self._crew.send_signal([server], signal.SIGSTOP)

    def resume(self, server):
        """Let ``server`` go on (SIGCONT), where it was paused."""
        self._alive(server)
        self._crew.send_signal([server], signal.SIGCONT)

    def _known(self, server):
        if server not in self.names:
            raise ValueError(f"no lock server is called {server!r}; there are {', '.join(self.names)}")
        return server

    def _alive(self, server):
        if self._state(self._known(server)) == "down":
            raise LabError(f'{server} is down: start it with lab.servers.restart("{server}") first.')

    def _state(self, server):
        if not self._crew.alive(server):
            return "down"
        return "paused" if server in self._crew.stopped else "up"
