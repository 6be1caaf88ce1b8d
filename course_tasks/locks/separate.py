"""Whether clients are those of different servers, which alone can fail one at a time."""

from redis.sentinel import SentinelConnectionPool

from course_tasks.locks.likeness import pool_of


def separate(clients):
    """``clients``, if they are a list of clients (``redis.Redis``) of different servers, as far as their settings tell.

    Raises TypeError where they are no list, and as pool_of() does; ValueError where there are none, or two of one server.
    """
    if not isinstance(clients, list | tuple):
        raise TypeError(
            f"Redlock takes a list of clients, one for each of its servers, not a {type(clients).__name__}: "
            "Redlock([client1, client2, client3], name). For a lock on one server there is LeaseLock."
        )
    if not clients:
        raise ValueError("Redlock takes a list of clients, one for each of its servers; this one is empty.")
    places = [_place(pool_of(client)) for client in clients]
    for number, place in enumerate(places):
        if (before := places.index(place)) < number:
            raise ValueError(
                f"clients {before} and {number} of the list are for the same server, {place}. Databases of one server fail "
                "together, and count as one: give each client a server of its own."
            )
    return clients


def _place(pool):
    """Where a pool's server is, whichever of its databases is meant."""
    if isinstance(pool, SentinelConnectionPool):
        sentinels = (_place(sentinel.connection_pool) for sentinel in pool.sentinel_manager.sentinels)
        return f"{pool.service_name} of {', '.join(sentinels)}"
    settings = pool.connection_kwargs
    return settings.get("path") or f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}"
