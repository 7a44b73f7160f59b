# From a bare Python 3.11 with pip: `make test`, `make demo` and `make report` set up all that they need.
.DEFAULT_GOAL := test
.PHONY: setup check test test-acceptance test-faults demo report picture bench bench-live bench-kafka format clean

PYTHON ?= python3
BIN := .venv/bin
SIMULATED := build/demo
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
	$(BIN)/pytest -m acceptance --dist loadfile tests/acceptance

# As many seeds of kills as are worth a claim, for workers on Kafka a twentieth as many of each kind of trouble: about an hour of two cores.
# docs/reference/faults.md is written of what they came to.
HANDOFF_FAULT_SEEDS ?= 100

test-faults: setup  ## the live service and workers on Kafka under what befalls them, again and again, under load
	rm -rf build/faults
	HANDOFF_FAULT_SEEDS=$(HANDOFF_FAULT_SEEDS) HANDOFF_FAULT_FIGURES=build/faults $(BIN)/pytest -m acceptance tests/acceptance/test_faults.py tests/acceptance/test_kafka_faults.py
	$(BIN)/python tests/live/fault_figures.py build/faults docs/reference/faults.md

# Two weeks of a made-up hospital, the same on every machine, and what its history says by the packs for its country.
PACKS = ambulance ed sepsis icu stroke flow discharge return transit notify data-quality
SIMULATE = $(BIN)/handoff simulate --seed 10 --out $(SIMULATED) >/dev/null
REPORT = $(BIN)/handoff report --rules $(PACKS:%=pack:%) --microsystems $(SIMULATED)/microsystems.yaml --until 2026-01-19T00:00:00Z $(SIMULATED)/events.jsonl

demo: setup  ## the live service beside a made-up hospital, for three minutes
	@$(BIN)/handoff demo

report: setup  ## what two weeks of a made-up hospital teach
	@$(SIMULATE)
	@$(REPORT)
	@printf '%s\n' '' \
		'Next: docs/guides/reading-the-report.md says how to read each part; the data, all made up, are in $(SIMULATED).' \
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

bench-live: setup  ## the live service under load, on this machine and its disk; some five minutes
	$(NEED_UV)
	$(UV) sync --frozen --quiet --inexact --group bench
	$(BIN)/python -m bench.live

bench-kafka: setup  ## workers and ways in on a Kafka of this machine; some seven minutes
	$(NEED_UV)
	$(UV) sync --frozen --quiet --inexact --group bench
	$(BIN)/python -m bench.kafka

format: setup
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean:
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
