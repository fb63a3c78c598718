# One line per habit. `make quickstart` and `make test` need Python 3.11 or newer and nothing else.
PYTHON ?= python3
BIN := .venv/bin
PEERS := build/peers

.PHONY: setup quickstart test test-browser test-postgres test-load test-pii test-peers learn check
.PHONY: fmt docs bench bench-peers bench-table bench-labeling clean

# Two tests at a time, one thread each.
test test-browser test-postgres test-load test-pii test-peers learn check: export OMP_NUM_THREADS := 1

setup: .venv/installed

quickstart: setup ; $(BIN)/trivium quickstart
test:       setup ; $(BIN)/python -m pytest -n 2 --dist loadgroup -m "not learn and not browser and not postgres and not load and not pii and not peers"
test-browser: setup ; $(BIN)/python -m pytest -m browser tests/web
test-postgres: setup .venv/postgres ; $(BIN)/python -m pytest -m "postgres and not load and not pii"
test-load:  setup ; $(BIN)/python -m pytest -m "load and not postgres"
test-pii:   setup .venv/pii ; $(BIN)/python -m pytest -m "pii and not postgres" tests/store
test-peers: setup bench-peers ; $(BIN)/python -m pytest -m peers tests/proofs
learn:      setup ; $(BIN)/python -m pytest -n 2 --dist loadgroup -m learn
check:      setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --level error --pythonpath $(BIN)/python
	$(BIN)/python -m pytest tests/house
	$(BIN)/python docs/generate.py --check
fmt:        setup ; $(BIN)/ruff format . && $(BIN)/ruff check --fix .
docs:       setup ; $(BIN)/python docs/generate.py
# MODEL: a folder with SmolLM2-135M-Instruct. The peers live in environments of their own.
MODEL ?= HuggingFaceTB/SmolLM2-135M-Instruct
bench-peers: $(PEERS)/trl-1.12.0/installed $(PEERS)/trl/installed
bench:      setup bench-peers
	$(BIN)/python benchmarks/bench.py --model $(MODEL) --python trl-1.12.0=$(PEERS)/trl-1.12.0/bin/python trl=$(PEERS)/trl/bin/python
bench-table: setup ; $(BIN)/python benchmarks/table.py
$(PEERS)/trl-1.12.0/installed: PEER := trl==1.12.0
$(PEERS)/trl/installed: PEER := trl==1.16.0
$(PEERS)/%/installed:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install -q torch==2.13.0 && $(@D)/bin/pip install -q $(PEER) torch==2.13.0
	touch $@
bench-labeling: setup .venv/postgres
	$(BIN)/python benchmarks/labeling_load.py
	$(BIN)/python benchmarks/labeling_load.py --postgres
clean: ; rm -rf .venv build dist .ruff_cache .hypothesis src/*.egg-info

# The stamp is written last, so that an installation that broke off is done again.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@

.venv/postgres: .venv/installed
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[postgres]'
	touch $@

.venv/pii: .venv/installed
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[pii]'
	touch $@
