# Every target does its own set-up: a virtual environment in .venv, the packages it needs, and on Debian as root the
# few system packages. Nothing else has to be installed but make and Python 3.11 or newer.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
VLLM   := .vllm
DOCKER := .docker
CHROMIUM := .chromium
CONFORMANCE := .mcp-conformance
# One wheel for all CPU set-ups: a looser requirement would draw in gigabytes of CUDA packages.
TORCH  ?= torch==2.13.0

.PHONY: help demo setup test test-fast check format bench lock clean

help:            ## what there is to do
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.demo  ## a language model learns to use a calculator by reinforcement (two minutes, two cores)
	$(BIN)/agentenv train examples/calculator.toml $(ARGS)

setup:           ## everything the tests need, made side by side
	@$(MAKE) --no-print-directory --jobs=5 $(VENV)/.dev $(VLLM)/.ready $(DOCKER)/.ready $(CHROMIUM)/.ready $(CONFORMANCE)/.ready

test: setup      ## the whole test suite, with a real vLLM server, a real Docker engine, a real browser and MCP's conformance suite where they can be had
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

test-fast: $(VENV)/.dev  ## the tests that take less than ten seconds each
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow" $(ARGS)

check: $(VENV)/.dev  ## lint, formatting, types, layering
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev  ## every benchmark, side by side with its peers; rewrites the tables of BENCHMARKS.md
	$(BIN)/python -m benchmarks $(ARGS)

lock: $(VENV)/.dev   ## write the installed versions to constraints.txt (after removing that file and make clean: the newest)
	(head -n 2 constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//') > constraints.new
	mv constraints.new constraints.txt

clean:           ## forget the virtual environments and caches
	rm -rf $(VENV) $(VLLM) $(DOCKER) $(CHROMIUM) $(CONFORMANCE) .bench .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/.python: scripts/make-venv
	scripts/make-venv $(PYTHON) $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "$(TORCH)" --editable ".[train]"
	@touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "$(TORCH)" --editable ".[dev]"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps bfcl-eval miniwob  # read, without what they require
	@touch $@ $(VENV)/.demo

# Without it the tests that need it skip, each with a line that says so; with CI=true they fail.
$(VLLM)/.ready: scripts/make-vllm scripts/make-venv policies/agentenv_vllm/cpu-requirements.txt
	-TORCH="$(TORCH)" scripts/make-vllm $(VLLM) $(PYTHON)

$(DOCKER)/.ready: scripts/make-docker
	-scripts/make-docker $@

$(CHROMIUM)/.ready: scripts/make-chromium
	-scripts/make-chromium $@

$(CONFORMANCE)/.ready: scripts/make-mcp-conformance scripts/make-venv
	-scripts/make-mcp-conformance $(CONFORMANCE) $(PYTHON)
