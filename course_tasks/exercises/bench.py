"""What a check works with: the learner's code called, a Redis, a lab, all private and limited in time.

A bench lives in the examiner's process. What it calls goes wrong in processes of its own; then it raises a ``Stop``
with an outcome that says so, and the check, which need not look for any of that, is over.
"""

import functools
import subprocess
import time
from pathlib import Path

from course_tasks import kinship
from course_tasks.exercises import calling, comparing, mishaps, stubs, traces
from course_tasks.exercises.definition import Stop, not_yet
from course_tasks.exercises.wording import called, name

READY = 5.0  # seconds for a server to come up


class Bench:
    """The bench of one check.

    ``directory`` (a Path) is the check's own. ``given`` is what stood after the exercise's id: ``@exercise("03.1", run)``
    gives ``(run,)``. ``stage`` is called with a few words on what is going on, for whoever waits.
    """

    def __init__(self, directory, given=(), stage=lambda words: None):
        self.directory, self.given, self._stage = Path(directory), tuple(given), stage
        self._scratch = self.directory / "scratch"
        self._scratch.mkdir(mode=0o700)
        self._touched = False  # whether the answer has done anything but raise NotImplementedError
        self._ends = []  # what close() calls

    # Calls

    def call(self, function, *args, seconds=3.0, what=None):
        """Return ``function(*args)``, called in a process of its own, for ``seconds`` at most.

        The function is the learner's, or one of the check's own that is given the learner's. ``what`` is how a sentence
        calls it; "countdown(3)" by default. Raises Stop where it raises, ends its process, goes on for ever, or returns
        what is too large or can't be sent.
        """
        return self.together(function, [args], seconds, what)[0]

    def together(self, function, arguments, seconds=3.0, what=None):
        """Return the list of ``function(*args)`` for each of the tuples ``arguments``: all called at the same moment, each
        in its own process. The rest is as for :meth:`call`.
        """
        self._stage(f"calling {what or name(function)}")
        answers = calling.together(function, arguments, seconds, self._scratch)
        for args, answer in zip(arguments, answers, strict=True):
            mishaps.stop_at_call(answer, what or called(function, args), seconds, self._touched)
            self._touched = True
        return [answer.value for answer in answers]

    def calls(self, function, arguments, seconds=3.0):
        """Return the list of ``function(*args)`` for each of the tuples ``arguments``, called one after the other in one
        process: for hundreds of calls. ``seconds`` are for all of them together. Raises Stop as :meth:`call` does.
        """
        self._stage(f"calling {name(function)} {len(arguments)} times")
        answer = calling.call(_one_by_one, (function, arguments), seconds, self._scratch)
        mishaps.stop_at_call(answer, name(function), seconds, self._touched)
        values, error = answer.value
        self._touched = self._touched or bool(values)
        if error:
            raised = calling.Answer("raised", *error, answer.printed)
            mishaps.stop_at_call(raised, called(function, arguments[len(values)]), seconds, self._touched)
        return values

    def first_wrong(self, function, cases, seconds=3.0):
        """The first of ``cases``, pairs of (args, wanted), for which ``function(*args)`` is not what is ``wanted``.

        As a :class:`~course_tasks.exercises.comparing.Wrong`; None where all are right. Raises Stop where it is None.
        """
        wrong = comparing.first_wrong(function, cases, self.calls(function, [args for args, _ in cases], seconds))
        if wrong and wrong.value is None:
            raise Stop(not_yet("nonsense", f"{wrong.called} is None: it returns nothing."))
        return wrong

    # Servers

    @functools.cached_property
    def client(self):
        """A ``redis.Redis`` for a server of this check's own, which is started when it is first asked for. It may be
        passed to a call.
        """
        return self._serve(["redis"])[0]

    @functools.cached_property
    def clients(self):
        """A list of five such clients, each for a server of its own: "lock1" to "lock5"."""
        return self._serve([f"lock{number}" for number in range(1, 6)])

    def _serve(self, called):
        """Clients for servers that are ``called`` so, and are started together."""
        import redis

        from course_tasks.lab import servers
        from course_tasks.place import Place

        where, clients = Place(self.directory), []
        for server_name in called:
            with open(where.log(server_name), "wb") as log:
                server = subprocess.Popen(
                    servers.command(where, server_name),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    preexec_fn=kinship.die_with_parent,
                )
            self._ends.append(server.kill)
            clients.append(redis.Redis(unix_socket_path=str(where.socket(server_name)), retry=None))
        deadline = time.monotonic() + READY
        for client in clients:
            _await(client, deadline)
        return clients

    @functools.cached_property
    def lab(self):
        """A private Lab of three workers, started when it is first asked for."""
        return self._start_lab(workers=3)

    @functools.cached_property
    def replicated(self):
        """One of a single worker, whose lock server has two replicas."""
        return self._start_lab(workers=1, replicas=2)

    def _start_lab(self, **options):
        from course_tasks.lab.lab import Lab

        self._stage("starting a lab")
        lab = Lab(live=False, **options)
        self._ends.append(lab.close)
        return lab

    def close(self):
        """End what was started."""
        for end in reversed(self._ends):
            end()

    # Locks

    def attempted(self, lock, methods=("acquire", "release")):
        """Raise Stop where ``lock``, a class or callable that takes (client, name), has not been written yet: making one, or
        each of its ``methods`` on a new one, raises NotImplementedError. :meth:`run` and :meth:`contend` ask by themselves.
        """
        if self._touched:
            return
        self._stage("looking whether it has been written")
        answer = calling.call(stubs.unwritten, (lock, methods), 0.5, self._scratch)
        if answer.kind == "returned" and answer.value:
            raise Stop(mishaps.UNWRITTEN)
        self._touched = True

    def run(self, lock=None, *, may_raise=(), **options):
        """``Lab.run`` in the private lab: by default a tick every 0.2 s, tasks of 0.4 s, for 2 s. ``options`` are its own.

        Raises Stop where a task raised an error whose class's name is not in ``may_raise``, and where ``acquire()`` did
        not come back.
        """
        if lock is not None:
            self.attempted(lock)
        return self._in_lab("run", may_raise, {"lock": lock, "every": 0.2, "takes": 0.4, "seconds": 2.0} | options)

    def contend(self, lock, *, may_raise=(), **options):
        """``Lab.contend`` in the private lab, for 1.5 s by default. The rest is as for :meth:`run`."""
        self.attempted(lock)
        return self._in_lab("contend", may_raise, {"lock": lock, "seconds": 1.5} | options)

    def invoke(self, task="tasks.add", **options):
        """``Lab.invoke`` in the private lab."""
        return self._in_lab("invoke", (), {"task": task} | options)

    def _in_lab(self, method, may_raise, options):
        from course_tasks.lab.errors import LabError

        lab = self.lab
        self._stage("a run with three workers")
        try:
            run = getattr(lab, method)(**options)
        except LabError as error:  # theirs may have ended a server
            what = str(error).partition(": run the cell")[0]  # which would start the learner's own lab
            raise Stop(not_yet("stopped", f"The lab of this check broke off: {what}.")) from error
        mishaps.stop_at_run(run, lab.logs, options.get("if_locked") == "wait" or method == "contend", may_raise)
        return run


def _await(client, deadline):
    """Return when the server of ``client`` answers; raises redis.ConnectionError where it doesn't by then."""
    import redis

    while True:
        try:
            client.ping()
            return
        except redis.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _one_by_one(function, arguments):
    """The values of ``function`` for each of ``arguments``, until it raises: (values, what was raised or None)."""
    values = []
    for args in arguments:
        try:
            values.append(function(*args))
        except Exception as error:
            return values, (calling.kind(error), traces.of(error))
    return values, None
