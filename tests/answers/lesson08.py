"""Answers to the exercises of lesson 08."""

import itertools
import time

from redis.exceptions import WatchError

from answers import fails, passes

# 08.1, renew only your own --------------------------------------------------------------------------------------------

COMPARE = "if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end "


@passes("08.1")
def in_a_transaction(client, name, token, lease):
    with client.pipeline() as pipe:
        try:
            pipe.watch(name)
            if pipe.get(name) != token:
                return False
            if pipe.pttl(name) < lease * 1000:
                pipe.multi()
                pipe.pexpire(name, int(lease * 1000))
                pipe.execute()
            return True
        except WatchError:
            return False


@passes("08.1")
def registered_and_greater_only(server, key, mine, seconds):
    script = server.register_script(COMPARE + "redis.call('pexpire', KEYS[1], ARGV[2], 'GT') return 1")
    return script(keys=[key], args=[mine, round(seconds * 1000)])


@passes("08.1")
class Again:
    """A class whose objects are their own answer; it looks again where somebody touched the key."""

    def __init__(self, client, name, token, lease):
        self.ours = client.transaction(lambda pipe: self.once(pipe, name, token, lease), name, value_from_callable=True)

    def once(self, pipe, name, token, lease):
        ours, left = pipe.get(name) == token, pipe.pttl(name)
        pipe.multi()
        if ours and left < lease * 1000:
            pipe.pexpire(name, int(lease * 1000))
        return ours

    def __bool__(self):
        return self.ours


@fails("08.1", "lengthened")
def whoevers_it_is(client, name, token, lease):
    return bool(client.pexpire(name, int(lease * 1000)))


@fails("08.1", "lengthened")
def looks_afterwards(client, name, token, lease):
    with client.pipeline() as pipe:
        pipe.pexpire(name, int(lease * 1000), gt=True)
        pipe.get(name)
        return pipe.execute()[1] == token


@fails("08.1", "between")
def looks_first(client, name, token, lease):
    if client.get(name) != token:
        return False
    return client.pexpire(name, int(lease * 1000))


class Mine:
    def __init__(self, client, name, token):
        self.client, self.name, self.token = client, name, token

    def __bool__(self):
        return self.client.get(self.name) == self.token and self.client.pttl(self.name) > 1000


@fails("08.1", "between")
def there_is_enough_time(client, name, token, lease):
    """The same in other words, and with another command."""
    return bool(Mine(client, name, token)) and client.set(name, token, px=int(lease * 1000), xx=True) is True


@fails("08.1", "between")
def watches_too_late(client, name, token, lease):
    if client.get(name) != token:
        return False
    with client.pipeline() as pipe:
        pipe.watch(name)
        pipe.multi()
        pipe.pexpire(name, int(lease * 1000), gt=True)
        pipe.execute()
    return True


@fails("08.1", "taken")
def sets_it_if_it_is_there(client, name, token, lease):
    return client.set(name, token, px=int(lease * 1000), xx=True) is True


@fails("08.1", "recreated")
def sets_it_again(client, name, token, lease):
    return client.set(name, token, px=int(lease * 1000))


@fails("08.1", "recreated")
def takes_it_again(client, name, token, lease):
    """Own or gone, it is had afterwards: and nobody knows who was inside meanwhile."""
    script = "local v = redis.call('get', KEYS[1]) if v and v ~= ARGV[1] then return 0 end "
    return client.eval(script + "redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1", 1, name, token, 30500)


@fails("08.1", "shorter")
def always_to_as_much(client, name, token, lease):
    script = COMPARE + "return redis.call('pexpire', KEYS[1], ARGV[2])"
    return client.eval(script, 1, name, token, int(lease * 1000)) == 1


@fails("08.1", "answer")
def no_is_what_nothing_changed_means(client, name, token, lease):
    script = COMPARE + "return redis.call('pexpire', KEYS[1], ARGV[2], 'GT')"
    return client.eval(script, 1, name, token, int(lease * 1000)) == 1


@fails("08.1", "answer")
def says_nothing(client, name, token, lease):
    client.eval(COMPARE + "redis.call('pexpire', KEYS[1], ARGV[2], 'GT')", 1, name, token, int(lease * 1000))


@fails("08.1", "answer")
def bytes_and_text(client, name, token, lease):
    if client.get(name) == token.decode():
        return client.pexpire(name, int(lease * 1000))
    return False


@fails("08.1", "length")
def whole_seconds(client, name, token, lease):
    return client.eval(COMPARE + "return redis.call('expire', KEYS[1], ARGV[2])", 1, name, token, int(lease))


@fails("08.1", "length")
def seconds_for_milliseconds(client, name, token, lease):
    return client.eval(COMPARE + "return redis.call('pexpire', KEYS[1], ARGV[2])", 1, name, token, int(lease))


@fails("08.1", "length")
def on_top_of_what_is_left(client, name, token, lease):
    script = COMPARE + "return redis.call('pexpire', KEYS[1], ARGV[2] + redis.call('pttl', KEYS[1]))"
    return client.eval(script, 1, name, token, int(lease * 1000))


@fails("08.1", "watch")
def watches_and_is_surprised(client, name, token, lease):
    with client.pipeline() as pipe:
        pipe.watch(name)
        if pipe.get(name) != token:
            return False
        pipe.multi()
        pipe.pexpire(name, int(lease * 1000), gt=True)
        pipe.execute()
        return True


