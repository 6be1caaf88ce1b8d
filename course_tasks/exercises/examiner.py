"""The process in which a check runs: ``python -m course_tasks.exercises.examiner``, started by the kernel's side.

It finds the answer and the check in the directory of its warden, and leaves the outcome there. It is the parent of all
that the check starts; when the kernel tells the warden to end it, all of that ends with it.
"""

import os
import pickle
import traceback

from course_tasks import kinship, place
from course_tasks.exercises import traces
from course_tasks.exercises.bench import Bench
from course_tasks.exercises.definition import Outcome, Stop, not_yet

PARTS = ("check", "answer", "given")  # what travels, each in a file of its own


def examine(check, answer, given, directory, stage):
    """The :class:`Outcome` of ``check(answer, bench)``; everything that it started has ended."""
    bench = Bench(directory, given, stage)
    try:
        outcome = check(answer, bench)
    except Stop as stop:
        outcome = stop.outcome
    except Exception as error:
        outcome = _failed(error)
    finally:
        bench.close()
    return outcome


def _failed(error):
    """The outcome where the check itself raised ``error``: at a value of theirs, such as text for a number, or not."""
    if traces.came_through(error, "lab", "history"):
        traceback.print_exception(error)  # into the log of this process
        return not_yet("stopped", f"The check could not be carried out. {traces.told(error)}")
    return not_yet("nonsense", f"The check can't make sense of what your code returns. {traces.told(error)}")


def main():
    directory = place.lab().path
    # This is a process of a lab for the sake of its warden only: the check starts a lab of its own.
    del os.environ[place.VARIABLE]
    os.environ["COURSE_TASKS_LIVE"] = "0"
    kinship.adopt_orphans()

    def stage(words):
        replace(directory / "stage", words.encode())

    try:
        check, answer, given = [pickle.loads((directory / f"{name}.pkl").read_bytes()) for name in PARTS]
    except Exception as error:
        outcome = not_yet("unsendable", f"Your code can't be brought into another process: {traces.told(error)}")
    else:
        outcome = examine(check, answer, given, directory, stage)
    assert isinstance(outcome, Outcome), f"{check.__name__} returned {outcome!r}"
    replace(directory / "outcome.pkl", pickle.dumps(outcome))


def replace(path, content):
    """Write ``content`` (bytes) to ``path`` in one step that no reader sees half of."""
    half = path.with_suffix(".new")
    half.write_bytes(content)
    os.replace(half, path)


if __name__ == "__main__":
    main()
