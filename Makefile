PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test proof bench lint format docs links tox audit lock

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

demo: $(INSTALLED) ## Start the example site, send it deliveries, show what became of them
	$(BIN)/python -m example_project.demo $(ARGS)

test: $(INSTALLED) ## Run the whole suite on SQLite and on PostgreSQL
	$(BIN)/python -m tests $(ARGS)

proof: $(INSTALLED) ## Try all that can break the promise; takes about twenty minutes
	$(BIN)/python -m proof $(ARGS)

# Its requirements have a place of their own: nothing else needs the peers.
BENCH := build/bench
BENCH_INSTALLED := $(BENCH)/.installed

bench: $(BENCH_INSTALLED) ## Measure speed beside peers; takes a few minutes, ARGS=--full more
	$(BENCH)/bin/python -m benchmarks $(ARGS)

lint: $(INSTALLED) ## Check style, types and migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python manage.py makemigrations --check --dry-run

format: $(INSTALLED) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

SPHINX := $(BIN)/sphinx-build --nitpicky --fail-on-warning --keep-going --quiet

docs: $(INSTALLED) ## Build the documentation in build/docs, with warnings as errors
	$(BIN)/python docs/settings_page.py
	$(SPHINX) --builder html docs build/docs

links: $(INSTALLED) ## Check the documentation's links to other sites, which needs the network
	$(SPHINX) --builder linkcheck docs build/links

tox: $(INSTALLED) ## Run the suite on each supported Python and Django
	$(BIN)/tox run $(ARGS)

# The locks are universal: one file serves each Python that its Django supports, by markers.
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --upgrade --all-extras

audit: $(INSTALLED) ## Look the locked requirements up among known vulnerabilities
	$(BIN)/uv tool run pip-audit --requirement requirements/dev.txt --no-deps --disable-pip --strict

lock: $(INSTALLED) ## Write the locked requirements anew
	$(COMPILE) --group dev -o requirements/dev.txt pyproject.toml
	$(COMPILE) --group test -o requirements/django5.2.txt pyproject.toml requirements/django5.2.in
	$(COMPILE) --group test -o requirements/django6.0.txt --python-version 3.12 \
		pyproject.toml requirements/django6.0.in
	$(COMPILE) --group test -o requirements/django6.1.txt --python-version 3.12 \
		pyproject.toml requirements/django6.1.in
	$(COMPILE) --group bench -o requirements/bench.txt pyproject.toml

$(INSTALLED): requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed.")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<0.14'
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

$(BENCH_INSTALLED): $(INSTALLED) requirements/bench.txt pyproject.toml
	$(BIN)/python -m venv $(BENCH)
	$(BIN)/uv pip sync --quiet --python $(BENCH)/bin/python requirements/bench.txt
	$(BIN)/uv pip install --quiet --python $(BENCH)/bin/python --no-deps --editable .
	touch $@
