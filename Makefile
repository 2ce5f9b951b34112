# make demo | fast | test | nightly | lint | bench | docs: each makes .venv and installs what it
# needs into it. VENV=/elsewhere puts the environment elsewhere; PYTHON=python3.12 chooses the
# interpreter; EXTRAS=test installs less, enough for `stack`; TEST_ARGS goes to pytest.

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= dev
BIN := $(VENV)/bin
TEST_ARGS ?=
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal --durations=25 --durations-min=1

.PHONY: demo fast test stack nightly mutations coverage lint bench docs ops clean

# The package is installed editable, so that the checkout is what runs.
$(VENV)/.installed: setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[$(EXTRAS)]"
	touch $@

# Where it cannot be built, the reason is shown and the Python backend runs.
ops: $(VENV)/.installed
	-$(BIN)/rcn build-ops

demo: ops
	$(BIN)/python examples/demo.py --out demo_output

# Before every commit.
fast: ops
	$(PYTEST) -m "not slow and not nightly" $(TEST_ARGS)

# What continuous integration runs on the first stack.
test: ops
	$(PYTEST) -m "not nightly" $(TEST_ARGS)

# What it runs on the second one: fast tests of what another TensorFlow may change.
stack: ops
	$(PYTEST) -m "stack and not slow and not nightly" $(TEST_ARGS)

# All tests, and the faults that the fast ones must notice.
nightly: ops mutations
	$(PYTEST) $(TEST_ARGS)

mutations: ops
	$(BIN)/python -m tests.mutations

# Lines that the tests run; TEST_ARGS='-m "not slow"' for a quicker answer.
coverage: ops
	$(BIN)/python -m coverage run --source=rcn_tf,custom_ops,data_prep,eval -m pytest -q $(TEST_ARGS)
	$(BIN)/python -m coverage report --skip-covered --sort=cover

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/clang-format --dry-run --Werror custom_ops/cc/* tests/custom_ops/cuda_on_host/*

bench: ops
	$(BIN)/python benchmarks/warp.py
	$(BIN)/python benchmarks/local_ncc.py
	$(BIN)/python benchmarks/training.py

docs: $(VENV)/.installed
	$(BIN)/python -m mkdocs build --strict

clean:
	rm -rf .venv demo_output site
