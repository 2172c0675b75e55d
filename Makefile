# The commands of this project; `make help` lists them.
#
# Each environment below .venv/ is filled from one lock in requirements/ and remembered by a stamp file, so a
# second `make test` starts at once, and a changed lock or pyproject.toml is noticed.

PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
SUPPORTED := $(shell $(PYTHON) -c 'import sys; print(*["yes"][:sys.version_info >= (3, 11)])' 2>/dev/null)

VENV := .venv/$(or $(VERSION),unknown)
TRIO_TYPING := .venv/trio-typing-$(or $(VERSION),unknown)
BENCH := .venv/bench-$(or $(VERSION),unknown)
LOCK := .venv/lock-$(or $(VERSION),unknown)

PIP_INSTALL = bin/python -m pip install -qq --disable-pip-version-check
# Three at a time: two processors are what every machine has, and many tests wait. A whole file by one of them, so that
# what its tests share is made once.
SIDE_BY_SIDE = -n 3 --dist loadfile
heading = @printf '\n=== %s ===\n' '$(1)'

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# The steps of `make check` are told apart by their headings, which needs them to come one after another.
.NOTPARALLEL:
.PHONY: help run test check format format-check lint types floors docs coverage test-trio-typing explore mutants lives \
	bench bench-quick lock clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  Another Python, from 3.11 on: make test PYTHON=python3.13"

# --- For users ---------------------------------------------------------------------------------------------------

run: $(VENV)/.run ## serve the first example, an echo on 127.0.0.1 port 7001
	@echo 'Talk to it from another terminal:  printf hello | nc -q1 127.0.0.1 7001'
	@echo 'or, without nc:  $(PYTHON) -c '\''import socket; s = socket.create_connection(("127.0.0.1", 7001));' \
		's.sendall(b"hello"); print(s.recv(99))'\'
	@echo 'Ctrl-C stops it.'
	@exec $(VENV)/bin/trioservice run examples/01_echo.tac

# --- For developers ----------------------------------------------------------------------------------------------

test: $(VENV)/.test ## run the tests
	$(call heading,Tests on Python $(VERSION))
	@$(VENV)/bin/python -m pytest $(SIDE_BY_SIDE)

check: format-check lint types floors docs coverage test-trio-typing ## everything that must hold before a change lands

format: $(VENV)/.check ## put the code into form
	@$(VENV)/bin/ruff check --quiet --select I --fix
	@$(VENV)/bin/ruff format

format-check: $(VENV)/.check
	$(call heading,Format)
	@$(VENV)/bin/ruff format --check --diff

lint: $(VENV)/.check ## look for likely mistakes (ruff)
	$(call heading,Lint)
	@$(VENV)/bin/ruff check

# Examples are written as a newcomer would write them, without annotations.
types: $(VENV)/.check ## check the types (mypy, strict)
	$(call heading,Types)
	@$(VENV)/bin/mypy
	@$(VENV)/bin/mypy --scripts-are-modules --allow-untyped-defs --allow-untyped-calls \
		--disable-error-code var-annotated $(wildcard examples/*.tac)

floors: $(VENV)/.check ## check that no module imports uphill (import-linter)
	$(call heading,Floors)
	@$(VENV)/bin/lint-imports --no-logo

docs: $(VENV)/.check ## build the documentation into docs/_build/html; a broken internal link is an error
	$(call heading,Documentation)
	@$(VENV)/bin/python -m sphinx -q -E -W --keep-going -n -b html docs docs/_build/html

coverage: $(VENV)/.test ## run the tests and show which branches they miss
	$(call heading,Tests on Python $(VERSION), with branch coverage)
	@$(VENV)/bin/coverage erase
	@$(VENV)/bin/coverage run -m pytest $(SIDE_BY_SIDE)
	@$(VENV)/bin/coverage combine --quiet
	@$(VENV)/bin/coverage report

test-trio-typing: $(TRIO_TYPING)/.trio-typing ## run the tests that need trio-typing, in an environment of their own
	$(call heading,Tests with trio-typing)
	@$(TRIO_TYPING)/bin/python -m pytest tests/trio_typing

explore: $(VENV)/.test ## live thousands of random lives of random trees, in search of a broken rule
	$(call heading,Random lives)
	@TRIOSERVICE_EXPLORE=1 TRIOSERVICE_EXAMPLES=5000 $(VENV)/bin/python -m pytest tests/test_run.py

mutants: $(VENV)/.test ## break the code on purpose and see that the tests notice
	$(call heading,Mutants)
	@$(VENV)/bin/python tests/mutants.py
	$(call heading,Mistakes that `trioservice check` has to find)
	@$(VENV)/bin/python tests/check_mutants.py

lives: $(VENV)/.test ## live each example, and what looks odd and is sound, through a thousand simulated lives
	$(call heading,Simulated lives on Python $(VERSION))
	@$(VENV)/bin/python tests/check_lives.py

# It takes a compiler (cc) and Linux.  `-m benchmarks --help` tells how to measure a part.
bench: $(BENCH)/.bench ## measure us beside our peers (half an hour), into benchmarks/RESULTS.md
	$(call heading,Benchmarks)
	@$(BENCH)/bin/python -m benchmarks --write

bench-quick: $(BENCH)/.bench ## measure what says most, in less than two minutes
	$(call heading,Benchmarks that say most)
	@$(BENCH)/bin/python -m benchmarks --quick

# Each lock takes the versions of the one before it, so all environments agree; hence the order.
lock: $(LOCK)/.lock ## compile requirements/*.txt anew, with the newest versions
	@for set in run test check trio-typing bench lock; do \
		echo "compiling requirements/$$set.txt"; \
		$(LOCK)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest \
			--generate-hashes --no-header --no-annotate --no-emit-index-url \
			requirements/$$set.in --output-file requirements/$$set.txt || exit; \
	done

clean: ## remove the environments and all that the tools left behind
	rm -rf .venv build dist htmlcov docs/_build .coverage .coverage.* \
		.hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- Environments ------------------------------------------------------------------------------------------------

# An error of make's own, since it is one line long and names what to do.
define require_python
$(if $(VERSION),,$(error PYTHON=$(PYTHON) does not run. Name a Python from 3.11 on, for example PYTHON=python3.13))
$(if $(SUPPORTED),,$(error trioservice needs Python 3.11 or newer, but $(PYTHON) is $(VERSION). Try PYTHON=python3.13))
endef

.PRECIOUS: .venv/%/.made
.venv/%/.made:
	$(require_python)
	@$(PYTHON) -m venv --clear $(@D)
	@touch $@

# Hashes are demanded of what is downloaded; the project itself is on disk, and is installed without a download.
define install
@echo 'Installing locked dependencies into $(@D) (about a minute) ...'
@$(@D)/$(PIP_INSTALL) --require-hashes -r $<
@$(@D)/$(PIP_INSTALL) --no-index --no-deps --no-build-isolation -e .
@touch $@
endef

$(VENV)/.run $(VENV)/.test $(VENV)/.check: $(VENV)/.%: requirements/%.txt pyproject.toml $(VENV)/.made
	$(install)

$(TRIO_TYPING)/.trio-typing: requirements/trio-typing.txt pyproject.toml $(TRIO_TYPING)/.made
	$(install)

$(BENCH)/.bench: requirements/bench.txt pyproject.toml $(BENCH)/.made
	$(install)

$(LOCK)/.lock: requirements/lock.txt $(LOCK)/.made
	@$(@D)/$(PIP_INSTALL) --require-hashes -r $<
	@touch $@
