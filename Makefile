# Everything runs from .venv, which is made on first use. Options for pytest: make test PYTEST_ARGS="-k redis"

PYTHON := $(shell for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PYTEST_ARGS ?=
UV ?= uv

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-header --no-annotate --no-strip-extras

.PHONY: help demo test lint format servers benchmark docs lock clean

help: ## Say what can be made
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: .venv/demo ## Start real servers, verify them and serve the page
	$(BIN)/checklist-exporter demo

test: .venv/dev ## Run all tests
	$(BIN)/pytest -n auto --maxprocesses 2 --dist loadgroup --no-loadscope-reorder $(PYTEST_ARGS)

lint: .venv/dev ## Check format, style, types and imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

servers: .venv/dev ## Download and build every server that the tests can use (takes long)
	$(BIN)/python -m tests.servers

benchmark: .venv/dev ## Print ratios of speed and memory
	$(BIN)/pytest -m benchmark -p no:randomly -s tests/benchmarks $(PYTEST_ARGS)

docs: .venv/dev ## Generate the reference documentation, the PrometheusRule and the dashboards
	$(BIN)/python -m exporter.reference docs
	$(BIN)/python -m alerts
	$(BIN)/python -m dashboards

lock: ## Pin the requirements anew (needs uv)
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: install it, or give its path as UV=…" >&2; exit 1; }
	$(LOCK) pyproject.toml -o requirements/run.txt
	$(LOCK) --extra demo pyproject.toml -o requirements/demo.txt
	$(LOCK) --extra demo --extra dev pyproject.toml -o requirements/dev.txt
	$(LOCK) --group build -o requirements/build.txt

clean: ## Remove .venv and all that was generated (the cache of servers stays)
	rm -rf .venv dist build demo-data .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "checklist-exporter needs Python 3.11 or newer; PYTHON=… names one that is not found by itself." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) lacks its venv module: install it (Debian and Ubuntu: the package python3-venv)." >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/%: requirements/%.txt requirements/build.txt pyproject.toml | .venv/bin/python
	@echo "Installing what $* needs into .venv (once)"
	@$(PIP) --require-hashes -r requirements/build.txt -r $<
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@
