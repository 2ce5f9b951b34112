"""AVSM against the authors' numbers, and what the model promises beyond them."""

import json

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter

import rcn_tf
from rcn_tf import fields
from rcn_tf.losses.objective import registration_losses
from tests.conftest import GOLDEN
from tests.golden import system_inputs

SMALL = {"volume_shape": (32, 34, 36), "channels": 1, "n_affine_steps": 2, "n_velocity_steps": 1}
RUNS = {"avsm_a2v1_64x64x64_s2101": (2, 1), "avsm_a3v2_48x64x80_s2111": (3, 2)}
FIRST, SECOND = RUNS
each_run = pytest.mark.parametrize(
    "run",
    [pytest.param(FIRST, marks=pytest.mark.slow), pytest.param(SECOND, marks=pytest.mark.nightly)],
)
VELOCITY = {"multi_kernel_ncc": 1.0, "momentum_energy": 10.0}


class Golden:
    """One of the authors' runs, and the model that repeats it."""

    def __init__(self, name):
        self.expected = np.load(GOLDEN / "avsm" / f"{name}.npz")
        self.norms = json.loads((GOLDEN / "avsm" / f"{name}.gradnorm.json").read_text())
        self.shape = tuple(map(int, name.split("_")[2].split("x")))
        affine, velocity = RUNS[name]
        self.last = f"affine_{affine}"
        self.model = rcn_tf.AVSM(
            self.shape, n_affine_steps=affine, n_velocity_steps=velocity, original=True
        )
        weights = system_inputs.reference_weights(GOLDEN / "avsm" / name)
        rcn_tf.load_reference_weights(self.model, weights)
        pair = system_inputs.pair(int(name.rpartition("_s")[2]), self.shape)
        self.fixed, self.moving = map(tf.constant, pair)

    def check(self, key, found, atol):
        """Compares with every k-th voxel and with the statistics of the whole."""
        found = np.asarray(found)
        (name,) = [name for name in self.expected if name.startswith(f"{key}_sub")]
        step = slice(None, None, int(name.rpartition("_sub")[2]))
        np.testing.assert_allclose(
            found[:, step, step, step], self.expected[name], atol=atol, err_msg=key
        )
        statistics = [found.mean(), found.std(), found.min(), found.max()]
        np.testing.assert_allclose(statistics, self.expected[f"{key}_stats"], atol=atol)

    def map01(self, flow):
        grid = np.moveaxis(np.indices(flow.shape[1:-1]), 0, -1)
        return (flow.numpy() + grid) / (np.array(flow.shape[1:-1]) - 1)

    def numbers(self, matrix, offset):
        """The authors' twelve numbers of A and b in voxels."""
        side = np.array(self.shape) - 1
        linear = (matrix[0].numpy() + np.eye(3)) / side[:, None] * side[None]
        return np.concatenate([linear.ravel(), 2 * offset[0].numpy() / side])

    def check_norms(self, tape, loss, part, rtol):
        reference = self.model.reference_weights()
        names = [name for name in self.norms if name.startswith(f"avsm/{part}_net")]
        assert len(names) >= 10
        for name, gradient in zip(names, tape.gradient(loss, [reference[n] for n in names])):
            np.testing.assert_allclose(tf.norm(gradient), self.norms[name], rtol=rtol, err_msg=name)


@pytest.fixture(scope="module")
def golden():
    made = {}
    return lambda name: made.setdefault(name, None) or made.setdefault(f"{name}!", Golden(name))


@each_run
def test_the_registration_is_the_authors(run, golden):
    case = golden(run)
    out = case.model(case.fixed, case.moving)
    affine = [stage for stage in out.stages if stage.kind == "affine"]
    for stage, raw in zip(affine, case.expected["affine_raw"][:, 0]):
        np.testing.assert_allclose(case.numbers(stage.matrix, stage.offset), raw, atol=3e-6)
    total = case.numbers(affine[-1].total_matrix, affine[-1].total_offset)
    np.testing.assert_allclose(total, case.expected["affine_param"][0], atol=3e-6)
    case.check("affine_image", 2 * affine[-1].warped - 1, 5e-4)
    case.check("affine_map01", case.map01(affine[-1].total_flow), 2e-4)
    velocity = [stage for stage in out.stages if stage.kind == "velocity"]
    for number, stage in enumerate(velocity):
        case.check(f"momentum_{number}", stage.extras["momentum"], 3e-5)
        case.check(f"velocity_{number}", stage.extras["velocity"], 3e-5)
        low = fields.resize(stage.total_flow, case.model.half_shape, ends=True)
        assert low.shape[1:-1] == case.model.half_shape
    case.check("map", case.map01(out.flow), 2e-4)
    case.check("warped", out.warped, 5e-4)
    case.check("inverse_map", case.map01(case.model.inverse_flow(out)), 3e-3)
    terms = registration_losses(out, case.fixed, {"velocity": VELOCITY})
    for number, (_, similarity, energy) in enumerate(case.expected["test_terms"], start=1):
        stage = f"velocity_{number}"
        np.testing.assert_allclose(terms[f"{stage}/multi_kernel_ncc"][0], similarity, rtol=1e-4)
        np.testing.assert_allclose(10 * terms[f"{stage}/momentum_energy"][0], energy, rtol=2e-5)
    np.testing.assert_allclose(terms["total"][0], case.expected["test_terms"][-1, 0], rtol=1e-4)


