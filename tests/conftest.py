"""Fixtures shared by all tests, and what must be set before TensorFlow is imported."""

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
STACK_DEPENDENT = (  # what a version of TensorFlow, Keras or NumPy may change
    "contract",
    "custom_ops",
    "export",
    "fields",
    "losses",
    "metrics",
    "models",
    "networks",
    "original",
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


def pytest_collection_modifyitems(items):
    """Marks `stack`; files with slow tests come first, so that no worker waits for another's."""
    places = [TESTS / name for name in STACK_DEPENDENT]
    for item in items:
        if any(place == item.path or place in item.path.parents for place in places):
            item.add_marker(pytest.mark.stack)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


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
