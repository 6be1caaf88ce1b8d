"""Processes that say what they do, and what this one does when it hears of it, or when its time has come."""

import concurrent.futures
import multiprocessing
import multiprocessing.connection
import os
import time
from dataclasses import dataclass

from course_tasks import kinship

FORK = multiprocessing.get_context("fork")
AT_ONCE = 4  # schedules side by side: they mostly wait
PATIENCE = 60  # seconds without a word from anybody, after which something must be wrong


class Life:
    """A process called ``name`` that runs ``work(say)``, seen from outside. It ends with this one.

    What it says, ``say(thing)``, is what ``hear()`` returns, and ``last`` is what was heard last (None: nothing yet); EOFError
    when it has ended. ``answers`` can be waited for.
    """

    def __init__(self, work, name="a process"):
        self.name, self.last = name, None
        self.answers, answer = FORK.Pipe(duplex=False)
        self.process = FORK.Process(target=self._run, args=(work, answer.send))
        self.process.start()
        answer.close()  # so that ``answers`` ends with the process

    @staticmethod
    def _run(work, say):
        kinship.die_with_parent()
        work(say)

    def hear(self):
        self.last = self.answers.recv()
        return self.last

    def signal(self, number):
        os.kill(self.process.pid, number)

    def end(self):
        self.process.kill()
        self.process.join()
        self.answers.close()


def apart(work, seconds=None):
    """What ``work()`` returns, in a process of its own; None where that takes longer than so many ``seconds``."""
    life = Life(lambda say: say(work()))
    try:
        return life.hear() if life.answers.poll(seconds) else None
    finally:
        life.end()


def side_by_side(function, jobs):
    """Yields ``function(*job)`` for each of ``jobs``, in their order; several are carried out at once."""
    with concurrent.futures.ProcessPoolExecutor(AT_ONCE, FORK, kinship.die_with_parent) as pool:
        yield from pool.map(function, *zip(*jobs, strict=True))


@dataclass(eq=False)
class Due:
    """What is to be done, and when (``time.monotonic()``); ``cause`` is for who made it to know."""

    when: float
    action: object
    cause: object = None


class Stage:
    """Listens to its ``lives``, and does what is ``due``, until all have ended and nothing is left to do.

    ``title`` names it where it fails. A subclass says what follows from ``heard(life, said)``, and from ``ended(life)``.
    """

    def __init__(self, title):
        self.title = title
        self.lives, self.due = [], []

    def at(self, when, action, cause=None):
        """Have ``action()`` done at ``when``."""
        self.due.append(Due(when, action, cause))

    def play(self):
        """Return when all is over. Raises RuntimeError where a life ends with an error, TimeoutError where all hang."""
        try:
            while self.lives or self.due:
                self._listen()
                for due in [due for due in self.due if due.when <= time.monotonic()]:
                    self.do(due)
        finally:
            for life in self.lives:
                life.end()

    def do(self, due):
        self.due.remove(due)
        due.action()

    def _listen(self):
        soonest = min((due.when for due in self.due), default=time.monotonic() + PATIENCE)
        answers = [life.answers for life in self.lives]
        ready = multiprocessing.connection.wait(answers, max(0.0, soonest - time.monotonic()))
        if not ready and not self.due:
            raise TimeoutError(f"{self.title}: nobody has said anything for {PATIENCE} s")
        for life in [life for life in self.lives if life.answers in ready]:
            try:
                said = life.hear()
            except EOFError:
                self.lives.remove(life)
                life.process.join()
                life.answers.close()
                self.ended(life)
            else:
                self.heard(life, said)

    def heard(self, life, said):
        raise NotImplementedError

    def ended(self, life):
        """It has ended by itself, or was killed."""
        if life.process.exitcode:
            raise RuntimeError(f"{self.title}: {life.name} ended with status {life.process.exitcode}")
