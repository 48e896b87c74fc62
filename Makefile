# `make` alone lists the targets. Variables, on the command line or in the environment:
#   PG=forky            PostgreSQL 18 in place of 17 (trixie)
#   PYTHON=python3.13   the interpreter of the virtual environment
#   HOST_PORT=7071  PG_PORT=15432 (forky: 15433)  AZURITE_PORT=11000 (and the two above it)
#   RESTORE_TEST_DSN, RESTORE_TEST_COMMUNITY_DSN, RESTORE_TEST_STORAGE: servers of your own
#   ARGS                more arguments for pytest
#   BENCH_PLAN=docs     what make bench measures; docs/performance.md has its other variables
#   AUDIT=strict        fail where no advisory service can be reached;  UPGRADE=1: newer versions in the lock files
PY := .work/venv/bin/python
# Named, since ruff would enter .work/ where the folder is no git repository.
SOURCES := RestoreChunk shared tools tests benchmarks

# For every Python from the oldest on, and without setup scripts, which would be run to see what they need.
LOCK := uv pip compile --quiet --native-tls --universal --python-version 3.10 --only-binary :all: --generate-hashes \
  --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

.PHONY: help demo serve test test-unit lint audit format lock openapi bench bench-docs up down clean venv machine

help:
	@echo "make demo       restore a generated day through the HTTP endpoint and show the rows"
	@echo "make serve      leave the function running on port 7071, with a curl line to paste"
	@echo "make test       ruff, mypy and the whole test suite; make test PG=forky for PostgreSQL 18"
	@echo "make test-unit  the tests that need no server"
	@echo "make lint       ruff, mypy, basedpyright for SQL, pip-audit;  make format  lets ruff rewrite"
	@echo "make lock       write requirements.lock and requirements-dev.lock anew; UPGRADE=1 for newer versions"
	@echo "make openapi    write docs/openapi.json and docs/openapi-2.0.json anew"
	@echo "make bench      time a restore beside its rivals;  make bench-docs  puts the figures into the docs"
	@echo "make up / down  start / stop TimescaleDB and Azurite"
	@echo "make clean      stop them and remove all that was made"

demo: machine
	@$(PY) -m tools.demo

serve: machine
	@$(PY) -m tools.serve

# The servers come up while the linters run.
test: machine
	@$(MAKE) --no-print-directory --jobs=2 lint up
	@$(PY) -m tools.services run -- $(PY) -m pytest $(ARGS)

test-unit: venv
	@$(PY) -m pytest tests/unit $(ARGS)

lint: venv
	@$(PY) -m ruff check $(SOURCES)
	@$(PY) -m ruff format --check $(SOURCES)
	@$(PY) -m mypy
	@.work/venv/bin/lint-imports >.work/logs/lint-imports.log || { cat .work/logs/lint-imports.log; exit 1; }
	@$(PY) -m tools.sql_types
	@$(PY) -m tools.audit

audit: venv
	@$(PY) -m tools.audit

format: venv
	@$(PY) -m ruff check --fix $(SOURCES)
	@$(PY) -m ruff format $(SOURCES)

# The second holds all of the first, so that tests run on what is deployed.
lock: venv
	@$(PY) -m $(LOCK) requirements.txt --output-file requirements.lock
	@$(PY) -m $(LOCK) requirements-dev.txt --constraint requirements.lock --output-file requirements-dev.lock

openapi: venv
	@$(PY) -m tools.openapi

# It brings servers of its own, with settings of its own.
bench: machine
	@$(PY) -m benchmarks run

bench-docs: venv
	@$(PY) -m benchmarks docs

up: machine
	@$(PY) -m tools.services up

down:
	@if [ -x $(PY) ]; then $(PY) -m tools.services down; fi

clean: down
	rm -rf .work .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The virtual environment alone, and everything that the services need as well.
venv:
	@tools/bootstrap --venv-only

machine:
	@tools/bootstrap
