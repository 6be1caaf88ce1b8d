"""The set-up: locked, without addresses, the same ranges everywhere, and one clear sentence where it can't go on."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements" / "lock.txt").read_text()
INSTALLER = (ROOT / "requirements" / "uv.txt").read_text()
BOOTSTRAP = ROOT / "tools" / "bootstrap.py"
COMMANDS = ("lab", "test", "lessons", "setup", "lint", "bench", "figures")
CONDA_NAMES = {"redis": "redis-py"}


def declared():
    extras = PROJECT["project"]["optional-dependencies"].values()
    return [Requirement(text) for text in [*PROJECT["project"]["dependencies"], *chain(*extras)]]


def pinned(lock):
    """Package -> the versions that the lock file names, one for each range of Pythons."""
    found = {}
    for name, version in re.findall(r"^([a-z0-9._-]+)==(\S+)", lock, re.MULTILINE):
        found.setdefault(name, []).append(Version(version))
    return found


# The lock files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", [LOCK, INSTALLER], ids=["lock.txt", "uv.txt"])
def test_lock_has_hashes_and_neither_addresses_nor_paths(lock):
    for entry in re.split(r"\n(?=[a-z0-9])", lock)[1:]:
        assert "--hash=sha256:" in entry, entry.splitlines()[0]
    assert not re.search(r"https?://|file:|^-|^\s*#.*\s/", lock, re.MULTILINE)


def test_lock_keeps_to_the_declared_ranges():
    versions = pinned(LOCK)
    for requirement in declared():
        assert requirement.name in versions, f"{requirement.name} is not in the lock file: make lock"
        for version in versions[requirement.name]:
            assert version in requirement.specifier, f"{requirement.name} {version}: make lock"


def test_contributing_gives_every_dependency_a_reason():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    missing = [requirement.name for requirement in declared() if f"| `{requirement.name}`" not in text]
    assert missing == []


# conda and Binder --------------------------------------------------------------------------------------------------


def test_conda_environment_has_the_same_ranges():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    listed = dict(text.partition(" ")[::2] for text in environment["dependencies"] if isinstance(text, str))
    assert listed.pop("python") == PROJECT["project"]["requires-python"]
    ours = {CONDA_NAMES.get(r.name, r.name): r.specifier for r in declared()}
    ranges = {name: specifier for name, specifier in listed.items() if specifier}
    assert set(ranges) == {"celery", "redis-py", "jupyterlab", "matplotlib", "pandas"}
    for name, specifier in ranges.items():
        assert set(specifier.split(",")) == {str(part) for part in ours[name]}, name
    assert environment["dependencies"][-1] == {"pip": ["-e .[clock]"]}


# Where the set-up can't go on --------------------------------------------------------------------------------------


def bootstrap(*arguments, path=BOOTSTRAP, **environment):
    environment = {**os.environ, "PATH": "/nonexistent", **environment}
    return subprocess.run(
        [sys.executable, *arguments, path], env=environment, capture_output=True, text=True, timeout=60
    )


def sentence(outcome):
    """The one line that was said."""
    assert outcome.returncode == 1
    assert outcome.stdout == ""
    (line,) = outcome.stderr.strip().splitlines()
    return line


def plan(command, **environment):
    """What make would do for a command, whether or not make runs the tests."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")} | environment
    return subprocess.run(["make", "-n", command], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_native_windows_is_told_of_wsl2():
    assert "install WSL2" in sentence(bootstrap(OS="Windows_NT"))
    make = plan("lab", OS="Windows_NT")
    assert make.returncode != 0
    assert "WSL2" in make.stderr


def test_a_python_without_venv_is_told_of_the_package(tmp_path):
    (tmp_path / "ensurepip.py").write_text("raise ImportError('not here')")
    line = sentence(bootstrap(PYTHONPATH=str(tmp_path)))
    assert f"python{sys.version_info[0]}.{sys.version_info[1]}-venv" in line


def test_an_old_python_is_told_of_a_newer_one(monkeypatch, capsys):
    names = runpy.run_path(str(BOOTSTRAP))
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SystemExit):
        names["check_python"]()
    line = capsys.readouterr().err
    assert "needs Python 3.11 or newer" in line
    assert "is Python 3.9" in line
    assert "make PYTHON=python3.12 lab" in line


def test_bootstrap_parses_on_old_pythons():
    """It has to start there before it can say anything; Python 2.7 knows neither f-strings nor annotations nor `*` here."""
    import ast

    tree = ast.parse(BOOTSTRAP.read_text(), feature_version=(3, 4))
    newer = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.AsyncFunctionDef, ast.Nonlocal, ast.YieldFrom)
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, newer)]
    for node in ast.walk(tree):
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            assert not any(isinstance(item, ast.Starred) for item in node.elts), f"line {node.lineno}"
    BOOTSTRAP.read_bytes().decode("ascii")


def test_old_pythons_really_say_it():
    on_path = [shutil.which(f"python{version}") for version in ("2.7", "3.6", "3.8", "3.9", "3.10")]
    from_pyenv = Path.home().glob(".pyenv/versions/*/bin/python")
    is_old = "import sys; sys.exit(sys.version_info[:2] >= (3, 11))"
    found = [path for path in (*on_path, *from_pyenv) if path]
    old = [path for path in found if subprocess.run([path, "-c", is_old], capture_output=True).returncode == 0]
    if not old:
        pytest.skip("no Python older than 3.11 on this machine: the sentence is only simulated")
    for python in old:
        outcome = subprocess.run(
            [python, BOOTSTRAP], env={"PATH": "/nonexistent"}, capture_output=True, text=True, timeout=60
        )
        assert "needs Python 3.11 or newer" in sentence(outcome), python


def test_a_set_up_that_was_interrupted_moved_or_lost_its_python_begins_anew(tmp_path):
    names = runpy.run_path(str(BOOTSTRAP))
    why_anew, wanted = names["why_anew"], names["wanted"]
    ready, begun = tmp_path / ".ready", tmp_path / ".begun"
    why_anew.__globals__.update(READY=str(ready), BEGUN=str(begun), PYTHON=sys.executable)
    ready.write_text(wanted())
    assert why_anew() is None
    ready.write_text(wanted() + "/elsewhere")
    assert "moved" in why_anew()
    begun.touch()
    assert "did not reach its end" in why_anew()
    begun.unlink()
    why_anew.__globals__.update(PYTHON=str(tmp_path / "gone"))
    assert "gone" in why_anew()


# The commands ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_begins_with_the_set_up(command):
    lines = plan(command).stdout.splitlines()
    assert "tools/bootstrap.py" in lines[1]
    assert not any(str(ROOT) in line for line in lines), "an absolute path, which a space would break"


def test_modules_behind_the_commands_are_there():
    text = (ROOT / "Makefile").read_text()
    for module in re.findall(r"-m ((?:tools|bench)[.\w]*)", text):
        path = ROOT / Path(*module.split("."))
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
