"""Replicas of a lab's lock server: who can reach them, what a failover forgets, and that the next run knows nothing of it."""

import os
import secrets
import signal
import socket
import stat
from operator import attrgetter

import psutil
import pytest
import redis
from labs import Recorded, Setnx, contend_until, faults_of, kinds, pid_of, run_until, wait_for

from course_tasks import Lab, cut, kill, promote
from course_tasks.lab import LabError, replicas
from course_tasks.lab.fault import Cast, check

SERVERS = ("lock", "replica1", "replica2")


@pytest.fixture(scope="module")
def lab(module_tmp):
    """A lab of two workers, and two replicas of its lock server."""
    with Lab(workers=2, replicas=2) as lab:
        yield lab


@pytest.fixture
def clean(lab):
    """The lab, made clean before the test, as a run would find it."""
    lab.settle()
    return lab


def primary_pid(lab):
    """The pid of the server that answers as "lock"."""
    return lab.client("lock").info("server")["process_id"]


def received_by(client, count):
    """Whether what ``client`` wrote last has been received by so many replicas, and no more."""
    return client.wait(count, 30_000) == client.wait(count + 1, 100) == count


def key():
    """A key that no other test has."""
    return secrets.token_hex(4)


# Together --------------------------------------------------------------------------------------------------------------


def test_they_are_servers_like_the_others(clean):
    lab = clean
    assert lab.replicas == ("replica1", "replica2")
    assert [row[0] for row in lab.processes.rows][:6] == ["broker", "history", *SERVERS, "mail"]
    assert repr(lab.servers) == "lock: up, the primary\nreplica1: up\nreplica2: up"
    assert {lab.client(name).info("server")["process_id"] for name in SERVERS} == {
        pid_of(lab, name) for name in SERVERS
    }
    assert lab.client("replica1").info("replication")["role"] == "slave"


def test_a_new_lab_is_in_sync(module_tmp):
    """Its replicas are sent what changes at once, and have it, though the primary dies right after its answer."""
    with Lab(workers=1, replicas=2, beside=True) as lab:
        lab.client("lock").set("held", "token")
        lab.servers.kill("lock")
        for name in ("replica1", "replica2"):
            assert wait_for(lambda name=name: lab.client(name).get("held") == b"token")


def test_who_waits_for_a_replica_that_nothing_reaches_is_told(module_tmp):
    with Lab(workers=1, replicas=1, beside=True) as lab:
        os.kill(pid_of(lab, "links"), signal.SIGKILL)
        with pytest.raises(LabError, match="links has ended with status -9: run the cell that starts the lab again"):
            wait_for(lab.replication.await_sync)  # as long as a replica has not noticed, it is in sync


def test_wait_counts_those_that_have_it(clean):
    lab, client, held = clean, clean.client("lock"), key()
    assert client.set(held, "token", px=60_000)
    assert client.wait(2, 10_000) == 2
    lab.links.cut("replica1", "lock")
    client.set(held, "other")
    assert received_by(client, 1)
    assert [lab.client(name).get(held) for name in SERVERS] == [b"other", b"token", b"other"]
    lab.links.cut("replica2", "lock")
    client.set(held, "third")
    assert received_by(client, 0)
    lab.links.heal()
    assert client.wait(2, 10_000) == 2
    assert [lab.client(name).get(held) for name in SERVERS] == [b"third"] * 3


def test_a_paused_replica_loses_nothing(clean):
    """What it is sent waits in its socket."""
    lab, client, held = clean, clean.client("lock"), key()
    lab.servers.pause("replica1")
    client.set(held, "token")
    assert received_by(client, 1)
    lab.servers.kill("lock")
    lab.servers.resume("replica1")
    assert wait_for(lambda: lab.client("replica1").get(held)) == b"token"


# Who can reach them ------------------------------------------------------------------------------------------------------


def listening(pid):
    """The addresses at which the process ``pid`` takes TCP connections."""
    return [c.laddr for c in psutil.Process(pid).net_connections("inet") if c.status == psutil.CONN_LISTEN]


