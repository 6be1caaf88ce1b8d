"""One room for every concept: who may import whom, read from the sources."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "course_tasks"

# Each room and what of ours it may import, itself aside: downward only.
MAY_IMPORT = {
    "place": (),
    "kinship": (),
    "lazily": (),
    "locks": (),
    "interleavings": ("history",),
    "breakpoints": (),
    "history.recording": (),
    "history": ("lazily",),
    "halts": ("breakpoints", "place"),
    "experiment": ("place", "history.recording", "breakpoints", "halts"),
    "waiting": (),
    "section": ("experiment", "waiting"),
    "observation": ("experiment", "kinship"),
    "celery": ("experiment", "observation", "place"),
    "outbox": ("history.recording",),
    "mailroom": ("experiment", "place", "outbox", "history.recording"),
    "tasks": ("celery", "experiment", "mailroom", "observation", "section"),
    "invoker": ("celery", "experiment", "mailroom", "observation", "place", "tasks"),
    "contender": ("experiment", "observation", "section", "history.recording"),
    "lab": (
        "experiment",
        "breakpoints",
        "halts",
        "observation",
        "mailroom",
        "outbox",
        "place",
        "kinship",
        "history",
        "tasks",
        "celery",
        "lazily",
    ),
    "exercises": ("lab", "history", "locks", "interleavings", "breakpoints", "place", "kinship", "lazily"),
    "": ("lazily",),  # the names that a lesson imports, looked up when they are used
}

DRAWING = {"pandas", "numpy", "matplotlib", "IPython", "ipywidgets", "tqdm"}


def modules():
    """Every module of the package: its name below ``course_tasks`` ("" for the package itself) -> its file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path, everywhere=True):
    """The modules that the file at ``path`` names in its imports; only those at its top level, unless ``everywhere``."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path):
    """The names below ``course_tasks`` that the file at ``path`` imports."""
    known = modules()
    return {name.partition(".")[2] for name in imports(path) if name.partition(".")[0] == "course_tasks"} & set(
        known
    ) - {""}


def room(name):
    """The room of a module: the longest entry of MAY_IMPORT that it lies in."""
    return max((key for key in MAY_IMPORT if name == key or name.startswith(key + ".")), key=len, default=None)


@pytest.mark.parametrize("name", modules())
def test_imports_run_downward_only(name):
    mine = room(name) if name else ""
    assert mine is not None, f"{name}: say in MAY_IMPORT which rooms it may import"
    for other in ours(modules()[name]):
        theirs = room(other)
        inside = theirs == mine or other.startswith(mine + ".") or (mine == "history.recording" and theirs == "history")
        assert inside or allowed(mine, other), f"course_tasks.{name} imports course_tasks.{other}"


def test_no_room_imports_itself_through_others():
    graph = {name: ours(path) for name, path in modules().items() if name}
    packages = {name for name in graph if (PACKAGE / name.replace(".", "/")).is_dir()}

    def below(name, seen=()):
        for other in graph.get(name, ()):
            # A package's own names are looked up when they are used: its __init__ imports none of its modules.
            assert other not in seen or other in packages, f"a circle: {' -> '.join((*seen, other))}"
            if other not in seen:
                below(other, (*seen, other))

    for name in graph:
        below(name, (name,))


def allowed(mine, other):
    """The entry of MAY_IMPORT by which the room ``mine`` may import the module ``other``; None where there is none."""
    return next((key for key in MAY_IMPORT[mine] if other == key or other.startswith(key + ".")), None)


def test_what_may_be_imported_is():
    """An entry that nobody needs says nothing about the rooms as they are."""
    used = {(room(name) if name else "", other) for name, path in modules().items() for other in ours(path)}
    needed = {(mine, allowed(mine, other)) for mine, other in used}
    assert [(mine, key) for mine, keys in MAY_IMPORT.items() for key in keys if (mine, key) not in needed] == []


# What the processes of a lab run, and the locks that a lesson sends to them.
RUN = ("lab.warden", "tasks", "invoker", "contender", "mailroom", "locks")


def loaded(names):
    """The modules of ours that those called ``names`` load, themselves included."""
    found = set()
    while names := {parent for name in names for parent in (name, name.rpartition(".")[0])} - found - {""}:
        found |= names
        names = set().union(*(ours(modules()[name]) for name in names))
    return sorted(found)


@pytest.mark.parametrize("name", loaded(RUN))
def test_what_workers_import_draws_nothing(name):
    assert not {module.partition(".")[0] for module in imports(modules()[name])} & DRAWING


def test_recording_needs_nothing_but_the_standard_library():
    assert {name.partition(".")[0] for name in imports(modules()["history.recording"])} <= sys.stdlib_module_names


LOADED = """
import sys
{}
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""


@pytest.mark.parametrize(
    ("code", "must", "must_not"),
    [
        ("import course_tasks", set(), DRAWING | {"celery", "redis"}),
        ("import course_tasks.tasks", {"celery"}, DRAWING | {"aiosmtpd", "cloudpickle"}),
        ("from course_tasks.lab import warden; warden._preload()", {"celery", "psutil"}, DRAWING | {"aiosmtpd"}),
        ("import course_tasks.history.recording", set(), DRAWING | {"celery", "redis"}),
        ("from course_tasks import Lab", {"celery"}, DRAWING | {"aiosmtpd"}),
    ],
)
def test_what_a_process_loads(code, must, must_not, tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOADED.format(code)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "COURSE_TASKS_LAB": str(tmp_path)},
    )
    loaded = set(done.stdout.split())
    assert must <= loaded
    assert not must_not & loaded


def test_public_names():
    import course_tasks
    import course_tasks.lab

    for package in (course_tasks, course_tasks.lab):
        for name in package.__all__:
            assert getattr(package, name).__doc__
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            getattr(package, "nothing")  # noqa: B009


def test_every_module_says_what_it_is():
    for name, path in modules().items():
        assert ast.get_docstring(ast.parse(path.read_text())), f"course_tasks.{name}"
        assert Path(path).stat().st_size < 20_000, f"course_tasks.{name} has more than one idea"
