"""VR-Net's layers against the authors' numbers, their formulas and the problems that they solve."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import map_coordinates
from scipy.optimize import minimize_scalar

from rcn_tf.networks import variational
from rcn_tf.networks.variational import l1_step, l2_step, linearise, sampled_flow, warping
from tests.conftest import GOLDEN
from tests.golden import system_inputs
from tests.losses.gradients import check_gradient

FOLDER = GOLDEN / "vrnet"
OPS = np.load(FOLDER / "vrnet_ops.npz")
SEED, SHAPE, SHAPE2 = int(OPS["seed"]), tuple(OPS["shape"]), (1, *OPS["shape2"])
BAR = 1e-5  # of the largest entry
SAMPLINGS = {"ac0": "align_corners_false", "ac1": "align_corners_true"}


def image(seed, shape=SHAPE):
    return system_inputs.volume(SEED + seed, shape)[None, ..., None]


def field(seed, std, sigma, channels=3, shape=SHAPE):
    return system_inputs.field(SEED + seed, shape, channels, std, sigma)


def check(found, expected, name):
    """Entries within the bar, relative to the largest one of an array."""
    scale = max(np.abs(expected).max(), 1.0)
    np.testing.assert_allclose(found, expected, atol=BAR * scale, err_msg=name)


@pytest.mark.parametrize("name", SAMPLINGS)
def test_warping_is_the_authors(name):
    moving, flow, upstream = map(tf.constant, (image(0), field(1, 2.0, 1.5), field(2, 1, 0, 1)))
    with tf.GradientTape() as tape:
        tape.watch([moving, flow])
        warped = warping(moving, flow, SAMPLINGS[name])
    by_image, by_flow = tape.gradient(warped, [moving, flow], upstream)
    check(warped, OPS[f"warp_{name}"], "warped")
    check(by_image, OPS[f"warp_{name}_grad_image"], "gradient of the image")
    check(by_flow, OPS[f"warp_{name}_grad_flow"], "gradient of the flow")


def test_exact_warping_is_the_oracles():
    with np.load(FOLDER / "exact_warp.npz") as oracle:
        shape, seed = tuple(oracle["shape"]), int(oracle["seed"])
        flow = system_inputs.field(seed, shape, 3, 1.5, 1.5)
        moving = system_inputs.volume(seed + 2, shape)[None, ..., None]
        check(warping(moving, flow), oracle["vrnet_warp_exact_zeros"], "exact")


@pytest.mark.parametrize("shape", [(7, 9, 8), (9, 7)])
@pytest.mark.parametrize("sampling", variational.SAMPLINGS)
def test_warping_looks_up_the_stated_points(shape, sampling, rng):
    """SciPy at the positions of the docstring, corners outside counting zero."""
    rank = len(shape)
    moving, flow = rng.uniform(size=shape), 2 * rng.standard_normal((*shape, rank))
    index, size = np.moveaxis(np.indices(shape), 0, -1), np.array(shape)
    position = {
        "exact": index + flow,
        "align_corners_false": index * size / (size - 1) - 0.5 + flow,
        "align_corners_true": index + flow * (size - 1) / size,
    }[sampling]
    padded, place = np.pad(moving, 1), np.moveaxis(position, -1, 0) + 1
    expected = map_coordinates(padded, place, order=1, mode="constant")
    found = warping(moving[None, ..., None], flow[None], sampling)
    np.testing.assert_allclose(found[0, ..., 0], expected, atol=1e-12)
    batch = sampled_flow(np.stack([flow, 2 * flow]), sampling)
    np.testing.assert_allclose(batch[0] + index, position, atol=1e-12)


def test_an_unknown_sampling_is_named():
    with pytest.raises(ValueError, match=r"`sampling` must be one of .*; got 'nearest'"):
        warping(image(0), field(1, 1, 1), "nearest")


def test_gradient_of_an_image():
    check(variational.image_gradient(image(0)), OPS["derivatives"], "derivatives")
    ramp = sum(slope * index for slope, index in zip((0.3, -0.7), np.indices((5, 6))))
    slopes = variational.image_gradient(ramp[None, ..., None])[0].numpy()
    np.testing.assert_allclose(slopes[1:-1, 1:-1], np.broadcast_to([0.3, -0.7], (3, 4, 2)))
    np.testing.assert_allclose(slopes[0, 1:-1, 0], 0.15)  # half a difference at the border


@pytest.mark.parametrize("theta", ["1", "0.1", "0.01"])
@pytest.mark.parametrize("term", ["l1", "l2"])
def test_data_steps_are_the_authors(term, theta):
    source, target, flow, at = map(
        tf.constant, (image(3), image(4), field(5, 1.5, 1.0), field(6, 1.5, 1.0))
    )
    number = tf.constant([float(theta)])
    inputs = {"source": source, "target": target, "v": flow, "u0": at, "theta": number}
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        found = variational.DATA_STEPS[term](linearise(source, target, at), flow, number)
    gradients = tape.gradient(found, inputs, tf.constant(field(7, 1, 0)))
    name = f"icl_{term}_theta{theta}"
    check(found, OPS[name], name)
    compared = 0
    for key, gradient in gradients.items():
        if f"{name}_grad_{key}" in OPS:
            check(gradient, OPS[f"{name}_grad_{key}"], key)
            compared += 1
    assert compared == (5 if theta == "0.1" else 1)


@pytest.mark.parametrize("theta", ["1", "0.1", "0.01"])
@pytest.mark.parametrize("term", ["l1", "l2"])
def test_data_steps_of_planes_are_the_authors(term, theta):
    source, target = (system_inputs.volume(SEED + k, SHAPE2)[..., None] for k in (8, 9))
    flow, at = (field(k, 1.5, 0, 2, SHAPE2)[:, 0] for k in (10, 11))
    found = variational.DATA_STEPS[term](linearise(source, target, at), flow, float(theta))
    check(found, OPS[f"icl2d_{term}_theta{theta}"], term)


@pytest.fixture(params=[(4, 6, 5), (6, 5)], ids=["3D", "2D"])
def problem(request, rng):
    """A random linearised data term and a flow, float64."""
    shape, rank = request.param, len(request.param)
    warped, fixed = rng.uniform(size=(2, 2, *shape, 1))
    flow, at = rng.standard_normal((2, 2, *shape, rank))
    return linearise(tf.constant(warped), tf.constant(fixed), tf.constant(at)), flow


def at_voxels(data, flow):
    """J [N, R], I - F [N], u_w and v [N, R] as NumPy arrays."""
    rank = flow.shape[-1]
    arrays = (data.gradient, data.difference, data.flow, flow)
    return [np.reshape(a, (-1, w)) for a, w in zip(arrays, (rank, 1, rank, rank))]


@pytest.mark.parametrize("theta", [0.003, 0.5])
def test_the_l2_step_solves_its_linear_system(problem, theta):
    """(J J^T + theta 1)(u - u_w) = theta (v - u_w) - J (I - F), eq. 6, solved voxel by voxel."""
    data, flow = problem
    gradient, difference, at, v = at_voxels(data, flow)
    matrices = gradient[:, :, None] * gradient[:, None] + theta * np.eye(gradient.shape[1])
    right = theta * (v - at) - gradient * difference
    expected = at + np.linalg.solve(matrices, right[..., None])[..., 0]
    found = l2_step(data, flow, theta).numpy().reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_the_l1_step_minimises_its_energy(problem, monkeypatch):
    """|rho(u)| + theta/2 |u - v|^2 along J, where the minimum lies, by SciPy's scalar search."""
    theta = 0.05
    monkeypatch.setattr(variational, "EPSILON", 0.0)
    data, flow = problem
    gradient, difference, at, v = at_voxels(data, flow)
    found = l1_step(data, flow, theta).numpy().reshape(v.shape)
    kinds = set()
    for J, d, u_w, start, end in zip(gradient, difference[:, 0], at, v, found):
        length = np.linalg.norm(J)
        reached = np.dot(end - start, J) / length
        np.testing.assert_allclose(end - start, reached * J / length, atol=1e-9)

        def energy(s, J=J, d=d, u_w=u_w, start=start, length=length):
            rho = J @ (start + s * J / length - u_w) + d
            return abs(rho) + theta / 2 * s**2

        least = minimize_scalar(energy, bounds=(-60, 60), method="bounded", options={"xatol": 1e-9})
        assert energy(reached) <= least.fun + 1e-9
        kinds.add(bool(abs(J @ (end - u_w) + d) < 1e-9))
    assert kinds == {True, False}  # thresholded voxels, and voxels that reach rho = 0


