# make demo    the main job on the embedded data set
# make test    every test
# make benchmark    the four protocols on a rendered world with the tiny CLIP
# make bench    speed beside the release's computation and the machine's limits
# All make .venv first if it is missing; PYTHON picks the interpreter.

PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
PYTHON := python
else
BIN := .venv/bin
endif

.PHONY: demo ablation benchmark bench test check setup clean

demo: setup
	$(BIN)/stillmotion demo

ablation: setup
	$(BIN)/stillmotion demo --ablation

benchmark: setup
	$(BIN)/python benchmarks/toy_world.py

bench: setup
	$(BIN)/python benchmarks/bench.py

test: setup
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

setup: .venv/installed

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	$(BIN)/python -c "open('.venv/installed', 'w').close()"

clean:
	$(PYTHON) -c "import shutil; shutil.rmtree('.venv', ignore_errors=True)"
