# Everything a developer does, one way each. `make` alone lists it.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3,$(shell command -v $(name) 2>/dev/null)))

.DEFAULT_GOAL := help
.PHONY: man pictures help install demo test lint check bench readme wheel

help: ## Show what can be done
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

install: $(INSTALLED) ## Set up .venv with everything; does nothing where it is up to date

$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { echo "no python3 found: install Python 3.11 or newer" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is too old: Python 3.11 or newer is needed (make PYTHON=/path/to/python3.11)" >&2; exit 1; }
	@echo "installing into $(VENV): a few minutes, once, most of it torch"
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(INSTALLED) ## Train a small family, publish it on a loopback Hub, find out who comes from whom
	@$(BIN)/python -m bench.demo

test: $(INSTALLED) ## The whole test suite, offline; with the real Neo4j where Java and Maven are
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: $(INSTALLED) ## Lint, format and types
	@status=0; $(BIN)/ruff check . || status=1; $(BIN)/ruff format --check . || status=1; $(BIN)/mypy || status=1; exit $$status

check: lint ## Lint, and the tests that are quick and need no Neo4j
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal -m 'not neo4j and not slow and not online'

bench: $(INSTALLED) ## Bytes and requests for each model, and the time of a lookup, against the least possible
	$(BIN)/python -m bench.bytes_per_model
	$(BIN)/python -m bench.lookup

readme: $(INSTALLED) ## Write the transcripts in README.md and docs/ anew, from what `make demo` left
	$(BIN)/python -m tests.transcripts

pictures: $(INSTALLED) ## Take the pictures of the pages anew, from what `make demo` left; needs Chromium and its driver
	$(BIN)/python -m bench.pictures

man: $(INSTALLED) ## Manual pages of every command into build/man
	$(BIN)/python -m bench.manual_pages build/man

wheel: $(INSTALLED) ## Build the source distribution and the wheel from it, install it beside packages of others that share its names, and ask it questions
	rm -rf dist build
	$(BIN)/python -m build --outdir dist . > dist.log || (cat dist.log; rm dist.log; exit 1)
	rm dist.log
	$(BIN)/python -m tests.wheel_check dist/model_lineage-*.whl
