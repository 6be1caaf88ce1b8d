"""How long `make setup` takes in a fresh clone, beside plain pip with the same lock file; both compile what they install.

Once with empty caches, as on a new machine (this downloads everything), and once with full ones.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.figures import spread

ROOT = Path(__file__).resolve().parent.parent
REPEATS = 3
PIP = [
    [sys.executable, "-m", "venv", ".venv"],
    [".venv/bin/python", "-m", "pip", "install", "-qq", "--require-hashes", "-r", "requirements/lock.txt"],
    [".venv/bin/python", "-m", "pip", "install", "-qq", "--no-deps", "--no-build-isolation", "-e", "."],
]
MAKE = [["make", "setup", f"PYTHON={sys.executable}"]]


def clone(directory):
    """What a clone would hold, uncommitted changes included."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in names.rstrip("\0").split("\0"):
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)


def seconds(commands, directory, caches):
    environment = {**os.environ, "UV_CACHE_DIR": str(caches / "uv"), "PIP_CACHE_DIR": str(caches / "pip")}
    begin = time.monotonic()
    for command in commands:
        subprocess.run(command, cwd=directory, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


def measure():
    """The two ways take turns; each round has caches of its own."""
    rounds = []
    for _ in range(REPEATS):
        figures = []
        with tempfile.TemporaryDirectory() as caches:
            for _ in ("empty caches", "full caches"):
                for commands in (MAKE, PIP):
                    with tempfile.TemporaryDirectory() as directory:
                        clone(Path(directory))
                        figures.append(seconds(commands, directory, Path(caches)))
                        if commands is MAKE:
                            figures.append(seconds(MAKE, directory, Path(caches)))
        rounds.append(figures)
    make, again, pip, make_full, again_full, pip_full = zip(*rounds, strict=True)
    ratios = [statistics.median(slow) / statistics.median(fast) for slow, fast in ((pip, make), (pip_full, make_full))]
    return [
        ("make setup, fresh clone, empty caches", f"{spread(make, 1)} s"),
        ("  plain pip, the same lock file", f"{spread(pip, 1)} s, {ratios[0]:.1f} times as long"),
        ("make setup, fresh clone, full caches", f"{spread(make_full, 1)} s"),
        ("  plain pip, the same lock file", f"{spread(pip_full, 1)} s, {ratios[1]:.1f} times as long"),
        ("make setup once more, nothing changed", f"{spread(again + again_full, 1)} s"),
    ]
