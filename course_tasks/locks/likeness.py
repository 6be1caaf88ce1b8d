"""The pool of a client, and pools of connections made as its own are, apart from what a lock's commands can't have."""

from redis import BlockingConnectionPool, ConnectionPool
from redis.maint_notifications import MaintNotificationsConfig
from redis.sentinel import SentinelConnectionPool

from course_tasks.locks.stack import Stack

BOUND = 5.0  # seconds to wait for a reply where the client sets no socket_timeout; redis-py's own default

# Settings that our connections don't take over, by how their names begin: retries; and what makes redis-py wait longer for
# a reply than the client says while a managed server is moved.
LEFT_OUT = ("retry", "maint_", "oss_", "orig_")


def pool_of(client):
    """The connection pool of ``client``, a ``redis.Redis``.

    Raises TypeError where the client has no pool of connections to one server: a list of clients, RedisCluster, asyncio, a
    Sentinel's replica.
    """
    if isinstance(client, list | tuple):
        raise TypeError(
            f"a lock on one server takes one client, and this is a list of {len(client)}: pass one of them, such as clients[0]. "
            "For a lock on all of them there is Redlock."
        )
    pool = getattr(client, "connection_pool", None)
    if not isinstance(pool, ConnectionPool):
        raise TypeError(
            f"a lock lives on one server, and a {type(client).__module__}.{type(client).__name__} has no connection_pool to "
            "one that could be used here. Pass a redis.Redis; of a cluster the node's that has the key: "
            "cluster.get_redis_connection(cluster.get_node_from_key(name))."
        )
    if isinstance(pool, SentinelConnectionPool) and not pool.is_master:
        raise TypeError("a lock can't be taken from a replica: pass sentinel.master_for(...), not slave_for(...).")
    return pool


def likeness(pool):
    """A function that makes a pool like ``pool``, without its retries, and without a reference to it."""
    settings = {key: value for key, value in pool.connection_kwargs.items() if not key.startswith(LEFT_OUT)}
    settings |= {
        "connection_class": pool.connection_class,
        "max_connections": pool.max_connections,
        "decode_responses": False,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    settings["socket_timeout"] = settings.get("socket_timeout") or BOUND
    settings["socket_connect_timeout"] = min(
        settings.get("socket_connect_timeout") or settings["socket_timeout"], settings["socket_timeout"]
    )
    if isinstance(pool, SentinelConnectionPool):
        settings |= {"is_master": True, "check_connection": pool.check_connection}
        del settings["connection_pool"]  # the other pool's link to the Sentinels; ours makes its own
        service, sentinel = pool.service_name, pool.sentinel_manager
        return lambda: SentinelConnectionPool(service, sentinel, **settings)
    if isinstance(pool, BlockingConnectionPool):
        patience = BOUND if pool.timeout is None else pool.timeout
        settings |= {"queue_class": Stack, "timeout": min(patience, settings["socket_timeout"])}
        return lambda: BlockingConnectionPool(**settings)
    return lambda: ConnectionPool(**settings)
