"""Histories to test with: stories told event by event, and a small simulation of beat, a queue, workers and an outbox.

Times are seconds since the run began; the recorded clock starts at 1000 s, so that a test notices where that isn't
subtracted.
"""

import heapq
from functools import cache
from itertools import count

from course_tasks.history.reading import frame

SEND = "tasks.send_mail_from_queue"
PIDS = {"beat": 10, "invoker": 11, "lab": 12, "inbox": 13}


class Story:
    """A run as it is being told: every method appends events. ``detail`` goes into the "began" event.

    Without a producer, its lanes are contenders: processes that contend for the lock without tasks. ``servers`` are the lock
    servers that have lanes.
    """

    def __init__(self, workers=3, producer="beat", inbox=True, name=SEND, servers=(), **detail):
        self.told, self.producer, self.name = [], producer, name if producer else None
        self.crew = "worker" if producer else "contender"
        crew = [f"{self.crew}{number}" for number in range(1, workers + 1)]
        lanes = [producer, *crew, *servers, *["inbox"] * inbox] if producer else [*crew, *servers]
        detail |= {"servers": list(servers)} if servers else {}
        self.say(0.0, "began", "lab", detail={"lanes": lanes, **detail})

    def say(self, t, kind, lane, task=None, **fields):
        """Append one event as the recorder would have recorded it."""
        lane = f"{self.crew}{lane}" if isinstance(lane, int) else lane
        pid = PIDS.get(lane) or 100 + int("".join(filter(str.isdigit, lane)) or 0)
        event = {"t": 1000.0 + t, "kind": kind, "lane": lane, "pid": pid, "task": task}
        event |= {"name": self.name if task else None} | fields
        self.told.append({key: value for key, value in event.items() if value is not None})
        return self

    def sent(self, t):
        """The producer publishes a task."""
        return self.say(t, "sent", self.producer, name=self.name)

    def enters(self, t, worker, task, lock=True, start=True, lease=None, mail=None, token=None, granted=None):
        """The task is started, given the lock (by the servers of these numbers), enters, and reads which mail is next."""
        if start:
            self.say(t, "started", worker, task)
        if lock:
            detail = {"granted": names(granted)} if granted else None
            self.say(t, "acquired", worker, task, lease=lease, token=token, detail=detail)
        self.say(t, "entered", worker, task)
        return self.say(t, "read", worker, task, mail=mail) if mail else self

    def leaves(self, t, worker, task, mail=None, lock=True):
        """The mail is delivered; the task leaves, gives the lock back, and ends."""
        if mail:
            self.say(t, "delivered", "inbox", mail=mail, detail={"sender": f"worker{worker}"})
        self.say(t, "left", worker, task)
        if lock:
            self.say(t, "released", worker, task)
        return self.say(t, "finished", worker, task)

    def writes(self, t, worker, task, mail, token, seen=None, accepted=True):
        """The database accepts the task's write, or refuses it; the highest token that it has ``seen`` before."""
        detail = None if seen is None else {"seen": seen}
        return self.say(t, "written" if accepted else "refused", worker, task, mail=mail, token=token, detail=detail)

    def skips(self, t, worker, task):
        """The task is started, finds the lock taken, and goes away."""
        return self.say(t, "started", worker, task).say(t, "skipped", worker, task).say(t, "finished", worker, task)

    def fault(self, t, what, worker, fault, **detail):
        """A fault's ``what``: "began" or "ended"."""
        return self.say(t, f"fault {what}", worker, detail={"fault": fault, **detail})

    def dies(self, t, *lanes):
        """These are killed."""
        for lane in lanes:
            self.fault(t, "began", lane, "kill").fault(t + 0.001, "ended", lane, "kill")
        return self

    def ends(self, t):
        """The run ends. Returns the story as ``frame`` makes it."""
        return frame(self.say(t, "ended", "lab").told)


def names(servers):
    """The names of the lock servers of these numbers; a name is its own."""
    return [f"lock{server}" if isinstance(server, int) else server for server in servers]


FIVE = names((1, 2, 3, 4, 5))


