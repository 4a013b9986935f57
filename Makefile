# SPRINT. `make` builds .venv; every other target builds it first when it is not current.
#
#   PYTHON=python3.12       the interpreter that .venv is made with (default: python3.11, else another recent one)
#   TORCH_CPU_INDEX=URL     where the CPU build of torch comes from when pip's own configuration does not know one:
#                           an index, or a folder with the wheel (default: PyTorch's CPU index)

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := install
.PHONY: install demo results test test-slow check bench bench-engine bench-service bench-train bench-simulation bench-gpu fuzz clean help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.current
LOCK := requirements/cpu.lock
TORCH := torch==2.13.0+cpu
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH_SOURCE = $(if $(wildcard $(TORCH_CPU_INDEX)/.),--no-index --find-links '$(TORCH_CPU_INDEX)',--index-url '$(TORCH_CPU_INDEX)')
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15) or sys.platform != "linux")
CANDIDATES := python3.11 python3.12 python3.13 python3 python
PYTHON ?= $(firstword $(foreach p,$(CANDIDATES),$(shell $(p) -c '$(SUPPORTED)' 2>/dev/null && echo $(p))))

# What every child process gets, unless the caller has said otherwise.
export RAY_AUTH_MODE ?= disabled
export RAY_USAGE_STATS_ENABLED ?= 0
export VLLM_NO_USAGE_STATS ?= 1
export HF_HUB_OFFLINE ?= 1
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
export DS_ACCELERATOR ?= cpu

TASK ?= chains
QUICK ?=
OUT ?=
ARGS ?=

install: $(STAMP)

help:
	@echo 'make                 build .venv (CPU); does nothing when it is current'
	@echo 'make demo            traces -> curate -> train -> serve -> evaluate -> report, about 20 minutes on 2 cores'
	@echo '                     QUICK=1 proves the chain in 5 minutes; TASK=countdown; OUT=folder; ARGS="--resume"'
	@echo 'make results         the tables of the last demo again, from its run files (SHA-256); TASK, QUICK and OUT as for demo'
	@echo 'make test            unit and edge tests'
	@echo 'make test-slow       what takes minutes: killing model replicas under load, killing training again and again'
	@echo 'make check           lint, format, types'
	@echo 'make bench           the benchmarks'
	@echo 'make bench-engine    the engine against an oracle schedule and the authors'"'"' loop shape, on a real vLLM engine'
	@echo 'make bench-service   the service under 1 to 200 clients, against the raw vLLM server given the same generations'
	@echo 'make bench-train     the trainer against TRL'"'"'s (which has to be installed), and layout exact against flat'
	@echo 'make bench-simulation the simulation of the service against the real one with emulated engines'
	@echo 'make bench-gpu       the same with a 7B-shaped model with random weights, on the first GPU'
	@echo 'make fuzz            fuzz the parser and the engine, a minute each; ARGS="--target parser --inputs 1000000"'
	@echo 'make clean           remove caches (keeps .venv and runs)'

demo: $(STAMP)
	@$(BIN)/sprint demo --task '$(TASK)' $(if $(filter-out 0,$(QUICK)),--quick) $(if $(OUT),--out '$(OUT)') $(ARGS)

DEMO = $(or $(OUT),runs/demo$(if $(filter-out chains,$(TASK)),-$(TASK))$(if $(filter-out 0,$(QUICK)),-quick))

results: $(STAMP)
	@$(BIN)/sprint report '$(DEMO)/sprint.jsonl' '$(DEMO)/rft.jsonl' --out '$(DEMO)/results.html' --headline $(ARGS)

# Edge tests that start no Ray run with the unit tests, beside those that do: Ray's wait more than they work.
NO_RAY := $(patsubst %,tests/edge/test_%.py,buckets checkpoint_engines endpoint endpoint_wire listing local_llm \
  observability page page_parts page_replay push sources train_gradients trainer)

test: $(STAMP)
	@log=$$(mktemp); trap 'rm -f '$$log EXIT; echo 'tests without Ray run beside those with it and are told at the end'; \
	$(BIN)/python -m pytest -p no:cacheprovider tests/unit $(NO_RAY) $(ARGS) >$$log 2>&1 & other=$$!; code=0; \
	$(BIN)/python -m pytest tests/edge $(addprefix --ignore=,$(NO_RAY)) $(ARGS) || code=$$?; \
	wait $$other || code=$$?; cat $$log; exit $$code

test-slow: $(STAMP)
	@$(BIN)/python -m pytest -m slow -s tests/edge $(ARGS)

check: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench-engine: $(STAMP)
	@$(BIN)/python -m benchmarks.engine $(ARGS)

bench-service: $(STAMP)
	@$(BIN)/python -m benchmarks.service $(ARGS)

bench-train: $(STAMP)
	@$(BIN)/python -m benchmarks.train $(ARGS)

bench-simulation: $(STAMP)
	@$(BIN)/python -m benchmarks.simulation_check $(ARGS)

bench-gpu: $(STAMP)
	@$(BIN)/python -m benchmarks.engine --gpu $(ARGS)

bench: $(STAMP)
	@for name in core packing curation annotation endpoint evaluation scale edges; do echo "benchmarks/$$name.py"; $(BIN)/python -m benchmarks.$$name $(ARGS); done

fuzz: $(STAMP)
	@$(BIN)/python -m tests.fuzz.run $(ARGS)

clean:
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build ./*.egg-info
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# Each step is a no-op when it has been done, so an interrupted install goes on where it stopped.
$(STAMP): $(LOCK) pyproject.toml
	@if [ ! -e $(VENV)/.created ]; then \
	  "$(or $(PYTHON),false)" -c '$(SUPPORTED)' 2>/dev/null || { echo \
	    'error: SPRINT needs Linux and CPython 3.11 to 3.14 with venv, and found none: install one and run make PYTHON=/path/to/python' >&2; exit 2; }; \
	  echo "[1/4] new virtual environment $(VENV) ($$("$(PYTHON)" --version))"; \
	  "$(PYTHON)" -m venv $(VENV); touch $(VENV)/.created; \
	fi
	@echo '[2/4] torch, CPU build (about 200 MB)'
	@$(PIP) install -qqq --no-deps '$(TORCH)' 2>/dev/null \
	  || $(PIP) install -qqq --no-deps $(TORCH_SOURCE) '$(TORCH)' 2>/dev/null \
	  || { echo 'error: no CPU build $(TORCH) where pip is configured to look nor at $(TORCH_CPU_INDEX): run make with TORCH_CPU_INDEX=URL-or-folder that has it' >&2; exit 2; }
	@echo '[3/4] the locked packages (about 500 MB; details in $(VENV)/install.log)'
	@$(PIP) install --no-deps --progress-bar off -r $(LOCK) 2>&1 | tee $(VENV)/install.log \
	  | awk -v all=$$(grep -c '==' $(LOCK)) \
	    '/^(Collecting|Processing|Requirement already satisfied)/ { if (++n % 20 == 0 || n == all) { print "      " n " of " all " packages found"; fflush() } } \
	     /^Installing collected/ { print "      installing"; fflush() } /^ *(ERROR|error)/ { print; fflush() }' \
	  || { echo 'error: pip could not install $(LOCK), see $(VENV)/install.log; run make again to go on' >&2; exit 2; }
	@echo '[4/4] SPRINT itself'
	@$(PIP) install -qq --no-deps --no-build-isolation -e .
	@$(BIN)/python requirements/verify.py
	@touch $(STAMP)
	@echo 'ready: make demo, or $(BIN)/sprint --help'
