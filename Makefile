# make demo   set up, then explain a built-in detector at 30 fps on this machine's CPU
# make test   set up, then static checks and all tests
# make test-long  set up, then the tests that take minutes
# make attack  set up, then damaged inputs, kills and faults: at least 50,000 inputs, 300 moments and 200,000 requests; SEED=2 for others
# make conformance  set up, then clients of others against the server: schemathesis, perf_analyzer, tritonclient, KServe's, and a real Triton beside it
# make bench  the project's own figures: overhead, pacing, calibration, report, rightness, prediction, batching, strategies, tuning, serving
# make soak   two hours of live cameras at 80 % of capacity, one lost every minute: memory, counts, clocks; SOAK_SECONDS=2000 for less
# make soak-serve  an hour of requests at 80 % of what is carried: memory, descriptors, answers right and counted; SOAK_SERVE_SECONDS for less
# make docs   build the documentation into build/site, in an environment of its own (.venv-docs)
# Needs Python 3.10-3.13 with pip; everything else is installed into .venv.

PYTHON ?= $(shell for v in 3.12 3.11 3.13 3.10; do p=$$(command -v python$$v) && "$$p" -m venv --help >/dev/null 2>&1 && { echo "$$p"; break; }; done; true)
ifeq ($(strip $(PYTHON)),)
PYTHON := python3
endif
VENV := .venv
DOCS_VENV := .venv-docs
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# The tests start hundreds of interpreters: without compiled files each of them would compile all of framepace anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-long check attack conformance bench soak soak-serve docs setup data browser services clean

# A budget that is missed is an answer (exit code 1), not an error of make's.
demo: $(VENV)/.run
	$(BIN)/framepace explain builtin:detector --fps 30 --out framepace-out/demo || [ $$? -eq 1 ]
	@echo "framepace      source $(BIN)/activate"

# Most tests on two processes; those that measure time alone, one after the other.
test: check data browser services
	$(BIN)/python -m pytest -m "not timing and not long" --numprocesses 2 --dist worksteal
	$(BIN)/python -m pytest -m "timing and not long"

test-long: check data
	$(BIN)/python -m pytest -m long
	$(BIN)/python -m pytest -m "hypothesis and not long and not timing" --numprocesses 2 --hypothesis-profile thorough

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/style.py

SEED ?= 1
attack: $(VENV)/.dev
	$(BIN)/python -m attack --seed $(SEED)
	$(BIN)/python -m attack.served --seed $(SEED)

# What cannot be fetched is skipped, and said.
conformance: $(VENV)/.dev
	$(BIN)/python -m pytest -rs tests/serving/test_schemathesis.py tests/serving/test_kserve.py tests/triton/test_perf_analyzer.py tests/triton/test_tritonclient.py tests/triton/test_differential.py

bench: $(VENV)/.dev
	$(BIN)/python bench/overhead.py
	$(BIN)/python bench/pacer.py
	$(BIN)/python bench/calibration.py
	$(BIN)/python bench/healthy.py
	$(BIN)/python bench/report.py
	$(BIN)/python bench/explain.py
	$(BIN)/python bench/prediction.py --simulated
	$(BIN)/python bench/batching.py --pairs 0
	$(BIN)/python bench/strategies.py
	$(BIN)/python bench/tuner.py --only 0
	$(BIN)/python bench/tuned.py
	$(BIN)/python bench/serving.py

SOAK_SECONDS ?= 7200
soak: $(VENV)/.dev
	$(BIN)/python bench/soak.py --seconds $(SOAK_SECONDS)

SOAK_SERVE_SECONDS ?= 3600
soak-serve: $(VENV)/.dev
	$(BIN)/python bench/serving_soak.py --seconds $(SOAK_SERVE_SECONDS)

docs: $(VENV)/.run $(DOCS_VENV)/.docs
	$(BIN)/python -m tools.reference docs/reference
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict --quiet
	@echo "build/site/index.html; with the search: $(BIN)/python -m http.server -d build/site"

setup: $(VENV)/.dev

data: $(VENV)/.dev
	$(BIN)/python tools/fetch_data.py

browser:
	sh tools/chromium.sh

# Tests that talk to a server are skipped where there is none.
services:
	-sh tools/services.sh rtsp
	-sh tools/services.sh mosquitto

$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.run constraints.txt
	$(PIP) install -c constraints.txt -r requirements-dev.txt
	touch $@

$(DOCS_VENV)/.docs: requirements-docs.txt
	$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip --disable-pip-version-check --quiet install -r requirements-docs.txt
	touch $@

clean:
	rm -rf $(VENV) $(DOCS_VENV) docs/reference build/site .mypy_cache .ruff_cache .import_linter_cache .hypothesis
