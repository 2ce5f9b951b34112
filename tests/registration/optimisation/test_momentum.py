"""A momentum on one level: its map, its energy, folds, planes, and deformations that are known."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter, map_coordinates

from rcn_tf import fields
from rcn_tf.models.avsm import SIGMAS, WEIGHTS
from rcn_tf.registration.optimisation import momentum as optimised_momentum
from rcn_tf.registration.optimisation.effort import Effort
from rcn_tf.registration.optimisation.levels import Level
from rcn_tf.registration.optimisation.momentum import _momentum_shape, _Problem, carry
from rcn_tf.registration.optimisation.similarities import SIMILARITIES
from rcn_tf.volumes import Grid
from tests.registration.optimisation.scenes import inner_points
from tests.registration.optimisation.test_deformation import bulge, missed, optimised

SHAPE = (17, 19, 23)


def level_of(rng, shape=SHAPE, spacing=(1.0, 1.0, 1.0)):
    smooth = [gaussian_filter(rng.normal(size=shape), 1.5) for _ in range(2)]
    images = [tf.constant(image[None, ..., None] / 4 + 0.5, tf.float32) for image in smooth]
    affine = np.diag([*spacing[::-1], 1.0])[:, [2, 1, 0, 3]]  # voxels (d, h, w) -> x, y, z
    return Level(Grid(shape, affine), np.zeros(3, int), *images, None)


def problem(rng, start=None, similarity="mse", **options):
    level = level_of(rng, **options)
    start = tf.zeros((1, *level.grid.shape, 3)) if start is None else start
    return _Problem(level, start, SIMILARITIES[similarity])


def waves(shape, size):
    """A smooth momentum [1, *shape, R] in unit lengths."""
    index = np.moveaxis(np.indices(shape), 0, -1) / np.array(shape)
    turned = index @ np.array([[2.0, 1.0, 3.0], [3.0, 2.0, 1.0], [1.0, 3.0, 2.0]])
    return tf.constant(size * np.sin(turned + [0.2, 1.0, 2.0])[None], tf.float32)


def test_the_map_is_that_of_the_advection(rng):
    """Scaling and squaring against Runge-Kutta, from a start that is not the identity."""
    start = tf.constant(
        0.02 * np.moveaxis(np.indices(SHAPE), 0, -1)[None] * [1.0, -2.0, 3.0], tf.float32
    )
    one = problem(rng, start)
    half = (9, 10, 12)
    momentum = waves(half, 0.1)
    found = one.flow(momentum)
    units = 22 / (np.array(SHAPE) - 1) * (np.array(half) - 1)
    smoothed = fields.multi_gaussian(momentum, SIGMAS, WEIGHTS, spacing=1 / units)
    velocity = smoothed * np.float32(units)
    before = fields.resize(start, half, ends=True)
    after = fields.resize(fields.advect(before, velocity, 20), SHAPE, ends=True)
    moved = np.abs(found - start).max()
    assert moved > 0.5
    inner = (slice(None), *[slice(4, -4)] * 3)
    np.testing.assert_allclose(found[inner], after[inner], atol=0.06)


def test_the_energy_is_the_product_with_the_velocity(rng):
    one = problem(rng)
    momentum = waves((9, 10, 12), 0.1)
    velocity = one.velocity(momentum).numpy()
    energy = (momentum.numpy() * velocity).sum() / (8 * 9 * 11)
    level = one._level
    lookup = one.flow(momentum)
    similarity = float(
        SIMILARITIES["mse"].loss(level.fixed, _warped(level.moving, lookup), None)[0]
    )
    assert energy > 1e-3
    assert float(one.loss(momentum)) == pytest.approx(
        similarity + optimised_momentum.ENERGY * energy, rel=1e-4
    )


def _warped(image, flow):
    positions = np.indices(SHAPE) + np.moveaxis(flow.numpy()[0], -1, 0)
    moved = map_coordinates(image.numpy()[0, ..., 0], positions, order=1, mode="nearest")
    return tf.constant(moved[None, ..., None])


@pytest.mark.slow
def test_the_gradient_is_that_of_the_loss(rng):
    one = problem(rng)
    point = waves((9, 10, 12), 0.1).numpy().astype(np.float64).ravel()
    direction = waves((9, 10, 12), 1.0).numpy().ravel()[::-1]
    _, gradient = one(point)
    step = 3e-3
    ahead, behind = (one(point + sign * step * direction)[0] for sign in (1, -1))
    assert gradient @ direction == pytest.approx((ahead - behind) / (2 * step), rel=0.02)


def test_a_momentum_that_folds_is_weakened(rng):
    one = problem(rng)
    strong = tf.constant(rng.normal(size=(1, 9, 10, 12, 3)) * 20, tf.float32)
    assert float(tf.reduce_min(fields.jacobian_determinant(one.flow(strong)))) < 0
    kept = one.without_folds(strong)
    assert float(tf.reduce_min(fields.jacobian_determinant(one.flow(kept)))) > 0
    ratio = kept.numpy() / strong.numpy()
    assert 0 < ratio.mean() < 1
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-4)


def test_momenta_go_to_the_next_level_unchanged(rng):
    """A linear momentum, in unit lengths, has the same values at the same places."""
    coarse, fine = (9, 10, 12), _momentum_shape((33, 37, 45), (1, 1, 1))
    assert fine == (17, 19, 23)
    ramp = np.stack(np.meshgrid(*(np.linspace(0, 1, n) for n in coarse), indexing="ij"), -1)
    one = problem(rng, shape=(33, 37, 45))
    found = one.on_grid(tf.constant(ramp[None], tf.float32)).numpy()[0]
    expected = np.stack(np.meshgrid(*(np.linspace(0, 1, n) for n in fine), indexing="ij"), -1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_momenta_lie_on_cubes_of_at_most_so_many_voxels():
    assert _momentum_shape((200, 240, 180), (1, 1, 1)) == (41, 48, 37)
    assert _momentum_shape((12, 200, 200), (8, 1.25, 1.25)) == (6, 48, 48)
    assert _momentum_shape((2, 20), (1, 1)) == (2, 10)


@pytest.mark.slow
def test_a_slice_moves_within_its_plane(rng):
    level = level_of(rng, (1, 18, 22))
    similarity = SIMILARITIES["multi_kernel_ncc"]
    flow, momentum, record = carry(level, tf.zeros((1, 1, 18, 22, 3)), None, similarity, steps=3)
    assert momentum.shape == (1, 9, 11, 2)
    assert record.after < record.before
    assert np.abs(flow[..., 0]).max() == 0
    assert np.abs(flow[..., 1:]).max() > 0


@pytest.mark.slow
def test_equal_images_do_not_move(rng):
    level = level_of(rng)
    level = level._replace(moving=level.fixed)
    flow, _, record = carry(
        level, tf.zeros((1, *SHAPE, 3)), None, SIMILARITIES["local_ncc"], steps=5
    )
    assert np.abs(flow).max() < 1e-3
    assert record.after <= record.before


def test_a_stack_of_few_slices_has_no_windows(rng):
    level = level_of(rng, (3, 18, 22))
    with pytest.raises(
        ValueError, match=r"needs 4 voxels along each axis .* has 3 x 18 x 22: choose"
    ):
        SIMILARITIES["multi_kernel_ncc"].loss(level.fixed, level.moving, None)


def test_a_loss_that_is_not_finite_is_named(rng):
    level = level_of(rng)
    level = level._replace(moving=level.moving * np.nan)
    with pytest.raises(ValueError, match="the loss of the optimisation is not finite"):
        carry(level, tf.zeros((1, *SHAPE, 3)), None, SIMILARITIES["mse"], steps=2)


@pytest.mark.slow
def test_a_smooth_deformation_is_found_without_folds():
    effort = Effort(20_000, (25, 25))
    found = optimised(effort, transform_type="momentum")
    points = inner_points()
    assert missed(found.transform) < 0.6 * np.linalg.norm(bulge(points) - points, axis=1).mean()
    assert float(tf.reduce_min(fields.jacobian_determinant(found.transform.flow[None]))) > 0.05
    assert all(level.after < level.before for level in found.levels)
