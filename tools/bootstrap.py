"""Make .venv hold what the lock files name: `python3 tools/bootstrap.py`. `make` runs this first, every time.

Everything that can stop a first start is told in one sentence with its remedy, so this file has to be readable by
whatever `python3` the machine has: until `check_python` has spoken, it uses nothing that Python 2.7 doesn't know.

The set-up is complete when .venv/.ready holds the fingerprint of all that went into it; a second run compares the two
and ends. While a set-up is under way, .venv/.begun exists. If it is still there at the next start, that set-up was
interrupted, and .venv is made anew: a half-written package would pass for an installed one, and the package cache makes
a new start a matter of seconds.
"""

from __future__ import print_function

import hashlib
import os
import shutil
import subprocess
import sys
import time

OLDEST = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
READY = os.path.join(VENV, ".ready")
BEGUN = os.path.join(VENV, ".begun")
INSTALLER_LOCK = "requirements/uv.txt"
LOCK = "requirements/lock.txt"
# Whatever ends up in .venv: a change in one of these makes a new set-up necessary.
INGREDIENTS = [
    "pyproject.toml",
    INSTALLER_LOCK,
    LOCK,
    "jupyter/jupyter_server_config.py",
    "jupyter/overrides.json",
    "jupyter/terminal.bashrc",
    "tools/bootstrap.py",
]


def stop(sentence):
    print("\n" + sentence + "\n", file=sys.stderr)
    sys.exit(1)


def check_system():
    if os.environ.get("OS") == "Windows_NT" or os.name == "nt":
        stop(
            "This course runs on Linux and macOS; on Windows, install WSL2 (run `wsl --install` in PowerShell, then restart), "
            "open its Ubuntu terminal and clone and start the course there."
        )


def check_python():
    """Go on with a Python that is new enough: this one, or another one on the PATH."""
    if sys.version_info[:2] >= OLDEST:
        return
    for minor in range(15, OLDEST[1] - 1, -1):
        other = "python3.%d" % minor
        if runs([other, "-c", "import ensurepip, venv"]):
            os.execvp(other, [other] + sys.argv)
    stop(
        "This course needs Python %d.%d or newer, and %s is Python %d.%d: install a newer one "
        "(Debian and Ubuntu: `sudo apt install python3.12 python3.12-venv`; macOS: `brew install python`; or from python.org), "
        "then run `make PYTHON=python3.12 lab`." % (OLDEST + (sys.executable,) + sys.version_info[:2])
    )


def check_venv_module():
    """Debian and Ubuntu ship Python without what `venv` needs to put pip into the environment."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        stop(
            "This Python (%s) lacks the venv module: install it (Debian and Ubuntu: `sudo apt install python%d.%d-venv`), "
            "then run the same command again." % ((sys.executable,) + sys.version_info[:2])
        )


def runs(command):
    """Whether a command can be started and ends well; what it prints is of no interest."""
    with open(os.devnull, "w") as nowhere:
        try:
            return subprocess.call(command, stdout=nowhere, stderr=nowhere) == 0
        except OSError:
            return False


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except (IOError, OSError):
        return ""


def wanted():
    """What .ready says of a finished set-up: the ingredients' fingerprint and, as scripts in .venv/bin need it, where."""
    digest = hashlib.sha256()
    for name in INGREDIENTS:
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(name.encode() + b"\0" + file.read() + b"\0")
    return digest.hexdigest() + "\n" + ROOT


def environment_works():
    """Whether .venv's Python starts and is still of the version that its packages were installed for."""
    return runs([PYTHON, "-c", "import sys, pip; assert sys.prefix != sys.base_prefix"])


def ready():
    return read(READY) == wanted() and not os.path.exists(BEGUN) and environment_works()


def why_anew():
    """The reason why an existing .venv can't be kept, or None."""
    if os.path.exists(BEGUN):
        return "The last set-up did not reach its end"
    if not environment_works():
        return "The Python that .venv was made with is gone or has changed"
    if read(READY).partition("\n")[2] not in ("", ROOT):
        return "The course has moved since .venv was made"
    return None


def index_settings():
    """pip's own settings of where packages come from, in uv's terms: uv doesn't read pip's configuration."""
    settings = {}
    listing = subprocess.run([PYTHON, "-m", "pip", "config", "list"], stdout=subprocess.PIPE, universal_newlines=True)
    for line in listing.stdout.splitlines():
        key, _, value = line.partition("=")
        name = {"index-url": "UV_DEFAULT_INDEX", "cert": "SSL_CERT_FILE"}.get(key.rpartition(".")[2])
        if name:
            settings.setdefault(name, value.strip("'"))
    return settings


def install():
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_USER="0")
    # Packages from elsewhere must not pass for installed ones, nor another Python's library for this one's.
    for name in ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX"):
        environment.pop(name, None)

    def step(*command):
        if subprocess.call(command, cwd=ROOT, env=environment):
            stop(
                "The set-up stopped at `%s` (the reason stands above). Once that is put right, run the same command again; "
                "if it was the network, just run it again." % " ".join(command[1:5])
            )

    if not os.path.exists(PYTHON):
        step(sys.executable, "-m", "venv", VENV)
    step(PYTHON, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", INSTALLER_LOCK)
    environment = dict(index_settings(), **environment)
    uv = [PYTHON, "-m", "uv", "pip", "install", "--quiet", "--python", PYTHON]
    step(*(uv + ["--compile-bytecode", "--require-hashes", "-r", LOCK]))
    # Editable, so that a learner's change in course_tasks/ counts at once; everything it needs has just been installed.
    step(*(uv + ["--no-deps", "--no-build-isolation", "--reinstall-package=course-tasks", "-e", "."]))


def one_at_a_time():
    """Let a second set-up, started in another terminal, wait for the first. The lock ends with the process."""
    import fcntl

    file = open(os.path.abspath(__file__), "r+b")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def main():
    check_system()
    check_python()
    check_venv_module()
    if ready():
        return
    lock = one_at_a_time()
    if ready():
        return
    reason = os.path.isdir(VENV) and why_anew()
    if reason:
        print(reason + ": making it anew.")
        shutil.rmtree(VENV)
    print("Setting up .venv. This happens once, and takes a minute or less with a good network ...")
    begin = time.time()
    os.makedirs(VENV, exist_ok=True)
    open(BEGUN, "w").close()
    install()
    with open(READY, "w") as file:
        file.write(wanted())
    os.remove(BEGUN)
    lock.close()
    print("Set up in %.0f seconds." % (time.time() - begin))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        stop("Interrupted: the next start begins the set-up again.")
    except (IOError, OSError) as error:
        stop("The set-up cannot go on: %s." % error)
