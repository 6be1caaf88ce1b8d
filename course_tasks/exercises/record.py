"""What a learner has passed: one JSON file in their own data directory, for all kernels and all days.

It is replaced in one step, and a lock file keeps two kernels from writing over each other's entries. Where it can't be
read or written, that is said, and nothing else depends on it: no exercise fails for it.
"""

import contextlib
import fcntl
import json
import os
import time
from datetime import datetime
from pathlib import Path

from course_tasks import place
from course_tasks.exercises.definition import NOT_ATTEMPTED, NOT_YET, PASSED

NAME = "progress.json"
PATIENCE = 2.0  # seconds for another kernel to be done with the file


class RecordError(Exception):
    """The file can't be read or written; the message says which, why, and what it means."""


def note(identity, state):
    """Note that the exercise ``identity`` is in ``state`` now. Once passed stays passed.

    Returns a sentence where something was in the way, else None.
    """
    if state == NOT_ATTEMPTED:
        return None
    try:
        with _alone() as file:
            content, told = _read(file)
            entry = content["exercises"].get(identity)
            entry = entry if isinstance(entry, dict) else {}
            if entry.get("state") not in (PASSED, state):
                entry["state"] = state
                if state == PASSED:
                    entry["passed"] = datetime.now().astimezone().isoformat(timespec="seconds")
                content["exercises"][identity] = entry
                _write(file, content)
            return told
    except RecordError as error:
        return f"This could not be noted: {error}"


def states():
    """What is known: exercise -> (state, when it was passed as a datetime, or None); and a sentence, or None.

    The sentence says what was in the way, if anything was.
    """
    try:
        file = _directory() / NAME
        content, told = _read(file, keep=False)
    except RecordError as error:
        return {}, str(error)
    return {identity: _entry(entry) for identity, entry in content["exercises"].items()}, told


def _entry(entry):
    """State and time of an ``entry`` of the file; "not yet" for one that can't be understood."""
    if not isinstance(entry, dict) or entry.get("state") != PASSED:
        return NOT_YET, None
    try:
        return PASSED, datetime.fromisoformat(entry["passed"])
    except (KeyError, TypeError, ValueError):
        return PASSED, None


def _directory():
    try:
        return Path(place.own_directory())
    except OSError as error:
        raise RecordError(f"the data directory can't be made ({error.strerror}).") from error


@contextlib.contextmanager
def _alone():
    """``with _alone() as file:`` no other kernel writes ``file`` (a Path) meanwhile."""
    file = _directory() / NAME
    try:
        with open(file.with_suffix(".lock"), "a") as lock:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise RecordError(f"another kernel has kept {lock.name} for {PATIENCE:g} s.") from None
                    time.sleep(0.02)
            yield file
    except OSError as error:
        raise RecordError(f"{file} can't be written ({error.strerror}).") from error


def _read(file, keep=True):
    """The content of ``file``, and a sentence if it was damaged; then, with ``keep``, it is moved aside."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(content, dict) and isinstance(content.setdefault("exercises", {}), dict):
            return content, None
        why = "it holds something else"
    except FileNotFoundError:
        return {"exercises": {}}, None
    except OSError as error:
        raise RecordError(f"{file} can't be read ({error.strerror}).") from error
    except ValueError:
        why = "it is no JSON"
    aside = file.with_suffix(".damaged.json")
    if keep:
        os.replace(file, aside)
        return {
            "exercises": {}
        }, f"Your list of passed exercises was damaged ({why}): it is now {aside}, and a new one begins."
    return {"exercises": {}}, f"Your list of passed exercises is damaged ({why}): {file}."


def _write(file, content):
    half = file.with_suffix(".new")
    half.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(half, file)
