"""Properties of the native op alone; test_sampling.py tests both backends."""

import numpy as np
import pytest
import tensorflow as tf

import custom_ops

pytestmark = pytest.mark.usefixtures("native")

# Rows longer than the kernels' blocks of 64 voxels, and not a multiple of them.
IMAGE, GRID = (2, 9, 11, 70), (2, 7, 10, 133)


def inputs(rng, channels, spread=4.0, dtype="float32"):
    image = rng.standard_normal((*IMAGE, channels)).astype(dtype)
    flow = rng.normal(0, spread, (*GRID, 3)).astype(dtype)
    flow[..., 2] -= np.linspace(0, 63, GRID[-1], dtype=dtype)  # maps the wider grid onto the image
    return tf.constant(image), tf.constant(flow)


def results(image, flow, padding, backend):
    """Warped image and both gradients under the same random upstream gradient."""
    with tf.GradientTape() as tape:
        tape.watch([image, flow])
        out = custom_ops.warp(image, flow, padding=padding, backend=backend)
    upstream = tf.random.stateless_normal(tf.shape(out), (1, 2), dtype=tf.float32)
    return [out, *tape.gradient(out, [image, flow], tf.cast(upstream, out.dtype))]


@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_equals_the_python_backend(rng, channels, padding):
    image, flow = inputs(rng, channels)
    for ours, reference in zip(
        results(image, flow, padding, "native"), results(image, flow, padding, "python")
    ):
        scale = abs(reference.numpy()).max()
        np.testing.assert_allclose(ours, reference, atol=1e-5 * scale)


@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_flow_that_is_not_finite_gives_what_the_python_backend_gives(rng, padding):
    image, flow = inputs(rng, 3)
    flow = flow.numpy()
    for k, value in enumerate((np.nan, np.inf, -np.inf, 1e30, -3e38, 2.0**31, -(2.0**31))):
        flow[k % 2, k % 7, 3, 5 * k, k % 3] = value
        flow[k % 2, k % 7, 6, 60 + k] = value
    ours, _, by_flow = results(image, tf.constant(flow), padding, "native")
    reference, _, expected = results(image, tf.constant(flow), padding, "python")
    assert np.isnan(ours.numpy()).any(axis=-1).sum() == 2  # only where a NaN was
    np.testing.assert_allclose(ours, reference, atol=1e-5, rtol=1e-5)
    unaffected = ~np.isnan(flow).any(axis=-1)
    np.testing.assert_allclose(by_flow[unaffected], expected[unaffected], atol=1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2e-3), ("bfloat16", 1e-2)])
def test_images_of_16_bits_are_computed_in_float32(rng, dtype, tolerance):
    image, flow = inputs(rng, 2)
    short = tf.cast(image, dtype)
    ours = results(short, flow, "border", "native")
    exact = results(tf.cast(short, tf.float32), flow, "border", "native")
    assert [value.dtype.name for value in ours] == [dtype, dtype, "float32"]
    for value, reference in zip(ours, exact):
        scale = abs(reference.numpy()).max()
        np.testing.assert_allclose(
            tf.cast(value, tf.float32) / scale, reference / scale, atol=tolerance
        )


@pytest.mark.parametrize("mixed", [("float64", "float32"), ("float32", "float64")])
def test_image_and_flow_of_different_width(rng, mixed):
    image, flow = (tf.cast(x, kind) for x, kind in zip(inputs(rng, 1), mixed))
    for ours, reference in zip(
        results(image, flow, "border", "native"), results(image, flow, "border", "python")
    ):
        assert ours.dtype == reference.dtype
        np.testing.assert_allclose(ours, reference, atol=2e-5)


def test_composition_equals_its_two_steps(rng):
    _, update = inputs(rng, 1)
    previous = tf.constant(rng.standard_normal(update.shape).astype("float32"))

    def composed(function):
        with tf.GradientTape() as tape:
            tape.watch([previous, update])
            out = function(previous, update)
        return [out, *tape.gradient(out, [previous, update], tf.sin(out))]

    fused = composed(lambda p, u: custom_ops.compose(p, u, backend="native"))
    steps = composed(lambda p, u: u + custom_ops.warp(p, u, backend="native"))
    python = composed(lambda p, u: custom_ops.compose(p, u, backend="python"))
    for a, b, c in zip(fused, steps, python):
        np.testing.assert_allclose(a, b, atol=1e-5)
        np.testing.assert_allclose(a, c, atol=1e-4)


