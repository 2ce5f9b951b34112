"""The cost volume on both backends, against NumPy's version in float64."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

import custom_ops
from custom_ops import cost_volume


@pytest.fixture(params=["native", "python"])
def backend(request):
    if request.param not in custom_ops.available_backends():
        pytest.skip("the native op cannot be built here")
    return request.param


def box_mean(array):
    """Mean over 3 voxels along every spatial axis of [B, *spatial, K], zeros outside."""
    rank = array.ndim - 2
    padded = np.pad(array, [(0, 0), *[(1, 1)] * rank, (0, 0)])
    total = np.zeros(array.shape)
    for shift in itertools.product(range(3), repeat=rank):
        window = [slice(s, s + n) for s, n in zip(shift, array.shape[1:-1])]
        total += padded[(slice(None), *window)]
    return total / 3**rank


def windows(moving, radius):
    """(slices of the padded array, moving(x + o)) for all offsets, the first axis fastest."""
    rank = moving.ndim - 2
    padded = np.pad(moving, [(0, 0), *[(radius, radius)] * rank, (0, 0)])
    for reversed_shift in itertools.product(range(2 * radius + 1), repeat=rank):
        shift = reversed_shift[::-1]
        window = (slice(None), *(slice(s, s + n) for s, n in zip(shift, moving.shape[1:-1])))
        yield window, padded[window]


def expected(fixed, moving, radius, kind, box):
    """Costs, by their definition."""
    costs = []
    for _, seen in windows(moving, radius):
        pairs = fixed * seen if kind == "correlation" else abs(fixed - seen)
        costs.append(pairs.sum(axis=-1))
    costs = np.stack(costs, axis=-1)
    return box_mean(costs) if box else costs


def expected_gradients(fixed, moving, upstream, radius, kind, box):
    """Gradients of sum(upstream * costs): the box mean is its own adjoint."""
    slopes = box_mean(upstream) if box else upstream
    rank = moving.ndim - 2
    padded = np.pad(0 * moving, [(0, 0), *[(radius, radius)] * rank, (0, 0)])
    by_fixed = np.zeros(fixed.shape)
    for number, (window, seen) in enumerate(windows(moving, radius)):
        slope = slopes[..., number : number + 1]
        if kind == "correlation":
            by_fixed += slope * seen
            padded[window] += slope * fixed
        else:
            by_fixed += slope * np.sign(fixed - seen)
            padded[window] -= slope * np.sign(fixed - seen)
    inside = (slice(None), *[slice(radius, -radius)] * rank)
    return by_fixed, padded[inside]


def found(fixed, moving, upstream, radius, kind, box, backend):
    """Costs and gradients."""
    fixed, moving = tf.constant(fixed), tf.constant(moving)
    with tf.GradientTape() as tape:
        tape.watch([fixed, moving])
        costs = cost_volume(fixed, moving, radius, kind, box_mean=box, backend=backend)
    return costs, tape.gradient(costs, [fixed, moving], tf.constant(upstream))


SHAPES = [((2, 3, 4, 19, 2), 1), ((1, 2, 6, 3, 9), 2), ((2, 5, 18, 3), 2)]


@pytest.mark.parametrize("box", [True, False], ids=["mean", "raw"])
@pytest.mark.parametrize("kind", ["l1", "correlation"])
@pytest.mark.parametrize(("shape", "radius"), SHAPES, ids=["3d", "many_channels", "2d"])
def test_costs_and_gradients(backend, rng, shape, radius, kind, box):
    fixed, moving = rng.standard_normal((2, *shape))
    moving[..., 0] = np.round(moving[..., 0])  # equal values, where |f - m| has no slope
    fixed[..., 0] = np.round(fixed[..., 0])
    costs = expected(fixed, moving, radius, kind, box)
    upstream = rng.standard_normal(costs.shape)
    ours, gradients = found(fixed, moving, upstream, radius, kind, box, backend)
    np.testing.assert_allclose(ours, costs, atol=1e-12)
    reference = expected_gradients(fixed, moving, upstream, radius, kind, box)
    for gradient, wanted in zip(gradients, reference):
        np.testing.assert_allclose(gradient, wanted, atol=1e-11)


def test_the_channel_of_an_offset(backend):
    """A single bright voxel, moved by (2, -1, 1), matches at that offset's channel alone."""
    fixed, moving = np.zeros((2, 1, 9, 8, 7, 1), "float32")
    fixed[0, 4, 4, 3], moving[0, 6, 3, 4] = 1, 1
    costs = cost_volume(fixed, moving, 2, "correlation", box_mean=False, backend=backend)
    channel = ((1 + 2) * 5 + (-1 + 2)) * 5 + (2 + 2)
    assert costs[0, 4, 4, 3, channel] == 1
    assert tf.reduce_sum(costs) == 1


