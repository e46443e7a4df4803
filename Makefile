# Everything runs from a virtual environment, made on first use. Options for pytest: make test PYTEST_ARGS="-k redis"

PYTHON := $(shell for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PYTEST_ARGS ?=
UV ?= uv
VENV ?= .venv
# Many tests wait for real servers, so there are more workers than cores; more than eight would compete for memory.
WORKERS ?= $(shell cores=$$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN); \
	echo $$((cores < 2 ? 2 : cores < 4 ? 4 : cores < 8 ? cores : 8)))

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-header --no-annotate --no-strip-extras

# The tests start hundreds of exporters, none of which shall compile the code once more.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test lint format servers benchmark soak recordings docs package sbom release lock clean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(VENV)/demo ## Start real servers on this machine, verify them and serve the page
	$(BIN)/checklist-exporter demo

test: $(VENV)/dev ## Run all tests
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder $(PYTEST_ARGS)

lint: $(VENV)/dev ## Check format, style, types, imports and the Dockerfile
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

format: $(VENV)/dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

servers: $(VENV)/dev ## Download and build every server that the tests can use (takes up to an hour)
	$(BIN)/python -m tests.servers

benchmark: $(VENV)/dev ## Print ratios of speed and memory
	$(BIN)/pytest -m benchmark -p no:randomly -s tests/benchmarks $(PYTEST_ARGS)

soak: $(VENV)/dev ## Run the tests that attack for minutes
	$(BIN)/pytest -m soak $(PYTEST_ARGS)

recordings: $(VENV)/dev ## Record again what real servers answer (tests/recordings)
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder --record $(PYTEST_ARGS)

docs: $(VENV)/dev ## Generate the reference documentation, the PrometheusRule and the dashboards
	$(BIN)/python -m exporter.reference docs
	$(BIN)/python -m alerts
	$(BIN)/python -m dashboards

package: $(VENV)/dev ## Build the source distribution, and the wheel from it, into dist/
	rm -rf dist
	$(BIN)/python -m hatchling build --target sdist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist dist/*.tar.gz

sbom: package ## List what the packages in dist/ require: a CycloneDX bill of materials, and the licences
	.ci/sbom $(BIN)/python

release: ## Build into dist/ what a release consists of, of the commit with the tag of this version
	.ci/release
	$(MAKE) sbom
	cd dist && sha256sum *.whl *.tar.gz *.json *.txt > SHA256SUMS

lock: ## Pin the requirements to their newest versions (requires uv)
	@command -v $(UV) >/dev/null || { echo "make lock requires uv: install it, or set its path with UV=…" >&2; exit 1; }
	$(LOCK) --extra aws --extra http3 pyproject.toml -o requirements/run.txt
	$(LOCK) --extra aws --extra http3 --extra demo pyproject.toml -o requirements/demo.txt
	$(LOCK) --extra aws --extra http3 --extra demo --extra dev pyproject.toml -o requirements/dev.txt
	$(LOCK) --group build -o requirements/build.txt
	$(LOCK) --group release -o requirements/release.txt

clean: ## Remove the virtual environment and everything generated (the cache of servers stays)
	rm -rf .venv $(VENV) dist build demo-data .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "checklist-exporter requires Python 3.11 or newer; set PYTHON=… if yours is not on the PATH as python3." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) lacks its venv module: install it (on Debian and Ubuntu, the package python3-venv)." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/%: requirements/%.txt requirements/build.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing the requirements of $* into $(VENV) (once)"
	@$(PIP) --require-hashes -r requirements/build.txt -r $<
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@