def simulate(workers=3, every=1.0, takes=3.0, seconds=10.0, lock=None, mails=30, lease=None):
    """Beat every ``every`` seconds, tasks of ``takes`` seconds; ``lock`` is None, "skip" or "wait".

    Each task takes the oldest unsent mail when it enters, and marks it when it leaves.
    """
    story = Story(workers, every=every, takes=takes, seconds=seconds, mails=mails)
    agenda, turn, tasks = [], count(), count(1)
    idle, queue, waiting, sent, inside = list(range(1, workers + 1)), [], [], set(), []

    def at(t, happen, *arguments):
        heapq.heappush(agenda, (t, next(turn), happen, arguments))

    def tick(t):
        story.sent(t)
        queue.append(f"task{next(tasks)}")
        at(t + 0.01, start)

    def start(t):
        if not (idle and queue):
            return
        worker, task = idle.pop(0), queue.pop(0)
        if lock and inside and lock == "skip":
            story.skips(t, worker, task)
            idle.append(worker)
        elif lock and inside:
            story.say(t, "started", worker, task).say(t, "waiting", worker, task)
            waiting.append((worker, task))
        else:
            enter(t, worker, task, start=True)

    def enter(t, worker, task, start=False):
        mail = min(set(range(1, mails + 1)) - sent)
        story.enters(t, worker, task, lock=bool(lock), start=start, lease=lease, mail=mail)
        inside.append(task)
        at(t + takes, leave, worker, task, mail)

    def leave(t, worker, task, mail):
        story.leaves(t, worker, task, mail, lock=bool(lock))
        sent.add(mail)
        inside.remove(task)
        idle.append(worker)
        if waiting:
            at(t + 0.01, enter, *waiting.pop(0))
        at(t + 0.01, start)

    for number in count(1):
        if number * every >= seconds:
            break
        at(number * every, tick)
    while agenda and agenda[0][0] < seconds:
        t, _, happen, arguments = heapq.heappop(agenda)
        happen(t, *arguments)
    return story.ends(seconds)


def paused_holder():
    """The story of timeline-target.png: a worker is paused for longer than its lease, and mail 1 is sent twice."""
    story = Story(every=3, takes=2.5, seconds=12, mails=3)
    story.sent(0.4).enters(0.5, 1, "a", lease=3.0, mail=1).fault(1.6, "began", 1, "pause", seconds=3.2)
    story.sent(3.4).say(3.42, "started", 2, "b").say(3.42, "waiting", 2, "b").skips(3.4, 3, "x")
    story.enters(3.5, 2, "b", lease=3.0, start=False, mail=1).fault(4.8, "ended", 1, "pause")
    story.leaves(5.3, 1, "a", mail=1, lock=False).leaves(6.2, 2, "b", mail=1)
    story.sent(6.4).enters(6.5, 3, "c", lease=3.0, mail=2).leaves(9.2, 3, "c", mail=2)
    story.sent(9.4).enters(9.5, 1, "d", lease=3.0, mail=3).leaves(11.6, 1, "d", mail=3)
    return story.ends(12.0)


def killed_holder(lease=None):
    """The holder is killed inside. Without a lease the lock stays taken for ever, with one until it ends."""
    story = Story(every=1.5, takes=1, seconds=10, mails=6)
    story.sent(0.5).enters(0.51, 1, "a", lease=lease, mail=1).leaves(1.51, 1, "a", mail=1)
    story.sent(2.0).enters(2.01, 2, "b", lease=lease, mail=2)
    story.fault(2.4, "began", 2, "kill").fault(2.42, "ended", 2, "kill")
    for number, t in enumerate((3.5, 5.0, 6.5, 8.0)):
        worker, task = (1, 3)[number % 2], f"c{number}"
        story.sent(t)
        if lease and t > 2.01 + lease:
            story.enters(t + 0.01, worker, task, lease=lease, mail=number).leaves(t + 1.01, worker, task, mail=number)
        else:
            story.skips(t + 0.01, worker, task)
    return story.ends(10.0)


