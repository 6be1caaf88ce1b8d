"""Answers to the exercises of lesson 12."""

import datetime
import math
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import time as now

import redis

from answers import fails, passes
from course_tasks.locks import LeaseLock

# 12.1, how many are enough? ----------------------------------------------------------------------------------------------


@passes("12.1")
def the_smallest_of_which_two_overlap(servers):
    needed = next(number for number in range(1, servers + 1) if 2 * number > servers)
    return [needed, servers - needed]


@passes("12.1")
def half_rounded_up_of_one_more(n):
    return math.ceil((n + 1) / 2), (n - 1) // 2


@fails("12.1", "whole")
def half(servers):
    return servers / 2, servers / 2


@fails("12.1", "whole")
def half_and_a_half(servers):
    yes = servers / 2 + 0.5
    return yes, servers - yes


@fails("12.1", "disjoint")
def half_rounded_down(servers):
    return servers // 2, servers - servers // 2


@fails("12.1", "disjoint")
def half_rounded_up(servers):
    """Right for odd numbers."""
    return math.ceil(servers / 2), servers // 2


@fails("12.1", "disjoint")
def rounds(servers):
    return round(servers / 2), servers - round(servers / 2)


@fails("12.1", "more")
def all_but_one(servers):
    return max(1, servers - 1), min(1, servers - 1)


@fails("12.1", "more")
def everybody(servers):
    return servers, 0


@fails("12.1", "more")
def two_thirds(servers):
    """Other algorithms need them, against servers that lie."""
    return 2 * servers // 3 + 1, servers - (2 * servers // 3 + 1)


@fails("12.1", "down")
def as_many_down(servers):
    """Right for odd numbers."""
    return servers // 2 + 1, servers // 2


# 12.2, for how long is it mine? ------------------------------------------------------------------------------------------


@passes("12.2")
def all_at_once(clients, name, token, lease):
    def ask(client):
        try:
            return client.execute_command("SET", name, token, "PX", round(lease * 1000), "NX")
        except redis.RedisError:
            return None

    def give_back(client):
        with suppress(redis.RedisError):
            client.eval(LeaseLock.RELEASE.text, 1, name, token)

    over = time.perf_counter() + 0.99 * lease
    with ThreadPoolExecutor(len(clients)) as pool:
        said = [answer is not None for answer in pool.map(ask, clients)]
        left = over - time.perf_counter()
        if said.count(True) > said.count(False) and left > 0.002:
            return left - 0.002
        list(pool.map(give_back, clients))
    return 0.0


@passes("12.2")
class StopsAtAMajority:
    """Asks no more than it needs; with a transaction that watches where others have a script."""

    def __new__(cls, servers, key, mine, seconds):
        start, yes = time.monotonic_ns(), 0
        for server in servers:
            try:
                yes += server.set(key, mine, px=int(1000 * seconds), nx=True) is True
            except (redis.ConnectionError, redis.TimeoutError):
                continue
            if yes == len(servers) // 2 + 1:
                left = 0.98 * seconds - (time.monotonic_ns() - start) / 1e9
                if left > 0:
                    return left
        for server in servers:
            with suppress(redis.RedisError):
                server.transaction(lambda pipe: cls.back(pipe, key, mine), key)
        return 0

    @staticmethod
    def back(pipe, key, mine):
        is_mine = pipe.get(key) == mine
        pipe.multi()
        if is_mine:
            pipe.delete(key)


def take(
    clients,
    name,
    token,
    lease,
    *,
    clock=time.monotonic,
    enough=lambda yes, servers: yes > servers // 2,
    first=False,
    drift=0.01,
    looks=True,
    px=lambda lease: int(lease * 1000),
    caught=redis.RedisError,
    caught_then=redis.RedisError,
    undo=lambda clients, granted: clients,
    release=lambda client, name, token: client.eval(LeaseLock.RELEASE.text, 1, name, token),
):
    """The right one, and what can be wrong with it."""
    begin, granted = clock(), []
    for client in clients:
        with suppress(caught):
            if client.set(name, token, nx=True, px=px(lease)):
                granted.append(client)
        if first and client is clients[0]:
            begin = clock()
    validity = lease * (1 - drift) - (clock() - begin)
    if enough(len(granted), len(clients)) and (validity > 0 or not looks):
        return validity
    for client in undo(clients, granted):
        with suppress(caught_then):
            release(client, name, token)
    return 0


@fails("12.2", "answer")
def yes_or_no(clients, name, token, lease):
    return take(clients, name, token, lease) > 0


@fails("12.2", "answer")
def nothing_for_no(clients, name, token, lease):
    return take(clients, name, token, lease) or None


@fails("12.2", "answer")
def in_milliseconds(clients, name, token, lease):
    return 1000 * take(clients, name, token, lease)


@fails("12.2", "answer")
def until_when(clients, name, token, lease):
    left = take(clients, name, token, lease)
    return time.monotonic() + left if left else 0


@fails("12.2", "lease")
def in_seconds(clients, name, token, lease):
    return take(clients, name, token, lease, px=lambda lease: int(lease * 1000 * 1000))


@fails("12.2", "lease")
def without_a_lease(clients, name, token, lease):
    return take(clients, name, token, lease, px=lambda lease: None)


