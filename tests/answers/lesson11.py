"""Answers to the exercises of lesson 11."""

import contextlib
import time

import redis

from answers import fails, passes
from course_tasks.locks import LeaseLock, LockNotOwnedError

# 11.1, only if enough replicas have it ---------------------------------------------------------------------------------


def ms(seconds):
    return int(seconds * 1000)


@passes("11.1")
def by_watching(client, name, token, lease, replicas, patience):
    """Sent together, over one connection; given back in a transaction that watches the key."""
    pipe = client.pipeline(transaction=False)
    given, acknowledged = pipe.set(name, token, nx=True, px=ms(lease)).wait(replicas, ms(patience)).execute()
    if not given or acknowledged >= replicas:
        return bool(given)
    with client.pipeline() as pipe:
        try:
            pipe.watch(name)
            if pipe.get(name) == token:
                pipe.multi()
                pipe.delete(name)
                pipe.execute()
        except redis.WatchError:
            pass
    return False


class Acknowledged:
    """Names of its own, and asks several times, each time for a little."""

    def __init__(self, server, key, mine):
        self.server, self.key, self.mine = server, key, mine

    def known_to(self, enough, until):
        while (got := self.server.execute_command("WAIT", enough, 50)) < enough and time.monotonic() < until:
            pass
        return got >= enough

    def drop(self):
        return self.server.eval(LeaseLock.RELEASE.text, 1, self.key, self.mine)


@passes("11.1")
def in_a_class(primary, key, mine, seconds, copies, at_most):
    until = time.monotonic() + at_most
    held = Acknowledged(primary, key, mine)
    if primary.set(key, mine, px=round(seconds * 1000), nx=True) is None:
        return False
    if held.known_to(copies, until):
        return True
    held.drop()
    return False


def give_back(client, name, token):
    client.eval(LeaseLock.RELEASE.text, 1, name, token)


def take(
    client,
    name,
    token,
    lease,
    replicas,
    patience,
    *,
    span=lambda lease: {"px": ms(lease)},
    acknowledged=lambda client, replicas, patience: client.wait(replicas, ms(patience)),
    enough=lambda acknowledged, replicas: acknowledged >= replicas,
    back=give_back,
):
    """The right one, and what can be wrong with it."""
    if not client.set(name, token, nx=True, **span(lease)):
        return False
    if enough(acknowledged(client, replicas, patience), replicas):
        return True
    back(client, name, token)
    return False


@fails("11.1", "ignored")
def does_not_look_at_the_answer(*asked):
    return take(*asked, enough=lambda acknowledged, replicas: True)


@fails("11.1", "ignored")
def expects_an_error(client, name, token, lease, replicas, patience):
    if not client.set(name, token, nx=True, px=ms(lease)):
        return False
    try:
        client.wait(replicas, ms(patience))
        return True
    except redis.RedisError:
        give_back(client, name, token)
        return False


@fails("11.1", "itself")
def counts_the_primary(*asked):
    return take(*asked, enough=lambda acknowledged, replicas: acknowledged + 1 >= replicas)


@fails("11.1", "left")
def leaves_the_key(*asked):
    """The lock of the lesson."""
    return take(*asked, back=lambda *given: None)


@fails("11.1", "theirs")
def deletes_in_any_case(client, name, token, lease, replicas, patience):
    if client.set(name, token, nx=True, px=ms(lease)) and client.wait(replicas, ms(patience)) >= replicas:
        return True
    client.delete(name)
    return False


@fails("11.1", "theirs")
def without_nx(client, name, token, lease, replicas, patience):
    client.set(name, token, px=ms(lease))
    if client.wait(replicas, ms(patience)) >= replicas:
        return True
    give_back(client, name, token)
    return False


@fails("11.1", "unasked")
def deletes_whatever_is_there(*asked):
    return take(*asked, back=lambda client, name, token: client.delete(name))


@fails("11.1", "between")
def looks_and_deletes(*asked):
    def back(client, name, token):
        if client.get(name) == token:
            client.delete(name)

    return take(*asked, back=back)


@fails("11.1", "refused")
def whole_seconds(*asked):
    """Patience in milliseconds, though never 0."""
    return take(*asked, acknowledged=lambda client, replicas, patience: client.wait(replicas, max(1, int(patience))))


@fails("11.1", "unacknowledged")
def in_a_transaction(client, name, token, lease, replicas, patience):
    """In which WAIT doesn't wait."""
    given, acknowledged = (
        client.pipeline(transaction=True).set(name, token, nx=True, px=ms(lease)).wait(replicas, ms(patience)).execute()
    )
    if given and acknowledged >= replicas:
        return True
    if given:
        give_back(client, name, token)
    return False


@fails("11.1", "refused")
def never(client, name, token, lease, replicas, patience):
    return False


@fails("11.1", "lease")
def seconds_for_milliseconds(*asked):
    return take(*asked, span=lambda lease: {"ex": ms(lease)})


@fails("11.1", "bare")
def no_lease(*asked):
    return take(*asked, span=lambda lease: {})


@fails("11.1", "bare")
def the_lease_afterwards(client, name, token, lease, replicas, patience):
    if not client.setnx(name, token):
        return False
    client.pexpire(name, ms(lease))
    if client.wait(replicas, ms(patience)) >= replicas:
        return True
    give_back(client, name, token)
    return False


@fails("11.1", "unacknowledged")
def asks_first(client, name, token, lease, replicas, patience):
    """WAIT before SET."""
    if client.wait(replicas, ms(patience)) < replicas:
        return False
    return bool(client.set(name, token, nx=True, px=ms(lease)))


@fails("11.1", "unacknowledged")
def with_the_lock_of_the_course(client, name, token, lease, replicas, patience):
    """Whose connections are its own."""
    lock = LeaseLock(client, name, timeout=lease)
    if not lock.acquire(blocking=False, token=token):
        return False
    if client.wait(replicas, ms(patience)) >= replicas:
        return True
    with contextlib.suppress(LockNotOwnedError):
        lock.release()
    return False


def connected(client):
    return client.info("replication")["connected_slaves"]


@fails("11.1", "unacknowledged")
def counts_connections(*asked):
    return take(*asked, acknowledged=lambda client, *given: connected(client))


@fails("11.1", "refused")
def more_than_enough(*asked):
    return take(*asked, enough=lambda acknowledged, replicas: acknowledged > replicas)


@fails("11.1", "more")
def exactly_so_many(*asked):
    return take(*asked, enough=lambda acknowledged, replicas: acknowledged == replicas)


@fails("11.1", "enough")
def all_there_are(client, name, token, lease, replicas, patience):
    return take(client, name, token, lease, max(replicas, connected(client)), patience)


@fails("11.1", "fewer")
def any_at_all(*asked):
    return take(*asked, enough=lambda acknowledged, replicas: acknowledged > 0)


@fails("11.1", "endless")
def without_an_end(client, name, token, lease, replicas, patience):
    return take(client, name, token, lease, replicas, 0)


@fails("11.1", "raised")
def fractions(*asked):
    return take(*asked, acknowledged=lambda client, replicas, patience: client.wait(replicas, patience))


@fails("11.1", "raised")
def gives_back_what_is_gone(client, name, token, lease, replicas, patience):
    """The release of the course's lock, which raises where the lease is over."""
    lock = LeaseLock(client, name, timeout=lease)
    if not lock.acquire(blocking=False, token=token):
        return False
    if client.wait(replicas, ms(patience)) >= replicas:
        return True
    lock.release()
    return False
