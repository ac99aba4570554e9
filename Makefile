# What the README's first screen lists. Every target sets up what it needs; running one twice is safe.
# ARGS go to the command: make demo ARGS="--orders 20", make test ARGS="-k push", make bench ARGS="--workload small".
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Of the tests: processes side by side.
WORKERS ?= 4
# The warehouse of demo, dev and chaos: the sandbox's own, or with WMS=tryton a real one.
WMS_OPTION := $(if $(WMS),--wms $(WMS) )
# How many sellers demo and dev serve with one deployment: make demo ACCOUNTS=2.
ACCOUNTS_OPTION := $(if $(ACCOUNTS),--accounts $(ACCOUNTS) )

.DEFAULT_GOAL := help
.PHONY: help docs setup compiled demo dev test check lint types bench chaos pins container-pins image browser promtool pgbouncer validators validate sbom audit

help:
	@echo "make demo   play a day of orders through the whole pipeline, and say how it ended (WMS=tryton: a real warehouse; ACCOUNTS=2: two sellers)"
	@echo "make dev    the same, and stay up: http://127.0.0.1:3000"
	@echo "make test   the tests"
	@echo "make check  lint, types, floors, definitions, tests: what CI runs"
	@echo "make bench  the benchmark table"
	@echo "make chaos  300 orders while daemon, code server, run workers and PostgreSQL are killed at random"

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] < (3, 15) else "orders_pipeline needs Python 3.11 to 3.14; set PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

setup: $(READY)

# A run of Dagster's is a process of its own: where PYTHONDONTWRITEBYTECODE is set, each would compile the package anew.
compiled: $(READY)
	@$(BIN)/python -m compileall -q $(dir $(abspath $(lastword $(MAKEFILE_LIST))))orders_pipeline

demo: compiled
	@$(BIN)/python -m orders_pipeline.demo $(WMS_OPTION)$(ACCOUNTS_OPTION)$(ARGS)

dev: compiled
	@$(BIN)/python -m orders_pipeline.demo --stay $(WMS_OPTION)$(ACCOUNTS_OPTION)$(ARGS)

# The real browser of one test. Where it cannot be installed, that test is skipped and says so (in CI it fails).
browser:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "installing chromium for the tests" \
	&& { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	chromium chromium-driver; } >/dev/null; } \
	|| echo "chromium and chromium-driver are missing: the browser test is skipped"

# What checks the alert rules, and scrapes once. Where it cannot be installed, those tests are skipped and say so (in CI they
# fail). Debian's package would start a server of its own: it is told not to.
promtool:
	@command -v promtool >/dev/null && command -v prometheus >/dev/null \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "installing prometheus for the tests" \
	&& { apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	prometheus; } >/dev/null; } \
	|| echo "prometheus and promtool are missing: the tests of the alert rules are skipped"

# The pooler of one file of tests, which is skipped and says so where it cannot be installed (in CI it fails).
pgbouncer:
	@command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "installing pgbouncer for the tests" \
	&& { apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	pgbouncer; } >/dev/null; } \
	|| echo "pgbouncer is missing: the tests of a pooler are skipped"

# Tryton first: to install and prepare it takes longer than a busy machine gives a test. Where it cannot be, its tests say so.
# A file is one worker's, so that what its tests share is made once; the longest are begun early (conftest.py). More
# workers than processors, because many tests wait for processes. Bytecode is written: else each worker compiles each test.
test: compiled browser promtool pgbouncer
	-@$(BIN)/python -m warehouses.tryton --prepare
	@PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/pyright $(ARGS)

check: lint types
	$(BIN)/dagster definitions validate -m orders_pipeline.definitions
	@$(MAKE) --no-print-directory test

bench: compiled
	@$(BIN)/python -m bench $(ARGS)

chaos: compiled
	@$(BIN)/python -m orders_pipeline_tests.chaos.chaos $(WMS_OPTION)$(ARGS)

