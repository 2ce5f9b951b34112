"""Similarity terms against SciPy's and NumPy's versions of their formulas."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from rcn_tf import losses
from tests.conftest import GOLDEN
from tests.golden import system_inputs
from tests.losses.gradients import check_gradient

SHAPES = [(9, 12, 10), (13, 11)]
AVSM = np.load(GOLDEN / "losses.npz")


@pytest.fixture(params=SHAPES, ids=["3D", "2D"])
def pair(request, rng):
    """Two pairs of correlated float64 images in [0, 1]."""
    shape = (2, *request.param, 1)
    sigma = (0, *[1.0] * len(request.param), 0)
    common, a, b = (ndimage.gaussian_filter(rng.standard_normal(shape), sigma) for _ in range(3))
    images = [common + 0.5 * a, common + 0.5 * b]
    return [(image - image.min()) / np.ptp(image) for image in images]


TERMS = [
    losses.pearson,
    losses.mse,
    losses.mae,
    lambda f, w: losses.local_ncc(f, w, window=5),
    lambda f, w: losses.local_ncc(f, w, window=3, squared=False),
    lambda f, w: losses.padded_ncc(f, w, window=5),
    lambda f, w: losses.multi_kernel_ncc(
        f, w, windows=(3, 4), strides=(2, 1), dilations=(2, 1), weights=(0.3, 0.7)
    ),
    losses.nmi,
    losses.mind_ssc,
]


@pytest.mark.parametrize("number", range(len(TERMS)))
def test_gradients_are_the_numeric_ones(number, pair, rng):
    fixed, warped = pair
    check_gradient(lambda image: TERMS[number](fixed, image), 0.05 + 0.9 * warped, rng)


@pytest.mark.parametrize("number", range(len(TERMS)))
def test_an_image_is_most_similar_to_itself_and_samples_are_apart(number, pair):
    fixed, warped = pair
    same, other = TERMS[number](fixed, fixed), TERMS[number](fixed, warped)
    assert same.shape == (2,)
    assert (np.asarray(same) < np.asarray(other)).all()
    alone = TERMS[number](fixed[1:], warped[1:])
    np.testing.assert_allclose(other[1:], alone, rtol=1e-9)


def test_mse_and_mae(pair):
    fixed, warped = pair
    axes = tuple(range(1, fixed.ndim))
    np.testing.assert_allclose(losses.mse(fixed, warped), ((fixed - warped) ** 2).mean(axes))
    np.testing.assert_allclose(losses.mae(fixed, warped), abs(fixed - warped).mean(axes))


def box_mean(image, window):
    """Mean over the voxels of a box that lie inside, by SciPy."""
    inside = ndimage.uniform_filter(np.ones_like(image), window, mode="constant")
    return ndimage.uniform_filter(image, window, mode="constant") / inside


def expected_ncc(fixed, warped, window, squared=True, floor=1e-5):
    means = box_mean(fixed, window), box_mean(warped, window)
    cross = box_mean(fixed * warped, window) - means[0] * means[1]
    variances = [
        box_mean(image**2, window) - mean**2 + floor for image, mean in zip((fixed, warped), means)
    ]
    ratio = cross / np.sqrt(variances[0] * variances[1])
    return 1 - np.mean(ratio**2 if squared else ratio)


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("window", [1, 3, 5, 7, 9])
def test_local_ncc(pair, window, squared):
    found = losses.local_ncc(*pair, window=window, squared=squared)
    expected = [expected_ncc(f[..., 0], w[..., 0], window, squared) for f, w in zip(*pair)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    single = [tf.constant(image, tf.float32) for image in pair]
    found = losses.local_ncc(*single, window=window, squared=squared)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_local_ncc_does_not_see_a_constant(pair):
    """In float32 a naive difference of sums would lose all of the variance of 1000 + image."""
    images = [np.round(image * 1024) / 1024 for image in pair]  # stays exact when 1000 is added
    plain, shifted = (
        losses.local_ncc(*[tf.constant(image + constant, tf.float32) for image in images], window=7)
        for constant in (0.0, 1000.0)
    )
    np.testing.assert_allclose(shifted, plain, atol=2e-5)


def test_local_ncc_of_flat_regions_has_a_bounded_gradient(pair):
    fixed, warped = (tf.constant(image, tf.float32) for image in pair)
    warped = tf.where(warped > 0.5, warped, 0.0)
    flat = tf.zeros_like(fixed)
    for image in (warped, flat):
        with tf.GradientTape() as tape:
            tape.watch(image)
            loss = losses.local_ncc(fixed, image, window=5)
        gradient = tape.gradient(loss, image)
        assert np.isfinite(gradient).all()
        assert abs(gradient.numpy()).max() < 10
    np.testing.assert_allclose(loss, 1.0, atol=1e-6)


def test_local_ncc_refuses_an_even_window(pair):
    with pytest.raises(ValueError, match="must be odd and positive; got 4"):
        losses.local_ncc(*pair, window=4)


@pytest.mark.parametrize("window", [3, 5])
def test_padded_ncc(pair, window):
    """Sums by SciPy's box filter with zeros outside."""
    number = window ** (pair[0].ndim - 2)

    def sums(image):
        return number * ndimage.uniform_filter(image, window, mode="constant")

    expected = []
    for f, w in zip(*(image[..., 0] for image in pair)):
        cross = sums(f * w) - sums(f) * sums(w) / number
        variances = [sums(x * x) - sums(x) ** 2 / number for x in (f, w)]
        expected.append(1 - np.mean(cross**2 / (variances[0] * variances[1] + 1e-5)))
    np.testing.assert_allclose(losses.padded_ncc(*pair, window=window), expected, rtol=1e-9)
    with pytest.raises(ValueError, match="must be odd and positive; got 4"):
        losses.padded_ncc(*pair, window=4)


