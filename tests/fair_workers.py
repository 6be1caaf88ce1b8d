"""FairLocks in processes of their own, that queue, stop and die when they are told to; and what the server shows of them."""

import signal

import psutil
from labs import PLAYER, Kernel, wait_for

from course_tasks.locks import FairLock
from course_tasks.locks.script import Script

NAME, QUEUE = "mail", "{mail}:queue"
NAMES = ("first", "second", "third")
LENIENT = 2.0  # seconds: what takes 0.2 s may take so long on a busy machine; far less than any lease of 60 s


def altered(script, old, new):
    """FairLock's script of that name with ``old`` replaced by ``new``: for variants that are known to be wrong."""
    text = getattr(FairLock, script).text
    assert old in text
    return Script(text.replace(old, new))


class Patient(FairLock):
    """Nobody looks again by itself: what happens in a test with it, happens because somebody was rung."""

    CLAIM_WITHIN = 60.0


class Credulous(FairLock):
    """Whoever claims has the turn."""

    ASK = altered("ASK", "turn == me or", "how == 'claim' or turn == me or")


# Workers ------------------------------------------------------------------------------------------------------------

WORKER = """
import time
import redis
from course_tasks.breakpoints import Breakpoint, watched
from fair_workers import NAME, Credulous, FairLock, Patient

def stop():
    os.kill(os.getpid(), signal.SIGSTOP)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def connect(socket, **place):
    global client, own
    client = own = redis.Redis(unix_socket_path=socket)
    if place:
        own = watched(client, Breakpoint(globals()[place.pop("action")], **place))

def make(kind, **options):
    global lock
    lock = globals()[kind](own, NAME, **options)

def enter(me, **options):
    if lock.acquire(**options):
        client.rpush("entered", me)
        return time.monotonic()

"""


class Worker(Kernel):
    """A process with a FairLock: one call at a time goes in, and its answer comes out."""

    busy = False  # whether a call has not been answered yet

    def __init__(self, cwd):
        imports = PLAYER[PLAYER.index("from course_tasks") : PLAYER.index("answers =")]
        super().__init__(cwd, source=PLAYER.replace(imports, WORKER))

    def ready(self, server, name, kind="FairLock", timeout=60, **place):
        """Make its lock, with a breakpoint at ``place`` if there is one; it enters as ``name``."""
        self.name, self.server = name, server
        self.cell(f"connect({server.socket!r}, **{place!r}); make({kind!r}, timeout={timeout})")
        return self

    def start(self, cell):
        self.busy = True
        super().start(cell)

    def answer(self, *arguments):
        answer = super().answer(*arguments)
        self.busy = False
        return answer

    def queue(self, **options):
        """Let it acquire the lock, and return when it is one more in the queue, or has stopped or died before it was."""
        with self.server.client() as client:
            before = client.llen(QUEUE)
            self.start(f"_ = enter({self.name!r}, **{options!r})")
            wait_for(lambda: client.llen(QUEUE) > before or self.halted, "for the worker to queue")

    def release(self):
        self.cell("lock.release()")

    @property
    def halted(self):
        """Whether it stands still (SIGSTOP) or has ended."""
        return self.process.poll() is not None or psutil.Process(self.pid).status() == psutil.STATUS_STOPPED

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)


# What the server shows ------------------------------------------------------------------------------------------------


def holder(client, kind=FairLock, **options):
    """The lock, held by this process."""
    lock = kind(client, NAME, **{"timeout": 60, **options})
    assert lock.acquire(blocking=False)
    return lock


def entered(client):
    return [name.decode() for name in client.lrange("entered", 0, -1)]


def nothing_left(client):
    """Fail unless every key is gone, apart from what a test has written itself."""
    assert [key for key in client.keys() if key != b"entered"] == []


def questions(client):
    """How many scripts the server has run since it forgot its counts; it knows them all, so that each is one EVALSHA."""
    return client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]


def count_anew(client):
    for script in (FairLock.ASK, FairLock.LOOK, FairLock.LEAVE):
        client.script_load(script.text)
    client.config_resetstat()


def everybody_listens(client, count):
    wait_for(lambda: client.info("clients")["blocked_clients"] == count, "for the waiters to listen")