def test_nothing_listens_but_their_links_and_on_this_machine_only(clean):
    lab = clean
    listeners = {name: listening(pid) for name, _, pid, _ in lab.processes.rows}
    assert {name for name, addresses in listeners.items() if addresses} == {"links"}
    assert [address.ip for address in listeners["links"]] == ["127.0.0.1"] * 2


def test_a_dead_primary_leaves_no_port_to_anybody(clean):
    """Who took it would be told the password."""
    lab, held = clean, key()
    ports = {address.port for address in listening(pid_of(lab, "links"))}
    lab.servers.kill("lock")
    assert {address.port for address in listening(pid_of(lab, "links"))} == ports
    with socket.create_connection(("127.0.0.1", ports.pop())) as replica:
        assert replica.recv(1) == b""  # closed at once
    lab.servers.restart("lock")
    lab.client("lock").set(held, "token")
    wait_for(lambda: lab.client("lock").wait(2, 100) == 2)


def test_who_does_not_know_the_password_is_refused(clean):
    """At every link's port, and on every socket; with it, he is let in."""
    lab = clean
    ports = [address.port for address in listening(pid_of(lab, "links"))]
    assert len(ports) == 2
    doors = [{"port": port} for port in ports]
    doors += [{"unix_socket_path": str(lab.servers.own_socket(name))} for name in SERVERS]
    for door in doors:
        for wrong in (None, "guess"):
            with redis.Redis(**door, password=wrong, retry=None) as stranger, pytest.raises(redis.AuthenticationError):
                stranger.get("held")
        with redis.Redis(**door, password=lab.place.password("lock"), retry=None) as friend:
            assert friend.ping()


def test_the_password_is_in_no_command_environment_log_or_history(clean):
    lab = clean
    run_until(lab, Setnx, every=0.2, takes=0, faults=promote("replica1", when="entered"), until={"released": 3})
    password = lab.place.password("lock").encode()
    assert len(password) == 32
    family = psutil.Process(lab.warden_pid).children(recursive=True)
    told = [word for process in family for word in (*process.cmdline(), *process.environ().values())]
    assert password.decode() not in "\n".join([*told, repr(lab), lab._repr_html_()])
    files = [path for path in lab.place.path.rglob("*") if path.is_file()]
    holding = {path.name for path in files if password in path.read_bytes()}
    assert holding == {f"{name}.{kind}" for name in SERVERS for kind in ("conf", "password")}
    assert all(stat.S_IMODE((lab.place.path / name).stat().st_mode) == 0o600 for name in holding)
    history = lab.client("history")
    assert not any(password in str(history.xrange(stream)).encode() for stream in history.scan_iter(_type="stream"))


def test_two_labs_have_two_passwords(lab, module_tmp):
    with Lab(workers=1, replicas=1, beside=True) as other:
        assert other.place.password("lock") != lab.place.password("lock")
        assert other.place.password("broker") is None


# Promoted by hand ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["whole", "cut"])
def test_what_the_replica_has_not_received_is_forgotten(clean, link):
    lab, client, held = clean, clean.client("lock"), key()
    if link == "cut":
        lab.links.cut("replica1", "lock")
    assert client.set(held, "first", nx=True, px=60_000)
    assert received_by(client, 2 if link == "whole" else 1)
    lab.servers.kill("lock")
    with pytest.raises(redis.ConnectionError):
        client.set(held, "second", nx=True, px=60_000)
    lab.servers.promote("replica1")
    assert bool(client.set(held, "second", nx=True, px=60_000)) == (link == "cut")
    assert primary_pid(lab) == pid_of(lab, "replica1")
    assert repr(lab.servers) == "lock: down\nreplica1: up, the primary\nreplica2: up"


