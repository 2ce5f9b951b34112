"""Dissimilarities against formulas written out in NumPy and SciPy, in volumes and planes."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import uniform_filter

from rcn_tf import losses
from rcn_tf.losses import windows
from tests.conftest import GOLDEN
from tests.golden.systems import inputs

SHAPES = [(11, 9, 13), (12, 15)]


def images(rng, shape, dtype="float64"):
    fixed = rng.uniform(size=(2, *shape, 1))
    warped = 0.6 * fixed + 0.4 * rng.uniform(size=fixed.shape)
    return tf.constant(fixed, dtype), tf.constant(warped, dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("window", [1, 3, 5, 7])
def test_box_sums_are_those_of_scipy(rng, shape, window):
    image = rng.standard_normal((2, *shape, 2))
    found = windows.box_sum(tf.constant(image), window)
    for b in range(2):
        for c in range(2):
            mean = uniform_filter(image[b, ..., c], window, mode="constant")
            np.testing.assert_allclose(found[b, ..., c], mean * window ** len(shape), atol=1e-10)
    ones = windows.box_sum(tf.ones_like(tf.constant(image)), window)
    np.testing.assert_allclose(ones[:1, ..., :1], windows.box_counts(tf.constant(image), window))


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_local_ncc_is_the_mean_over_clipped_windows(rng, shape, squared):
    fixed, warped = images(rng, shape)
    expected = []
    for f, w in zip(fixed.numpy()[..., 0], warped.numpy()[..., 0]):
        local = []
        for index in np.ndindex(shape):
            window = tuple(slice(max(i - 2, 0), i + 3) for i in index)
            a, b = f[window], w[window]
            a, b = a - a.mean(), b - b.mean()
            covariance, product = (a * b).mean(), (a.var() + 1e-5) * (b.var() + 1e-5)
            local.append(covariance**2 / product if squared else covariance / product**0.5)
        expected.append(1 - np.mean(local))
    found = losses.local_ncc(fixed, warped, window=5, squared=squared)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_local_ncc_ignores_offset_scale_and_slow_changes(rng):
    fixed, _ = images(rng, (16, 14, 18), "float32")
    ramp = tf.reshape(tf.linspace(1.0, 1.5, 18), (1, 1, 1, 18, 1))
    assert float(losses.local_ncc(fixed, fixed * ramp)[0]) < 0.02
    assert float(losses.local_ncc(fixed, 1.0 - fixed)[0]) < 0.01
    assert float(losses.local_ncc(fixed, 1.0 - fixed, squared=False)[0]) > 1.98
    plain = losses.local_ncc(fixed, fixed * ramp)
    moved = losses.local_ncc(fixed + 1000.0, fixed * ramp + 1000.0)
    np.testing.assert_allclose(moved, plain, atol=2e-3)


def test_local_ncc_of_blank_images_is_finite_and_flat():
    blank = tf.zeros((1, 12, 12, 12, 1))
    with tf.GradientTape() as tape:
        tape.watch(blank)
        loss = losses.local_ncc(blank, blank)
    assert float(loss[0]) == 1.0
    assert not np.any(tape.gradient(loss, blank))


@pytest.mark.parametrize("shape", [(4, 5, 4), (6, 5)])
@pytest.mark.parametrize(
    "term",
    [
        losses.pearson,
        losses.mse,
        lambda a, b: losses.local_ncc(a, b, window=3),
        lambda a, b: losses.local_ncc(a, b, window=5, squared=False),
        lambda a, b: losses.multi_kernel_lncc(a, b, sizes=[3, 4], weights=[0.4, 0.6], dilation=1),
        lambda a, b: losses.nmi(a, b, bins=8),
        losses.mind_ssc,
    ],
    ids=["pearson", "mse", "lncc", "lncc signed", "mk lncc", "nmi", "mind"],
)
def test_gradients_are_those_of_finite_differences(rng, term, shape):
    fixed, warped = (image[:1] * 0.8 + 0.1 for image in images(rng, shape))
    analytic, numeric = tf.test.compute_gradient(tf.function(term), [fixed, warped], delta=1e-6)
    for found, expected in zip(analytic, numeric):
        np.testing.assert_allclose(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_nmi_is_that_of_a_smooth_histogram(rng, shape):
    """The joint histogram, built voxel by voxel with the cubic B-spline's four weights."""
    fixed, warped = images(rng, shape)
    bins = 12
    expected = []
    for f, w in zip(fixed.numpy(), warped.numpy()):
        joint = np.zeros((bins, bins))
        for pair in zip(f.ravel(), w.ravel()):
            columns = []
            for value in pair:
                position = 1 + value * (bins - 3)
                low, t = int(position), position - int(position)
                column = np.zeros(bins)
                four = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4]
                four += [-3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
                for offset, weight in enumerate(four):
                    if weight:
                        column[low - 1 + offset] += weight / 6
                columns.append(column)
            joint += np.outer(*columns)
        joint /= joint.sum()

        def entropy(p):
            p = p[p > 0]
            return -(p * np.log(p)).sum()

        marginal = entropy(joint.sum(0)) + entropy(joint.sum(1))
        expected.append(2 - marginal / entropy(joint))
    np.testing.assert_allclose(losses.nmi(fixed, warped, bins=bins), expected, atol=1e-9)


def test_nmi_and_mind_see_through_another_contrast(rng):
    """A remapped image fits at its place better than moved by two voxels; Pearson is misled."""
    from scipy.ndimage import gaussian_filter

    fixed = gaussian_filter(rng.standard_normal((20, 24, 22)), 2)
    fixed = (fixed - fixed.min()) / np.ptp(fixed)
    other = np.abs(fixed - 0.5) * 2  # not even monotonous

    def tensor(x):
        return tf.constant(x[None, ..., None], tf.float32)

    moved = np.roll(other, 2, axis=1)
    for term in (losses.nmi, losses.mind_ssc):
        there = float(term(tensor(fixed), tensor(other))[0])
        away = float(term(tensor(fixed), tensor(moved))[0])
        assert there < away - 0.005


@pytest.mark.parametrize(("shape", "pairs"), [((9, 10, 8), 12), ((9, 11), 4)])
def test_mind_is_its_formula(rng, shape, pairs):
    fixed, warped = images(rng, shape)
    dilation, rank = 2, len(shape)

    def descriptor(image):
        steps = []
        for axis in range(rank):
            for sign in (1, -1):
                step = np.zeros(rank, int)
                step[axis] = sign * dilation
                steps.append(step)
        index = np.indices(shape)

        def at(step):
            moved = [np.clip(i + s, 0, n - 1) for i, s, n in zip(index, step, shape)]
            return image[tuple(moved)]

        ones = uniform_filter(np.ones(shape), 3, mode="constant")
        channels = []
        for i in range(len(steps)):
            for j in range(i + 1, len(steps)):
                if np.any(steps[i] + steps[j]):
                    square = (at(steps[i]) - at(steps[j])) ** 2
                    channels.append(uniform_filter(square, 3, mode="constant") / ones)
        assert len(channels) == pairs
        distance = np.stack(channels, -1)
        distance -= distance.min(-1, keepdims=True)
        variance = distance.mean(-1, keepdims=True)
        variance = np.clip(variance, 1e-3 * variance.mean(), 1e3 * variance.mean())
        return np.exp(-distance / variance)

    expected = [
        np.mean((descriptor(f[..., 0]) - descriptor(w[..., 0])) ** 2)
        for f, w in zip(fixed.numpy(), warped.numpy())
    ]
    np.testing.assert_allclose(losses.mind_ssc(fixed, warped), expected, atol=1e-9)


@pytest.mark.parametrize("number", [0, 1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("phase", "limits"), [("", (64, 128)), ("_affine", (65, 129))])
def test_multi_kernel_lncc_is_the_authors(number, phase, limits):
    """AVSM's own numbers in float64, by size of the volume and phase of its training."""
    golden, key = np.load(GOLDEN / "systems" / "avsm_lncc.npz"), f"lncc{number}"
    pair = inputs.pair(int(golden["seed"]) + 30 + number, tuple(golden[f"{key}_shape"]))
    fixed, moving = (tf.constant(np.asarray(image, np.float64)) for image in pair)
    with tf.GradientTape() as tape:
        tape.watch(moving)
        loss = losses.multi_kernel_lncc(fixed, moving, limits=limits)
    np.testing.assert_allclose(loss[0], golden[f"{key}{phase}_f64"], rtol=1e-6)
    norm = tf.norm(tape.gradient(loss, moving))
    np.testing.assert_allclose(norm, golden[f"{key}{phase}_gradnorm"], rtol=1e-5)
    single = losses.multi_kernel_lncc(
        tf.cast(fixed, tf.float32), tf.cast(moving, tf.float32), limits=limits
    )
    np.testing.assert_allclose(single[0], golden[f"{key}{phase}_f64"], rtol=1e-4)


def test_wrong_windows_are_named(rng):
    fixed, warped = images(rng, (6, 6))
    with pytest.raises(ValueError, match="`window` must be an odd number of voxels; got 4"):
        losses.local_ncc(fixed, warped, window=4)
    with pytest.raises(ValueError, match="`bins` must be at least 4; got 2"):
        losses.nmi(fixed, warped, bins=2)
    with pytest.raises(ValueError, match="`sizes` and `weights` must be as many"):
        losses.multi_kernel_lncc(fixed, warped, sizes=[3], weights=[])
