"""Run every lesson without a browser and write it as HTML to build/lessons: `python -m tools.lessons [notebook ...]`.

`make lessons` runs this; the tests run the notebooks the same way.
"""

import base64
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import zmq
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from traitlets.config import Config

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "lessons"
TIMEOUT = 300  # seconds for one cell; an experiment takes 60 at most


def lessons():
    return sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def client(path, where=ROOT / "notebooks"):
    """What executes the lesson at ``path``, with a kernel that starts in ``where``: by default where JupyterLab would."""
    notebook = nbformat.read(path, as_version=4)
    there = {"metadata": {"path": str(where)}}
    # As in jupyter/jupyter_server_config.py: without it, every kernel prints a warning.
    config = Config(KernelManager={"transport_encryption": "auto" if zmq.has("curve") else "disabled"})
    return NotebookClient(notebook, timeout=TIMEOUT, kernel_name="python3", resources=there, config=config)


def page(notebook, name):
    """A lesson as one HTML file that needs nothing else: pictures inside, links to lessons lead to their pages."""
    exporter = HTMLExporter(exclude_input_prompt=True, exclude_output_prompt=True)
    html, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": name}})
    # Scripts for formulas and widgets, from the network: no lesson needs them.
    html = re.sub(r'<script src="http[^"]*">\s*</script>', "", html)
    html = re.sub(r'(?<=src=")\.\./(img/[\w.-]+)', inside, html)
    return re.sub(r'href="([\w./-]+)\.ipynb', r'href="\1.html', html)


def inside(link):
    """A picture of the checkout as an address that carries the picture itself."""
    path = ROOT / link[1]
    kind = {".svg": "svg+xml"}.get(path.suffix, path.suffix[1:])
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def run(path):
    """Execute one lesson; the seconds it took, and what made it stop, if anything did."""
    lesson, begin, error = client(path), time.monotonic(), None
    try:
        lesson.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as failure:
        error = failure
    seconds = time.monotonic() - begin
    # After an error too: the page shows how far the lesson came.
    (OUT / f"{path.stem}.html").write_text(page(lesson.nb, path.stem), encoding="utf-8")
    return seconds, error


def main():
    os.environ["COURSE_TASKS_LIVE"] = "0"  # no one watches the pictures grow
    OUT.mkdir(parents=True, exist_ok=True)
    failed, total = [], 0.0
    with tempfile.TemporaryDirectory() as nobodys:
        os.environ["XDG_DATA_HOME"] = nobodys  # these pages show the exercises as they are before anybody has begun
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
