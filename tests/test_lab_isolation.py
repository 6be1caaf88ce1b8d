"""A lab touches nothing that is not its own, and works in the places that learners really have."""

import contextlib
import functools
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from conftest import ROOT
from labs import SETNX, misleading, redis_on_tcp

# A learner's script, in which {SETNX} stands for a lock: one run with it, told in JSON.
SCRIPT = """
import json, os, stat
from pathlib import Path

import psutil

from course_tasks import Lab

{SETNX}
if __name__ == "__main__":
    with Lab(workers=2) as lab:
        family = [psutil.Process(lab.warden_pid), *psutil.Process(lab.warden_pid).children(recursive=True)]
        five = lab.send("tasks.add", 2, 3).get(timeout=30)
        run = lab.run(Setnx, every=0.5, takes=0.6, seconds=2.5)
        told = {
            "five": five,
            "outcome": run.verdict.outcome,
            "notes": run.notes,
            "tasks": sorted(run.events["task"].dropna().unique()),
            "kinds": list(run.events["kind"]),
            "mails": len(run.inbox),
            "place": str(lab.place.path),
            "listening": [[p.pid, str(c.laddr)] for p in family if p.is_running() for c in p.net_connections("inet")],
            "modes": [oct(stat.S_IMODE(path.stat().st_mode)) for path in lab.place.path.iterdir() if path.is_dir()],
            "card": repr(run),
        }
    print(json.dumps(told))
"""


class Script:
    """SCRIPT, running as a plain script under ``python -W error``."""

    def __init__(self, path, env=None, package=ROOT, cwd=None):
        path.mkdir()
        (path / "script.py").write_text(SCRIPT.replace("{SETNX}", SETNX))
        environ = {**os.environ, "PYTHONPATH": str(package), **(env or {})}
        environ.pop("COURSE_TASKS_LIVE", None)
        self.errors = path / "errors.log"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", str(path / "script.py")],
                cwd=cwd or path,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            )

    @functools.cached_property
    def told(self):
        """What it told when it had ended, as it should have."""
        output, _ = self.process.communicate(timeout=180)
        assert self.process.returncode == 0, self.errors.read_text()
        assert self.errors.read_text() == ""  # no warning, and no progress bar where there is no terminal
        return json.loads(output)

    def end(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def tmp(module_tmp, tmp_path_factory):
    """A directory for what is not under test."""
    return tmp_path_factory.mktemp("isolation")


@pytest.fixture(scope="module")
def decoy(tmp):
    """A Redis that is not ours, and its state before a lab could have touched it."""
    with redis_on_tcp(tmp) as client:
        client.before = client.info(), client.info("commandstats")
        yield client


@pytest.fixture(scope="module")
def names_of_libraries(tmp):
    """A directory that a learner works in."""
    work = tmp / "work"
    work.mkdir()
    for name in ("redis", "celery", "random", "json", "kombu", "course_tasks", "mailbox", "signal"):
        (work / f"{name}.py").write_text("raise SystemExit('the wrong module was imported')\n")
    return work


@pytest.fixture(scope="module")
def unusual(module_tmp):
    path = module_tmp / 'it\'s a 目录, 100% "so" #1?'
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def long(module_tmp):
    path = module_tmp / ("long" * 20) / ("longer" * 20)
    path.mkdir(parents=True)
    assert len(str(path)) > 150
    return path


@contextlib.contextmanager
def read_only(path):
    """Make ``path`` a read-only mount where that is allowed (root writes through file modes); else by file modes alone."""
    mounted = subprocess.run(["mount", "--bind", path, path], capture_output=True, check=False).returncode == 0
    try:
        if mounted:
            subprocess.run(["mount", "-o", "remount,bind,ro", path], capture_output=True, check=True)
        else:
            for each in (path, *path.rglob("*")):
                each.chmod(each.stat().st_mode & ~0o222)
        yield
    finally:
        if mounted:
            subprocess.run(["umount", path], capture_output=True, check=True)
        for each in (path, *path.rglob("*")):
            each.chmod(each.stat().st_mode | stat.S_IWUSR)


def contents(path):
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in path.rglob("*") if file.is_file()}


CONTENTS = {}  # checkout -> what was in it before


@pytest.fixture(scope="module")
def checkout(tmp):
    """A copy of the package that can't be written, and what is in it."""
    path = tmp / "checkout"
    path.mkdir()
    shutil.copytree(ROOT / "course_tasks", path / "course_tasks", ignore=shutil.ignore_patterns("__pycache__"))
    with read_only(path):
        CONTENTS[path] = contents(path)
        yield path


