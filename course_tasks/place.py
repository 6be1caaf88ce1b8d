"""Where things lie: the private directory of a lab, or, outside a lab, one's own data directory.

Every process of a lab finds its sockets and files from one environment variable, ``COURSE_TASKS_LAB``, which holds
the lab's directory. Where it is not set, the tasks run as plain Celery tasks do, on one's own Redis.
"""

import os
import re
from pathlib import Path
from urllib.parse import quote

import platformdirs

VARIABLE = "COURSE_TASKS_LAB"
PROCESS = "COURSE_TASKS_PROCESS"  # where a lab has started this process: the name under which it did, such as "worker1"
PLAIN_REDIS = "redis://localhost:6379/0"
# Ends the name of the socket of a server whose own name leads to whichever of several is the primary.
ITSELF = "-itself"


class Place:
    """The layout of a lab's directory; ``path`` is the directory (str or Path)."""

    def __init__(self, path):
        self.path = Path(path)

    def socket(self, name):
        """The Unix socket of the server called ``name``: ``"broker"``, ``"history"``, ``"lock"``, ``"lock3"`` or ``"mail"``."""
        return self.path / f"{name}.sock"

    @property
    def primary(self):
        """The server to which the path of "lock" leads now, by its name; None where it leads nowhere: there are no replicas."""
        path = self.socket("lock")
        return path.readlink().stem.removesuffix(ITSELF) if path.is_symlink() else None

    def link(self, process, server):
        """The Unix socket by which ``process`` reaches ``server`` in a run whose links may be cut or slowed."""
        return self.socket(f"{process}-{server}")

    def disk(self, name):
        """The directory in which the server called ``name`` keeps what is to outlive it."""
        return self.path / f"{name}.disk"

    def password_file(self, name):
        """The file with the password of the server called ``name``, where it has one."""
        return self.path / f"{name}.password"

    def password(self, name):
        """The password of the server called ``name``; None where it has none."""
        try:
            return self.password_file(name).read_text()
        except FileNotFoundError:
            return None

    def clock(self, name):
        """The file that says how far the wall clock of the server called ``name`` is ahead, where it can be moved."""
        return self.path / f"{name}.clock"

    def url(self, name):
        """The socket of the server called ``name`` as Celery writes it in a broker URL."""
        return f"redis+socket://{quote(str(self.socket(name)))}"

    def log(self, name):
        """The file that holds all that the process called ``name`` has printed."""
        return self.path / f"{name}.log"

    def run(self, number):
        """The directory of run ``number``: its outbox, its inbox, the lock's code, beat's schedule."""
        return self.path / f"run{number}"

    def outbox(self, number):
        return self.run(number) / "outbox.sqlite"

    def inbox(self, number):
        return self.run(number) / "inbox"

    @property
    def experiment(self):
        """The file that tells every process what the present run asks for (see ``course_tasks.experiment``)."""
        return self.path / "experiment.json"


def lab():
    """The Place of the lab that this process belongs to; None outside a lab."""
    path = os.environ.get(VARIABLE)
    return Place(path) if path else None


def own_directory():
    """One's own data directory, which plain workers use: made if it is missing."""
    return platformdirs.user_data_path("course_tasks", appauthor=False, ensure_exists=True)


def foreign_settings(environ):
    """The names in ``environ`` that would lead Celery or a Redis client somewhere else than where they are told to go.

    Nothing of a lab may touch a server that the lab did not start, so a lab's processes are started without them.
    """
    return [name for name in environ if re.match(r"(CELERY|REDIS|VALKEY|BROKER|C_FORCE)_|PYTHON(WARNINGS|HOME)$", name)]