# The pages that are generated from the code; a test holds that they are true.
docs: $(READY)
	@$(BIN)/python -c "from orders_pipeline.fulfillment.states import ORDER_STATES as page; print(page.as_markdown(), end='')" > docs/order-states.md
	@$(BIN)/python -c "from orders_pipeline.operations.failures_page import as_markdown as page; print(page(), end='')" > docs/failures.md
	@$(BIN)/python -c "from orders_pipeline.shipments.states import PACKAGE_STATES as page; print(page.as_markdown(), end='')" > docs/package-states.md
	@PYTHONPATH=$(dir $(abspath $(lastword $(MAKEFILE_LIST)))) $(BIN)/python -m supply_chain.licences > docs/licences.md
	@$(BIN)/python -c "from orders_pipeline.operations.alerts import ALERTS; from orders_pipeline.operations.alerting.rules_file import json_schema; print(json_schema({kind.name for kind in ALERTS}), end='')" > docs/alerts.schema.json
	@$(BIN)/python -c "from orders_pipeline.accounts_file import json_schema as page; print(page(), end='')" > docs/accounts.schema.json

.PHONY: screenshots
# The pictures of the README and docs/, from a running system: look at each before it is committed.
screenshots: compiled browser
	@$(BIN)/python -m orders_pipeline_tests.screenshots $(ARGS)

# The exact versions of everything, without addresses. Run after a change of pyproject.toml, in a fresh $(VENV).
pins:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "setuptools>=80" -e ".[test]"
	$(BIN)/python -m pip list --format=freeze --exclude-editable --exclude pip > requirements.txt

# What the image installs, with every file's hash and without addresses; after `pins`. It asks the index for the hashes of
# some hundred releases, which takes minutes.
container-pins:
	$(PYTHON) -m venv $(VENV)/pins
	$(VENV)/pins/bin/python -m pip install --quiet --disable-pip-version-check pip-tools==7.6.2
	$(VENV)/pins/bin/pip-compile --quiet --extra kubernetes --generate-hashes --no-emit-index-url --no-emit-trusted-host \
	--no-emit-find-links --no-header --no-annotate --strip-extras --allow-unsafe --constraint requirements.txt \
	--output-file deploy/container/requirements.txt pyproject.toml
	sed -i '1i # What the image installs, with the hashes of every file of each release, and without addresses. Written by\n# `make container-pins` from pyproject.toml (with the extra `kubernetes`) and the versions of requirements.txt.' \
	deploy/container/requirements.txt

# The image of deploy/container; ENGINE=podman where that is what is there, PYTHON_IMAGE for another base.
ENGINE ?= docker
image:
	$(ENGINE) build --file deploy/container/Dockerfile --tag orders_pipeline \
	$(if $(PYTHON_IMAGE),--build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) )$(ARGS) .

# Tools that are heavy, or need other versions of what the pipeline uses: each group has an environment of its own, and neither
# `setup` nor `test` makes it. Where the validators are missing, their tests are skipped and say so (in CI they fail).
VALIDATORS := .validators
SUPPLY_CHAIN := .supply_chain
$(VALIDATORS)/.ready: .ci/validators.txt
	$(PYTHON) -m venv $(VALIDATORS)
	$(VALIDATORS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement .ci/validators.txt
	@touch $@

$(SUPPLY_CHAIN)/.ready: .ci/supply_chain.txt
	$(PYTHON) -m venv $(SUPPLY_CHAIN)
	$(SUPPLY_CHAIN)/bin/python -m pip install --quiet --disable-pip-version-check --requirement .ci/supply_chain.txt
	@touch $@

validators: $(VALIDATORS)/.ready

# What the validators say of deploy/ and of the workflows; with ARGS=orders_pipeline_tests/deploy all that is known of deploy/.
validate: $(READY) validators
	@$(BIN)/pytest -n 0 -rP --no-header $(or $(ARGS),orders_pipeline_tests/deploy/test_validators.py)

# What the image is made of, with the hash of every file, in the form CycloneDX: build/sbom.cdx.json.
sbom: $(SUPPLY_CHAIN)/.ready
	@mkdir -p build
	$(SUPPLY_CHAIN)/bin/cyclonedx-py requirements deploy/container/requirements.txt --pyproject pyproject.toml \
	--output-reproducible --output-format JSON --output-file build/sbom.cdx.json

# Known vulnerabilities of what is pinned. Exit code 2: not everything could be looked up.
audit: $(SUPPLY_CHAIN)/.ready
	@$(SUPPLY_CHAIN)/bin/python -m supply_chain.audit $(ARGS)
