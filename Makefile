# medcli: `make demo` shows it working, `make test` proves it. PYTHON=python3.12, EXTRAS=dev,gpu and JOBS=8 may be set.
PYTHON ?= python3
EXTRAS ?= dev
JOBS ?= 2
BIN := .venv/bin

ifneq ($(shell command -v uv),)
INSTALL := uv venv --quiet --allow-existing --python $(PYTHON) .venv && uv pip install --quiet --compile-bytecode --python $(BIN)/python
else
INSTALL := $(PYTHON) -m venv .venv && PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pip install --quiet --compile
endif

.PHONY: help setup demo test lint bench docs

help:  ## Show this list
	@sed -n 's/^\([a-z]*\):.*  ## /\1\t/p' Makefile

setup: .venv/.installed  ## Make .venv and install the tested versions into it

.venv/.installed: pyproject.toml constraints.txt
	$(INSTALL) -c constraints.txt -e '.[$(EXTRAS)]' && touch $@

demo: setup  ## Made-up X-rays to a measured model, predictions and a report; under 10 minutes with the install
	$(BIN)/medcli sample classification demo/data --force
	$(BIN)/medcli preprocess configs/demo.yaml
	$(BIN)/medcli train configs/demo.yaml --force
	$(BIN)/medcli predict demo/run 'demo/data/images/person_00*' --out demo/predictions --overlays --force
	$(BIN)/medcli evaluate demo/run --force

test: setup  ## Run all tests
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

lint: setup  ## Check style and types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: setup  ## Measure against peers; takes long, and reads the public data where they are there
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script; done

docs: setup  ## Write the generated pages again
	$(BIN)/medcli config reference > docs/configuration.md
