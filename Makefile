# From a bare Python 3.11 with pip: `make test` and `make demo` set up all that they need.
.DEFAULT_GOAL := test
.PHONY: setup check test test-acceptance demo picture bench format clean

PYTHON ?= python3
BIN := .venv/bin
DEMO := build/demo
# uv from the PATH, else the one that `setup` puts into the virtual environment.
UV = PATH="$$PATH:$(CURDIR)/$(BIN)" uv

NEED_UV = $(UV) --version >/dev/null 2>&1 || { $(BIN)/python -m ensurepip >/dev/null && $(BIN)/python -m pip install --quiet uv; }

setup: .venv/.synced

.venv/.synced: uv.lock pyproject.toml
	@echo 'Setting up .venv; the first time this may take a minute.' >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(NEED_UV)
	@$(UV) sync --frozen --quiet --inexact
	@touch $@

check: setup  ## everything that can be said without running the code
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: check  ## the whole suite but for what needs real outside services; under five minutes
	$(BIN)/pytest

test-acceptance: setup  ## the product as its users get it: the wheel in a fresh environment, real services
	$(BIN)/pytest -m acceptance -n 0 tests/acceptance

# Two weeks of a made-up hospital, the same on every machine, and what its history says by the packs for its country.
PACKS = ambulance ed sepsis icu stroke flow discharge return transit notify data-quality
SIMULATE = $(BIN)/handoff simulate --seed 10 --out $(DEMO) >/dev/null
REPORT = $(BIN)/handoff report --rules $(PACKS:%=pack:%) --microsystems $(DEMO)/microsystems.yaml --until 2026-01-19T00:00:00Z $(DEMO)/events.jsonl

demo: setup  ## what two weeks of a made-up hospital teach
	@$(SIMULATE)
	@$(REPORT)
	@printf '%s\n' '' \
		'Next: docs/guides/reading-the-report.md says how to read each part; the data, all made up, are in $(DEMO).' \
		'To run the commands above: export PATH=$$PWD/$(BIN):$$PATH; add --only cases, say, to see one part.' \
		'Your own messages: docs/start/first-rule.md.' >&2

picture: setup  ## the picture in README.md, of the same two weeks
	@$(SIMULATE)
	@mkdir -p docs/images
	@$(REPORT) --only handoffs --only cases --svg docs/images/report.svg >/dev/null

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