@pytest.mark.parametrize("kind", ["l1", "correlation"])
def test_bfloat16_is_computed_in_float32(backend, rng, kind):
    fixed, moving = (tf.cast(x, tf.bfloat16) for x in rng.standard_normal((2, 1, 3, 4, 5, 8)))
    costs = cost_volume(fixed, moving, 1, kind, backend=backend)
    wide = cost_volume(tf.cast(fixed, tf.float32), tf.cast(moving, tf.float32), 1, kind)
    assert costs.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(costs, tf.float32), wide, rtol=2**-8, atol=1e-6)
    with tf.GradientTape() as tape:
        tape.watch(moving)
        total = tf.reduce_sum(cost_volume(fixed, moving, 1, kind, backend=backend))
    gradient = tape.gradient(total, moving)
    assert gradient.dtype == tf.bfloat16
    assert np.isfinite(tf.cast(gradient, tf.float32)).all()


@pytest.mark.parametrize("known", [[None] * 4, [2, None, None, None], [None, 4, None, 6]])
def test_in_a_function_of_unknown_sizes(backend, rng, known):
    fixed, moving = (tf.constant(x) for x in rng.standard_normal((2, 2, 4, 5, 6, 3)))

    @tf.function(input_signature=[tf.TensorSpec([*known, 3], tf.float64)] * 2)
    def slope(fixed, moving):
        with tf.GradientTape() as tape:
            tape.watch(moving)
            costs = cost_volume(fixed, moving, 1, backend=backend)
        assert costs.shape.as_list() == [*known, 27]
        return costs, tape.gradient(costs, moving)

    costs, gradient = slope(fixed, moving)
    reference = expected(fixed.numpy(), moving.numpy(), 1, "l1", True)
    np.testing.assert_allclose(costs, reference, atol=1e-12)
    ones = np.ones(reference.shape)
    wanted = expected_gradients(fixed.numpy(), moving.numpy(), ones, 1, "l1", True)[1]
    np.testing.assert_allclose(gradient, wanted, atol=1e-11)


def test_the_backends_agree_in_float32_on_another_grid(native, rng):
    """Rows longer than a vector, several tiles and slabs."""
    fixed, moving = rng.standard_normal((2, 1, 21, 35, 33, 4)).astype("float32")
    ours = cost_volume(fixed, moving, 1, backend="native")
    np.testing.assert_allclose(ours, expected(fixed, moving, 1, "l1", True), atol=1e-5)


def test_native_gradients_are_refused_a_second_time(native, rng):
    fixed, moving = (tf.constant(x) for x in rng.standard_normal((2, 1, 3, 4, 5, 1)))
    with tf.GradientTape() as outer:
        outer.watch(moving)
        with tf.GradientTape() as tape:
            tape.watch(moving)
            costs = tf.square(cost_volume(fixed, moving, 1, "correlation", backend="native"))
        gradient = tape.gradient(costs, moving)
    with pytest.raises((NotImplementedError, LookupError), match="differentiable once"):
        outer.gradient(gradient, moving)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"radius": 0}, ValueError, "`radius` must be a whole number of at least 1; got 0"),
        ({"radius": 1.5}, ValueError, "`radius` must be a whole number"),
        ({"kind": "l2"}, ValueError, r"`kind` must be one of \('l1', 'correlation'\); got 'l2'"),
        ({"fixed": np.zeros((3, 4, 1), "float32")}, ValueError, "`fixed` must have shape"),
        ({"moving": np.zeros((1, 3, 4, 6, 1), "float32")}, ValueError, "to match `fixed`"),
        ({"moving": np.zeros((1, 3, 4, 5, 1))}, TypeError, "must share a dtype"),
        ({"fixed": np.zeros((1, 3, 4, 5, 1), "float16")}, TypeError, "got float16"),
    ],
)
def test_bad_input_is_one_line(change, error, message):
    features = np.zeros((1, 3, 4, 5, 1), "float32")
    with pytest.raises(error, match=message):
        cost_volume(**{"fixed": features, "moving": features, "radius": 1, **change})