@pytest.fixture(scope="module", autouse=True)
def scripts(tmp, decoy, names_of_libraries, unusual, long, checkout):
    """Three labs in three processes at once, each in a place of its own kind."""
    misled = {**misleading(decoy.url), "PYTHONWARNINGS": "ignore", "CELERY_LOADER": "nowhere.Loader"}
    scripts = {
        "misled": Script(tmp / "one", env=misled, cwd=names_of_libraries),
        "unusual": Script(
            tmp / "two", env={"TMPDIR": str(unusual), "PYTHONDONTWRITEBYTECODE": ""}, package=checkout, cwd=checkout
        ),
        "long": Script(tmp / "three", env={"TMPDIR": str(long)}),
    }
    yield scripts
    for script in scripts.values():
        script.end()


@pytest.mark.parametrize("name", ["misled", "unusual", "long"])
def test_a_lab_works_in_a_plain_script(scripts, name):
    told = scripts[name].told
    assert told["five"] == 5
    assert told["outcome"] != "invalid", told["card"]
    assert told["notes"] == []
    assert "finished" in told["kinds"]
    assert told["mails"] >= 1
    assert told["listening"] == []
    assert set(told["modes"]) == {"0o700"}
    assert not Path(told["place"]).exists()


def test_labs_in_different_processes_do_not_see_each_other(scripts):
    told = [script.told for script in scripts.values()]
    assert len({lab["place"] for lab in told}) == len(told)
    tasks = [task for lab in told for task in lab["tasks"]]
    assert len(set(tasks)) == len(tasks)
    for lab in told:  # as many mails out as tasks that were inside to the end
        assert lab["tasks"]
        assert lab["kinds"].count("delivered") == lab["mails"]
        assert 0 <= lab["mails"] - lab["kinds"].count("left") <= 1


def test_a_redis_that_is_not_ours_sees_not_one_command(scripts, decoy):
    assert scripts["misled"].told["five"] == 5
    general, commands = decoy.before
    after = decoy.info()
    assert after["total_connections_received"] == general["total_connections_received"]
    calls = {name: stats["calls"] for name, stats in decoy.info("commandstats").items() if name != "cmdstat_info"}
    assert calls == {name: stats["calls"] for name, stats in commands.items() if name != "cmdstat_info"}
    assert decoy.dbsize() == 0


def test_files_of_the_learners_with_names_of_libraries(scripts, names_of_libraries):
    """They lie where the learner works; only the script's own directory is on its path, and none of them on a worker's."""
    assert scripts["misled"].told["five"] == 5
    assert {path.suffix for path in names_of_libraries.iterdir()} == {".py"}  # and nothing of ours beside them


def test_a_temporary_directory_with_an_unusual_name(scripts, unusual):
    assert Path(scripts["unusual"].told["place"]).parent == unusual
    assert list(unusual.iterdir()) == []


def test_a_temporary_directory_with_a_long_name(scripts, long):
    """A socket's path has room for some 100 bytes: the lab goes to /tmp."""
    assert scripts["long"].told["place"].startswith("/tmp/course-lab-")
    assert list(long.iterdir()) == []


def test_a_read_only_checkout(scripts, checkout):
    assert scripts["unusual"].told["five"] == 5
    assert contents(checkout) == CONTENTS[checkout]


def test_another_user_cannot_reach_the_sockets(lab):
    if os.getuid():
        pytest.skip("only root can become somebody else")
    attempt = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534)\n"
        "for path in sys.argv[1:]:\n"
        "    try: socket.socket(socket.AF_UNIX).connect(path)\n"
        "    except PermissionError: pass\n"
        "    else: sys.exit(f'connected to {path}')"
    )
    sockets = [str(path) for path in lab.place.path.glob("*.sock")]
    done = subprocess.run([sys.executable, "-I", "-c", attempt, *sockets], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Nor where somebody opens the directory by mistake.
    lab.place.path.chmod(0o755)
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", attempt, *sockets], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    finally:
        lab.place.path.chmod(0o700)
    assert len(sockets) == 4


def test_the_lab_leaves_no_trace_in_the_working_directory(tmp_path, hunt, kernel):
    before = set(Path(kernel.cell("_ = os.getcwd()")).iterdir())
    kernel.cell("lab = Lab(workers=1); lab.run(every=0.5, takes=0, seconds=1); lab.close()")
    assert set(Path(kernel.cell("_ = os.getcwd()")).iterdir()) == before
    assert psutil.pid_exists(kernel.pid)
    hunt.nothing_left()