@pytest.mark.parametrize("window", [5, 9])
def test_padded_ncc_is_vr_nets(window):
    ops = np.load((GOLDEN / "vrnet") / "vrnet_ops.npz")
    shape, seed = tuple(ops["shape"]), int(ops["seed"])
    source, target = (system_inputs.volume(seed + k, shape)[None, ..., None] for k in (3, 4))
    found = losses.padded_ncc(target, source, window=window)[0] - 1
    np.testing.assert_allclose(found, ops[f"ncc{window}"], rtol=1e-5)


@pytest.mark.parametrize("case", [0, 1, 2])
def test_multi_kernel_ncc_is_avsms(case):
    """Compares with the authors' code in float64, in both phases, with its kernels by size."""
    shape = tuple(AVSM[f"lncc{case}_shape"])
    fixed, moving = system_inputs.pair(int(AVSM["avsm_seed"]) + 30 + case, shape)
    for name, phase in (("", "vsvf"), ("_affine", "affine")):
        image = tf.constant(moving)
        with tf.GradientTape() as tape:
            tape.watch(image)
            loss = losses.multi_kernel_ncc(fixed, image, phase=phase)
        np.testing.assert_allclose(loss[0], AVSM[f"lncc{case}{name}_f64"], rtol=2e-7)
        norm = tf.norm(tape.gradient(loss, image))
        np.testing.assert_allclose(norm, AVSM[f"lncc{case}{name}_gradnorm"], rtol=1e-5)
    np.testing.assert_allclose(losses.pearson(fixed, moving)[0], AVSM[f"ncc{case}"], atol=1e-4)


def test_multi_kernel_ncc_of_the_paper():
    fixed, moving = system_inputs.pair(
        int(AVSM["oracle_seed"]) + 3, tuple(AVSM["oracle_lncc_shape"])
    )
    found = losses.multi_kernel_ncc(
        fixed,
        moving,
        windows=(16, 32),
        strides=(16, 16),
        dilations=(2, 2),
        weights=(0.3, 0.7),
        squared=False,
    )
    np.testing.assert_allclose(1 - found[0], AVSM["oracle_avsm_mklncc_paper"], rtol=1e-6)


def test_multi_kernel_ncc_refuses_what_does_not_fit(pair):
    one = {"windows": (3,), "strides": (1,), "weights": (1.0,)}
    with pytest.raises(ValueError, match="must be equally long"):
        losses.multi_kernel_ncc(*pair, **one)
    with pytest.raises(ValueError, match="spans 41 voxels, more than the volume's"):
        losses.multi_kernel_ncc(*pair, **one, dilations=(20,))
    with pytest.raises(ValueError, match="phases 'vsvf' and 'affine', not 'dense'"):
        losses.multi_kernel_ncc(*pair, phase="dense")


