"""The exercises of lesson 05, get then set."""

from course_tasks.breakpoints import Breakpoint, boundaries, watched
from course_tasks.exercises import locking
from course_tasks.exercises.definition import Exercise, not_yet, passed
from course_tasks.interleavings import DEL, ENTER, EXISTS, GET, LEAVE, SET, search
from course_tasks.interleavings.program import Program

# One step ---------------------------------------------------------------------------------------------------------------


class OneStepLock:
    def __init__(self, client, name):
        self.client, self.name = client, name

    def acquire(self):
        return self.client.incr(self.name) == 1

    def release(self):
        self.client.delete(self.name)


VISITED = {
    "unseen": "acquire() and release() sent no command through the client that the lock was given.",
    "setnx": "acquire() sent SETNX, and the exercise asks for another way.",
    "two_steps": "One was halted {}. Another one asked there, and was given the lock. Then the first one was given it too.",
    "freed": "One was halted {}. Another one asked there, and was given the lock. The first one went on to its end, and "
    "a third one was given the lock too.",
    "locked": "One was halted {}. Another one asked there, and was refused. The first one went on to its end, and a third "
    "one was refused too.",
}


def check_one_step(lock, bench):
    """One at a time: in turn, when another one asks between any two commands, and when six contend."""
    if wrong := locking.in_turn(bench, lock):
        return wrong
    finding, where = bench.call(_visited, lock, bench.client, what="A lock, halted at each of its commands,")
    if finding:
        return not_yet(finding, VISITED[finding].format(where))
    run = bench.contend(lock)
    found = run.verdict
    if found.outcome == "invalid":
        return not_yet("together", f"Six contended. {found.sentence}.", run)
    return passed(
        f"At none of the {where} places before and after its commands did another one do harm, or come to any. "
        f"Then six contended: {found.runs} stays, one at a time.",
        run,
    )


def _visited(lock, client):
    """``(finding, where)`` for the first place among the lock's commands at which it does harm that another one asks.

    ``(None, how many places there are)`` where there is none.
    """

    def use(own):
        one = lock(own, "used")
        if locking.attempt(one):
            one.release()

    use(client)  # scripts are loaded now: the commands of a use are the same from here on
    places = boundaries(client, use)
    if not places:
        return "unseen", None
    if {"before": "SETNX", "nth": 1} in places:
        return "setnx", None
    for number, place in enumerate(places):
        if finding := _harm(lock, client, f"visited{number}", place):
            return finding, " ".join(f"{moment} {command}" for moment, command in place.items() if moment != "nth")
    return None, len(places)


def _harm(lock, client, name, place):
    """What comes of it when another one asks for the lock ``name`` while the first one is at ``place``: a finding, or None."""
    answers = []
    visit = Breakpoint(lambda: answers.append(bool(locking.attempt(lock(client, name)))), **place)
    with watched(client, visit) as own:
        first = lock(own, name)
        given = bool(locking.attempt(first))
        if given and any(answers):
            return "two_steps"
        if given:
            first.release()
    third = bool(locking.attempt(lock(client, name)))
    if any(answers):  # whoever came in there has not given it back
        return "freed" if third else None
    return None if third else "locked"


# Looking twice ------------------------------------------------------------------------------------------------------------


def look_twice(me):
    if (yield GET("lock")) is not None:
        return
    yield SET("lock", me)
    if (yield GET("lock")) != me:
        return
    yield ENTER
    yield LEAVE
    yield DEL("lock")


ANOTHER = "client2"
ABSENT = {GET: None, EXISTS: 0}


def check_look_twice(steps, bench):
    """The steps do what was said, whatever the answers; then a search says what they are worth."""
    bench.call(_begin, steps)
    if wrong := bench.call(_wrong, steps, what="Your function, followed step by step,"):
        return not_yet(*wrong)
    states, told = bench.call(_searched, steps, what="search(…)")
    return passed(
        f"These are the steps. As a lock they are broken all the same: {len(told)} commands, and two are inside. "
        f"{states} states were searched.\n" + "\n".join(told)
    )


def _begin(steps):
    """Come to the first step, or to the error that says that nothing has been written."""
    next(iter(steps("client1")), None)


