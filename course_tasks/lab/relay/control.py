"""What the lab asks of the relay: a line of JSON on a connection of its own, and a line for an answer.

A request is answered when it is in force. Since each has its own connection, one that was interrupted leaves nothing behind
that the next could take for its answer.
"""

import functools
import json

from course_tasks.lab.relay import address
from course_tasks.lab.relay.link import Link, Server
from course_tasks.lab.relay.loop import READ


class Control:
    """Keeps the links, and does with them what is asked on the Unix socket ``here`` (a path): ``{"op": "cut", …}``.

    The operations are the public methods. A link's ``key`` is a pair, [process, server]. The answer is ``{"result": …}``, or
    ``{"error": "…"}``.
    """

    def __init__(self, loop, here):
        self.loop = loop
        self._links, self._servers = {}, {}  # (process, server) -> Link; address -> Server
        self._operations = {name: getattr(self, name) for name in ("carry", "cut", "heal", "slow", "clear")}
        self._listener = address.listen(here)
        loop.watch(self._listener, READ, self._called)

    def carry(self, links):
        """See to it that there are these links, each [key, here, there]; return where each listens.

        ``here`` is the address at which it listens (0: any TCP port), ``there`` the server's. A link that has led elsewhere
        is closed, with its connections, and made anew; it stays cut, and slow.
        """
        return [self._carried(tuple(key), here, there).here for key, here, there in links]

    def _carried(self, key, here, there):
        old = self._links.get(key)
        if old and old.server.there == there:
            return old
        if there not in self._servers:
            self._servers[there] = Server(self.loop, there)
        as_before = (old.cut, old.delay) if old else ()
        if old:
            old.close()
            if not old.server.links:
                self._servers.pop(old.server.there).close()
        self._links[key] = Link(self.loop, here, self._servers[there], *as_before)
        return self._links[key]

    def cut(self, keys):
        """Let nothing through on these links, of what was not delivered yet."""
        for link in self._those(keys):
            link.cut = True
            link.settle()

    def heal(self, keys):
        """Let through again, first what was held back."""
        for link in self._those(keys):
            link.heal()

    def slow(self, keys, seconds):
        """Deliver what comes from now on so many ``seconds`` later, in each direction."""
        for link in self._those(keys):
            link.delay = seconds

    def clear(self, keys):
        """Make these links whole and fast, with no connection on them and nothing held."""
        for link in self._those(keys):
            link.clear()

    def _those(self, keys):
        return [self._links[tuple(key)] for key in keys]

    def _called(self, _):
        asking = self._listener.accept()[0]
        asking.setblocking(False)
        self.loop.watch(asking, READ, functools.partial(self._asked, asking, bytearray()))

    def _asked(self, asking, request, _):
        try:
            data = asking.recv(2**16)
            request += data
            if data and not data.endswith(b"\n"):
                return
            if data:
                asking.send(json.dumps(self._answer(bytes(request))).encode() + b"\n")
        except OSError:
            pass  # whoever asked was interrupted
        self.loop.watch(asking, 0, None)
        asking.close()

    def _answer(self, request):
        try:
            request = json.loads(request)
            return {"result": self._operations[request.pop("op")](**request)}
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}