@pytest.mark.nightly
@pytest.mark.parametrize("run", RUNS)
def test_the_affine_loss_and_its_gradient_are_the_authors(run, golden):
    case = golden(run)
    one_way = {
        "multi_kernel_ncc": {"weight": 0.5, "phase": "affine"},
        "deviation": {"weight": float(case.expected["affine_factor"]), "total": True},
    }
    symmetry = {"affine_symmetry": {"weight": 10.0, "total": True}}
    objective = {case.last: {**one_way, **symmetry}, "reversed": {case.last: one_way}}
    with tf.GradientTape() as tape:
        out, back = (
            case.model(*pair, n_velocity_steps=0, training=True)
            for pair in ((case.fixed, case.moving), (case.moving, case.fixed))
        )
        terms = registration_losses(out, case.fixed, objective, backward=back)
        loss = terms["total"][0]
    np.testing.assert_allclose(loss, case.expected["affine_loss"], rtol=2e-5)
    found = terms[f"{case.last}/affine_symmetry"][0]
    np.testing.assert_allclose(found, case.expected["affine_sym"], rtol=2e-5)
    case.check_norms(tape, loss, "affine", 5e-2)


@pytest.mark.nightly
@pytest.mark.parametrize("run", RUNS)
def test_the_velocity_loss_and_its_gradient_are_the_authors(run, golden):
    case = golden(run)
    symmetry = {"map_symmetry": {"weight": float(case.expected["sym_factor"]), "clamped": True}}
    objective = {"velocity": {**VELOCITY, **symmetry}, "reversed": {"velocity": VELOCITY}}
    with tf.GradientTape() as tape:
        out, back = (
            case.model(*pair, training=True)
            for pair in ((case.fixed, case.moving), (case.moving, case.fixed))
        )
        terms = registration_losses(out, case.fixed, objective, backward=back)
        loss = terms["total"][0]
    last = out.stages[-1].name
    np.testing.assert_allclose(
        terms[f"{last}/map_symmetry"][0], case.expected["train_sym"], rtol=1e-4
    )
    np.testing.assert_allclose(loss, case.expected["train_loss"], rtol=1e-4)
    case.check_norms(tape, loss, "momentum", 2e-3)


def test_parameters_are_the_authors():
    """147,920 and 5,938,515 at 80x192x192."""
    shape = (32, 48, 64)  # flattened, 2 x 1 x 2 or 4 x 6 x 3 maps count alike
    model = rcn_tf.AVSM(shape, original=True)
    counts = {name: sum(np.prod(v.shape) for v in part) for name, part in model.parts.items()}
    head = (model.affine.hidden.kernel.shape[0] - 4 * 3 * 6 * 6) * 32
    assert counts == {"affine": 147_920 + head, "momentum": 5_938_515}


@pytest.fixture(scope="module")
def small():
    tf.random.set_seed(3)
    return rcn_tf.AVSM(**SMALL)


@pytest.fixture(scope="module")
def moved(small):
    """A model whose steps move voxels by several, and a smooth pair."""
    rng = np.random.default_rng(5)
    model = rcn_tf.AVSM(**SMALL)
    for variable in model.trainable_variables:
        variable.assign_add(0.15 * rng.standard_normal(variable.shape).astype("float32"))
    pair = []
    for _ in range(2):
        image = gaussian_filter(
            rng.standard_normal((1, *SMALL["volume_shape"], 1)), (0, 3, 3, 3, 0)
        )
        pair.append(tf.constant((image - image.min()) / np.ptp(image), tf.float32))
    return model, *pair


def test_a_new_model_starts_near_the_identity(small, moved):
    _, fixed, moving = moved
    assert np.abs(small(fixed, moving).flow).max() < 3
    start = rcn_tf.AVSM((32, 48, 64), channels=1, original=True, n_velocity_steps=0)
    blank = tf.zeros((1, 32, 48, 64, 1))
    collapsed = start(blank, blank).stages[0].matrix[0].numpy()
    assert np.linalg.norm(collapsed + np.eye(3)) < 1.5  # the authors' A is small, not near I


def test_a_call_may_take_more_steps(moved):
    model, fixed, moving = moved
    few = model(fixed, moving)
    more = model(fixed, moving, n_affine_steps=3, n_velocity_steps=0)
    names = [[stage.name for stage in out.stages] for out in (few, more)]
    assert names == [["affine_1", "affine_2", "velocity_1"], ["affine_1", "affine_2", "affine_3"]]
    for one, other in zip(few.stages[:2], more.stages):
        np.testing.assert_array_equal(one.total_flow, other.total_flow)
    assert model.CALL_OPTIONS["n_affine_steps"].default == 2
    assert rcn_tf.AVSM.CALL_OPTIONS["n_affine_steps"].default == 7
    assert np.abs(few.stages[1].flow).max() > 1  # the steps do something


