"""Which results are given out: better, worse, worse inside alone, for aligned or unlike scans."""

import numpy as np
import pytest

from rcn_tf.registration.agreement import Fit
from rcn_tf.registration.verdict import judge
from rcn_tf.volumes import GridTransform
from tests.registration.test_start import SHAPE, moved, start_of
from tests.scans_for_tests import textured

IMAGE = textured()


def result_of(start, voxels):
    """A result that shifts the moving volume by so many voxels along axis 0."""
    flow = np.zeros((*SHAPE, 3), np.float32)
    flow[..., 0] = voxels
    return GridTransform(start.fixed.grid, start.moving.grid, flow)


def test_a_better_result_is_given_out():
    start = start_of(IMAGE, moved(IMAGE, [0, 0, 7]), "header")
    step = start.fixed.grid.spacing[0]
    start.fits["boxes"] = start.fits["header"]  # as if the boxes were no better
    verdict = judge(start, {"network": result_of(start, 7 / step)})
    assert verdict.fit.agreement > start.fits["header"].agreement + 0.1
    assert (verdict.fallback, verdict.failed, verdict.warnings) == (False, False, [])
    np.testing.assert_allclose(verdict.transform.transform_points([[0, 0, 0]]), [[0, 0, 7]])


def test_a_worse_result_is_not():
    start = start_of(IMAGE, textured(1))
    verdict = judge(start, {"network": result_of(start, 4)})
    assert (verdict.fallback, verdict.failed) == (True, True)
    assert not verdict.transform.flow.any()
    assert verdict.fit is start.fits[start.best]
    assert "the registration failed: the result fits worse (agreement 0." in verdict.warnings[0]
    assert "--force writes the result" in verdict.warnings[0]


def test_force_gives_out_a_worse_result_with_a_warning():
    start, result = start_of(IMAGE, textured(1)), None
    result = result_of(start, 4)
    verdict = judge(start, {"network": result}, force=True)
    assert verdict.transform is result
    assert not verdict.failed
    assert "written all the same, as --force says" in verdict.warnings[0]


def test_what_a_worse_result_started_from_is_given_out_with_a_warning():
    start = start_of(IMAGE, moved(IMAGE, [0, 0, 7]), "header")
    start.fits["boxes"] = start.fits["header"]
    good = result_of(start, 7 / start.fixed.grid.spacing[0])
    results = {"optimised": result_of(start, 30), "affine": good, "header": result_of(start, 0)}
    verdict = judge(start, results)
    assert (verdict.name, verdict.fallback, verdict.transform) == ("affine", False, good)
    (text,) = verdict.warnings
    assert text.startswith("the result fits worse") and "affine map that it started from" in text
    forced = judge(start, results, force=True)
    assert forced.transform is results["optimised"]


def test_a_plain_start_is_the_fallback_and_a_failure():
    start = start_of(IMAGE, textured(1))
    results = {"optimised": result_of(start, 4), start.best: start.transform(start.best)}
    verdict = judge(start, results)
    assert (verdict.name, verdict.fallback, verdict.failed) == (start.best, True, True)


def test_a_scan_to_itself_stays_and_is_no_failure():
    start = start_of(IMAGE, IMAGE)
    verdict = judge(start, {"network": result_of(start, 0.7)})
    assert (verdict.fallback, verdict.failed) == (True, False)
    np.testing.assert_allclose(verdict.transform.transform_points([[3, 4, 5]]), [[3, 4, 5]])
    millimetres = 0.7 * start.moving.grid.spacing[0]
    assert f"by {millimetres:.1f} mm on average for nothing" in verdict.warnings[0]


class FixedFit:
    """A comparison whose answer is known."""

    def __init__(self, fit, points):
        self.fit, self.points = fit, points

    def of(self, transform_points):
        return self.fit


@pytest.mark.parametrize(
    ("agreement", "inside", "doubt", "message"),
    [
        (0.84, 0.22, "", "fits worse inside the outlines (agreement 0.220)"),
        (0.84, 0.66, "", None),
        (0.76, 0.80, "", None),
        (0.74, 0.90, "", "fits worse (agreement 0.740)"),
        (0.84, 0.80, "they differ", None),
        (0.754, 0.701, "", "and does not fit better (agreement 0.754)"),
    ],
)
def test_inside_and_outside_have_to_hold(agreement, inside, doubt, message):
    start = start_of(IMAGE, textured(1))
    start.fits.update(header=Fit(0, 0, 0, None), boxes=Fit(0.75, 0.70, 1, None))
    object.__setattr__(
        start, "comparison", FixedFit(Fit(agreement, inside, 1, None), start.comparison.points)
    )
    verdict = judge(start, {"network": result_of(start, 1)}, doubt=doubt)
    assert verdict.fallback == (message is not None)
    if message:
        assert message in verdict.warnings[0]


@pytest.mark.parametrize(
    ("after", "message"),
    [
        ((0.45, 0.27), "hardly better than unrelated ones (agreement 0.45)"),
        ((0.63, 0.43), "unrelated ones inside the outlines (agreement 0.43)"),
    ],
)
def test_unlike_images_that_do_not_come_to_agree_fall_back(after, message):
    start = start_of(IMAGE, textured(1))
    start.fits.update(header=Fit(0, 0, 0, None), boxes=Fit(0.33, 0.23, 1, None))
    object.__setattr__(start, "comparison", FixedFit(Fit(*after, 1, None), start.comparison.points))
    result = result_of(start, 1)
    assert judge(start, {"network": result}).transform is result
    verdict = judge(start, {"network": result}, doubt="they differ")
    assert verdict.failed
    assert message in verdict.warnings[0]