def renewed_lease():
    """A lease of 1 s, renewed twice; then the renewing stops, and the task finds out when it looks."""
    story = Story(workers=2, every=4, takes=3.5, seconds=6, mails=2)
    story.sent(0.4).enters(0.5, 1, "a", lease=1.0, mail=1).say(1.0, "renewed", 1, "a", lease=1.0)
    story.say(1.5, "renewed", 1, "a", lease=1.0).skips(2.0, 2, "x").say(4.0, "lost", 1, "a")
    return story.leaves(4.1, 1, "a", mail=1, lock=False).ends(6.0)


def stale_write(fencing=True, idempotent=False):
    """A paused worker comes back when another one has written with a higher token."""
    story = Story(every=3, takes=2, seconds=12, mails=3)
    story.sent(0.4).enters(0.5, 1, "a", lease=3.0, mail=1, token=33).fault(1.0, "began", 1, "pause", seconds=6.4)
    story.sent(3.4).skips(3.42, 3, "x").sent(4.0).enters(4.1, 2, "b", lease=3.0, mail=1, token=34)
    story.say(6.1, "delivered", "inbox", mail=1, detail={"sender": "worker2"}).writes(6.11, 2, "b", 1, 34, seen=32)
    story.leaves(6.15, 2, "b").sent(6.4).enters(6.5, 3, "c", lease=3.0, mail=2, token=35).fault(
        7.4, "ended", 1, "pause"
    )
    story.say(7.41, "dropped" if idempotent else "delivered", "inbox", mail=1, detail={"sender": "worker1"})
    story.writes(7.42, 1, "a", 1, 33, seen=34, accepted=not fencing).say(7.45, "lost", 1, "a").leaves(
        7.46, 1, "a", lock=False
    )
    story.say(8.5, "delivered", "inbox", mail=2, detail={"sender": "worker3"}).writes(8.51, 3, "c", 2, 35, seen=34)
    return story.leaves(8.55, 3, "c").sent(9.4).ends(12.0)


def killed_between():
    """SETNX, then EXPIRE: the worker is killed between the two, and the lock stays taken though nobody said to have it."""
    story = Story(every=1.5, takes=1, seconds=10, mails=6)
    story.sent(0.5).enters(0.51, 1, "a", lease=5.0, mail=1).leaves(1.51, 1, "a", mail=1)
    story.sent(2.0).say(2.01, "started", 2, "b")
    story.fault(2.02, "began", 2, "kill", command="before EXPIRE").fault(2.03, "ended", 2, "kill")
    for number, t in enumerate((3.5, 5.0, 6.5, 8.0)):
        story.sent(t).skips(t + 0.01, (1, 3)[number % 2], f"c{number}")
    return story.ends(10.0)


def paused_between():
    """GET, then SET: the worker is paused between the two, and both find the lock free."""
    story = Story(every=1, takes=1.5, seconds=6, mails=4)
    story.sent(0.5).say(0.51, "started", 1, "a").fault(0.52, "began", 1, "pause", seconds=1.5, command="after GET")
    story.sent(1.5).enters(1.52, 2, "b", mail=1).fault(2.02, "ended", 1, "pause", command="after GET")
    story.enters(2.03, 1, "a", start=False, mail=1).sent(2.5).skips(2.52, 3, "c")
    return story.leaves(3.02, 2, "b", mail=1).leaves(3.53, 1, "a", mail=1).ends(6.0)


def contest(grants=(1, 2, 3, 4, 5, 6), at_once=1, seconds=3.0, holds=0.005, gap=0.0005, too_many=False):
    """Contenders that acquire, hold and release, time and again, with at most ``at_once`` inside.

    ``grants`` says whose turn it is, over and over; ``too_many`` lets one more in, once, in the middle.
    """
    crew = max(grants)
    story = Story(crew, producer=None, seconds=seconds, at_once=at_once)
    for number in range(1, crew + 1):
        story.say(0.001, "waiting", number, f"s{number}.0")
    stays, free, moments = [0] * (crew + 1), [0.002] * at_once, []
    for turn in count():
        number, place = grants[turn % len(grants)], turn % at_once
        t = free[place]
        if t > seconds:
            break
        length = holds * (2.5 if too_many and turn == 4 else 1)
        if too_many and turn == 4 + at_once:
            t -= holds * 0.5
        task, again = f"s{number}.{stays[number]}", f"s{number}.{stays[number] + 1}"
        stays[number] += 1
        moments += [(t, "acquired", number, task), (t + 0.0001, "entered", number, task)]
        moments += [(t + length, "left", number, task), (t + length + 0.0001, "released", number, task)]
        moments += [(t + length + 0.0002, "waiting", number, again)]
        free[place] = t + length + gap
    for moment in sorted(moments, key=lambda moment: moment[0]):
        if moment[0] < seconds:
            story.say(*moment)
    return story.ends(seconds)


