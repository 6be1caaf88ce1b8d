"""The states that a search goes through, and what one step makes of one."""

from typing import NamedTuple

from course_tasks.interleavings.program import Program
from course_tasks.interleavings.store import Frozen, Refused, Store
from course_tasks.interleavings.trace import CRASH, SERVER
from course_tasks.interleavings.yielding import StepsError

NEWCOMERS = 10
"""How many clients come one after the other, each in vain, before a lock is said to be locked for ever."""

GONE = None
"""Stands for a client that is done, or has crashed: the two differ in nothing that can still happen."""


class State(NamedTuple):
    """``store``: the server and the database (Frozen); ``answers``: what each client was answered so far (tuples), or GONE."""

    store: Frozen
    answers: tuple


class Model:
    """``clients`` (an int) clients, called "client1" …, that each run ``lock`` once. ``start`` is the State before that."""

    def __init__(self, lock, clients):
        self.program = Program(lock)
        self.names = tuple(f"client{number}" for number in range(1, clients + 1))
        self.start = State(Store().frozen(), ((),) * clients)

    def positions(self, state):
        """Name -> Position, of the clients that are not gone."""
        return {
            name: self.program.at(name, answers)
            for name, answers in zip(self.names, state.answers, strict=True)
            if answers is not GONE
        }

    def inside(self, state):
        """The clients that are in the critical section."""
        return [name for name, position in self.positions(state).items() if position.inside]

    def begun(self, state, name):
        """Whether the client of this name has taken a step."""
        return state.answers[self.names.index(name)] != ()

    def after(self, state, who, command):
        """``(answer, State)`` after ``who`` has taken the step ``command``."""
        store, answers = Store(*state.store), list(state.answers)
        if who == SERVER:
            store.end_lease(command.key)
            return None, State(store.frozen(), state.answers)
        mine, answer = self.names.index(who), None
        if isinstance(command, CRASH):
            answers[mine] = GONE
        else:
            answer = _run(store, who, command)
            answers[mine] = (*answers[mine], answer)
            if self.program.at(who, answers[mine]).next is None:
                answers[mine] = GONE
        if answers[mine] is GONE:
            store.forget(who)
        return answer, State(store.frozen(), tuple(answers))

    def can_enter(self, keys):
        """Whether of some clients that come now, one after the other, any enters, though every lease has ended before.

        ``keys`` are those of a Frozen. The clients are new, and nobody else is there.
        """
        store, newcomer = Store(keys), f"client{len(self.names) + 1}"
        for _ in range(NEWCOMERS):
            answers = ()
            for key in store.leased():
                store.end_lease(key)
            while (position := self.program.at(newcomer, answers)).next is not None:
                if position.inside:
                    return True
                answers = (*answers, _run(store, newcomer, position.next))
        return False


def _run(store, who, command):
    """The answer to ``command``."""
    try:
        return command.run(store, who)
    except Refused as error:
        raise StepsError(f"{who} is refused {command}: {error}") from error
