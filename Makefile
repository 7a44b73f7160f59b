# From a bare Python 3.11 with pip: `make test` and `make demo` set up all that they need.
.DEFAULT_GOAL := test
.PHONY: setup check test test-acceptance demo bench format clean

PYTHON ?= python3
BIN := .venv/bin
# uv from the PATH, else the one that `setup` puts into the virtual environment.
UV = PATH="$$PATH:$(CURDIR)/$(BIN)" uv

NEED_UV = $(UV) --version >/dev/null 2>&1 || { $(BIN)/python -m ensurepip >/dev/null && $(BIN)/python -m pip install --quiet uv; }

setup: .venv/.synced

.venv/.synced: uv.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(NEED_UV)
	$(UV) sync --frozen --quiet --inexact
	touch $@

check: setup  ## everything that can be said without running the code
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: check  ## the whole suite but for what needs real outside services; under five minutes
	$(BIN)/pytest

test-acceptance: setup  ## the product as its users get it: the wheel in a fresh environment, real services
	$(BIN)/pytest -m acceptance -n 0 tests/acceptance

demo: setup  ## the rule packs over the journeys of a made-up hospital
	$(BIN)/handoff replay --rules pack:ed --rules pack:icu --rules pack:sepsis --microsystems rules/microsystems.yaml --until 2025-03-10T00:00:00Z --worst 6 demo/adt.hl7 demo/milestones.jsonl

bench: setup  ## the budgets of the design, measured on this machine
	$(NEED_UV)
	$(UV) sync --frozen --quiet --inexact --group bench
	$(BIN)/python -m bench

format: setup
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean:
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
