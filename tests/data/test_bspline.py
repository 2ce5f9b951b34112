"""The B-spline field against the original's code and against the definition of a B-spline."""

import numpy as np
import pytest
from scipy.interpolate import BSpline

from rcn_tf.data.bspline import free_form_flow
from tests.conftest import GOLDEN


def test_agrees_with_the_original():
    """In the original's control grid the first two axes are swapped relative to its output."""
    golden = np.load(GOLDEN / "ops.npz")
    control = golden["bspline_control"].swapaxes(1, 2)
    flow = free_form_flow(control, (32, 32, 32))
    np.testing.assert_allclose(flow, golden["bspline_flow_32"], atol=1e-5)


@pytest.mark.parametrize(("points", "shape"), [((5, 4, 6), (9, 8, 15)), ((5, 4), (9, 15))])
def test_agrees_with_scipy_on_unequal_axes(rng, points, shape):
    rank = len(shape)
    control = rng.standard_normal((1, *points, rank))
    expected = np.pad(control[0], [(1, 1)] * rank + [(0, 0)])
    for axis, (points, voxels) in enumerate(zip(control.shape[1:-1], shape)):
        knots = np.arange(-3, points + 3)
        position = (np.arange(voxels) + 0.5) * (points - 1) / voxels
        expected = np.apply_along_axis(
            lambda c, k=knots, p=position: BSpline(k, c, 3)(p), axis, expected
        )
    np.testing.assert_allclose(free_form_flow(control, shape)[0], expected, atol=1e-12)


def test_too_few_control_points_are_named():
    with pytest.raises(ValueError, match="at least 2 points per axis"):
        free_form_flow(np.zeros((1, 1, 5, 5, 3), "float32"), (8, 8, 8))
    with pytest.raises(ValueError, match=r"to match `shape` \(8, 8\); got \(1, 5, 5, 5, 3\)"):
        free_form_flow(np.zeros((1, 5, 5, 5, 3), "float32"), (8, 8))
