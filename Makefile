# One comment per target; `make setup` is what every other target begins with.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: setup demo run test test-slow lint golden bench soak figures docs lock clean

setup: $(STAMP)  ## a virtual environment with every pinned dependency, and the headwater command in it

$(STAMP): requirements/dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $@

demo: setup  ## the running product on demo data
	$(BIN)/headwater demo

run: setup  ## the product on its own data folder
	$(BIN)/headwater serve

lint: setup  ## format, lint, types, import rules
	$(BIN)/ruff format --check --quiet src tests bench
	$(BIN)/ruff check --quiet src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint  ## everything that guards main, in under 15 minutes on 2 cores
	$(BIN)/pytest -q -n 2 -m "not slow" tests

test-slow: setup  ## the long suites: 100 kills, big imports, thousands of lives on failing disks, every decoder fuzzed
	$(BIN)/pytest -q -m slow --timeout 1800 tests

golden: setup  ## rewrite the golden files; review the diff
	HEADWATER_GOLDEN=rewrite $(BIN)/pytest -q -m "not slow" tests -k golden

bench: setup  ## the promises of speed, as ratios in one run; appends to bench/results.jsonl
	$(BIN)/python -m bench

soak: setup  ## half an hour at 20,000 events a second: does anything grow? Its curve goes into docs/reliability
	$(BIN)/python -m bench.soak

figures: setup  ## hours, on a quiet machine: all figures of docs/reliability.md anew
	HEADWATER_FAULT_FIGURES=docs/reliability/faults.json HEADWATER_KILL_FIGURES=docs/reliability/kills.json \
		$(BIN)/pytest -q -m slow --timeout 1800 tests
	$(BIN)/python -m bench restart
	$(BIN)/python -m bench.soak
	$(BIN)/python docs/figures.py

docs: setup  ## the reference pages and the figures, from the code and the last runs
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/figures.py

lock: setup  ## resolve the dependencies again and pin them with hashes
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra bench --universal --python-version 3.11 \
		--generate-hashes --no-header --no-emit-index-url --no-annotate --quiet --output-file requirements/dev.lock

clean:  ## what setup and the tests left behind
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