def test_the_other_replica_follows_the_new_primary(clean):
    lab, held = clean, key()
    lab.servers.kill("lock")
    lab.servers.promote("replica2")
    lab.client("lock").set(held, "token")
    assert lab.client("lock").wait(1, 10_000) == 1
    assert lab.client("replica1").get(held) == b"token"
    lab.links.cut("replica1", "lock")  # still the way to its primary
    lab.client("lock").set(held, "other")
    assert received_by(lab.client("lock"), 0)


def test_a_primary_that_lives_loses_its_clients_and_nobody_finds_it(clean):
    lab, client = clean, clean.client("lock")
    with redis.Redis(
        unix_socket_path=str(lab.place.socket("lock")), password=lab.place.password("lock"), retry=None
    ) as other:
        assert other.info("server")["process_id"] == primary_pid(lab) == pid_of(lab, "lock")
        connection = other.connection_pool.get_connection()  # in use while the promotion goes on
        connection.send_command("BLPOP", "nothing", 0)
        lab.servers.promote("replica1")
        with pytest.raises(redis.ConnectionError):
            connection.read_response()
        other.connection_pool.release(connection)
        assert other.info("server")["process_id"] == primary_pid(lab) == pid_of(lab, "replica1")
    assert client.info("replication")["role"] == "master"
    assert lab.itself("lock").info("server")["process_id"] == pid_of(lab, "lock")
    assert lab.servers.up("lock")


def test_who_was_primary_comes_back_as_a_replica_and_forgets_what_it_alone_had(clean):
    lab, held = clean, key()
    lab.links.cut(["replica1", "replica2"], "lock")
    lab.client("lock").set(held, "token")
    lab.servers.promote("replica1")
    assert lab.itself("lock").get(held) == b"token"
    lab.client("lock").set("new", 1)
    lab.servers.restart("lock")
    wait_for(lambda: lab.itself("lock").info("replication").get("master_link_status") == "up")
    assert wait_for(lambda: lab.itself("lock").get("new")) == b"1"
    assert lab.itself("lock").get(held) is None
    lab.links.heal()
    assert lab.client("lock").wait(2, 10_000) == 2


def test_a_primary_that_starts_again_without_memory_empties_its_replicas(clean):
    lab, held = clean, key()
    lab.client("lock").set(held, "token")
    assert lab.client("lock").wait(2, 10_000) == 2
    lab.servers.restart("lock")
    assert lab.client("lock").get(held) is None
    wait_for(lambda: lab.client("lock").wait(2, 100) == 2)
    assert lab.client("replica1").get(held) is None


def test_a_durable_primary_remembers_and_so_do_its_replicas(module_tmp):
    with Lab(workers=1, replicas=1, durable=True, beside=True) as lab:
        lab.client("lock").set("held", "token")
        lab.servers.restart("lock")
        assert lab.client("lock").get("held") == b"token"
        assert wait_for(lambda: lab.client("lock").wait(1, 100) == 1)
        lab.servers.restart("replica1")
        wait_for(lambda: lab.client("lock").wait(1, 100) == 1)
        assert lab.client("replica1").get("held") == b"token"


def test_promoting_the_primary_changes_nothing(clean):
    clean.servers.promote("replica1")
    clean.client("lock").set("held", "token")
    clean.servers.promote("replica1")
    assert clean.client("lock").get("held") == b"token"
    assert primary_pid(clean) == pid_of(clean, "replica1")


def test_who_cannot_be_promoted(clean, module_tmp):
    for name in ("lock", "replica9", "worker1", None):
        with pytest.raises(ValueError, match=f"no replica is called {name!r}; there are replica1, replica2"):
            clean.servers.promote(name)
    clean.servers.kill("replica1")
    with pytest.raises(LabError, match="replica1 is down: only a replica that answers can be promoted"):
        clean.servers.promote("replica1")
    clean.servers.pause("replica2")
    with pytest.raises(LabError, match="replica2 is paused"):
        clean.servers.promote("replica2")
    assert primary_pid(clean) == pid_of(clean, "lock")


# The next run --------------------------------------------------------------------------------------------------------------


