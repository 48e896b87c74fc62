# `make` alone lists the targets. Variables, on the command line or in the environment:
#   PG=forky            PostgreSQL 18 in place of 17 (trixie)
#   PYTHON=python3.13   the interpreter of the virtual environment
#   HOST_PORT=7071  PG_PORT=15432 (forky: 15433)  AZURITE_PORT=11000 (and the two above it)
#   RESTORE_TEST_DSN, RESTORE_TEST_COMMUNITY_DSN, RESTORE_TEST_STORAGE: servers of your own
#   ARGS                more arguments for pytest
#   BENCH_SIZES=0.3,1   what make bench measures; docs/performance.md has its other variables
PY := .work/venv/bin/python
# Named, since ruff would enter .work/ where the folder is no git repository.
SOURCES := RestoreChunk shared tools tests benchmarks

.PHONY: help demo serve test test-unit lint format bench bench-docs up down clean venv machine

help:
	@echo "make demo       restore a generated day through the HTTP endpoint and show the rows"
	@echo "make serve      leave the function running on port 7071, with a curl line to paste"
	@echo "make test       ruff, mypy and the whole test suite; make test PG=forky for PostgreSQL 18"
	@echo "make test-unit  the tests that need no server"
	@echo "make lint       ruff and mypy;  make format  lets ruff rewrite"
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

format: venv
	@$(PY) -m ruff check --fix $(SOURCES)
	@$(PY) -m ruff format $(SOURCES)

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