def _wrong(steps):
    """``(finding, what was seen)`` for the first step that is not what was said; None where all of them are."""
    program = Program(steps)
    at = program.at
    look = at("client1").next
    if type(look) not in ABSENT:
        return "look", f"The first step is {_told(look)}."
    free = (ABSENT[type(look)],)
    taken = (ANOTHER,) if isinstance(look, GET) else (1,)
    if (after := at("client1", taken)).next is not None:
        return "taken", f"Somebody else has the key, and the next step is {_told(after.next)}."
    take = at("client1", free).next
    if not isinstance(take, SET) or take.nx or take.key != look.key:
        return "take", f"The key is not there, and the next step is {_told(take)}."
    name, others = str(take.value), str(at(ANOTHER, free).next.value)
    if name == others:
        return "name", f"client1 and client2 both set the key to {name!r}."
    again = at("client1", (*free, True))
    if again.inside or not isinstance(again.next, GET) or again.next.key != look.key:
        seen = "it is inside" if again.inside else f"the next step is {_told(again.next)}"
        return "again", f"client1 has set the key to its name, and then {seen}."
    for value in (others, None):
        lost = at("client1", (*free, True, value))
        if lost.inside:
            return "anyway", f"The second look finds {value!r} at the key, and client1 goes in."
        if lost.next is not None:
            return "alone", f"The second look finds {value!r} at the key, and the next step is {_told(lost.next)}."
    won = at("client1", (*free, True, name))
    if not won.inside:
        return "shy", f"The second look finds {name!r} at the key, its own name, and client1 does not go in."
    if not (won.leaves and isinstance(won.next, DEL) and won.next.key == look.key):
        return "give_back", f"client1 is inside, and the next step is {_told(won.next)}."
    return None


def _searched(steps):
    result = search(steps)
    return result.states, [str(step) for step in result.trace]


def _told(command):
    return "none: it is at its end" if command is None else command


EXERCISES = [
    Exercise(
        "05.1",
        "Look and take in one step",
        check_one_step,
        OneStepLock,
        hints=(
            "Take one command that both changes something and tells you how it was before, or whether it changed anything.",
            "redis-py returns what the server answers: incr() the new number, hsetnx() and sadd() how many were new, "
            "set(…, nx=True) True or None, getset() the old value. Which answer does only the first one get?",
            "self.client.incr(self.name) == 1 is true for exactly one, until somebody deletes the key.",
        ),
        findings={
            "kept": "What acquire() changes, release() must undo, and so that the next one is the first again. Those who were "
            "refused may have changed something too: six that count up and one that counts down leave five.",
            "everybody": "Look at what the command answers to the second one, and compare it exactly: None is not False, "
            "and a number that is 1 for the first one is 2 for the second.",
            "unseen": "The workers are different processes, on different hosts one day. Send commands through self.client.",
            "setnx": "SETNX is the lesson's. There are others that look and take at once: SET with nx=True, INCR, HSETNX …",
            "two_steps": "What you asked before that place was true no more after it. Take one command that looks and takes "
            "at once. A pipeline without MULTI sends several; WATCH needs MULTI and EXEC after it.",
            "freed": "Who was refused, or has released already, must leave the lock alone: it is another one's now.",
            "locked": "Who was refused has left something behind that the holder's release() does not take away.",
            "together": "Six processes share nothing but the server. What in your lock differs from one to the next: something "
            "that it keeps outside the server, or a value that it sets?",
            "raised": "Read those lines from the last one upwards. A WatchError says that the key was changed since WATCH: "
            "catch it, and acquire() returns False.",
            "endless": "acquire() makes one attempt. Where the lock is taken, it returns False and does not wait.",
        },
    ),
    Exercise(
        "05.2",
        "Look twice",
        check_look_twice,
        look_twice,
        hints=(
            'Begin like the lesson\'s get_then_set: if (yield GET("lock")) is not None: return.',
            'After yield SET("lock", me) comes the second look: (yield GET("lock")), with the brackets, gives the value; '
            "compare it with me.",
            "yield ENTER stands behind the second look, then LEAVE, then DEL. On every other way the function returns.",
        ),
        findings={
            "look": 'The first thing is to look: (yield GET("lock")). Without yield nothing is sent.',
            "taken": "Who finds the key there goes away: return, before anything else.",
            "take": 'Where the key is not there, it is set to one\'s own name: yield SET("lock", me).',
            "name": "A second look can tell one from the other only by the name: set the key to me.",
            "again": 'After SET, and before ENTER, look a second time: (yield GET("lock")).',
            "anyway": "Go in only if the second look finds your own name, me. Another name there is somebody else's lock.",
            "alone": "Who finds another name there goes away and leaves the key as it is.",
            "shy": 'Compare what the second look gives with me. The yield needs brackets: (yield GET("lock")) == me.',
            "give_back": 'After ENTER come LEAVE and then yield DEL("lock"), so that the next one finds no key.',
            "raised": "Each yield is one step: one command, ENTER or LEAVE. To compare its answer, put brackets around the "
            'yield: (yield GET("lock")) == me.',
        },
    ),
]