def adds(workers=3, tasks=20):
    """The invoker's ``tasks.add``: nothing is critical, nothing overlaps in a way that matters."""
    story, free = Story(workers, producer="invoker", inbox=False, name="tasks.add"), [0.1] * workers
    moments = []
    for number in range(tasks):
        story.sent(0.05 + 0.001 * number)
        worker = min(range(workers), key=lambda index: free[index])
        begin, end = free[worker], free[worker] + 0.3 + 0.17 * (number * 7 % 5)
        free[worker] = end + 0.01
        moments += [(begin, "started", worker + 1, f"t{number}"), (end, "finished", worker + 1, f"t{number}")]
    for moment in sorted(moments):
        story.say(*moment)
    return story.ends(max(free) + 0.1)


def retries():
    """``tasks.data_extractor`` fails like a crawler that hits a bad index: retried with backoff, or failed for good."""
    story = Story(workers=2, producer="invoker", inbox=False, name="tasks.data_extractor")
    story.sent(0.1).sent(0.11)
    moments = [(0.2, "started", 2, "good"), (1.1, "finished", 2, "good")]
    t = 0.15
    for attempt, countdown in enumerate((1, 2, 4, 8, None)):
        worker = 1 + attempt % 2
        ended = {"kind": "retried", "detail": {"countdown": countdown, "error": "IndexError"}}
        ended = ended if countdown else {"kind": "failed", "detail": {"error": "IndexError"}}
        moments += [(t, "started", worker, "bad"), (t + 0.4, ended["kind"], worker, "bad", ended["detail"])]
        t += 0.4 + (countdown or 0)
    for moment, kind, worker, task, *detail in sorted(moments, key=lambda moment: moment[0]):
        story.say(moment, kind, worker, task, detail=detail[0] if detail else None)
    return story.ends(17.5)


def redlock():
    """Five lock servers, and nothing amiss: whoever gets a majority is inside."""
    story = Story(servers=FIVE, every=1.5, takes=1, seconds=10, mails=6)
    turns = ((1, (1, 2, 3, 4)), (2, (1, 2, 3, 4, 5)), (1, (2, 3, 5)), (3, (1, 3, 4, 5)), (2, (1, 2, 3)))
    for number, (worker, granted) in enumerate(turns):
        t, task = 0.6 + 1.7 * number, f"t{number}"
        story.sent(t - 0.1).enters(t, worker, task, lease=2.0, mail=number + 1, granted=granted)
        story.skips(t + 0.5, worker % 3 + 1, f"x{number}").leaves(t + 1.1, worker, task, mail=number + 1)
    return story.ends(10.0)


def dead_majority():
    """Two of five die and nobody notices; then a third, and nobody enters."""
    story = Story(servers=FIVE, every=1.5, takes=1, seconds=12, mails=4)
    story.sent(0.5).enters(0.51, 1, "a", lease=3.0, mail=1, granted=(1, 2, 3, 4, 5)).skips(1.0, 2, "x")
    story.leaves(1.51, 1, "a", mail=1).dies(1.8, "lock4", "lock5")
    story.sent(2.0).enters(2.01, 2, "b", lease=3.0, mail=2, granted=(1, 2, 3)).leaves(3.01, 2, "b", mail=2)
    story.dies(3.5, "lock2")
    for number in range(4):
        t = 4.5 + 1.5 * number
        story.sent(t).skips(t + 0.2, 1 + number % 3, f"c{number}")
    return story.ends(12.0)


