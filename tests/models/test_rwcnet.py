"""RWCNet: flows in voxels of the full grid, what passes between resolutions, patches, training."""

import itertools

import h5py
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter

import rcn_tf
from rcn_tf import losses, pyramid
from rcn_tf.files.json_files import write_json
from rcn_tf.networks.rwcnet import RecurrentMatcher
from rcn_tf.training.config import TrainingConfig
from rcn_tf.training.loop import train
from rcn_tf.training.memory import estimate

STAGES = (
    {"resolution": 0.25, "patch": 0.25, "iterations": 2, "radius": 1},
    {"resolution": 0.5, "patch": 0.25, "iterations": 1, "radius": 1},
)
SMALL = {"stages": STAGES, "features": 4, "hidden": 8}
PLANE = (40, 32)


def pair(shape, seed=0):
    rng = np.random.default_rng(seed)
    image = gaussian_filter(rng.standard_normal(shape), 2)
    image = (image - image.min()) / np.ptp(image)
    fixed = tf.constant(image[None, ..., None], tf.float32)
    return fixed, tf.roll(fixed, 2, axis=1)


def made(shape=PLANE, seed=1, scale=0.0, **arguments):
    """A small model, its weights disturbed so that every stage moves voxels."""
    tf.random.set_seed(seed)
    model = rcn_tf.RWCNet(shape, **{**SMALL, **arguments})
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign_add(scale * rng.standard_normal(variable.shape).astype("float32"))
    return model


@pytest.mark.parametrize(
    ("options", "number"),
    [
        ({"radius": 3}, 3_098_844),
        ({"radius": 2}, 3_097_100),
        ({"radius": 3, "correlation": False}, 3_089_200),
    ],
)
def test_parameters_are_those_of_the_authors_code(options, number):
    network = RecurrentMatcher(iterations=1, original=True, **options)
    blank = tf.zeros((1, 8, 8, 8, 1))
    network(blank, blank)
    assert network.count_params() == number


@pytest.mark.parametrize(
    ("shape", "original"),
    [
        (PLANE, False),
        (PLANE, True),
        pytest.param((32, 40, 48), False, marks=pytest.mark.slow),
        pytest.param((32, 40, 48), True, marks=pytest.mark.nightly),
    ],
)
def test_constant_flows_add_up_in_voxels_of_the_full_grid(shape, original):
    """Each step of stage k moves by 0.1 k voxels of its own grid along the first axis."""
    model = rcn_tf.RWCNet(shape, **SMALL, original=original)
    for number, network in enumerate(model.networks, start=1):
        for variable in network.trainable_variables:
            variable.assign(tf.zeros_like(variable))
        network.flowhead.second.bias.assign([0.1 * number, *[0.0] * (len(shape) - 1)])
    out = model(*pair(shape))
    inner = (0, *[slice(8, -8)] * len(shape))
    for stage, moved in zip(out.stages, (4 * 2 * 0.1, 4 * 2 * 0.1 + 2 * 1 * 0.2)):
        flow = stage.total_flow[inner]
        np.testing.assert_allclose(flow[..., 0], moved, atol=1e-5)
        np.testing.assert_allclose(flow[..., 1:], 0, atol=1e-6)


def test_a_stage_sees_what_the_coarser_one_left():
    """The whole second stage by hand: images on its grid, and the hidden state of the first."""
    model = made()
    fixed, moving = pair(PLANE)
    first = model(fixed, moving, n_stages=1)
    both = model(fixed, moving, whole=True)
    grid = (20, 16)
    images = [pyramid.area_mean(image, grid) for image in (fixed, first.warped)]
    hidden = pyramid.linear(both.stages[0].extras["hidden"], grid)
    flow, _ = model.stage_2(*images, hidden)
    flow = rcn_tf.fields.resize(flow, PLANE)
    np.testing.assert_allclose(both.stages[1].flow, flow, atol=1e-5)
    np.testing.assert_allclose(both.flow, rcn_tf.fields.compose(first.flow, flow), atol=1e-5)
    without, _ = model.stage_2(*images)
    assert np.abs(without - model.stage_2(*images, hidden)[0]).max() > 1e-4


