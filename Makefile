# Each command sets up what it needs first; see CONTRIBUTING.md. `make lab ARGS="--port 9999"` hands options on.
# Paths are relative, so that a checkout whose path has spaces works.

ifeq ($(OS),Windows_NT)
$(error This course runs on Linux and macOS; on Windows, install WSL2 (run `wsl --install` in PowerShell, then restart), open its Ubuntu terminal and clone and start the course there)
endif

PYTHON ?= python3
COURSE := .venv/bin/python

.DEFAULT_GOAL := lab
.PHONY: lab test lessons setup lint bench figures lock

# The learner's own settings for another Python would lead ours to other packages.
unexport PYTHONPATH PYTHONHOME

setup:
	@command -v "$(PYTHON)" >/dev/null || { echo "This course needs Python 3.11 or newer, and there is no $(PYTHON) on the PATH: install it, or name it: make PYTHON=/path/to/python3 lab" >&2; exit 1; }
	@"$(PYTHON)" tools/bootstrap.py

lab: setup
	@$(COURSE) -m tools.lab $(ARGS)

# As many tests side by side as there are processors: they wait for servers and workers more than they compute.
test: setup
	$(COURSE) -m pytest -n logical --dist worksteal $(ARGS)

lessons: setup
	$(COURSE) -m tools.lessons $(ARGS)

lint: setup
	$(COURSE) -m ruff check .
	$(COURSE) -m ruff format --check .
	$(COURSE) -m tools.hygiene

bench: setup
	$(COURSE) -m bench $(ARGS)

figures: setup
	$(COURSE) -m tools.figures $(ARGS)

# New lock files from pyproject.toml, with hashes for every platform, and neither addresses of registries nor paths of this machine.
# `make lock ARGS=--upgrade` takes the newest versions.
COMPILE := $(COURSE) -m uv pip compile --quiet --universal --generate-hashes --custom-compile-command "make lock"
lock: setup
	$(COMPILE) $(ARGS) -o requirements/uv.txt requirements/uv.in
	$(COMPILE) $(ARGS) --extra test --extra peers --extra clock -o requirements/lock.txt pyproject.toml
