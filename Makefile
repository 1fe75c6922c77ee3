# make demo  - set up, run three regions end to end, open the way to a report
# make test  - set up, run the default tests
# The first run installs into .venv; later runs start at once.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ROOMS := foundation profiles privacy compliance client server simulations console
PYTEST := $(BIN)/python -m pytest

.PHONY: help setup demo test test-slow check format bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/ -/'

setup: $(READY) ## make .venv with everything pinned

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "fedprofile needs Python 3.11 ($(PYTHON) is not on the PATH; set PYTHON=...)"; exit 2; }
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "fedprofile is tested on Python 3.11; $(PYTHON) is another version"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	if [ -z "$${FEDPROFILE_ALLOW_NVIDIA:-}" ] && ! $(BIN)/python -c 'import torch' 2>/dev/null; then
	  echo "checking which torch would be installed"
	  $(BIN)/pip install --quiet --dry-run --report $(VENV)/torch.json -c constraints.txt torch==2.13.0
	  if grep -q '"name": "nvidia-' $(VENV)/torch.json; then
	    echo "This index offers only a CUDA build of torch (several GB)."
	    echo "Pass PyTorch's CPU index (see README, Start), or set FEDPROFILE_ALLOW_NVIDIA=1 to take it."
	    exit 2
	  fi
	fi
	echo "installing (about 2 GB, 2 minutes)"
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

demo: $(READY) ## three synthetic regions end to end and an HTML report
	@$(BIN)/fedprofile demo

test: $(READY) ## the default tests
	@$(PYTEST) -n 2 -m 'not slow'

test-slow: $(READY) ## kills, whole runs, benchmarks in small
	@$(PYTEST) -m slow

check: $(READY) ## ruff, mypy, room contracts
	@$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## format and fix what can be fixed
	@$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## all benchmarks, as tables
	@for script in benchmarks/*.py; do $(BIN)/python $$script; done

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build *.egg-info
