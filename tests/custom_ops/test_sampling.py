"""Every warp test runs on every backend that is available."""

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf
from scipy.ndimage import map_coordinates

import custom_ops
from tests.conftest import GOLDEN


@pytest.fixture(params=custom_ops.available_backends())
def backend(request):
    return request.param


def ramp(shape, slopes=(1.0, 10.0, 100.0)):
    axes = np.meshgrid(*(np.arange(n, dtype="float32") for n in shape), indexing="ij")
    return sum(s * a for s, a in zip(slopes, axes)).astype("float32")[None, ..., None]


def scipy_warp(image, flow):
    grid = np.moveaxis(np.indices(flow.shape[1:-1]), 0, -1)
    result = np.empty((*flow.shape[:-1], image.shape[-1]), image.dtype)
    for b in range(len(image)):
        for c in range(image.shape[-1]):
            coordinates = np.moveaxis(grid + flow[b], -1, 0)
            result[b, ..., c] = map_coordinates(
                image[b, ..., c], coordinates, order=1, mode="nearest"
            )
    return result


@pytest.mark.parametrize("channels", [1, 3])
def test_agrees_with_the_original_op(backend, channels):
    golden = np.load(GOLDEN / "ops.npz")
    image, flow, upstream = (
        tf.constant(golden[f"warp_c{channels}_{key}"]) for key in ("image", "flow", "upstream")
    )
    with tf.GradientTape() as tape:
        tape.watch([image, flow])
        out = custom_ops.warp(image, flow, backend=backend)
    image_gradient, flow_gradient = tape.gradient(out, [image, flow], upstream)
    zeros = custom_ops.warp(image, flow, padding="zeros", backend=backend)
    for value, key in (
        (out, "out"),
        (image_gradient, "grad_image"),
        (flow_gradient, "grad_flow"),
        (zeros, "out_zeropad"),
    ):
        expected = golden[f"warp_c{channels}_{key}"]
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5 * abs(expected).max())