def expected_nmi(fixed, warped, bins, bandwidth):
    """Every voxel's share of each bin, voxel by voxel, then Shannon's entropies."""
    centres = np.linspace(0, 1, bins)
    joint = np.zeros((bins, bins))
    for values in zip(fixed.ravel(), warped.ravel()):
        shares = [np.exp(-(((v - centres) * (bins - 1) / bandwidth) ** 2) / 2) for v in values]
        joint += np.outer(shares[0] / shares[0].sum(), shares[1] / shares[1].sum())
    joint /= fixed.size

    def entropy(p):
        p = p[p > 0]
        return -(p * np.log(p)).sum()

    return 2 - (entropy(joint.sum(0)) + entropy(joint.sum(1))) / entropy(joint)


@pytest.mark.parametrize(("bins", "bandwidth"), [(32, 0.5), (12, 1.0)])
def test_nmi(pair, bins, bandwidth):
    found = losses.nmi(*pair, bins=bins, bandwidth=bandwidth)
    expected = [expected_nmi(f, w, bins, bandwidth) for f, w in zip(*pair)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_nmi_sees_through_another_contrast(rng):
    fixed = np.repeat(rng.integers(0, 4, (1, 12, 12, 12, 1)), 2, axis=1) / 3.0
    exchanged = np.select([fixed == k / 3 for k in range(4)], [0.7, 0.1, 1.0, 0.4])
    other = rng.permutation(exchanged.ravel()).reshape(fixed.shape)
    alike, apart = losses.nmi(fixed, exchanged)[0], losses.nmi(fixed, other)[0]
    assert alike < 0.5
    assert apart > 0.9
    assert losses.pearson(fixed, exchanged)[0] > 0.5


def expected_mind(image, radius=1, dilation=1):
    """Descriptors by padding and SciPy's box filter; pairs in the order of the offsets."""
    rank = image.ndim
    offsets = [sign * unit for unit in np.eye(rank, dtype=int) for sign in (-1, 1)]
    index = np.indices(image.shape)
    last = np.array(image.shape).reshape(-1, *[1] * rank) - 1

    def shifted(offset):
        place = index + dilation * offset.reshape(-1, *[1] * rank)
        return image[tuple(np.clip(place, 0, last))]

    distances = [
        ndimage.uniform_filter((shifted(a) - shifted(b)) ** 2, 2 * radius + 1, mode="nearest")
        for a, b in itertools.combinations(offsets, 2)
        if abs(a - b).sum() == 2 and (a + b).any()
    ]
    distances = np.stack(distances, axis=-1)
    distances -= distances.min(-1, keepdims=True)
    variance = distances.mean(-1, keepdims=True)
    variance = np.clip(variance, 1e-3 * variance.mean(), 1e3 * variance.mean())
    return np.exp(-distances / variance)


@pytest.mark.parametrize(("radius", "dilation"), [(1, 1), (2, 2)])
def test_mind_ssc(pair, radius, dilation):
    descriptors = [
        np.stack([expected_mind(sample[..., 0], radius, dilation) for sample in image])
        for image in pair
    ]
    pairs = 12 if pair[0].ndim == 5 else 4
    assert descriptors[0].shape[-1] == pairs
    found = losses.mind_descriptor(pair[0], radius, dilation)
    np.testing.assert_allclose(found, descriptors[0], rtol=1e-6, atol=1e-9)
    axes = tuple(range(1, pair[0].ndim))
    expected = ((descriptors[0] - descriptors[1]) ** 2).mean(axes)
    found = losses.mind_ssc(*pair, radius=radius, dilation=dilation)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_mind_ssc_sees_no_contrast_and_bears_a_flat_image(pair):
    fixed, _ = (tf.constant(image, tf.float32) for image in pair)
    np.testing.assert_allclose(losses.mind_ssc(fixed, 0.9 - 0.7 * fixed), 0.0, atol=1e-6)
    flat = tf.fill(fixed.shape, 0.5)
    with tf.GradientTape() as tape:
        tape.watch(flat)
        loss = losses.mind_ssc(fixed, flat)
    assert np.isfinite(loss).all()
    assert np.isfinite(tape.gradient(loss, flat)).all()
