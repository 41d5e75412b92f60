# Everything a developer does. `make help` lists it.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Made once; made again only when what is to be installed has changed.
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.bench-installed
# Environments of their own: the oldest packages; what looks at packages.
OLDEST := $(VENV)-oldest
TOOLS := $(VENV)-tools
DOCS := $(VENV)-docs
ARGS ?=
# Tests at once, each with a broker of its own: they wait for brokers more than they compute.
JOBS ?= 6
PYTEST := $(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal

.PHONY: help install broker postgres promtool browser demo test unit lint types format bench soak test-rabbitmq4 \
	test-rabbitmq-newest test-oldest \
	docs dist image licences sbom audit clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv with the command taskqueue and everything for development

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "taskqueue needs Python 3.11 or later: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

broker: ## Make sure there is a RabbitMQ for the demo and the tests
	@scripts/get-broker

postgres: ## Make sure there is PostgreSQL, on which sending after a commit is tested
	@scripts/get-postgres

promtool: install ## Make sure there is promtool, which checks the alert rules
	@scripts/get-promtool

browser: ## Make sure there is Chromium with its driver, in which the page is tested
	@scripts/get-browser

demo: install broker ## Watch real tasks being delivered, delayed, retried and given up
	$(BIN)/python -m sandbox.demo $(ARGS)

test: install broker postgres promtool browser ## Run all tests on a real broker (JOBS=6 at once; ARGS=… goes to pytest)
	$(PYTEST) -m "not soak" $(ARGS)

unit: install promtool ## Run the tests that need no broker
	$(BIN)/python -m pytest tests/unit $(ARGS)

lint: install ## Check style, formatting and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: install ## Check types
	$(BIN)/mypy

format: install ## Format the code and fix what can be fixed by itself
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: install broker $(BENCH_STAMP) ## Measure beside Celery, Dramatiq and others, in 15 minutes (ARGS=--quick: in 6)
	@scripts/get-receiver
	@for each in throughput topology lateness scale; do \
		$(BIN)/python -m benchmarks.$$each $(ARGS) || exit; \
	done

$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	@touch $@

soak: install broker ## Run the tests that take many minutes
	$(BIN)/python -m pytest -m soak $(ARGS)

test-rabbitmq4: install ## Run the tests that need a broker on RabbitMQ 4.0, that of Debian trixie (as root)
	TASKQUEUE_TEST_NODE="$$(scripts/get-rabbitmq4)" $(PYTEST) -m "not soak" tests/integration tests/faults $(ARGS)

test-rabbitmq-newest: install ## The same on the newest RabbitMQ that Debian has, 4.3 or later (as root)
	@TASKQUEUE_TEST_SUITE=testing $(MAKE) test-rabbitmq4 ARGS='$(ARGS)'

test-oldest: $(OLDEST)/.installed ## Run the tests without a broker with the oldest packages that pyproject.toml allows
	$(OLDEST)/bin/python -m pytest -W "ignore:'click:DeprecationWarning" tests/unit $(ARGS)

# click warns about what the oldest typer imports of it, and pytest takes a warning for an error.
$(OLDEST)/.installed: pyproject.toml scripts/bounds
	$(PYTHON) -m venv $(OLDEST)
	$(PYTHON) scripts/bounds >$(OLDEST)/bounds.txt
	$(OLDEST)/bin/python -m pip install --quiet --constraint $(OLDEST)/bounds.txt --editable '.[test]'
	@touch $@

docs: $(DOCS)/.installed ## Build the documentation as a site into build/site; a broken link fails
	$(DOCS)/bin/sphinx-build --fresh-env --fail-on-warning --keep-going --quiet --conf-dir docs/site . build/site
	@echo "build/site/index.html"

$(DOCS)/.installed: pyproject.toml
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --editable '.[docs]'
	@touch $@

dist: install ## Build wheel and sdist into dist/, without a network
	$(BIN)/python scripts/dist dist

image: ## Build the image and try it with compose (needs docker)
	@scripts/try-image

licences: install ## List the licence of each package that users install
	@$(BIN)/python scripts/licences

sbom: install ## Write what is installed for users to dist/sbom.json, as CycloneDX
	@mkdir -p dist
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet cyclonedx-bom pip-audit
	$(PYTHON) -m venv --clear $(TOOLS)/users
	$(TOOLS)/users/bin/python -m pip install --quiet '.[metrics,opentelemetry,web]'
	$(TOOLS)/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
		--output-file dist/sbom.json $(TOOLS)/users/bin/python

audit: sbom ## Ask for known vulnerabilities of what users install (needs the network)
	$(TOOLS)/bin/pip-audit --path "$$(echo $(TOOLS)/users/lib/python3.*/site-packages)"

clean: ## Remove everything that was made
	rm -rf $(VENV) $(OLDEST) $(TOOLS) $(DOCS) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find taskqueue sandbox tests -name __pycache__ -type d -prune -exec rm -rf {} +
