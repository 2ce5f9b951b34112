"""Fixtures shared by all tests, and what must be set before TensorFlow is imported."""

import gc
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if "PYTEST_XDIST_WORKER" in os.environ:  # each of several processes keeps to its own core
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import numpy as np
import pytest

TESTS = pathlib.Path(__file__).parent
GOLDEN = TESTS / "golden"
SHARED = TESTS.parents[1] / "shared" / "data"
STACK_DEPENDENT = (  # what a version of TensorFlow or Keras may change
    "contract",
    "custom_ops",
    "export",
    "fields",
    "losses",
    "models",
    "networks",
    "original/test_checkpoint.py",
    "registration/optimisation/test_deformation.py",
    "training/test_loop.py",
    "training/test_optimizers.py",
    "training/test_step.py",
    "test_fields.py",
    "test_golden.py",
    "data/test_augmentation.py",
    "data/test_bspline.py",
    "data/test_pipeline.py",
    "evaluation/test_evaluation.py",
    "commands/test_export.py",
    "commands/test_train.py",
    "volumes/test_linear_sampling.py",
    "volumes/test_warping.py",
)
STACK_INDEPENDENT = (  # among them: compilers, documents and NumPy alone
    "custom_ops/test_build.py",
    "custom_ops/test_kernels_without_tensorflow.py",
    "losses/test_page.py",
)


def of_the_stack(path):
    """Whether a test file may depend on the version of TensorFlow or Keras."""
    if any(path == TESTS / name for name in STACK_INDEPENDENT):
        return False
    places = [TESTS / name for name in STACK_DEPENDENT]
    return any(place == path or place in path.parents for place in places)


def pytest_ignore_collect(collection_path, config):
    """With `-m "stack and ..."` the other files are not imported: they would all be left out."""
    is_test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    if is_test and config.option.markexpr.startswith("stack"):
        return not of_the_stack(collection_path) or None
    return None


def pytest_collection_modifyitems(items):
    """Marks `stack`; files with slow tests come first, so that no worker waits for another's."""
    for item in items:
        if of_the_stack(item.path):
            item.add_marker(pytest.mark.stack)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish():
    """The garbage collector need not look again and again at what was imported and collected."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def shared_data():
    """Folder with the real scans (brain/, liver/, lung/, cardiac/); skips where absent."""
    folder = pathlib.Path(os.environ.get("RCN_TEST_DATA", SHARED))
    if not (folder / "brain").is_dir():
        pytest.skip("real scans are not here (set RCN_TEST_DATA to their folder)")
    return folder


@pytest.fixture
def rng():
    return np.random.default_rng(7)