def test_affine_steps_are_composed_as_in_equation_1(moved):
    """A(t) = A~ A(t-1), b(t) = A~ b(t-1) + b~, here about the centre in voxels."""
    model, fixed, moving = moved
    first, second, _ = model(fixed, moving).stages
    own, before = (np.eye(3) + stage.matrix[0].numpy() for stage in (second, first))
    np.testing.assert_allclose(np.eye(3) + second.total_matrix[0], own @ before, atol=1e-5)
    expected = own @ first.offset[0].numpy() + second.offset[0]
    np.testing.assert_allclose(second.total_offset[0], expected, atol=1e-4)
    np.testing.assert_array_equal(first.total_flow, first.flow)


def test_a_velocity_step_goes_on_from_the_map_so_far(moved):
    """By its own velocity alone the affine map becomes the stage's map."""
    model, fixed, moving = moved
    affine, stage = model(fixed, moving).stages[1:]
    velocity = stage.extras["velocity"] * model.unit_voxels
    assert np.abs(velocity).max() > 0.5
    start = fields.resize(affine.total_flow, model.half_shape, ends=True)
    end = fields.resize(fields.advect(start, velocity, 10), SMALL["volume_shape"], ends=True)
    np.testing.assert_allclose(stage.total_flow, end, atol=1e-4)
    np.testing.assert_allclose(
        stage.extras["velocity"], model.velocity(stage.extras["momentum"], 10), atol=1e-6
    )


def test_the_inverse_flow_leads_back(moved):
    model, fixed, moving = moved
    out = model(fixed, moving, n_affine_steps=0)
    trip = fields.compose(out.flow, model.inverse_flow(out))
    inside = (0, *[slice(8, -8)] * 3)
    moved_by = np.linalg.norm(out.flow[inside], axis=-1)
    assert moved_by.mean() > 0.3
    assert np.linalg.norm(trip[inside], axis=-1).mean() < 0.1 * moved_by.mean()


def test_one_set_of_weights_serves_all_sizes(small):
    other = rcn_tf.AVSM((33, 48), channels=1), rcn_tf.AVSM((40, 33, 50), channels=1)
    shapes = [
        {name: tuple(v.shape) for name, v in model.named_weights().items()}
        for model in (small, other[1])
    ]
    assert list(shapes[0].values()) == list(shapes[1].values())
    assert sum(map(len, shapes)) == 2 * len(other[0].variables)


def test_gaussians_are_equally_wide_in_mm():
    shape, spacing = (32, 34, 36), (3.0, 1.0, 0.5)
    model = rcn_tf.AVSM(shape, channels=1, spacing=spacing)
    longest = 31 * 3.0
    half_spacing = np.array(spacing) * (np.array(shape) - 1) / (np.array(model.half_shape) - 1)
    np.testing.assert_allclose(model.unit_voxels * half_spacing, longest, rtol=1e-6)
    isotropic = rcn_tf.AVSM(shape, channels=1)
    np.testing.assert_allclose(
        isotropic.unit_voxels, 35 * 15 / np.array([31, 33, 35]) * [1, 16 / 15, 17 / 15], rtol=1e-6
    )


def test_an_unstable_step_is_named(moved):
    _, fixed, moving = moved
    model = rcn_tf.AVSM(**SMALL, sigmas=(1e-3,), weights=(1.0,))
    rng = np.random.default_rng(0)
    for variable in model.parts["momentum"]:
        variable.assign(rng.standard_normal(variable.shape))
    with pytest.raises(ValueError, match="the advection of stage 'velocity_1' became unstable"):
        model(fixed, moving)
    assert model(fixed, moving, training=True).flow.shape == (1, *SMALL["volume_shape"], 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_affine_steps": 0, "n_velocity_steps": 0}, "at least one affine or velocity step"),
        ({"time_steps": 0}, "`time_steps` must be a whole number of at least 1"),
        ({"sigmas": (0.1,)}, "1 `sigmas` need as many `weights`; got 5"),
        ({"sigmas": "0.1"}, "`sigmas` must be positive numbers; got '0.1'"),
        ({"spacing": (1.0, 2.0)}, "`spacing` must be 3 numbers, one per axis"),
        ({"spacing": (1.0, 1.0, 1.0), "original": True}, "not for `original`, which knows no mm"),
        ({"original": True}, "the original's sizes are multiples of 16"),
        ({"volume_shape": (32, 30, 32)}, "at least 32"),
    ],
)
def test_arguments_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        rcn_tf.AVSM(**{**SMALL, **arguments})


def test_only_the_original_has_reference_weights(small):
    with pytest.raises(ValueError, match="reference weights with `original=True` and 3D"):
        rcn_tf.load_reference_weights(small, {})
