# `make` alone lists the targets. Variables, on the command line or in the environment:
#   PG=forky            PostgreSQL 18, not 17 (trixie)
#   PYTHON=python3.13   the interpreter of the virtual environment
#   HOST_PORT=7071  PG_PORT=15432 (forky: 15433)  AZURITE_PORT=11000 (and the two above it)
#   RESTORE_TEST_DSN, RESTORE_TEST_COMMUNITY_DSN, RESTORE_TEST_STORAGE: servers of your own
#   JOBS=4              how many tests run at once
#   LINT=               make test runs the tests alone, where the linters have passed already
#   ARGS                more arguments for pytest; for make bench what it measures: docs/performance.md has them
#   AUDIT=strict        fail where no advisory service can be reached;  UPGRADE=1: newer versions in the lock files
PY := .work/venv/bin/python
# Images of containers forbid it. Then each process of the tests compiles what it imports: five seconds for a run's tests.
export PYTHONDONTWRITEBYTECODE :=
# For two cores. Many tests wait, for a lock, a timeout or a server: one of the queue's faults takes a quarter of a core.
JOBS ?= 4
PYTEST := -m pytest --numprocesses=$(JOBS)
LINT ?= lint
# Named, since ruff would enter .work/ where the folder is no git repository.
SOURCES := $(sort $(dir $(wildcard */function.json))) restorectl shared deploy tools tests benchmarks

# For every Python from the oldest on, and without setup scripts, which would be run to see what they need.
LOCK := uv pip compile --quiet --native-tls --python $(PY) --universal --python-version 3.10 --only-binary :all: --generate-hashes \
  --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

.PHONY: help demo demo-jobs demo-backfill serve upload test test-unit test-worker lint style types imports sql-types audit format lock lock-check openapi bench bench-page up down clean venv machine

help:
	@echo "make demo       restore a generated day through the HTTP endpoint and show the rows"
	@echo "make demo-jobs  restore a large day behind the queue, and cancel one in the middle"
	@echo "make demo-backfill  restore a month with a corrupt archive, and that day again once the archive is replaced"
	@echo "make serve      leave the function running on port 7071, with a curl line to paste"
	@echo "make upload     put an archive of your own into Azurite: make upload FILE=path [ARCHIVE=name]"
	@echo "make test       ruff, mypy and the whole test suite; make test PG=forky for PostgreSQL 18"
	@echo "make test-unit  the tests that need no server"
	@echo "make test-worker  the function in Microsoft's own worker for Python 3.13; needs such a Python"
	@echo "make lint       ruff, mypy, basedpyright for SQL, the lock files, pip-audit;  make format  lets ruff rewrite"
	@echo "make lock       rewrite requirements.lock and requirements-dev.lock; UPGRADE=1 for newer versions"
	@echo "make lock-check fail where they are not what make lock writes; part of make lint"
	@echo "make openapi    rewrite docs/openapi.json and docs/openapi-2.0.json"
	@echo "make bench      time a restore beside its rivals, and print a report with a chart"
	@echo "make bench-page  measure the page with a thousand restores and ten years of days, in Chromium"
	@echo "make up / down  start / stop TimescaleDB and Azurite; down ends the function too; what was uploaded is gone then"
	@echo "make clean      stop them and remove all that was made"

demo: machine
	@$(PY) -m tools.demo

demo-jobs: machine
	@$(PY) -m tools.demo_jobs

demo-backfill: machine
	@$(PY) -m tools.demo_backfill

serve: machine
	@$(PY) -m tools.serve

# make hands FILE and ARCHIVE over in the environment.
upload: machine
	@$(PY) -m tools.upload

# The servers come up while the linters run, two at once.
test: machine
	@tools/browser
	@$(MAKE) --no-print-directory --jobs=2 up $(LINT)
	@$(PY) -m tools.services run -- $(PY) $(PYTEST) $(ARGS)

# Microsoft's worker from Python 3.13 on is a package for those Pythons alone. By such a Python, make test runs it too.
test-worker: machine
	@tools/worker-venv
	@$(PY) -m tools.services run -- .work/venv-worker/bin/python -m pytest tests/integration/test_worker_runtime.py $(ARGS)

test-unit: venv
	@$(PY) $(PYTEST) tests/unit $(ARGS)

# The longest ones first, for two at once. What the audit reads is rewritten by the check of the lock files.
lint: types sql-types lock-check style imports
	@$(PY) -m tools.audit

style: venv
	@$(PY) -m ruff check $(SOURCES)
	@$(PY) -m ruff format --check $(SOURCES)

types: venv
	@$(PY) -m mypy

imports: venv
	@.work/venv/bin/lint-imports >.work/logs/lint-imports.log || { cat .work/logs/lint-imports.log; exit 1; }

sql-types: venv
	@$(PY) -m tools.sql_types

audit: venv
	@$(PY) -m tools.audit

format: venv
	@$(PY) -m ruff check --fix $(SOURCES)
	@$(PY) -m ruff format $(SOURCES)

# The second holds all of the first, so that tests run on what is deployed, and what the command line needs.
WRITE_LOCKS := $(PY) -m $(LOCK) requirements.txt --output-file requirements.lock && \
  $(PY) -m $(LOCK) requirements-dev.txt pyproject.toml --constraint requirements.lock --output-file requirements-dev.lock

lock: venv
	@$(WRITE_LOCKS)

# uv keeps the versions and hashes that a lock file has, so a new release elsewhere changes nothing here.
lock-check: venv
	@if ! echo pip | $(PY) -m uv pip compile --quiet --native-tls --python $(PY) --refresh-package pip - >/dev/null 2>&1; then \
	  echo "WARNING: the lock files WERE NOT CHECKED: no package index can be reached" >&2; exit; \
	fi; \
	before=$$(cat requirements.lock requirements-dev.lock | sha256sum); \
	$(WRITE_LOCKS) || exit; \
	if [ "$$before" != "$$(cat requirements.lock requirements-dev.lock | sha256sum)" ]; then \
	  echo "error: the lock files did not fit requirements*.txt. They are rewritten now; review and commit them" >&2; exit 1; \
	fi

openapi: venv
	@$(PY) -m tools.openapi

# It brings servers of its own, with settings of its own.
bench: machine
	@$(PY) -m benchmarks $(ARGS)

# With HOST_PORT another than that of make serve, if that runs.
bench-page: machine
	@tools/browser
	@$(PY) -m benchmarks.page

up: machine
	@$(PY) -m tools.services up

# An interrupted set-up leaves a Python without packages, and no servers.
down:
	@if $(PY) -c 'import psycopg2' 2>/dev/null; then $(PY) -m tools.services down; fi

clean: down
	rm -rf .work .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The virtual environment alone, and everything that the services need as well.
venv:
	@tools/bootstrap --venv-only

machine:
	@tools/bootstrap