@fails("12.2", "command")
def a_lease_that_is_no_whole_number(clients, name, token, lease):
    return take(clients, name, token, lease, px=lambda lease: lease * 1000, caught=redis.ConnectionError)


@fails("12.2", "free")
def catches_its_own_mistake(clients, name, token, lease):
    return take(clients, name, token, lease, px=lambda lease: lease * 1000)


@fails("12.2", "minority")
def a_token_of_its_own(clients, name, token, lease):
    return take(clients, name, b"my own", lease)


@fails("12.2", "refused")
def all_of_them(clients, name, token, lease):
    return take(clients, name, token, lease, enough=lambda yes, servers: yes == servers)


@fails("12.2", "refused")
def all_but_one_of_them(clients, name, token, lease):
    return take(clients, name, token, lease, enough=lambda yes, servers: yes >= servers - 1)


@fails("12.2", "minority")
def half_of_them(clients, name, token, lease):
    """N/2, rounded down: two of five."""
    return take(clients, name, token, lease, enough=lambda yes, servers: yes >= servers // 2)


@fails("12.2", "minority")
def exactly_half(servers, key, mine, seconds):
    """Two of four."""
    return take(servers, key, mine, seconds, enough=lambda yes, servers: yes >= servers / 2)


@fails("12.2", "minority")
def any_of_them(clients, name, token, lease):
    return take(clients, name, token, lease, enough=lambda yes, servers: yes > 0)


@fails("12.2", "error")
def raises_on_one(clients, name, token, lease):
    return take(clients, name, token, lease, caught=())


@fails("12.2", "error")
def expects_no_timeout(clients, name, token, lease):
    return take(clients, name, token, lease, caught=redis.ConnectionError)


@fails("12.2", "error")
def raises_when_it_gives_back(clients, name, token, lease):
    return take(clients, name, token, lease, caught_then=())


@fails("12.2", "kept")
def gives_nothing_back(clients, name, token, lease):
    return take(clients, name, token, lease, undo=lambda clients, granted: [])


@fails("12.2", "kept")
def stops_at_the_first_that_is_silent(clients, name, token, lease):
    """The loop that gives back is inside of what catches."""
    with suppress(redis.RedisError):
        return take(clients, name, token, lease, caught_then=())
    return 0


@fails("12.2", "unheard")
def only_where_it_heard_a_yes(clients, name, token, lease):
    return take(clients, name, token, lease, undo=lambda clients, granted: granted)


@fails("12.2", "unheard")
def only_if_it_heard_a_yes(clients, name, token, lease):
    """From anybody: then it gives back everywhere."""
    return take(clients, name, token, lease, undo=lambda clients, granted: clients if granted else [])


@fails("12.2", "theirs")
def looks_and_deletes(clients, name, token, lease):
    def release(client, name, token):
        if client.get(name) == token:
            client.delete(name)

    return take(clients, name, token, lease, release=release)


@fails("12.2", "theirs")
def deletes(clients, name, token, lease):
    return take(clients, name, token, lease, release=lambda client, name, token: client.delete(name))


@fails("12.2", "theirs")
def sets_without_nx(clients, name, token, lease):
    begin = time.monotonic()
    votes = sum(client.set(name, token, px=int(lease * 1000)) for client in clients)
    return lease * 0.99 - (time.monotonic() - begin) if votes > len(clients) // 2 else 0


@fails("12.2", "drift")
def no_drift(clients, name, token, lease):
    return take(clients, name, token, lease, drift=0)


@fails("12.2", "less")
def what_it_took(clients, name, token, lease):
    """For how long it asked, and not what is left."""
    left = take(clients, name, token, lease)
    return lease * 0.99 - left if left else 0


@fails("12.2", "since")
def from_after_the_first(clients, name, token, lease):
    return take(clients, name, token, lease, first=True)


@fails("12.2", "since")
def looks_at_the_clock_too_early(where, key, value, seconds):
    start, left, yes = time.monotonic(), 0, 0
    for client in where:
        left = seconds * 0.99 - (time.monotonic() - start)
        with suppress(redis.RedisError):
            yes += bool(client.set(key, value, nx=True, px=int(seconds * 1000)))
    if 2 * yes > len(where) and left > 0:
        return left
    for client in where:
        with suppress(redis.RedisError):
            client.eval(LeaseLock.RELEASE.text, 1, key, value)
    return 0


@fails("12.2", "since")
def the_lease_and_no_clock(clients, name, token, lease):
    return take(clients, name, token, lease, clock=lambda: 0)


@fails("12.2", "too_late")
def does_not_look_whether_any_is_left(clients, name, token, lease):
    return take(clients, name, token, lease, looks=False)


@fails("12.2", "kept")
def at_least_nothing(clients, name, token, lease):
    """It says 0, and leaves what it has set."""
    return max(0, take(clients, name, token, lease, looks=False))


@fails("12.2", "wall")
def by_the_wall(clients, name, token, lease):
    return take(clients, name, token, lease, clock=lambda: time.time())


@fails("12.2", "wall")
def by_a_clock_of_another_name(clients, name, token, lease):
    return take(clients, name, token, lease, clock=now)


@fails("12.2", "wall")
def by_the_date(clients, name, token, lease):
    return take(clients, name, token, lease, clock=lambda: datetime.datetime.now().timestamp())