@pytest.mark.parametrize(("training", "factor"), [(False, 1), (True, 2)])
def test_the_hidden_factor_of_the_published_code(training, factor):
    model = made(original=True)
    given, network = [], model.stage_2
    coarse = model(*pair(PLANE), n_stages=1, whole=True)
    hidden = model._matched(
        1,
        model._covers[0],
        model._images(*pair(PLANE), coarse, None, (10, 8)),
        None,
        False,
        keep_hidden=True,
        patches_per_step=0,
        recompute=False,
    )[1]
    start = network.start

    def watch(moving, coarser, keep=None):
        given.append(coarser)
        return start(moving, coarser, keep)

    network.start = watch
    model(*pair(PLANE), whole=True, training=training)
    expected = factor * pyramid.nearest(hidden, (20, 16))
    np.testing.assert_allclose(given[0], expected, atol=1e-5)


@pytest.mark.nightly
def test_the_exponential_is_discarded_by_the_published_code_alone():
    images = pair(PLANE)
    for original, same in ((True, True), (False, False)):
        model = made(original=original)
        plain, exponential = model(*images), model(*images, diffeomorphic=True)
        assert np.array_equal(plain.flow, exponential.flow) == same


def brighter_on_one_side(image):
    """So that patches on both sides are normalised differently."""
    return image * tf.reshape(tf.linspace(0.1, 1.0, image.shape[1]), [1, -1, 1, 1])


def jump_across_borders(flow, place, axis=1):
    """Mean difference of neighbours across a patch's border over that three voxels beside it."""
    steps = np.abs(np.diff(flow, axis=axis)).mean(axis=tuple(k for k in range(4) if k != axis))
    beside = [place - 5, place - 4, place + 2, place + 3]
    return steps[place - 1] / steps[beside].mean()


@pytest.mark.slow
def test_blended_patches_have_no_seams_and_pasted_ones_have():
    jumps = {}
    for original in (False, True):
        model = made((64, 64), original=original, scale=0.02, seed=3)
        found = []
        for seed in range(4):
            flow, _ = model._matched(
                2,
                model._covers[1],
                [pyramid.nearest(brighter_on_one_side(x), (32, 32)) for x in pair((64, 64), seed)],
                None,
                False,
                keep_hidden=False,
                patches_per_step=0,
                recompute=False,
            )
            found.append(jump_across_borders(flow.numpy(), 16))
        jumps[original] = np.mean(found)
    assert jumps[False] < 1.1
    assert jumps[True] > 1.15 * jumps[False]


def test_parts_freeze_apart_and_gradients_reach_the_fine_stage_through_one_patch():
    model = made(scale=0.01)
    assert set(model.parts) == {"stage_1", "stage_2"}
    fixed, moving = pair(PLANE)
    trained = list(model.parts["stage_2"])
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(trained)
        out = model(fixed, moving, training=True, patches_per_step=1)
        loss = losses.mse(fixed, out.warped)
    reached = [np.any(gradient) for gradient in tape.gradient(loss, trained)]
    assert np.mean(reached) > 0.95  # a rectifier may be closed everywhere in one patch
    changed = np.abs(out.stages[1].flow).max(axis=-1) > 1e-6
    assert 0.3 < changed.mean() < 0.8  # one patch of 12 x 10 of the grid's 20 x 16
    everywhere = model(fixed, moving, patches_per_step=1)  # in training alone
    assert (np.abs(everywhere.stages[1].flow).max(axis=-1) > 1e-6).mean() > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_recomputed_gradients_are_the_same(dropout):
    model = made(scale=0.01, dropout=dropout)
    fixed, moving = pair(PLANE)

    def gradients(recompute):
        model._draws.reset_from_seed(5)
        with tf.GradientTape() as tape:
            out = model(fixed, moving, training=True, whole=True, recompute=recompute)
            loss = losses.mse(fixed, out.warped)
        return tape.gradient(loss, model.trainable_variables)

    for ours, plain in zip(gradients(True), gradients(False)):
        np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-7)