@pytest.mark.parametrize("step", [l1_step, l2_step], ids=["l1", "l2"])
def test_gradients_of_the_data_steps(problem, step, rng):
    data, flow = problem
    weights = tf.constant(rng.standard_normal(flow.shape))

    def total(part):
        return tf.reduce_sum(weights * part)

    theta = np.array([0.05])
    check_gradient(lambda x: total(step(data, x, theta)), flow, rng, delta=1e-8)
    for name, value in data._asdict().items():
        changed = lambda x, name=name: data._replace(**{name: x})  # noqa: E731
        check_gradient(lambda x, f=changed: total(step(f(x), flow, theta)), value, rng, delta=1e-8)
    check_gradient(lambda x: total(step(data, flow, x)), theta, rng, delta=1e-8)


def test_gradient_of_the_linearisation(problem, rng):
    """The images reach u through J and the difference."""
    data, flow = problem
    warped, fixed = rng.uniform(size=(2, *data.difference.shape))
    weights = tf.constant(rng.standard_normal(flow.shape))
    for place in (0, 1):

        def total(x, place=place):
            images = [x, fixed] if place == 0 else [warped, x]
            return tf.reduce_sum(weights * l2_step(linearise(*images, data.flow), flow, 0.05))

        check_gradient(total, (warped, fixed)[place], rng)
