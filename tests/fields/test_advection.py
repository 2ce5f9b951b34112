"""Advection of maps against the authors' numbers, closed forms, and its stability check."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter

from rcn_tf import fields
from rcn_tf.fields.advection import overshoot
from tests.conftest import GOLDEN
from tests.golden import system_inputs
from tests.losses.gradients import check_gradient

AVSM = np.load(GOLDEN / "avsm" / "avsm_ops.npz")
SEED, SHAPE = int(AVSM["seed"]), tuple(AVSM["shape0"])
SIDE = np.array(SHAPE) - 1
POSITION = np.moveaxis(np.indices(SHAPE), 0, -1) / SIDE  # in [0, 1], as AVSM's maps
SMALL = (9, 7, 11)


def to_flow(phi):
    """A map in [0, 1] as a flow in voxels."""
    return tf.constant((phi - POSITION) * SIDE, tf.float32)


def to_map(flow, shape=SHAPE):
    grid = np.moveaxis(np.indices(shape), 0, -1)
    return (np.asarray(flow) + grid) / (np.array(shape) - 1)


@pytest.fixture(scope="module")
def case():
    """(flow at time 0, velocity in voxels per unit of time) of the golden numbers."""
    matrix, offset = AVSM["affine_A"], AVSM["affine_b"]
    start = ((POSITION - 0.5) @ matrix.T + 0.5 + offset)[None]
    return to_flow(start), tf.constant(system_inputs.field(SEED + 20, SHAPE, 3, 0.8, 4.0))


def smooth(rng, shape, amplitude):
    rank = len(shape)
    field = gaussian_filter(rng.standard_normal((1, *shape, rank)), (0, *[2.0] * rank, 0))
    return amplitude * field / np.abs(field).max()


def test_the_map_is_the_authors(case):
    np.testing.assert_allclose(to_map(fields.advect(*case)), AVSM["advect"], atol=5e-5)


@pytest.mark.parametrize("solver", ["adjoint", "backprop"])
def test_the_gradients_are_the_authors(case, solver):
    """Their adjoint equation differs from their own solver's gradient by 2e-5."""
    flow, velocity = case
    upstream = system_inputs.field(SEED + 23, SHAPE, 3, 1, 0)
    with tf.GradientTape() as tape:
        tape.watch([flow, velocity])
        phi = fields.advect(flow, velocity) / SIDE + POSITION.astype("float32")
    found = tape.gradient(phi, [flow, velocity], upstream)
    for name, gradient in zip(("phi0", "v"), found):
        expected = AVSM[f"advect_{solver}_grad_{name}"]
        atol = 2e-4 * np.abs(expected).max()
        np.testing.assert_allclose(gradient * SIDE, expected, atol=atol)


def test_the_inverse_map_is_the_authors(case):
    matrix, offset = AVSM["affine_A"], AVSM["affine_b"]
    start = ((POSITION - 0.5 - offset) @ np.linalg.inv(matrix).T + 0.5)[None]
    inverse = fields.follow(to_flow(start), case[1])
    np.testing.assert_allclose(to_map(inverse), AVSM["advect_inverse"], atol=5e-6)


def test_maps_change_between_grids_as_the_authors_do():
    full = tuple(AVSM["full_shape"])
    up = fields.resize(to_flow(AVSM["advect"]), full, ends=True)
    every_second = to_map(up, full)[:, ::2, ::2, ::2]
    np.testing.assert_allclose(every_second, AVSM["map_up"], atol=5e-6)
    down = fields.resize(up, SHAPE, ends=True)
    np.testing.assert_allclose(to_map(down), AVSM["map_down"], atol=5e-6)


@pytest.mark.parametrize("shape", [(5, 4, 6), (7, 5)])
def test_ends_keep_an_affine_map(shape):
    """Positions from end to end scale alike, so that an affine map stays the same one."""
    rank = len(shape)
    matrix = 0.2 * np.random.default_rng(0).standard_normal((1, rank, rank))
    sides = np.array(shape) - 1
    larger = np.array(shape) + np.arange(2, 2 + rank)
    flow = fields.affine_flow(tf.constant(matrix), tf.ones((1, rank), tf.float64), shape)
    resized = fields.resize(flow, tuple(larger), ends=True)
    scale = (larger - 1) / sides
    scaled = matrix * scale[:, None] / scale[None, :]
    expected = fields.affine_flow(tf.constant(scaled), tf.constant(scale[None]), tuple(larger))
    np.testing.assert_allclose(resized, expected, atol=1e-12)


@pytest.mark.parametrize("shape", [SMALL, (12, 10)])
def test_an_affine_map_is_carried_exactly(shape):
    """By a constant velocity v: phi(x, 1) = phi(x - v, 0), borders included."""
    rank = len(shape)
    matrix = np.random.default_rng(1).uniform(-0.3, 0.3, (1, rank, rank))
    velocity = np.linspace(-1.5, 1.0, rank)
    flow = fields.affine_flow(tf.constant(matrix), tf.zeros((1, rank), tf.float64), shape)
    carried = fields.advect(flow, tf.zeros_like(flow) + velocity, 3)
    expected = flow - velocity - matrix[0] @ velocity
    np.testing.assert_allclose(carried, expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(16, 18, 20), (20, 24)])
