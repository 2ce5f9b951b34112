"""One optimiser step: it learns, and its loss weights samples as the config says."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter, map_coordinates, shift

import rcn_tf
from rcn_tf.keras_api import keras
from rcn_tf.losses.objective import RCN_WEIGHTS
from rcn_tf.training.optimizers import make_optimizer
from rcn_tf.training.step import make_train_step
from rcn_tf.training.strategies import make_strategy

SHAPE = (32, 36, 34)
LIGHT = "tests.known_networks:OneConvolution"


@pytest.fixture
def pair(rng):
    """An image and its copy displaced by a different amount along each axis."""
    fixed = gaussian_filter(rng.standard_normal(SHAPE), 4)
    fixed = (fixed - fixed.min()) / np.ptp(fixed)
    moving = shift(fixed, (2.0, -1.0, 3.0), order=1, mode="nearest")
    return [image[None, ..., None].astype("float32") for image in (fixed, moving)]


def make(weights, rate=3e-3, batch_size=1, base="voxelmorph", **kwargs):
    keras.utils.set_random_seed(0)
    strategy = make_strategy()
    with strategy.scope():
        model = rcn_tf.RecursiveCascade(base, 1, SHAPE, channels=4, affine_channels=2)
        optimizer = make_optimizer("adam", rate)
    step = make_train_step(
        strategy, model, optimizer, weights=weights, batch_size=batch_size, **kwargs
    )
    return model, step


@pytest.mark.slow
def test_one_pair_is_learnt(pair):
    """After a few steps the flow points along the known displacement."""
    model, step = make(RCN_WEIGHTS, base="vtn")
    first = float(step(*pair)["final/similarity"][0])
    for _ in range(60):
        last = float(step(*pair)["final/similarity"][0])
    assert last < 0.25 * first
    inside = model(*pair).flow.numpy()[0, 8:-8, 8:-8, 8:-8].mean((0, 1, 2))
    np.testing.assert_allclose(inside, (2.0, -1.0, 3.0), atol=0.7)


def test_invertibility_registers_the_reversed_pair_too(pair):
    """The value is that of the two round trips, computed by hand from both registrations."""
    weights = {**RCN_WEIGHTS, "final": {"similarity": 1.0, "invertibility": 1e-3}}
    model, step = make(weights, base=LIGHT)
    for _ in range(3):  # at the start the flows are nearly zero
        forward, backward = model(*pair).flow, model(*pair[::-1]).flow
        term = float(step(*pair)["final/invertibility"][0])
    quarters = tuple(slice(n // 4, n - n // 4) for n in SHAPE)
    expected = 0.0
    for one, other in ((forward, backward), (backward, forward)):
        one, other = one.numpy()[0], other.numpy()[0]
        place = np.indices(SHAPE) + np.moveaxis(other, -1, 0)
        looked_up = [
            map_coordinates(one[..., axis], place, order=1, mode="nearest") for axis in range(3)
        ]
        trip = (other + np.stack(looked_up, axis=-1))[quarters]
        expected += np.mean(np.sum(trip**2, axis=-1))
    assert abs(forward - backward).numpy().max() > 1e-3
    assert term == pytest.approx(expected, rel=1e-3)


def test_gradient_is_the_mean_over_the_global_batch(pair):
    """A batch of two equal pairs changes the weights like one of the pairs."""
    single, single_step = make(RCN_WEIGHTS, base=LIGHT)
    double, double_step = make(RCN_WEIGHTS, base=LIGHT, batch_size=2)
    single_step(*pair)
    terms = double_step(*(tf.repeat(image, 2, axis=0) for image in pair))
    assert terms["total"].shape == (2,)
    for a, b in zip(single.get_weights(), double.get_weights()):
        np.testing.assert_allclose(a, b, atol=2e-4)


@pytest.mark.slow
def test_repeats_in_training_add_stages(pair):
    """The similarity is that after both repeats, and each repeat's smoothness counts."""
    model, step = make(RCN_WEIGHTS, base="vtn", n_repeats=2)
    expected = rcn_tf.registration_losses(model(*pair, n_repeats=2), pair[0])
    once = rcn_tf.registration_losses(model(*pair), pair[0])
    terms = step(*pair)
    smoothness = [name for name in terms if name.endswith("/smoothness")]
    assert len(smoothness) == 2
    assert set(terms) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-3, atol=1e-7, err_msg=name)
    similarity = float(terms["final/similarity"][0])
    assert abs(similarity - float(once["final/similarity"][0])) > 1e-6