def as_before(lab):
    """A run of ``lab`` in which every server has its first role, and nobody meets one that has another."""
    run = run_until(lab, Setnx, every=0.2, takes=0, until={"released": 4})
    assert run.notes == ()
    assert primary_pid(lab) == pid_of(lab, "lock")
    assert repr(lab.servers) == "lock: up, the primary\nreplica1: up\nreplica2: up"
    lab.client("lock").set("held", "token")
    assert lab.client("lock").wait(2, 10_000) == 2


def test_a_run_begins_with_the_first_roles_whatever_was_done_by_hand(clean):
    clean.servers.promote("replica2")
    clean.servers.kill("replica2")
    clean.servers.pause("replica1")
    as_before(clean)
    clean.client("replica1").replicaof("NO", "ONE")  # not by the lab's own means
    as_before(clean)
    clean.servers.kill("lock")
    clean.servers.promote("replica1")
    clean.servers.restart("lock")
    as_before(clean)


def test_workers_that_know_the_promoted_one_find_the_first_one_again(clean):
    """They are the same processes in the next run, and a connection to one that only replicates would be good for nothing."""
    run = run_until(clean, Setnx, every=0.2, takes=0, faults=promote("replica1", when="entered"), until={"released": 6})
    assert faults_of(run) == [("fault began", "replica1", "promote"), ("fault ended", "replica1", "promote")]
    as_before(clean)


@pytest.mark.parametrize("where", ["replication.started", "servers._settings.remember"])
def test_a_start_that_was_interrupted_is_finished_by_the_next_run(clean, monkeypatch, where):
    """The server is up by then, and has no role, or is not known yet with its settings."""
    part, _, method = where.rpartition(".")
    whole = attrgetter(part)(clean)

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(whole, method, interrupted)
    for name in ("replica1", "lock"):
        with pytest.raises(KeyboardInterrupt):
            clean.servers.restart(name)
    monkeypatch.undo()
    as_before(clean)