@pytest.mark.nightly
def test_dropout_acts_in_training_alone():
    model, images = made(scale=0.01, dropout=0.5), pair(PLANE)
    flows = [model(*images, training=training).flow for training in (True, True, False, False)]
    assert np.abs(flows[0] - flows[1]).max() > 1e-4
    np.testing.assert_array_equal(flows[2], flows[3])
    zero = made(scale=0.01, dropout=0.0)
    np.testing.assert_allclose(zero(*images).flow, flows[2], atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stages": ()}, "`stages` must be a list of at least one resolution"),
        ({"stages": ({"resolution": 1.0},)}, "entry 1 must have resolution, patch, iterations"),
        ({"stages": (dict(STAGES[0], patch=0),)}, r"'patch' of entry 1 must lie in \(0, 1\]"),
        ({"stages": (dict(STAGES[0], radius=0),)}, r"`stages\[0\].radius` must be a whole number"),
        ({"stages": (dict(STAGES[0], iterations=101),)}, "must be at most 100; got 101"),
        ({"stages": STAGES[::-1]}, "from coarse to fine"),
        ({"stages": (dict(STAGES[0], patch=0.05),)}, "at least 4 per axis are needed"),
        ({"stages": (dict(STAGES[1], patch=0.3),), "original": True}, "do not divide the grid"),
        ({"dropout": 1.0}, r"`dropout` must lie in \[0, 1\)"),
        ({"features": 1}, "`features` must be a whole number of at least 2"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message):
    with pytest.raises(ValueError, match=message):
        rcn_tf.RWCNet(PLANE, **{**SMALL, **arguments})


@pytest.mark.slow
def test_patches_that_do_not_divide_the_grid_are_covered():
    model = made(stages=(STAGES[0], dict(STAGES[1], patch=0.2)), scale=0.01)
    assert model._covers[1].counts == (3, 3)
    flow = model(*pair(PLANE)).stages[1].flow
    assert np.isfinite(flow).all() and (np.abs(flow).max(axis=-1) > 1e-6).mean() > 0.95


def test_more_stages_than_there_are():
    with pytest.raises(ValueError, match="`n_stages` must be at most 2"):
        made()(*pair(PLANE), n_stages=3)


@pytest.mark.nightly
def test_memory_of_a_training_step_is_estimated():
    """The estimate traces the model in a plain graph."""
    values = {"model": "RWCNet", "network": SMALL, "loss": {"final": {"mse": 1.0}}, "batch_size": 1}
    config = TrainingConfig.from_dict({**values, "steps": 1, "halve_at": []})
    found = estimate(config, PLANE, 1)
    assert found.weights == 4 * sum(v.shape.num_elements() for v in made().variables)
    assert 0 < found.recomputed <= found.activations


def study(folder):
    """A dataset config of three planes with labels and landmarks."""
    rng = np.random.default_rng(0)
    with h5py.File(folder / "planes.h5", "w") as pack:
        for k in range(3):
            image = gaussian_filter(rng.standard_normal(PLANE), 2)
            image = (image - image.min()) / np.ptp(image)
            pack[f"s{k}/volume"] = (255 * image).astype("uint8")
            pack[f"s{k}/segmentation"] = (image > 0.5).astype("uint8")
            pack[f"s{k}/point"] = rng.uniform(2, 30, (4, 2)).astype("float32")
    config = {
        "files": {"/": {"path": "planes.h5"}},
        "image_size": list(PLANE),
        "image_type": "liver",
        "schemes": {"1": {"all": 1.0}},
        "subsets": {"all": ["s0", "s1", "s2"]},
    }
    write_json(folder / "planes.json", config)
    return folder / "planes.json"


@pytest.mark.nightly
def test_coarse_to_fine_training_resumes_exactly(tmp_path):
    """Phases as the presets', with dropout and random patches; stopped within the second one."""
    terms = {"mse": 10.0, "landmark_distance": 0.1, "soft_dice": {"pooled": True}}
    phases = [
        {
            "steps": 2,
            "train": [f"stage_{k}"],
            "options": options,
            "loss": {f"stage_{k}": {"absolute_gradient": 0.1}, "final": terms},
        }
        for k, options in ((1, {"n_stages": 1}), (2, {"n_stages": 2, "patches_per_step": 1}))
    ]
    config = TrainingConfig.from_dict(
        {
            "model": "RWCNet",
            "network": {**SMALL, "dropout": 0.5},
            "data": {"config": str(study(tmp_path))},
            "batch_size": 1,
            "augment": False,
            "halve_at": [],
            "log_every": 1,
            "checkpoint_every": 1,
            "phases": phases,
        }
    )
    train(config, tmp_path / "whole")
    for steps in (3, 1):
        taken = itertools.count(1)
        resume = (tmp_path / "parts").exists()
        stop = lambda taken=taken, steps=steps: next(taken) == steps  # noqa: E731
        train(config, tmp_path / "parts", resume=resume, should_stop=stop)
    whole, parts = (rcn_tf.load_model(tmp_path / name) for name in ("whole", "parts"))
    start = made(dropout=0.5)
    for name, variable in whole.named_weights().items():
        np.testing.assert_array_equal(parts.named_weights()[name], variable, name)
        assert variable.shape == start.named_weights()[name].shape