def test_both_directions_agree_with_scaling_and_squaring(rng, shape):
    velocity = tf.constant(smooth(rng, shape, 0.5))
    inside = (0, *[slice(4, -4)] * len(shape))
    zero = tf.zeros_like(velocity)
    np.testing.assert_allclose(
        fields.follow(zero, velocity)[inside], fields.integrate(velocity)[inside], atol=2e-3
    )
    np.testing.assert_allclose(
        fields.advect(zero, velocity)[inside], fields.integrate(-velocity)[inside], atol=3e-2
    )


def test_the_order_is_four(rng):
    """Halving the step divides the error by about 2^4."""
    velocity = tf.constant(smooth(rng, SMALL, 1.0))
    flow = tf.constant(smooth(rng, SMALL, 2.0))
    exact = fields.advect(flow, velocity, 24, check=False)
    errors = [
        np.abs(fields.advect(flow, velocity, steps, check=False) - exact).max() for steps in (2, 4)
    ]
    assert 12 < errors[0] / errors[1] < 40


@pytest.mark.parametrize("compiled", [False, True])
def test_gradients(rng, compiled):
    flow, velocity = smooth(rng, SMALL, 2.0), smooth(rng, SMALL, 0.9)
    advect = tf.function(fields.advect) if compiled else fields.advect
    weight = rng.standard_normal((*SMALL, 3))

    def loss(flow, velocity):
        moved = advect(flow, velocity, time_steps=3)
        return tf.reduce_sum(weight * tf.square(moved), axis=[1, 2, 3, 4])

    options = {"probes": 2, "delta": 1e-5}
    check_gradient(lambda u: loss(u, tf.constant(velocity)), flow, rng, **options)
    check_gradient(lambda v: loss(tf.constant(flow), v), velocity, rng, **options)


def test_the_velocity_is_cut_per_component():
    velocity = tf.constant([[[[[9.0, -9.0, 3.0]]]]])
    with tf.GradientTape() as tape:
        tape.watch(velocity)
        limited = fields.limit_velocity(velocity, 10)
    most = 10 * np.sqrt(2) / 2
    np.testing.assert_allclose(limited[0, 0, 0, 0], [most, -most, 3.0], rtol=1e-6)
    np.testing.assert_array_equal(tape.gradient(limited, velocity)[0, 0, 0, 0], [0, 0, 1])


ROUGH = system_inputs.field(5, SHAPE, 3, 2.0, 2.0)
MESSAGE = "became unstable: its velocity is too rough or too fast; take more time steps"


def test_a_rough_velocity_is_named():
    """Smoothed over two voxels only, the border scheme blows up."""
    velocity = np.concatenate([np.zeros_like(ROUGH), ROUGH])
    with pytest.raises(ValueError, match=f"^my step {MESSAGE}.*sample 1, voxel .* of"):
        fields.advect(tf.zeros((2, *SHAPE, 3)), velocity, name="my step")
    moved = fields.advect(tf.zeros((2, *SHAPE, 3)), velocity, check=False)
    ratio = overshoot(tf.zeros_like(moved), moved, velocity)
    assert ratio[0] == 0
    assert ratio[1] > 100


def test_a_rough_velocity_is_named_in_a_graph():
    advect = tf.function(lambda v: fields.advect(tf.zeros((1, *SHAPE, 3)), v))
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"the advection {MESSAGE}"):
        advect(tf.constant(ROUGH))


def test_not_a_number_is_named():
    velocity = np.zeros((1, *SMALL, 3), "float32")
    velocity[0, 4, 4, 4] = np.nan
    with pytest.raises(ValueError, match=MESSAGE):
        fields.advect(tf.zeros((1, *SMALL, 3)), velocity)


def test_a_fast_smooth_velocity_is_no_fault(rng):
    """The check measures the map's stretch as well as the speed."""
    flow = fields.affine_flow(3.0 * tf.eye(3)[None], tf.zeros((1, 3)), SHAPE)
    velocity = tf.constant(smooth(rng, SHAPE, 2.0), tf.float32)
    moved = fields.advect(flow, velocity)
    assert 0.05 < overshoot(flow, moved, velocity)[0] < 1


@pytest.mark.parametrize("steps", [0, 2.5, True])
def test_what_does_not_fit(steps):
    zero = tf.zeros((1, 4, 5, 2))
    with pytest.raises(ValueError, match="`time_steps` must be a whole number of at least 1"):
        fields.advect(zero, zero, steps)
    with pytest.raises(ValueError, match=r"must have one shape \[B, \*spatial, R\]"):
        fields.follow(zero, zero[:, 1:])
