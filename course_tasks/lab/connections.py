"""The notebook's own connections to the servers of a lab."""

import redis


class Connections:
    """Clients for servers of the lab at ``where`` (a Place): one for each path, made when it is first asked for."""

    def __init__(self, where):
        self._where, self._clients = where, {}

    def to(self, server, path):
        """The ``redis.Redis`` for ``server`` at ``path``: its own socket, or one that leads there."""
        if path not in self._clients:
            # Without redis-py's ten silent attempts: a server that is not there is not there.
            self._clients[path] = redis.Redis(
                unix_socket_path=str(path), password=self._where.password(server), retry=None
            )
        return self._clients[path]

    def close(self):
        """Close them all. A client that is used again connects anew."""
        for client in self._clients.values():
            client.connection_pool.disconnect()
