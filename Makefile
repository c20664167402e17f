# Every task of the project. `make help` lists them; each installs what it needs first.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
GUIDE := service/guide/index.html
PORT ?= 8000
RECIPE ?= fashion-mbv3
WORKERS ?=
ARGS ?=

# The first of these that *runs* and is new enough (a version manager may leave stubs that do not).
IS_NEW_ENOUGH := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))
FIND_PYTHON = for python in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	if "$$python" -c '$(IS_NEW_ENOUGH)' >/dev/null 2>&1; then echo "$$python"; break; fi; done
PYTHON ?= $(shell $(FIND_PYTHON))

.PHONY: help guide run test test-fast test-release golden check format bench stress headline train lock python wheels sbom clean

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(STAMP) $(GUIDE) ## serve on http://127.0.0.1:8000 with the shipped supernet (PORT=8000)
	$(BIN)/subnet-search serve --host 127.0.0.1 --port $(PORT)

# Tests start many processes: each reads compiled code, whatever the environment says of writing it.
test test-fast test-release golden: export PYTHONDONTWRITEBYTECODE :=
# Threads within a process wait for one another beside other processes, which costs a quarter of the
# work. Tests that are about threads say how many.
test test-fast test-release: export OMP_NUM_THREADS ?= 1
test test-fast test-release: export OPENBLAS_NUM_THREADS ?= 1

# A file's tests stay together, since they share what is dear to set up; slow files come first.
PYTEST := $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder
# One process more than there are cores, since tests wait for browsers, servers and databases.
PROCESSES = $(or $(WORKERS),$$(($$(getconf _NPROCESSORS_ONLN) + 1)))

test: $(STAMP) $(GUIDE) ## test all that the product does (ARGS="-k name", ARGS="-p randomly" for a random order; WORKERS=2)
	$(PYTEST) -n $(PROCESSES) -m "not (record or release)" $(ARGS)

test-release: $(STAMP) $(GUIDE) ## test what is published with it: wheels in new environments, generated clients, what docs say to run
	$(PYTEST) -n $(PROCESSES) -m release $(ARGS)

guide: $(GUIDE) ## build the pages of docs/ as a site, served at /docs/guide

$(GUIDE): $(STAMP) zensical.toml $(wildcard docs/*.md docs/*/*)
	@$(BIN)/zensical build --strict

golden: $(STAMP) ## compare what a user gets with the record, to the bit (minutes)
	$(BIN)/python -m pytest -m record $(ARGS)

test-fast: $(STAMP) ## the tests that take moments, for while one works
	$(PYTEST) -n $(or $(WORKERS),logical) -m "not (slow or browser or postgres or golden or release)" $(ARGS)

check: $(STAMP) ## lint, formatting, types, layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## write the formatting and the import order that `check` asks for
	$(BIN)/ruff check --select I --fix
	$(BIN)/ruff format

bench: $(STAMP) ## measure speed and accuracy of predictions; prints tables, asserts nothing
	$(BIN)/pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[bench]'
	$(BIN)/python -m pytest tests/benchmarks -o python_files='bench_*.py' --capture=no $(ARGS)

stress: $(STAMP) ## run one script of tests/stress (ARGS="fuzz_api --cases 1000")
	$(BIN)/pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[stress]'
	$(BIN)/python -m tests.stress.$(ARGS)

headline: $(STAMP) ## compare with published families, trained alone, at equal accuracy (hours; goes on)
	$(BIN)/pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[bench]'
	$(BIN)/python -m tests.benchmarks.headline $(ARGS)

# Memory given back to the system after every step costs a tenth of a training's time.
train: export MALLOC_TRIM_THRESHOLD_ = 8589934592
train: export MALLOC_MMAP_THRESHOLD_ = 4294967296
train: $(STAMP) ## train the shipped supernet again (RECIPE=fashion-mbv3)
	$(BIN)/subnet-search supernets train $(RECIPE) --resume

# torch's CUDA build brings nvidia-* and triton; it pins them itself and other builds lack them.
lock: $(STAMP) ## write the versions installed now to constraints.txt
	$(BIN)/pip freeze --all --exclude-editable --exclude pip --exclude wheel \
		| sed -E 's/^(torch==[^+]+)\+.*/\1/' \
		| grep -vE '^(nvidia-[a-z]+-cu[0-9]+|nvidia-(cublas|cu[a-z]+|nccl|nvjitlink|nvshmem|nvtx)[a-z-]*|cuda-[a-z-]+|triton)==' \
		> constraints.new
	mv constraints.new constraints.txt
	@touch $(STAMP)

wheels: $(STAMP) $(GUIDE) ## write the wheels of the product and of the client into dist/
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . ./wheels/client
	@ls dist/*.whl

sbom: wheels ## write dist/subnet-search.cdx.json: all that an installation holds (CycloneDX)
	rm -rf build/sbom
	$(BIN)/python -m venv build/sbom/tool
	build/sbom/tool/bin/pip install --quiet cyclonedx-bom==7.5.0
	$(BIN)/python -m venv build/sbom/product
	build/sbom/product/bin/pip install --quiet --constraint constraints.txt dist/subnet_search-*.whl
	sed "s/^dynamic = .*/version = \"$$(build/sbom/product/bin/subnet-search --version | cut -d' ' -f2)\"/" \
		pyproject.toml > build/sbom/pyproject.toml
	build/sbom/tool/bin/cyclonedx-py environment --pyproject build/sbom/pyproject.toml --output-reproducible \
		--of JSON -o dist/subnet-search.cdx.json build/sbom/product/bin/python

python: ## print the interpreter that .venv is made from
	@"$(or $(PYTHON),false)" -c '$(IS_NEW_ENOUGH)' 2>/dev/null || { \
		echo "make: no Python 3.11 to 3.14 with venv and ensurepip found (looked at '$(PYTHON)');" \
			"on Debian: apt-get install python3-venv; elsewhere: make PYTHON=/path/to/python3" >&2; \
		exit 1; }
	@echo "$(PYTHON)"

# PIP_* variables of the environment apply, so that mirrors and the CPU build of torch are the
# user's choice: see "Installing" in README.md.
$(STAMP): pyproject.toml constraints.txt
	@$(MAKE) --no-print-directory python >/dev/null
	@echo "installing into $(VENV) (minutes the first time)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt hatchling
	$(BIN)/pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	$(BIN)/python -m compileall -q subnet_search models latency_tables search service # commands start sooner
	@touch $@

clean: ## remove everything that can be made again, but not var/
	rm -rf $(VENV) build dist service/guide *.egg-info .coverage .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