def test_ramp_moves_by_slope_times_displacement(backend):
    shape, shift = (5, 7, 6), np.array([0.5, -0.25, 0.125], "float32")
    image = ramp(shape)
    flow = np.broadcast_to(shift, (1, *shape, 3))
    warped = custom_ops.warp(image, flow, backend=backend).numpy()
    expected = image + shift @ np.array([1.0, 10.0, 100.0], "float32")
    inside = (0, slice(1, -1), slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(warped[inside], expected[inside], rtol=1e-6)


def test_hand_worked_cube(backend):
    image = np.arange(8, dtype="float32").reshape(1, 2, 2, 2, 1)
    flow = np.zeros((1, 2, 2, 2, 3), "float32")
    flow[0, 0, 0, 0] = (0.5, 0.25, 0.75)  # 4 * 0.5 + 2 * 0.25 + 0.75
    flow[0, 1, 1, 1] = (9.0, 0.0, -0.5)  # clamped along the first axis: 7 - 0.5
    warped = custom_ops.warp(image, flow, backend=backend).numpy()[0, ..., 0]
    expected = image[0, ..., 0].copy()
    expected[0, 0, 0], expected[1, 1, 1] = 3.25, 6.5
    np.testing.assert_allclose(warped, expected, rtol=1e-6)


def test_agrees_with_scipy_on_unequal_axes(backend, rng):
    image = rng.standard_normal((2, 6, 9, 4, 2)).astype("float32")
    flow = (3 * rng.standard_normal((2, 6, 9, 4, 3))).astype("float32")
    warped = custom_ops.warp(image, flow, backend=backend)
    np.testing.assert_allclose(warped, scipy_warp(image, flow), atol=1e-5)


def test_flow_may_lie_on_another_grid_than_the_image(backend, rng):
    image = rng.standard_normal((1, 6, 9, 4, 1)).astype("float32")
    flow = (2 * rng.standard_normal((1, 3, 5, 8, 3))).astype("float32")
    warped = custom_ops.warp(image, flow, backend=backend)
    assert warped.shape == (1, 3, 5, 8, 1)
    np.testing.assert_allclose(warped, scipy_warp(image, flow), atol=1e-5)


def test_agrees_with_simpleitk_displacement_fields(backend, rng):
    image = rng.standard_normal((6, 9, 7)).astype("float32")
    flow = rng.uniform(-0.9, 0.9, (6, 9, 7, 3))
    field = sitk.GetImageFromArray(flow[..., ::-1].copy(), isVector=True)  # (x, y, z)
    itk = sitk.Resample(
        sitk.GetImageFromArray(image), sitk.DisplacementFieldTransform(field), sitk.sitkLinear
    )
    warped = custom_ops.warp(image[None, ..., None], flow[None].astype("float32"), backend=backend)
    inside = (slice(1, -1),) * 3
    np.testing.assert_allclose(
        warped.numpy()[0, ..., 0][inside], sitk.GetArrayFromImage(itk)[inside], atol=1e-5
    )


def test_tensorflow_addons_agrees_with_the_flow_negated(backend, rng):
    dense_image_warp = pytest.importorskip("tensorflow_addons.image").dense_image_warp
    image = rng.standard_normal((2, 7, 9, 1)).astype("float32")
    flow = rng.uniform(-0.9, 0.9, (2, 7, 9, 2)).astype("float32")
    volume_flow = np.concatenate([np.zeros((2, 1, 7, 9, 1), "float32"), flow[:, None]], axis=-1)
    warped = custom_ops.warp(image[:, None], volume_flow, backend=backend)
    np.testing.assert_allclose(warped[:, 0], dense_image_warp(image, -flow), atol=1e-5)


def test_zero_padding_falls_off_within_one_voxel(backend):
    image = np.full((1, 3, 4, 5, 1), 8.0, "float32")
    for distance, expected in ((0.25, 6.0), (1.0, 0.0), (5.0, 0.0)):
        flow = np.zeros((1, 3, 4, 5, 3), "float32")
        flow[..., 1] = -distance
        warped = custom_ops.warp(image, flow, padding="zeros", backend=backend).numpy()
        np.testing.assert_allclose(warped[0, :, 0], expected, atol=1e-6)


@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_gradients_are_the_numeric_ones(backend, rng, padding):
    image = rng.standard_normal((1, 3, 4, 2, 2))
    flow = rng.uniform(-2, 2, (1, 3, 4, 2, 3))
    position = flow + np.moveaxis(np.indices((3, 4, 2)), 0, -1)
    lattice = abs(position - np.round(position)) < 0.05
    flow[lattice] += 0.1  # off the lattice, where the derivative is defined
    theoretical, numeric = tf.test.compute_gradient(
        tf.function(lambda i, f: custom_ops.warp(i, f, padding=padding, backend=backend)),
        [image, flow],
    )
    for a, b in zip(theoretical, numeric):
        assert abs(b).max() > 0.1
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_no_gradient_where_the_sample_leaves_the_volume(backend):
    image = tf.constant(ramp((4, 5, 6)))
    flow = np.zeros((1, 4, 5, 6, 3), "float32") + np.float32(0.25)
    flow[..., 1] = 50.0
    flow = tf.constant(flow)
    with tf.GradientTape() as tape:
        tape.watch(flow)
        out = custom_ops.warp(image, flow, backend=backend)
    gradient = tape.gradient(out, flow).numpy()[0, :-1, :, :-1]
    np.testing.assert_allclose(gradient[..., 0], 1.0, rtol=1e-5)
    np.testing.assert_allclose(gradient[..., 1], 0.0)
    np.testing.assert_allclose(gradient[..., 2], 100.0, rtol=1e-5)


def test_axes_of_size_one_and_an_empty_batch(backend):
    image = ramp((1, 4, 1))
    flow = np.full((1, 1, 4, 1, 3), 0.5, "float32")
    warped = custom_ops.warp(image, flow, backend=backend).numpy().ravel()
    np.testing.assert_allclose(warped, [5, 15, 25, 30])
    image, flow = np.zeros((0, 2, 3, 4, 1), "f4"), np.zeros((0, 2, 3, 4, 3), "f4")
    empty = custom_ops.warp(image, flow, backend=backend)
    assert empty.shape == (0, 2, 3, 4, 1)


def test_nan_and_infinite_flow_have_a_defined_result(backend):
    image = ramp((3, 4, 5))
    flow = np.zeros((1, 3, 4, 5, 3), "float32")
    flow[0, 1, 1, 1, 0] = np.nan
    flow[0, 1, 2, 3, 1] = np.inf
    flow[0, 2, 2, 2, 2] = -1e30
    warped = custom_ops.warp(image, flow, backend=backend).numpy()[0, ..., 0]
    expected = image[0, ..., 0].copy()
    expected[1, 1, 1] = np.nan
    expected[1, 2, 3] = image[0, 1, 3, 3, 0]
    expected[2, 2, 2] = image[0, 2, 2, 0, 0]
    np.testing.assert_allclose(warped, expected)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64])
