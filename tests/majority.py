"""A lock on a majority of several servers, in as few lines as it takes: the lab's tests need one, good or not."""

import secrets

import redis


class Majority:
    """Holds where more than half of the servers have granted it. It counts no time and releases by halves."""

    timeout = 60

    def __init__(self, clients, name):
        self.clients, self.name, self.token = clients, name, secrets.token_hex(8).encode()
        self.granted = ()

    def acquire(self):
        granted = [position for position, client in enumerate(self.clients) if self._ask(client)]
        if 2 * len(granted) <= len(self.clients):
            self.release()
            return False
        self.granted = tuple(granted)
        return True

    def release(self):
        for client in self.clients:
            try:
                if client.get(self.name) == self.token:
                    client.delete(self.name)
            except redis.RedisError:
                pass

    def _ask(self, client):
        try:
            return client.set(self.name, self.token, nx=True, ex=self.timeout)
        except redis.RedisError:
            return False
