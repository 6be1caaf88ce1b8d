"""Before the first lesson: is everything there that a lab needs?"""

import html
import importlib.metadata
import subprocess
import sys

from course_tasks.lab import directory, servers
from course_tasks.lab.errors import LabError

PACKAGES = ("celery", "redis", "jupyterlab", "matplotlib", "pandas", "aiosmtpd", "cloudpickle", "psutil")


class Preflight:
    """The outcome of :func:`preflight`: ``rows`` are (what, found, remedy), the remedy None where all is well."""

    def __init__(self, rows):
        self.rows = rows

    @property
    def missing(self):
        """What is missing: a list of names, empty where a lab can start."""
        return [what for what, _, remedy in self.rows if remedy]

    def __repr__(self):
        return "\n".join(f"{what:<20} {found}{f'  -> {remedy}' if remedy else ''}" for what, found, remedy in self.rows)

    def _repr_html_(self):
        left = 'style="text-align:left"'
        rows = "".join(
            f"<tr><td {left}>{'missing' if remedy else 'found'}</td><td {left}>{html.escape(what)}</td>"
            f"<td {left}>{html.escape(found)}{f'<br><b>{html.escape(remedy)}</b>' if remedy else ''}</td></tr>"
            for what, found, remedy in self.rows
        )
        return f'<table aria-label="what a lab needs"><tbody>{rows}</tbody></table>'


def preflight():
    """Look for everything that a lab needs and return a :class:`Preflight`, which a cell shows as a table."""
    return Preflight([_python(), *map(_package, PACKAGES), _server(), _temporary_directory()])


def _python():
    version = ".".join(map(str, sys.version_info[:3]))
    remedy = None if sys.version_info >= (3, 11) else "Install Python 3.11 or newer and run make setup again."
    return "Python", version, remedy


def _package(name):
    try:
        return name, importlib.metadata.version(name), None
    except importlib.metadata.PackageNotFoundError:
        return name, "not installed", "Run make setup, and start the notebook with make lab."


def _server():
    try:
        binary = servers.binary()
        says = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (LabError, OSError, subprocess.SubprocessError) as error:
        return "Redis server", "none that runs", str(error)
    return "Redis server", says.partition(" sha=")[0].strip(), None


def _temporary_directory():
    try:
        path = directory.choose()
    except LabError as error:
        return "temporary directory", "not usable", str(error)
    return "temporary directory", str(path.parent), None