def test_a_promotion_that_was_interrupted_is_undone_by_the_next_run(clean, monkeypatch):
    """When the new path is laid ready, and does not yet take the place of the one before."""

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(replicas.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        clean.servers.promote("replica1")
    monkeypatch.undo()
    as_before(clean)


# In a run --------------------------------------------------------------------------------------------------------------------


class Patient(Setnx):
    """Takes the key for a minute, and does not enter before both replicas have it."""

    milliseconds = 30_000

    def acquire(self):
        if not self.client.set(self.name, 1, nx=True, ex=60):
            return False
        self.client.wait(2, self.milliseconds)
        return True


class Hasty(Patient):
    """Waits for a tenth of a second at most."""

    milliseconds = 100


FAILOVER = [kill("lock", when="entered"), promote("replica1", when="fault ended")]


def since_promotion(lab):
    """The kinds of the events of the present run, from the end of a promotion on."""
    told = [(event["kind"], event["lane"]) for event in Recorded(lab.place.path, lab._runs)]
    promoted = ("fault ended", "replica1")
    return [kind for kind, _ in told[told.index(promoted) :]] if promoted in told else []


def failover(lab, lock, *faults):
    """A run in which the holder holds for long, its server dies, and another task asks the promoted replica."""
    return run_until(
        lab,
        lock,
        every=0.2,
        takes=60,
        faults=[*faults, *FAILOVER],
        until=lambda: {"entered", "skipped"} & set(since_promotion(lab)),
    )


def test_a_failover_with_the_link_cut_lets_a_second_one_in(lab):
    run = failover(lab, Hasty, cut("replica1", "lock", after=0))
    assert kinds(run).count("entered") == 2
    assert run.verdict.outcome == "invalid"
    granted = [detail["granted"] for detail in run.events.loc[run.events["kind"] == "acquired", "detail"]]
    assert granted == [["lock"], ["replica1"]]
    assert faults_of(run) == [
        ("fault began", "replica1", "cut"),
        ("fault began", "lock", "kill"),
        ("fault ended", "lock", "kill"),
        ("fault began", "replica1", "promote"),
        ("fault ended", "replica1", "promote"),
        ("fault ended", "replica1", "cut"),
    ]
    (began,) = run.events.loc[run.events["kind"] == "began", "detail"]
    assert began["servers"] == list(SERVERS)
    assert began["lanes"] == ["beat", "worker1", "worker2", *SERVERS, "inbox"]


def test_a_failover_with_the_link_whole_does_not(lab):
    run = failover(lab, Patient)
    assert kinds(run).count("entered") == 1
    assert faults_of(run)[-1] == ("fault ended", "replica1", "promote")


def test_contenders_find_the_promoted_one_too(lab):
    faults = [cut("replica1", "lock", after=0), *FAILOVER]
    run = contend_until(lab, Hasty, contenders=2, holds=60, faults=faults, until={"entered": 2})
    assert run.verdict.outcome == "invalid"
    as_before(lab)


def test_whom_a_promotion_can_hit():
    cast = Cast(("worker1",), ("lock",), ("replica1",))
    check([promote("replica1", after=0), kill("replica1", after=0)], cast)
    for name in ("worker1", "lock", "holder", "replica2"):
        with pytest.raises(
            ValueError, match=f"promote\\('{name}', after=0\\): no replica is called '{name}'; there are replica1"
        ):
            check([promote(name, after=0)], cast)
    with pytest.raises(ValueError, match="no replica is called 'replica1'; there are none"):
        check([promote("replica1", after=0)], Cast(("worker1",), ("lock",)))


# Settings --------------------------------------------------------------------------------------------------------------------


def test_what_is_set_by_hand_holds_in_the_next_run_and_no_longer(clean):
    class Telling(Setnx):
        def acquire(self):
            self.client.rpush("told", self.client.config_get("maxmemory-policy")["maxmemory-policy"])
            return super().acquire()

    lab = clean
    seen = []
    lab.client("lock").config_set("maxmemory-policy", "allkeys-lru", "maxmemory", "50mb")
    lab.client("replica1").config_set("maxclients", 100)
    for _ in range(2):
        run_until(
            lab,
            Telling,
            every=0.2,
            takes=0,
            until=lambda: seen.append(lab.client("lock").lindex("told", 0)) or seen[-1],
        )
    assert [policy for policy in seen if policy] == [b"allkeys-lru", b"noeviction"]
    assert lab.client("lock").config_get("maxmemory") == {"maxmemory": "0"}
    assert lab.client("replica1").config_get("maxclients") != {"maxclients": "100"}


def test_a_memory_limit_evicts_a_lock(clean):
    client, held = clean.client("lock"), key()
    assert client.set(held, "first", nx=True, px=600_000)
    client.config_set("maxmemory-policy", "allkeys-lru", "maxmemory", client.info("memory")["used_memory"] + 500_000)
    for number in range(10_000):
        client.set(f"ballast:{number}", "x" * 20_000)
        if not client.exists(held):  # Valkey takes the oldest of a few that it picks by chance
            break
    assert client.set(held, "second", nx=True, px=600_000)
    assert client.info("stats")["evicted_keys"] > 0


def test_without_a_limit_nothing_is_evicted(clean):
    client, held = clean.client("lock"), key()
    assert client.set(held, "first", nx=True, px=600_000)
    for number in range(200):
        client.set(f"ballast:{number}", "x" * 20_000)
    assert not client.set(held, "second", nx=True, px=600_000)


# The end ---------------------------------------------------------------------------------------------------------------------


def test_nothing_is_left_when_the_kernel_dies(kernel, hunt):
    kernel.cell("lab = Lab(workers=1, replicas=2); lab.servers.kill('lock'); lab.servers.promote('replica2')")
    kernel.cell("lab.servers.pause('replica1')")
    assert len(hunt.family(kernel.pid)) >= 8
    kernel.kill()
    hunt.nothing_left()
