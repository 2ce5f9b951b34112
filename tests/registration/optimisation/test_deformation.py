"""Descent on one level and from coarse to fine, on deformations that are known."""

import numpy as np
import pytest
import tensorflow as tf

from custom_ops.smoothing import gaussian
from rcn_tf.fields import jacobian_determinant
from rcn_tf.registration.optimisation import deformation
from rcn_tf.registration.optimisation.deformation import deform
from rcn_tf.registration.optimisation.effort import Effort
from rcn_tf.registration.optimisation.levels import Level
from rcn_tf.registration.optimisation.optimise import linear_start, optimise
from rcn_tf.registration.optimisation.similarities import SIMILARITIES
from rcn_tf.volumes import Grid, prepare_volume
from tests.registration.optimisation.scenes import inner_points, pair

QUICK = Effort(40_000, (40, 60))


def bulge(points):
    """Fixed points to moving points: up to 6 mm, in another direction at each place."""
    wave = np.sin(points / 14.0 + np.array([0.3, 1.1, 2.0]))
    return points + 6 * wave[..., [1, 2, 0]] * np.exp(-(points**2).sum(-1, keepdims=True) / 3000)


def optimised(effort=QUICK, **options):
    volumes = [prepare_volume(image, (32, 32, 32)) for image in pair(bulge)]
    start = linear_start(volumes[0].grid, np.eye(4))
    return optimise(*volumes, start, effort, **options)


def missed(transform):
    points = inner_points()
    return np.linalg.norm(transform.transform_points(points) - bulge(points), axis=1).mean()


def test_a_smooth_deformation_is_found_without_folds():
    found = optimised()
    points = inner_points()
    assert np.linalg.norm(bulge(points) - points, axis=1).mean() > 2.5
    assert missed(found.transform) < 1.2
    assert float(tf.reduce_min(jacobian_determinant(found.transform.flow[None]))) > 0.05
    coarse, fine = found.levels
    assert all(level.after < level.before for level in found.levels)
    assert np.allclose(coarse.spacing_mm, 2 * np.array(fine.spacing_mm), rtol=0.2)


@pytest.mark.parametrize(
    "similarity", ["mse", "pearson", "nmi", pytest.param("mind_ssc", marks=pytest.mark.slow)]
)
def test_every_similarity_reduces_the_distance(similarity):
    start = np.linalg.norm(bulge(inner_points()) - inner_points(), axis=1).mean()
    found = optimised(Effort(20_000, (25,)), similarity=similarity)
    assert missed(found.transform) < 0.75 * start


@pytest.mark.parametrize(("name", "last"), [("local_ncc", 0.8 * 0.4**0.5), ("mind_ssc", None)])
def test_smoothing_falls_with_the_steps_except_for_descriptors(name, last, monkeypatch):
    """The variance of the smoothing after each of four steps, none to three quarters of the way."""
    widths = []

    def recorded(values, width):
        widths.append(width)
        return gaussian(values, width)

    monkeypatch.setattr(deformation, "gaussian", recorded)
    measure = SIMILARITIES[name]
    optimised(Effort(8_000, (4,)), similarity=name)
    flows = widths[1::2]  # each step smooths its gradient, then the flow
    assert len(flows) == 4
    first = measure.smoothing[0]
    share = np.arange(4) / 4
    last = first if last is None else last
    np.testing.assert_allclose(np.square(flows), first**2 + (last**2 - first**2) * share, rtol=2e-3)


def level_of(fixed, moving, weight=None):
    grid = Grid(fixed.shape, np.eye(4))
    arrays = (
        None if a is None else tf.constant(a[None, ..., None]) for a in (fixed, moving, weight)
    )
    fixed, moving, weight = arrays
    return Level(grid, np.zeros(3, int), fixed, moving, weight)


def test_equal_images_do_not_move(rng):
    image = rng.uniform(size=(14, 15, 16)).astype("float32")
    zero = tf.zeros((1, *image.shape, 3))
    flow, record = deform(level_of(image, image), zero, SIMILARITIES["local_ncc"], steps=20)
    assert np.abs(flow).max() == 0
    assert record.after == record.before


@pytest.mark.parametrize("similarity", ["local_ncc", "pearson", "mse", "nmi", "multi_kernel_ncc"])
def test_voxels_without_weight_have_no_say(similarity, rng):
    """Where the images must not be compared, another content gives the same flow."""
    fixed, moving = (rng.uniform(size=(14, 15, 16)).astype("float32") for _ in range(2))
    weight = np.ones_like(fixed)
    weight[:, :, 10:] = 0
    flows = []
    for value in (0.0, 1.0):
        fixed[:, :, 10:] = value
        level, zero = level_of(fixed, moving, weight), tf.zeros((1, *fixed.shape, 3))
        flow, _ = deform(level, zero, SIMILARITIES[similarity], steps=5)
        flows.append(flow.numpy())
    np.testing.assert_array_equal(*flows)
    assert np.abs(flows[0]).max() > 0.1


def test_a_level_ends_where_nothing_is_gained(rng):
    image = np.zeros((12, 12, 12), "float32")
    image[4:8, 4:8, 4:8] = 1
    level, zero = level_of(image, image), tf.zeros((1, *image.shape, 3))
    _, record = deform(level, zero, SIMILARITIES["mse"], steps=100)
    assert record.steps < 30


def test_a_loss_that_is_not_finite_is_named():
    image = np.full((12, 12, 12), np.nan, "float32")
    level, zero = level_of(image, image), tf.zeros((1, *image.shape, 3))
    with pytest.raises(ValueError, match="the loss of the optimisation is not finite"):
        deform(level, zero, SIMILARITIES["mse"], steps=2)


@pytest.mark.parametrize("similarity", ["pearson", "mse", "nmi"])
def test_a_weight_selects_voxels(similarity, rng):
    """The loss is that of the selected voxels alone, as if there were no others."""
    fixed, moving = (rng.uniform(size=(6, 7, 8)).astype("float32") for _ in range(2))
    level = level_of(fixed, moving, np.float32([1, 1, 0, 1, 0, 1]).repeat(56).reshape(6, 7, 8))
    kept = level_of(fixed[[0, 1, 3, 5]], moving[[0, 1, 3, 5]])
    function = SIMILARITIES[similarity].loss
    np.testing.assert_allclose(
        function(level.fixed, level.moving, level.weight),
        function(kept.fixed, kept.moving, None),
        rtol=1e-5,
    )
