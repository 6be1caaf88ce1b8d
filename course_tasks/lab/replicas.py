"""Replicas of a lab's lock server, the way to whichever of them is the primary, and promotion.

A replica can call its primary at a TCP port only. It is the port of its link (:mod:`course_tasks.lab.links`), which can be cut,
and which leads to the primary's Unix socket. So no server has a port: one that is killed leaves none to somebody else, whom its
replicas would tell the password. That has to be said by everybody, as the links' ports are open to all on this machine; only the
lab's directory holds it.

Everybody else finds "lock" at a path that leads to the primary's own socket, as they would by way of a proxy, or of what Sentinel
tells them. A promotion makes it lead elsewhere.
"""

import os
import secrets
import time

from course_tasks.lab.errors import LabError, last_lines
from course_tasks.place import ITSELF

LOOPBACK = "127.0.0.1"
IN_SYNC = 30.0  # seconds until a replica that is not in sync counts as stuck
LOOK = 0.005  # seconds between two looks at it
PROBE = "in sync?"  # a channel to which nobody listens
# The last three: a replica that comes has no reason to wait 5 s for others. What it is sent goes into no file, from which a
# server would remember, when it is started again, what it should have forgotten. And what is kept for replicas that fall behind,
# 10 MB by default, counts as memory in use: under a limit (maxmemory), keys would have to go to make room for it.
SETTINGS = """\
requirepass {password}
masterauth {password}
repl-diskless-sync-delay 0
repl-diskless-load swapdb
repl-backlog-size 64kb
"""


class Replication:
    """Which of the lock servers of ``crew`` is the ``primary``, a name; the others replicate it.

    The lab asks for nothing here where it has no replicas.
    """

    def __init__(self, crew):
        self._crew = crew
        self._first = self.primary = crew.lock_servers[0]

    # To start with

    def lay_ready(self):
        """Lay the password ready, and the path to the primary."""
        password = secrets.token_hex(16)
        for name in (self._first, *self._crew.replicas):
            self._write(self._crew.place.password_file(name), password)
            self._write(self._config(name), SETTINGS.format(password=password))
        self._lead_to_primary()

    def command(self, name, command):
        """The ``command`` (a list) of the server called ``name``, with a file of settings: a command line is for all to see."""
        return [command[0], str(self._config(name)), *command[1:]]

    def own_socket(self, name):
        """Where the server called ``name`` itself listens, whoever is the primary."""
        return self._crew.place.socket(name + ITSELF if name == self._first else name)

    def started(self, names):
        """The servers called ``names`` have been started: give each its part. They need not be in sync yet."""
        for name in self._followers() if self.primary in names else names:
            self._follow(name)

    # Roles

    def promote(self, replica):
        """Make ``replica`` the primary, in the eyes of all; the others that are up replicate it from now on.

        It has what it has received by now, and nothing else. The primary of before, where it is up, loses its clients, and nobody
        finds it any more; where it stands still, its clients stay with it. Promoting the primary changes nothing.
        """
        if replica == self.primary:
            return
        before = self.primary
        others = [name for name in self._followers() if name not in (before, replica)]
        self._enthrone(replica)
        if self._crew.servers.up(before):
            self._drop_clients(before)
        for name in others:
            self._follow(name)

    def restore(self):
        """Give all servers, which are up, the roles they had at the beginning; return when they are in sync."""
        self._enthrone(self._first)
        for name in self._crew.replicas:
            self._drop_clients(name)  # they took it for the primary, perhaps
            self._follow(name)
        self.await_sync()

    def await_sync(self):
        """Return when every replica has all that the primary has, and is sent what changes from now on.

        That a replica says so is not enough. A primary begins to send changes only when it has seen the end of the process that
        sent the whole, and is told after that what the replica has: up to a second later. So, once all are linked, it sends
        something that changes nothing, a message on a channel, and that has to arrive.
        """
        deadline = time.monotonic() + IN_SYNC
        followers = self._followers()
        for name in followers:
            self._await(lambda info: info.get("master_link_status") == "up", name, deadline)
        primary = self._crew.itself(self.primary)
        primary.publish(PROBE, "")
        sent = primary.info("replication")["master_repl_offset"]
        for name in followers:
            self._await(lambda info: info["slave_repl_offset"] >= sent, name, deadline)

    def _await(self, reached, name, deadline):
        """Return when ``reached(info)`` is true, for what the replica ``name`` says of its replication.

        Raises LabError where that isn't by the ``deadline``, or where the process that carries the links has ended.
        """
        while not reached(self._crew.itself(name).info("replication")):
            self._crew.links.check()
            if time.monotonic() > deadline:
                log = self._crew.place.log(name).read_bytes()
                raise LabError(f"{name} does not come to be in sync. The last lines it wrote are\n{last_lines(log)}")
            time.sleep(LOOK)

    def _enthrone(self, name):
        self._crew.itself(name).replicaof("NO", "ONE")
        self.primary = name
        self._lead_to_primary()

    def _drop_clients(self, name):
        self._crew.itself(name).client_kill_filter(_type="normal")

    def _followers(self):
        """Those that are up, apart from the primary."""
        names = (self._first, *self._crew.replicas)
        return [name for name in names if name != self.primary and self._crew.servers.up(name)]

    def _follow(self, name):
        """Have ``name`` replicate the primary; where it does, it goes on."""
        if name != self.primary:
            port = self._crew.links.port(name, str(self.own_socket(self.primary)))
            self._crew.itself(name).replicaof(LOOPBACK, port)

    # Files, the path

    def _config(self, name):
        return self._crew.place.path / f"{name}.conf"

    def _write(self, path, text):
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)

    def _lead_to_primary(self):
        path = self._crew.place.socket(self._first)
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)  # an interrupt may have left it
        new.symlink_to(self.own_socket(self.primary).name)
        os.replace(new, path)  # in one step: whoever looks finds the one or the other
