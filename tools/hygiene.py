"""What git must never hold of a notebook, and links that lead nowhere: `python -m tools.hygiene [file ...]`.

`make lint` runs this after ruff, over all notebooks and Markdown files.
"""

import json
import re
import sys
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
LONGEST_CELL = 16
# [text](target) and src="target"; what has a scheme (https:, mailto:) or only a fragment is not a file.
LINK = re.compile(r"""\]\(<?([^)\s>]+)>?[^)]*\)|(?:src|href)=["']([^"']+)["']""")


def dead_links(path, text):
    for match in LINK.finditer(text):
        target = unquote((match[1] or match[2]).partition("#")[0])
        if target and not re.match(r"[a-z][a-z0-9+.-]*:", target) and not (path.parent / target).exists():
            yield f"no such file: {target}"


def faults_of_notebook(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    # Without it, JupyterLab asks the learner for a kernel.
    if notebook["metadata"].get("kernelspec", {}).get("name") != "python3":
        yield "the kernelspec is not python3"
    if (notebook["nbformat"], notebook["nbformat_minor"]) < (4, 5):
        yield "older than nbformat 4.5, which gives cells their ids"
    seen = set()
    for number, cell in enumerate(notebook["cells"], 1):
        source, where, name = "".join(cell["source"]), f"cell {number}", cell.get("id")
        if not name or name in seen:
            yield f"{where}: its id is missing or taken: {name}"
        seen.add(name)
        if not source.strip():
            yield f"{where}: empty"
        if cell["cell_type"] == "markdown":
            yield from (f"{where}: {link}" for link in dead_links(path, source))
            continue
        if cell.get("outputs"):
            yield f"{where}: has outputs (`.venv/bin/nbstripout FILE` takes them out)"
        if cell.get("execution_count") is not None:
            yield f"{where}: has an execution count (`.venv/bin/nbstripout FILE` takes it out)"
        if len(source.splitlines()) > LONGEST_CELL:
            yield f"{where}: {len(source.splitlines())} lines, where {LONGEST_CELL} are the most"


def faults(path):
    if path.suffix == ".ipynb":
        return list(faults_of_notebook(path))
    return list(dead_links(path, path.read_text(encoding="utf-8")))


def main():
    everything = sorted([*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("*.md")])
    paths = [Path(name).resolve() for name in sys.argv[1:]] or everything
    found = [f"{path.relative_to(ROOT)}: {fault}" for path in paths for fault in faults(path)]
    print("\n".join(found) or f"{len(paths)} notebooks and Markdown files are clean")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
