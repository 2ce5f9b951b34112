# make demo | test | lint | bench | docs: each makes .venv and installs what it needs into it.
# VENV=/elsewhere puts the environment elsewhere; PYTHON=python3.12 chooses the interpreter.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TEST_ARGS ?=

.PHONY: demo test lint bench docs ops clean

# The package is installed editable, so that the checkout is what runs.
$(VENV)/.installed: setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

# Where it cannot be built, the reason is shown and the Python backend runs.
ops: $(VENV)/.installed
	-$(BIN)/rcn build-ops

demo: ops
	$(BIN)/python examples/demo.py --out demo_output

# In the order of tests/conftest.py: slow files first.
test: ops
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(TEST_ARGS)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror custom_ops/cc/* tests/custom_ops/cuda_on_host/*

bench: ops
	$(BIN)/python benchmarks/warp.py
	$(BIN)/python benchmarks/training.py

docs: $(VENV)/.installed
	$(BIN)/python -m mkdocs build --strict

clean:
	rm -rf .venv demo_output site
