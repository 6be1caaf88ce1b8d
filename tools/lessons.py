"""Run every lesson without a browser and write it as HTML to build/lessons: `python -m tools.lessons [notebook ...]`.

`make lessons` runs this; the tests run the notebooks the same way.
"""

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "lessons"
TIMEOUT = 300  # seconds for one cell; an experiment takes 60 at most


def lessons():
    return sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def client(path):
    """What executes a lesson, with a kernel that starts where JupyterLab would start it."""
    notebook = nbformat.read(path, as_version=4)
    there = {"metadata": {"path": str(ROOT / "notebooks")}}
    return NotebookClient(notebook, timeout=TIMEOUT, kernel_name="python3", resources=there)


def run(path):
    """Execute one lesson; the seconds it took, and the error of the cell that failed, if one did."""
    lesson, begin, error = client(path), time.monotonic(), None
    try:
        lesson.execute()
    except CellExecutionError as failure:
        error = failure
    seconds = time.monotonic() - begin
    # The learner's own name for the page; with an error, the page shows how far the lesson came.
    html, _ = HTMLExporter(exclude_input_prompt=True, exclude_output_prompt=True).from_notebook_node(
        lesson.nb, resources={"metadata": {"name": path.stem}}
    )
    (OUT / f"{path.stem}.html").write_text(html, encoding="utf-8")
    return seconds, error


def main():
    os.environ["COURSE_TASKS_LIVE"] = "0"  # no one watches the pictures grow
    OUT.mkdir(parents=True, exist_ok=True)
    failed, total = [], 0.0
    for path in [Path(name).resolve() for name in sys.argv[1:]] or lessons():
        seconds, error = run(path)
        total += seconds
        print(f"{seconds:7.1f} s  {path.stem}{'  FAILED' if error else ''}", flush=True)
        if error:
            failed.append(f"\n{path.stem}\n{error}")
    print(f"{total:7.1f} s  together; the pages are in {OUT.relative_to(ROOT)}/")
    sys.exit("\n".join(failed) or 0)


if __name__ == "__main__":
    main()
