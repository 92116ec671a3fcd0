# medcli: `make demo` shows it working, `make test` proves it. PYTHON=python3.12, EXTRAS=dev,gpu and JOBS=8 may be set.
PYTHON ?= python3
EXTRAS ?= dev
JOBS ?= 2
BIN := .venv/bin
DEMO := demo

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

demo: setup  ## Made-up X-rays to a measured model, predictions and a report; about 5 minutes with the install
	$(BIN)/medcli sample classification $(DEMO)/data --force
	$(BIN)/medcli preprocess $(DEMO)/data/config.yaml --out $(DEMO)/prepared --force
	$(BIN)/medcli train $(DEMO)/data/config.yaml --prepared $(DEMO)/prepared --run $(DEMO)/run --force --set train.max_minutes=2
	$(BIN)/medcli evaluate $(DEMO)/run --force
	$(BIN)/medcli predict $(DEMO)/run $(DEMO)/data/images --out $(DEMO)/predictions --overlays --force

test: setup  ## Run all tests
	$(BIN)/pytest -n $(JOBS) --dist loadfile

lint: setup  ## Check style and types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: setup  ## Measure against peers; takes long, and reads the public data where they are there
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script; done

docs: setup  ## Write the generated pages again
	$(BIN)/medcli config reference > docs/configuration.md