def two_granted(fault):
    """Each of two is granted the lock by three of five: the third server has forgotten the first, by this ``fault``."""
    story = Story(servers=FIVE, every=1.5, takes=4, seconds=10, mails=3)
    story.fault(0.1, "began", 1, "cut", servers=["lock4", "lock5"])
    story.sent(0.5).enters(0.6, 1, "a", lease=8.0, mail=1, granted=(1, 2, 3)).sent(1.4).skips(1.5, 3, "x")
    if fault == "clock":
        story.fault(2.0, "began", "lock3", "clock", seconds=60)
    else:
        story.fault(2.0, "began", "lock3", "restart").fault(2.2, "ended", "lock3", "restart", memory=False)
    story.sent(2.9).enters(3.0, 2, "b", lease=8.0, mail=1, granted=(3, 4, 5)).leaves(4.8, 1, "a", mail=1)
    story.fault(5.5, "ended", 1, "cut", servers=["lock4", "lock5"]).leaves(7.2, 2, "b", mail=1)
    story.sent(7.4).enters(7.5, 3, "c", lease=8.0, mail=2, granted=(1, 2, 3, 4, 5)).leaves(9.0, 3, "c", mail=2)
    if fault == "clock":
        story.fault(10.0, "ended", "lock3", "clock")
    return story.ends(10.0)


def split():
    """The links are cut: worker1 reaches two of five, worker2 the other three."""
    story = Story(servers=FIVE, every=1.5, takes=1, seconds=10, mails=4)
    story.sent(0.5).enters(0.6, 1, "a", lease=3.0, mail=1, granted=(1, 2, 3, 4)).skips(0.9, 2, "x")
    story.leaves(1.6, 1, "a", mail=1)
    story.fault(2.0, "began", 1, "cut", servers=["lock3", "lock4", "lock5"])
    story.fault(2.0, "began", 2, "cut", servers=["lock1", "lock2"]).fault(
        2.5, "began", 3, "slow", milliseconds=20, servers=FIVE
    )
    story.sent(2.4).skips(2.6, 1, "b").sent(3.4).enters(3.5, 2, "c", lease=3.0, mail=2, granted=(3, 4, 5))
    story.skips(4.0, 3, "y").leaves(4.5, 2, "c", mail=2).sent(5.4).skips(5.6, 1, "d").sent(6.0)
    story.enters(6.1, 2, "e", lease=3.0, mail=3, granted=(3, 4, 5))
    story.fault(6.5, "ended", 1, "cut", servers=["lock3", "lock4", "lock5"]).leaves(7.1, 2, "e", mail=3)
    story.fault(7.4, "ended", 2, "cut", servers=["lock1", "lock2"])
    story.sent(8.0).enters(8.1, 1, "f", lease=3.0, mail=4, granted=(1, 2, 3, 4, 5)).leaves(9.1, 1, "f", mail=4)
    return story.ends(10.0)


def failover(granted=True):
    """The primary dies before its replica has heard of the lock, and the replica is promoted."""
    story = Story(servers=["lock", "replica1"], every=1.5, takes=4, seconds=10, mails=3)
    story.fault(0.3, "began", "replica1", "cut", servers=["lock"])
    story.sent(0.5).enters(0.6, 1, "a", lease=8.0, mail=1, granted=["lock"] if granted else None).skips(1.5, 3, "x")
    story.dies(2.0, "lock").fault(2.8, "began", "replica1", "promote").fault(2.81, "ended", "replica1", "promote")
    story.sent(3.4).enters(3.5, 2, "b", lease=8.0, mail=1, granted=["replica1"] if granted else None)
    return story.leaves(4.6, 1, "a", mail=1).leaves(7.5, 2, "b", mail=1).ends(10.0)


