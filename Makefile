# Everything happens in .venv, which is made by the first target that needs it: Python 3.11 or later and make are enough.
PYTHON ?= python3
BIN := .venv/bin
TOO_OLD := import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"Python 3.11 or later is needed, {sys.executable} is {sys.version.split()[0]}: make PYTHON=…")
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test check format bench clean

demo: .venv/.installed  ## replay the sample flows over sample data
	$(BIN)/flowdsl demo

test: check  ## lint, format, types and all tests
	$(BIN)/pytest -n 2

check: .venv/.tests-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.tests-installed  ## put the code into its form
	$(BIN)/python -m flowdsl.operators.generate
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.bench-installed  ## measure against hand-written queries and bytewax (about 15 minutes)
	$(BIN)/python -m tests.benchmarks

clean:
	rm -rf .venv data/sample .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info

.venv/.installed: pyproject.toml
	@$(PYTHON) -c '$(TOO_OLD)'
	$(PYTHON) -m venv .venv
	$(INSTALL) --editable .
	@touch $@

.venv/.tests-installed: .venv/.installed
	$(INSTALL) --editable '.[test]'
	@touch $@

.venv/.bench-installed: .venv/.installed
	$(INSTALL) --editable '.[bench]'
	@touch $@
