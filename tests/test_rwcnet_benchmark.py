"""benchmarks/rwcnet.py measures what happens at the borders of patches."""

import importlib
import sys

import numpy as np
import pytest

from tests.examples.test_examples import ROOT


@pytest.fixture
def benchmark(monkeypatch):
    """benchmarks/rwcnet.py as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("rwcnet")
    sys.modules.pop("rwcnet", None)


@pytest.mark.parametrize(("resolution", "patch", "step"), [(1.0, 0.5, 1), (0.5, 0.25, 2)])
def test_the_step_across_a_border_and_beside_it(benchmark, resolution, patch, step):
    """A ramp of 0.1 per voxel along every axis, and a jump of 0.6 in the middle of the first."""
    shape = (48, 48, 56)
    places = np.indices(shape)
    flow = 0.1 * places.sum(axis=0) + 0.6 * (places[0] >= 24)
    stage = {"resolution": resolution, "patch": patch}
    at, beside = benchmark.steps(np.stack([flow] * 3, axis=-1), stage)
    borders = 3 * (round(1 / patch) - 1)  # on three axes, of which one has the jump
    assert at == pytest.approx(0.1 * step + 0.6 / borders)
    assert beside == pytest.approx(0.1 * step)