def remembering():
    """Servers that are paused or restarted from disk have forgotten nothing."""
    story = Story(servers=FIVE, every=1.5, takes=4, seconds=10, mails=3)
    story.sent(0.5).enters(0.6, 1, "a", lease=8.0, mail=1, granted=(1, 2, 3, 4, 5)).sent(1.4).skips(1.5, 3, "x")
    story.fault(1.8, "began", "lock2", "restart").fault(1.9, "ended", "lock2", "restart", memory=True)
    story.fault(2.0, "began", "lock3", "restart").fault(4.2, "ended", "lock3", "restart", memory=True)
    story.fault(2.5, "began", "lock5", "pause", seconds=3).sent(3.0).skips(3.1, 2, "y").leaves(4.8, 1, "a", mail=1)
    story.fault(5.5, "ended", "lock5", "pause").dies(5.8, "lock1")
    story.sent(6.0).enters(6.1, 2, "b", lease=8.0, mail=2, granted=(2, 3, 4))
    return story.leaves(9.1, 2, "b", mail=2).ends(10.0)


def every_fault():
    """All faults there are, on nine servers and three workers, many at the same time."""
    nine, odd = names(range(1, 10)), names((1, 3, 5))
    story = Story(servers=nine, every=1.5, takes=1, seconds=10)
    for worker in (1, 2, 3):
        story.fault(0.0, "began", worker, "slow", milliseconds=20, servers=nine)
    story.fault(1.0, "began", 1, "cut", servers=odd).fault(1.5, "began", 1, "cut", servers=["lock8"])
    story.enters(2.0, 1, "a", lease=5.0, granted=(2, 4, 6, 7, 9)).fault(2.5, "began", "lock2", "pause", seconds=2)
    story.fault(3.0, "began", "lock4", "clock", seconds=-3.5).fault(4.5, "ended", "lock2", "pause").dies(4.6, "worker1")
    story.skips(5.0, 2, "b").fault(5.5, "ended", 1, "cut", servers=odd)
    story.fault(5.6, "began", "lock9", "restart").fault(5.7, "ended", "lock9", "restart", memory=False)
    return story.skips(6.0, 3, "c").enters(8.0, 2, "d", lease=5.0, granted=range(1, 10)).ends(10.0)


@cache
def scenes():
    """Name -> events, of every scene worth looking at."""
    return {
        "paused holder": paused_holder(),
        "no lock": simulate(),
        "no lock, ten workers": simulate(workers=10, every=0.3),
        "skip": simulate(lock="skip", lease=5.0),
        "wait": simulate(lock="wait", every=2.0, seconds=20.0, takes=2.6),
        "killed holder, no lease": killed_holder(),
        "killed holder, lease": killed_holder(lease=3.2),
        "renewed lease": renewed_lease(),
        "stale write refused": stale_write(),
        "stale write accepted": stale_write(fencing=False),
        "stale write, idempotent": stale_write(idempotent=True),
        "killed before EXPIRE": killed_between(),
        "paused after GET": paused_between(),
        "contest": contest(),
        "contest, unfair": contest(grants=(1, 1, 1, 4, 4, 4, 4, 4, 4, 2, 6, 6, 6, 6, 6, 6, 6, 4, 5)),
        "contest, ten": contest(grants=range(1, 11), holds=0.0005, gap=0.0003, seconds=1.0),
        "semaphore": contest(grants=(1, 2, 3, 4), at_once=2, holds=0.2, gap=0.02, seconds=2.0),
        "semaphore, too many": contest(grants=(1, 2, 3, 4), at_once=2, holds=0.2, gap=0.02, seconds=2.0, too_many=True),
        "short tasks": simulate(every=3.0, takes=0.2, seconds=12.0),
        "add on three": adds(),
        "add on ten": adds(workers=10, tasks=100),
        "retries": retries(),
        "nothing happened": Story(every=3, seconds=10).ends(10.0),
        "no events": frame([]),
        "redlock": redlock(),
        "majority dead": dead_majority(),
        "restart, two granted": two_granted("restart"),
        "clock, two granted": two_granted("clock"),
        "split": split(),
        "failover": failover(),
        "failover, nobody says who granted": failover(granted=False),
        "restarts from disk": remembering(),
        "every fault": every_fault(),
        "thirty mails": simulate(lock="skip", every=1.0, takes=0.7, seconds=30.0, lease=2.0),
    }