@fails("08.1", "raised")
def half_a_millisecond(client, name, token, lease):
    return client.eval(COMPARE + "return redis.call('pexpire', KEYS[1], ARGV[2])", 1, name, token, lease * 1000)


# 08.2, work that listens ----------------------------------------------------------------------------------------------


@passes("08.2")
def in_small_sleeps(mails, lock, send, gap):
    """Without waiting for the event: it looks often enough."""
    rest = list(mails)
    while rest:
        until = time.monotonic() + gap
        while time.monotonic() < until:
            if lock.lost.is_set():
                return rest
            time.sleep(min(0.01, gap))
        if lock.lost.is_set():
            return rest
        send(rest.pop(0))
    return rest


@passes("08.2")
class UntilItIsLost:
    """The mails are taken from the list; what is left in it was not sent."""

    def __new__(cls, letters, key, post, pause):
        heard = itertools.takewhile(lambda _: not key.lost.wait(timeout=pause), range(len(letters)))
        sent = [post(letters[number]) for number in heard]
        return letters[len(sent) :]


def is_lost(lock):
    return lock.lost.is_set()


@fails("08.2", "goes_on")
def asks_once(mails, lock, send, gap):
    if is_lost(lock):
        return mails
    for mail in mails:
        time.sleep(gap)
        send(mail)
    return []


@fails("08.2", "goes_on")
def asks_at_the_end(mails, lock, send, gap):
    sent = []
    for mail in mails:
        time.sleep(gap)
        send(mail)
        sent.append(mail)
        if is_lost(lock):
            break
    return [mail for mail in mails if mail not in sent]


@fails("08.2", "goes_on")
def remembers_what_it_was(mails, lock, send, gap):
    lost = lock.lost.is_set()
    rest = list(mails)
    while rest and not lost:
        time.sleep(gap)
        send(rest.pop(0))
    return rest


@fails("08.2", "goes_on")
def swallows_it(mails, lock, send, gap):
    for mail in mails:
        try:
            time.sleep(gap)
            send(mail)
            if lock.lost.is_set():
                raise RuntimeError("lost")
        except Exception:
            continue
    return []


@fails("08.2", "goes_on")
def asks_the_server(mails, lock, send, gap):
    """Whose answer may be "yours" when the lease is over by one's own clock; and it may not answer at all."""
    for number, mail in enumerate(mails):
        time.sleep(gap)
        if not lock.owned():
            return mails[number:]
        send(mail)
    return []


@fails("08.2", "stale")
def looks_and_sleeps(mails, lock, send, gap):
    for number, mail in enumerate(mails):
        if lock.lost.is_set():
            return mails[number:]
        time.sleep(gap)
        send(mail)
    return []


@fails("08.2", "stale")
def waits_and_forgets(mails, lock, send, gap):
    rest = list(mails)
    while rest and not is_lost(lock):
        lock.lost.wait(gap)
        send(rest.pop(0))
    return rest


@fails("08.2", "sleeps")
def sleeps_and_looks(mails, lock, send, gap):
    rest = list(mails)
    while rest:
        time.sleep(gap)
        if is_lost(lock):
            break
        send(rest.pop(0))
    return rest


@fails("08.2", "sleeps")
def as_long_as_it_lasts(mails, lock, send, gap):
    """By ``validity``, which is 0 when the lock is lost."""
    for number, mail in enumerate(mails):
        time.sleep(gap)
        if lock.validity == 0:
            return mails[number:]
        send(mail)
    return []


@fails("08.2", "gap")
def no_gap(mails, lock, send, gap):
    for number, mail in enumerate(mails):
        if lock.lost.is_set():
            return mails[number:]
        send(mail)
    return []


@fails("08.2", "gap")
def only_between(mails, lock, send, gap):
    for number, mail in enumerate(mails):
        if lock.lost.wait(gap if number else 0):
            return mails[number:]
        send(mail)
    return []


@fails("08.2", "all")
def the_other_way_round(mails, lock, send, gap):
    for number, mail in enumerate(mails):
        if not lock.lost.wait(gap):
            return mails[number:]
        send(mail)
    return []


@fails("08.2", "all")
def until_the_first(mails, lock, send, gap):
    for mail in mails:
        if not lock.lost.wait(gap):
            send(mail)
        return mails[1:]


@fails("08.2", "rest")
def one_too_few(mails, lock, send, gap):
    for number, mail in enumerate(mails, 1):
        if lock.lost.wait(gap):
            return mails[number:]
        send(mail)
    return []


@fails("08.2", "rest")
def what_was_sent(mails, lock, send, gap):
    sent = []
    for mail in mails:
        if lock.lost.wait(gap):
            break
        send(mail)
        sent.append(mail)
    return sent


@fails("08.2", "rest")
def returns_nothing(mails, lock, send, gap):
    for mail in mails:
        if lock.lost.wait(gap):
            return
        send(mail)


@fails("08.2", "raised")
def raises_it(mails, lock, send, gap):
    for mail in mails:
        if lock.lost.wait(gap):
            raise RuntimeError("the lock is lost")
        send(mail)
    return []
