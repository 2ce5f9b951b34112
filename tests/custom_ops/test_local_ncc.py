"""The local NCC on both backends, against NumPy's and SciPy's version in float64."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

import custom_ops
from custom_ops import local_ncc


@pytest.fixture(params=["native", "python"])
def backend(request):
    if request.param not in custom_ops.available_backends():
        pytest.skip("the native op cannot be built here")
    return request.param


def images(rng, shape, dtype="float64"):
    """Two images in about [0, 1] that have something in common."""
    common, a, b = rng.uniform(0, 1, (3, *shape))
    return [((common + other) / 2).astype(dtype) for other in (a, b)]


def box_sum(image, window):
    """Sums over boxes by SciPy, one axis of odd window after the other."""
    return ndimage.uniform_filter(image, window, mode="constant") * window**image.ndim


def expected_channel(fixed, warped, mask, window, squared, floor):
    """The weighted sum of r and its gradient by `warped` for images [*spatial]."""
    fixed, warped = (np.where(mask > 0, x, 0) for x in (fixed, warped))
    fixed, warped = (x - (mask * x).sum() / mask.sum() for x in (fixed, warped))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(mask > 0, 1 / np.where(mask > 0, box_sum(mask, window), 1), 0)
    means = [share * box_sum(mask * x, window) for x in (fixed, warped)]
    cross = share * box_sum(mask * fixed * warped, window) - means[0] * means[1]
    spreads = [
        share * box_sum(mask * x**2, window) - mean**2 + floor
        for x, mean in zip((fixed, warped), means)
    ]
    ratio = cross / np.sqrt(spreads[0] * spreads[1])
    by_cross = 1 / np.sqrt(spreads[0] * spreads[1])
    by_spread = -ratio / (2 * spreads[1])
    if squared:
        by_cross, by_spread, ratio = 2 * ratio * by_cross, 2 * ratio * by_spread, ratio**2
    # c and v of a window change by (f(y) - mean f) / n and 2 (w(y) - mean w) / n with w(y).
    a, b = (mask * share * x for x in (by_cross, 2 * by_spread))
    slope = fixed * box_sum(a, window) + warped * box_sum(b, window)
    slope -= box_sum(a * means[0] + b * means[1], window)
    return (mask * ratio).sum(), mask * slope


def expected(fixed, warped, mask=None, window=9, squared=True, floor=1e-5):
    """Values [B] and their gradients by `warped`."""
    values, slopes = [], np.zeros(warped.shape)
    for item in range(len(fixed)):
        weight = np.ones(fixed.shape[1:-1]) if mask is None else mask[item, ..., 0]
        total = weight.sum() * fixed.shape[-1]
        value = 1.0
        for c in range(fixed.shape[-1]):
            channel = [x[item, ..., c].astype(float) for x in (fixed, warped)]
            ratio, slope = expected_channel(*channel, weight, window, squared, floor)
            value -= ratio / total
            slopes[item, ..., c] = -slope / total
        values.append(value)
    return np.array(values), slopes


def found(fixed, warped, mask=None, *, backend, **options):
    """Values [B] and the gradients of their sum by both images."""
    fixed, warped = tf.constant(fixed), tf.constant(warped)
    with tf.GradientTape() as tape:
        tape.watch([fixed, warped])
        values = local_ncc(fixed, warped, mask, backend=backend, **options)
    by_fixed, by_warped = tape.gradient(values, [fixed, warped])
    return values.numpy(), by_warped.numpy(), by_fixed.numpy()


CASES = [
    ((2, 9, 12, 10, 1), 5),
    ((1, 40, 7, 19, 2), 9),  # more planes than lie between two fresh starts of the sums
    ((1, 5, 70, 9, 1), 7),
    ((2, 3, 2, 4, 1), 9),  # smaller than the window
    ((1, 1, 1, 30, 3), 3),
    ((1, 35, 3, 1, 1), 11),
    ((2, 13, 11, 1), 5),
    ((1, 37, 22, 2), 13),
]


@pytest.mark.parametrize(("masked", "squared"), [(False, True), (True, True), (True, False)])
@pytest.mark.parametrize(("shape", "window"), CASES)
def test_equals_scipy(rng, backend, shape, window, masked, squared):
    pair = images(rng, shape)
    mask = None
    if masked:
        mask = rng.uniform(0.1, 1, (*shape[:-1], 1)) * (rng.random((*shape[:-1], 1)) < 0.6)
        mask[:, 0] = 1  # no sample is without a voxel
    options = {"window": window, "squared": squared}
    values, slopes = expected(*pair, mask, **options)
    _, fixed_slopes = expected(*pair[::-1], mask, **options)
    ours = found(*pair, mask, backend=backend, **options)
    np.testing.assert_allclose(ours[0], values, rtol=1e-9)
    scale = abs(slopes).max()
    np.testing.assert_allclose(ours[1] / scale, slopes / scale, atol=1e-8)
    np.testing.assert_allclose(ours[2] / scale, fixed_slopes / scale, atol=1e-8)

    single = [x.astype("float32") for x in pair]
    mask = None if mask is None else mask.astype("float32")
    values, slopes = expected(*single, mask, **options)
    ours = found(*single, mask, backend=backend, **options)
    np.testing.assert_allclose(ours[0], values, atol=2e-5)
    np.testing.assert_allclose(ours[1] / scale, slopes / scale, atol=2e-4)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", [(2, 2, 3, 4, 1), (1, 4, 3, 2)])
def test_gradients_equal_numerical_ones(rng, backend, shape, masked):
    pair = images(rng, shape)
    mask = rng.integers(0, 2, (*shape[:-1], 1)) if masked else None
    weights = np.arange(1.0, 1 + shape[0])

    @tf.function
    def total(fixed, warped):
        return tf.reduce_sum(weights * local_ncc(fixed, warped, mask, window=3, backend=backend))

    for a, b in zip(*tf.test.compute_gradient(total, pair, delta=1e-5)):
        assert abs(b).max() > 1e-3
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("gradients", ["none", "both"])
def test_gradients_are_the_same_whatever_the_op_computes_along(rng, native, gradients):
    pair = images(rng, (2, 6, 5, 7, 1))
    usual = found(*pair, backend="native", window=5)
    for a, b in zip(found(*pair, backend="native", window=5, gradients=gradients), usual):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_windows_of_one_voxel_see_nothing(rng, backend):
    values, *slopes = found(*images(rng, (2, 6, 5, 4, 1)), backend=backend, window=1)
    np.testing.assert_allclose(values, 1.0, atol=1e-9)
    np.testing.assert_allclose(slopes, 0.0, atol=1e-9)


def test_tiles_and_slabs_of_large_planes(rng):
    """More rows than fit a tile, more planes than a slab has, in float32 against SciPy."""
    if "native" not in custom_ops.available_backends():
        pytest.skip("the native op cannot be built here")
    pair = images(rng, (1, 19, 150, 500, 1), "float32")
    values, slopes = expected(*pair, window=7)
    ours = found(*pair, backend="native", window=7)
    np.testing.assert_allclose(ours[0], values, rtol=1e-6)
    np.testing.assert_allclose(ours[1], slopes, atol=2e-6 * abs(slopes).max())


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_a_small_variance_beside_a_large_mean(rng, backend, offset):
    """Variances of 1e-4 beside a mean of 1000; float32 holds steps of 6e-5 there."""
    pair = [np.float32(offset) + np.float32(0.01) * x for x in images(rng, (1, 20, 12, 14, 1))]
    pair = [x.astype("float32") for x in pair]
    values, slopes = expected(*pair, window=5, floor=1e-9)
    ours = found(*pair, backend=backend, window=5, variance_floor=1e-9)
    np.testing.assert_allclose(ours[0], values, atol=2e-4)
    np.testing.assert_allclose(ours[1], slopes, atol=1e-3 * abs(slopes).max())


def test_native_sums_do_not_drift(rng):
    """A bright block passes through the windows; what lies far behind it must not remember."""
    if "native" not in custom_ops.available_backends():
        pytest.skip("the native op cannot be built here")
    pair = images(rng, (1, 60, 40, 12, 1), "float32")
    for image in pair:
        image *= np.float32(1e-3)
        image[:, 2:6, 2:6] += np.float32(100)
    values, slopes = expected(*pair, window=5, floor=1e-9)
    ours = found(*pair, backend="native", window=5, variance_floor=1e-9)
    np.testing.assert_allclose(ours[0], values, atol=1e-5)
    far = np.s_[:, 12:, 12:]
    scale = abs(slopes[far]).max()
    np.testing.assert_allclose(ours[1][far], slopes[far], atol=1e-2 * scale)


def test_flat_images_have_the_value_1_and_no_gradient(rng, backend):
    image, _ = images(rng, (1, 9, 8, 7, 1), "float32")
    for flat in (np.zeros_like(image), np.full_like(image, 0.7)):
        values, by_warped, by_fixed = found(image, flat, backend=backend, window=3)
        np.testing.assert_allclose(values, 1.0, atol=1e-6)
        np.testing.assert_allclose(by_warped, 0.0, atol=1e-5)
        np.testing.assert_allclose(by_fixed, 0.0, atol=1e-5)
    half = image.copy()
    half[:, :, :, 3:] = 0.25
    _, by_warped, _ = found(image, half, backend=backend, window=3)
    assert np.isfinite(by_warped).all()
    np.testing.assert_allclose(by_warped[:, :, :, 5:], 0.0, atol=1e-5)
    assert abs(by_warped).max() > 1e-4


def test_what_the_mask_hides_counts_nowhere(rng, backend):
    pair = images(rng, (2, 8, 9, 10, 2), "float32")
    mask = np.zeros((2, 8, 9, 10, 1), bool)
    mask[:, 2:6, 3:9, :7] = True
    values, *slopes = found(*pair, mask, backend=backend, window=5)
    hidden = [np.where(mask, image, value) for image, value in zip(pair, (np.nan, np.inf))]
    again, *same = found(*hidden, mask, backend=backend, window=5)
    np.testing.assert_array_equal(again, values)
    for a, b in zip(same, slopes):
        np.testing.assert_array_equal(a, b)
        assert (np.where(mask, 0, a) == 0).all()
    inside = [image[:, 2:6, 3:9, :7] for image in pair]
    cropped, *inner = found(*inside, backend=backend, window=5)
    np.testing.assert_allclose(values, cropped, atol=1e-6)
    for a, b in zip(slopes, inner):
        np.testing.assert_allclose(a[:, 2:6, 3:9, :7], b, atol=1e-6)


def test_masks_of_ones_none_and_nothing(rng, backend):
    pair = images(rng, (2, 6, 7, 8, 1), "float32")
    mask = np.ones((2, 6, 7, 8, 1), "float32")
    values, *slopes = found(*pair, backend=backend, window=5)
    masked, *masked_slopes = found(*pair, mask, backend=backend, window=5)
    np.testing.assert_allclose(masked, values, atol=1e-6)
    np.testing.assert_allclose(masked_slopes, slopes, atol=1e-7)
    mask[1] = np.array([0, -1, np.nan, 0])[rng.integers(0, 4, mask[1].shape)]
    masked, by_warped, _ = found(*pair, mask, backend=backend, window=5)
    np.testing.assert_allclose(masked, [values[0], 1.0], atol=1e-6)
    assert (by_warped[1] == 0).all()


def test_what_is_not_finite_spoils_its_sample_alone(rng, backend):
    for value in (np.nan, np.inf, -np.inf):
        pair = images(rng, (2, 6, 20, 8, 1), "float32")
        pair[1][0, 3, 1, 4] = value
        values, by_warped, _ = found(*pair, backend=backend, window=3)
        assert np.isnan(values[0])
        assert np.isnan(by_warped[0]).all()
        assert np.isfinite(values[1])
        assert np.isfinite(by_warped[1]).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_images_of_16_bits_are_computed_in_float32(rng, backend, dtype):
    short = [tf.cast(image, dtype) for image in images(rng, (1, 6, 7, 8, 1))]
    wide = [tf.cast(image, tf.float32) for image in short]
    with tf.GradientTape() as tape:
        tape.watch(short)
        values = local_ncc(*short, window=5, backend=backend)
    assert values.dtype == tf.float32
    np.testing.assert_allclose(values, local_ncc(*wide, window=5, backend=backend))
    gradient = tape.gradient(values, short[1])
    assert gradient.dtype == short[1].dtype
    exact = found(*wide, backend=backend, window=5)[1]
    np.testing.assert_allclose(tf.cast(gradient, tf.float32), exact, atol=1e-2 * abs(exact).max())


@pytest.mark.parametrize("rank", [4, 5])
def test_unknown_shapes_in_a_graph(rng, backend, rank):
    spec = tf.TensorSpec([None] * rank)

    @tf.function(input_signature=[spec, spec, spec])
    def both(fixed, warped, mask):
        with tf.GradientTape() as tape:
            tape.watch(warped)
            values = local_ncc(fixed, warped, mask, window=5, backend=backend)
        return values, tape.gradient(values, warped)

    shape = (2, 5, 6, 7, 1)[: rank - 1] + (1,)
    pair = images(rng, shape, "float32")
    mask = rng.integers(0, 2, shape).astype("float32")
    values, slopes = both(*pair, mask)
    wanted = expected(*pair, mask, window=5)
    np.testing.assert_allclose(values, wanted[0], atol=1e-5)
    np.testing.assert_allclose(slopes, wanted[1], atol=1e-5)


def test_other_ranks_run_in_tensorflow(rng):
    pair = images(rng, (2, 15, 1))
    np.testing.assert_allclose(local_ncc(*pair, window=5), expected(*pair, window=5)[0], rtol=1e-9)


def test_no_batch(backend):
    nothing = np.zeros((0, 4, 5, 6, 1), "float32")
    values, slopes, _ = found(nothing, nothing, backend=backend)
    assert values.shape == (0,)
    assert slopes.shape == nothing.shape


def test_mistakes_are_named(backend):
    image = tf.zeros((1, 4, 5, 6, 1))
    with pytest.raises(ValueError, match="must be odd and positive; got 0"):
        local_ncc(image, image, window=0, backend=backend)
    with pytest.raises(ValueError, match=r"`warped` must have shape \(1, 4, 5, 6, 1\) to match"):
        local_ncc(image, image[:, 1:], backend=backend)
    with pytest.raises(ValueError, match=r"`mask` must have shape \(1, 4, 5, 6, 1\) to match"):
        local_ncc(image, image, tf.ones((1, 4, 5, 6, 2)), backend=backend)
    with pytest.raises(ValueError, match="`gradients` must be one of .* got 'fixed'"):
        local_ncc(image, image, gradients="fixed", backend=backend)
    with pytest.raises(ValueError, match=r"`fixed` must have shape \[B, \*spatial, C\]"):
        local_ncc(tf.zeros((3, 4)), tf.zeros((3, 4)), backend=backend)
    with pytest.raises(TypeError, match="must be floating point; got int32"):
        local_ncc(tf.zeros((1, 4, 4, 1), tf.int32), tf.zeros((1, 4, 4, 1)), backend=backend)
    with pytest.raises(TypeError, match="share a dtype; got float32 and float64"):
        local_ncc(image, tf.cast(image, tf.float64), backend=backend)


@pytest.mark.usefixtures("native")
def test_the_raw_op_names_mistakes_of_shapes_that_were_unknown(native):
    @tf.function(input_signature=[tf.TensorSpec(None), tf.TensorSpec(None), tf.TensorSpec(None)])
    def values(fixed, warped, mask):
        return native.rcn_local_ncc(tf.constant(1e-5, tf.float64), fixed, warped, [mask]).values

    image, mask = tf.zeros((1, 4, 5, 6, 2)), tf.ones((1, 4, 5, 6, 1))
    assert values(image, image, mask).shape == (1,)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"`fixed` must have shape \[B, D"):
        values(image[0], image[0], mask)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"`warped` must have shape \(1, 4, 5"):
        values(image, image[:, 1:], mask)
    with pytest.raises(tf.errors.InvalidArgumentError, match="`mask` must have shape .*; got"):
        values(image, image, image)
    with pytest.raises(tf.errors.InvalidArgumentError, match="`fixed` has no voxel"):
        values(image[:, :0], image[:, :0], mask[:, :0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="odd and positive; got 4"):
        native.rcn_local_ncc(tf.constant(1e-5, tf.float64), image, image, [], window=4)


@pytest.mark.usefixtures("native")
def test_second_derivatives_are_refused(rng):
    fixed, warped = (tf.constant(x) for x in images(rng, (1, 4, 5, 6, 1)))
    with tf.GradientTape() as outer:
        outer.watch(warped)
        with tf.GradientTape() as inner:
            inner.watch(warped)
            values = local_ncc(fixed, warped, backend="native")
        slope = inner.gradient(values, warped)
    with pytest.raises(NotImplementedError, match="differentiable once.*backend='python'"):
        outer.gradient(slope, warped)