def test_composition_has_the_numeric_gradients(rng):
    previous, update = rng.standard_normal((2, 1, 3, 4, 5, 3))
    update += 0.1 * (abs(update - np.round(update)) < 0.05)  # off the lattice
    for a, b in zip(
        *tf.test.compute_gradient(
            lambda p, u: custom_ops.compose(p, u, backend="native"), [previous, update]
        )
    ):
        assert abs(b).max() > 0.1
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(("watched", "computed"), [(0, "RcnWarpImageGrad"), (1, "RcnWarpFlowGrad")])
def test_only_the_gradient_asked_for_is_computed(rng, watched, computed):
    @tf.function
    def gradient(*tensors):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(tensors[watched])
            out = custom_ops.warp(*tensors, backend="native")
        return tape.gradient(out, tensors[watched])

    graph = gradient.get_concrete_function(*inputs(rng, 1)).graph
    kinds = {op.type for op in graph.get_operations() if op.type.startswith("Rcn")}
    assert kinds == {"RcnWarp", computed}


def test_second_derivatives_are_refused(rng):
    image, flow = inputs(rng, 1)
    with tf.GradientTape() as outer:
        outer.watch(flow)
        with tf.GradientTape() as inner:
            inner.watch(flow)
            out = tf.square(custom_ops.warp(image, flow, backend="native"))
        gradient = inner.gradient(out, flow)
    with pytest.raises(NotImplementedError, match="differentiable once.*backend='python'"):
        outer.gradient(gradient, flow)


MISFITS = [
    ((2, 4, 4, 4), (2, 4, 4, 4, 3), r"`image` must have shape \[B, D, H, W, C\]; got \(2, 4"),
    ((2, 4, 4, 4, 1), (2, 4, 4, 3), r"`flow` must have shape \(2, 4, 4, 4, 3\) .* \(2, 4, 4, 3\)"),
    ((2, 4, 4, 4, 1), (2, 4, 4, 4, 2), r"got \(2, 4, 4, 4, 2\)"),
    ((2, 4, 4, 4, 1), (1, 4, 4, 4, 3), r"got \(1, 4, 4, 4, 3\)"),
]


@pytest.mark.parametrize(("image", "flow", "message"), MISFITS)
def test_the_ops_themselves_name_wrong_shapes(native, image, flow, message):
    """The ops must check shapes that were not yet known when the Python checks ran."""
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        native.rcn_warp(np.zeros(image, "f4"), np.zeros(flow, "f4"))
    with pytest.raises(ValueError, match=message):  # when traced
        tf.function(native.rcn_warp).get_concrete_function(
            image=tf.TensorSpec(image), flow=tf.TensorSpec(flow)
        )
    unknown = tf.function(
        native.rcn_warp, input_signature=[tf.TensorSpec(None), tf.TensorSpec(None)]
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        unknown(np.zeros(image, "f4"), np.zeros(flow, "f4"))


def test_shapes_are_inferred(native):
    image, flow = tf.TensorSpec((None, 4, 5, 6, 2)), tf.TensorSpec((2, None, 8, 9, 3))
    traced = tf.function(native.rcn_warp).get_concrete_function(image=image, flow=flow)
    assert traced.output_shapes.as_list() == [2, None, 8, 9, 2]
    flows = [tf.TensorSpec((None, 4, None, 6, 3)), tf.TensorSpec((2, None, 5, 6, 3))]
    traced = tf.function(native.rcn_compose).get_concrete_function(
        previous=flows[0], update=flows[1]
    )
    assert traced.output_shapes.as_list() == [2, 4, 5, 6, 3]


def test_other_misfits_are_named(native):
    with pytest.raises(tf.errors.InvalidArgumentError, match="`update` must have shape"):
        native.rcn_compose(np.zeros((1, 2, 2, 2, 3), "f4"), np.zeros((1, 3, 2, 2, 3), "f4"))
    with pytest.raises(tf.errors.InvalidArgumentError, match="`upstream` must have shape"):
        native.rcn_warp_flow_grad(
            *(np.zeros((1, 2, 2, 2, c), "f4") for c in (1, 3)), np.zeros((1, 2, 2, 2, 2), "f4")
        )
    with pytest.raises(tf.errors.InvalidArgumentError, match="`image` has no voxel to look up"):
        native.rcn_warp(np.zeros((1, 0, 2, 2, 1), "f4"), np.zeros((1, 2, 2, 2, 3), "f4"))


def test_an_empty_output_sends_no_gradient(native):
    flow, upstream = np.zeros((2, 0, 4, 4, 3), "f4"), np.zeros((2, 0, 4, 4, 1), "f4")
    gradient = native.rcn_warp_image_grad([2, 3, 4, 5, 1], flow, upstream)
    np.testing.assert_array_equal(gradient, np.zeros((2, 3, 4, 5, 1)))