def test_coordinates_keep_the_precision_of_the_flow(backend, dtype):
    """At index 1500 a float16 has a resolution of one voxel; half a voxel must still count."""
    image = np.zeros((1, 1, 1, 2000, 1), "float32")
    image[..., 1500, 0] = 1.0
    flow = np.full((1, 1, 1, 2000, 3), 0.5, "float32")
    warped = custom_ops.warp(tf.cast(image, dtype), flow, backend=backend)
    assert warped.dtype == dtype
    np.testing.assert_allclose(
        tf.cast(warped, tf.float32).numpy()[0, 0, 0, 1498:1502, 0], [0, 0.5, 0.5, 0]
    )


def test_works_with_unknown_shapes(backend, rng):
    spec = [tf.TensorSpec([None] * 4 + [1]), tf.TensorSpec([None] * 4 + [3])]
    traced = tf.function(lambda i, f: custom_ops.warp(i, f, backend=backend), spec)
    image = rng.standard_normal((1, 4, 5, 6, 1)).astype("float32")
    flow = rng.standard_normal((1, 4, 5, 6, 3)).astype("float32")
    np.testing.assert_allclose(traced(image, flow), scipy_warp(image, flow), atol=1e-5)


def test_composed_flow_warps_like_two_warps_in_sequence(backend):
    shape = (12, 14, 16)
    axes = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    previous = (0.02 * axes + [0.3, -0.2, 0.1])[None].astype("float32")
    update = (-0.03 * axes + [0.1, 0.4, 0.2])[None].astype("float32")
    composed = custom_ops.compose(previous, update, backend=backend).numpy()
    expected = update + 0.02 * (axes + update) + np.float32([0.3, -0.2, 0.1])
    inside = (0, slice(2, -2), slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(composed[inside], expected[inside], atol=1e-5)


@pytest.mark.parametrize(
    ("image", "flow", "error", "message"),
    [
        (
            (2, 8, 8),
            (2, 8, 8, 3),
            ValueError,
            r"`image` must have shape \[B, D, H, W, C\] or \[B, H, W, C\]; got \(2, 8, 8\)",
        ),
        (
            (2, 8, 8, 8, 1),
            (2, 8, 8, 2),
            ValueError,
            r"`flow` must have shape \(2, 8, 8, 8, 3\) .* got \(2, 8, 8, 2\). An image "
            r"\[B, H, W, C\] takes a flow \[B, H', W', 2\]",
        ),
        (
            (2, 8, 9, 1),
            (2, 4, 8, 9, 3),
            ValueError,
            r"`flow` must have shape \(2, 8, 9, 2\) .* got \(2, 4, 8, 9, 3\). An image",
        ),
        (
            (2, 8, 9, 1),
            (2, 8, 9, 3),
            ValueError,
            r"must have shape \(2, 8, 9, 2\) .*\(2, 8, 9, 3\).$",
        ),
        (
            (2, 8, 8, 8, 1),
            (2, 8, 8, 3),
            ValueError,
            r"`flow` must have shape \(2, 8, 8, 8, 3\) to match `image`; got \(2, 8, 8, 3\)",
        ),
        ((2, 8, 8, 8, 1), (2, 8, 8, 8, 2), ValueError, r"got \(2, 8, 8, 8, 2\)"),
        ((2, 8, 8, 8, 1), (1, 8, 8, 8, 3), ValueError, r"got \(1, 8, 8, 8, 3\)"),
    ],
)
def test_wrong_shapes_are_named(backend, image, flow, error, message):
    with pytest.raises(error, match=message):
        custom_ops.warp(np.zeros(image, "float32"), np.zeros(flow, "float32"), backend=backend)


def test_wrong_types_and_choices_are_named(monkeypatch):
    image, flow = np.zeros((1, 2, 2, 2, 1), "f4"), np.zeros((1, 2, 2, 2, 3), "f4")
    with pytest.raises(TypeError, match="`image` must be floating point; got uint8"):
        custom_ops.warp(image.astype("u1"), flow)
    with pytest.raises(TypeError, match="`flow` must be float32 or float64; got float16"):
        custom_ops.warp(image, flow.astype("f2"))
    with pytest.raises(ValueError, match="`padding` must be one of"):
        custom_ops.warp(image, flow, padding="reflect")
    with pytest.raises(ValueError, match="`backend` must be one of"):
        custom_ops.warp(image, flow, backend="cuda")
    with pytest.raises(ValueError, match=r"`update` must have shape \(1, 2, 2, 2, 3\)"):
        custom_ops.compose(flow, np.zeros((1, 3, 2, 2, 3), "f4"))
    with pytest.raises(ValueError, match="`previous` must have shape"):
        custom_ops.compose(flow[0, 0], flow[0, 0])
    with pytest.raises(ValueError, match=r"`update` must have shape \(2, 2, 2, 2\)"):
        custom_ops.compose(flow[0], flow[0])  # a volume's flow without a batch
    with pytest.raises(TypeError, match="must share a dtype; got float32 and float64"):
        custom_ops.compose(flow, flow.astype("f8"))
    monkeypatch.setenv("RCN_OPS", "fast")
    with pytest.raises(ValueError, match="RCN_OPS must be one of"):
        custom_ops.warp(image, flow)


def test_environment_chooses_the_backend(monkeypatch):
    monkeypatch.setenv("RCN_OPS", "python")
    assert custom_ops.resolve_backend() == "python"
    monkeypatch.setenv("RCN_OPS", "native")
    if "native" in custom_ops.available_backends():
        assert custom_ops.resolve_backend() == "native"
    else:
        with pytest.raises(ImportError, match="RCN_OPS asks for the native warp op"):
            custom_ops.resolve_backend()


def test_a_block_chooses_the_backend(monkeypatch):
    monkeypatch.setenv("RCN_OPS", "native")
    with custom_ops.using_backend("python"):
        assert custom_ops.resolve_backend() == "python"
        traced = tf.function(lambda flow: custom_ops.compose(flow, flow))
        graph = traced.get_concrete_function(tf.TensorSpec([1, 2, 3, 4, 3])).graph
        assert "RcnCompose" not in {op.type for op in graph.get_operations()}
    with pytest.raises(ValueError, match="`backend` must be one of"), custom_ops.using_backend("x"):
        pass
    monkeypatch.setenv("RCN_OPS", "python")
    assert custom_ops.resolve_backend() == "python"
    if "native" in custom_ops.available_backends():
        with custom_ops.using_backend("native"):
            assert custom_ops.resolve_backend() == "native"
    assert custom_ops.resolve_backend() == "python"
