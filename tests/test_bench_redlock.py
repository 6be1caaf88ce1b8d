"""The benchmark of Redlock: a server is stopped and goes on, a peer's time is bounded, links are late; what is timed twice."""

import time

import pytest
import redis
from conftest import assert_nothing_left

from bench import stopped
from bench.fleet import FIVE, Fleet, private_place
from bench.links import Links
from bench.lives import apart
from bench.peers import REDLOCK_PY
from bench.turns import Turns


@pytest.fixture
def fleet(private_tmp):
    """Five servers; afterwards, nothing is left of them."""
    with private_place() as where, Fleet(where, FIVE) as fleet:
        yield fleet
    assert_nothing_left(private_tmp)


def sockets(fleet):
    return [fleet.socket(name) for name in fleet.names]


def test_blocks_with_a_stopped_server_and_without(fleet, monkeypatch):
    monkeypatch.setattr(stopped, "ROUNDS", 2)
    monkeypatch.setattr(stopped, "BLOCK", 20)
    rows = stopped.ours_stopped(fleet, sockets(fleet))
    assert rows[-1] == ("  failed", "0 of 40")
    assert all(fleet.answers(name) for name in fleet.names)


def test_a_peer_that_hangs_is_given_up_and_its_lock_with_it(fleet, monkeypatch):
    monkeypatch.setattr(stopped, "PATIENCE", 1)
    assert stopped.peer_stopped(fleet, REDLOCK_PY, sockets(fleet)) == "not even one in 1 s"
    for name in fleet.names:
        with fleet.client(name) as client:
            assert client.dbsize() == 0


def test_a_peer_whose_clients_are_impatient_says_what_becomes_of_it(fleet, monkeypatch):
    monkeypatch.setattr(stopped, "PEER_USES", 1)
    limited = {"socket_timeout": 0.1, "retry": None}
    said = stopped.peer_stopped(fleet, REDLOCK_PY, sockets(fleet), **limited)
    assert said.endswith(" s each, once, 1 of these MultipleRedlockException")


def test_links_are_late_by_as_much_as_they_are_told(fleet):
    with Links(fleet, ["client"]) as links:
        linked = str(fleet.where.link("client", fleet.names[0]))
        with redis.Redis(unix_socket_path=linked) as client:
            client.ping()
            links.slow(0.05)
            begin = time.monotonic()
            client.ping()
            assert time.monotonic() - begin >= 0.1


def test_every_lock_is_timed_as_often_as_its_control():
    found = Turns({"one": lambda: lambda: None, "other": lambda: lambda: time.sleep(0.001)}, rounds=5, block=2)
    assert [len(figures) for figures in (found.first["one"], found.second["one"], found.both("other"))] == [5, 5, 10]
    assert min(found.ratios("other", "one")) > 1
    assert min(found.both("other")) >= 1000


def test_what_runs_apart_is_given_up_when_its_time_is_over():
    assert apart(lambda: 7) == 7
    assert apart(lambda: time.sleep(60), seconds=0.1) is None
