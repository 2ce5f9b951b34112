"""Objectives as data: which stage has which term."""

import numpy as np
import pytest
import tensorflow as tf

import rcn_tf
from rcn_tf import losses
from rcn_tf.losses.objective import (
    RCN_WEIGHTS,
    check_stages,
    check_weights,
    for_one_more_stage,
    needs,
    registration_losses,
)
from rcn_tf.losses.schedule import Decay
from rcn_tf.presets import PRESETS
from tests.conftest import GOLDEN

SHAPE = (6, 8, 7)


@pytest.fixture
def fixed(rng):
    return rng.uniform(size=(2, *SHAPE, 1)).astype("float32")


@pytest.fixture
def make_output(rng):
    def make(n_dense, affine=True, names=(), kind="dense"):
        def stage(name, matrix=None, offset=None):
            flow = rng.standard_normal((2, *SHAPE, 3)).astype("float32")
            warped = rng.uniform(size=(2, *SHAPE, 1)).astype("float32")
            affine = (matrix, offset, None if matrix is None else 2 * matrix, offset)
            stage_kind = kind if matrix is None else "affine"
            return rcn_tf.StageOutput(flow, flow, warped, *affine, name=name, kind=stage_kind)

        matrix = 0.1 * rng.standard_normal((2, 3, 3)).astype("float32")
        offset = rng.standard_normal((2, 3)).astype("float32")
        stages = [stage("affine", matrix, offset)] if affine else []
        stages += [stage(name) for name in names or [f"dense_{k + 1}" for k in range(n_dense)]]
        moving = rng.uniform(size=(2, *SHAPE, 1)).astype("float32")
        last = stages[-1]
        return rcn_tf.RegistrationOutput(last.total_flow, last.warped, tuple(stages), moving)

    return make


def test_rcn_counts_the_last_similarity_only(fixed, make_output):
    out = make_output(3)
    terms = registration_losses(out, fixed)
    assert set(terms) == {
        "affine/determinant",
        "affine/orthogonality",
        "dense_1/smoothness",
        "dense_2/smoothness",
        "dense_3/smoothness",
        "final/similarity",
        "total",
    }
    expected = (
        0.1 * losses.determinant(out.stages[0].matrix)
        + 0.1 * losses.orthogonality(out.stages[0].matrix)
        + sum(losses.smoothness(stage.flow) for stage in out.stages[1:])
        + losses.similarity(fixed, out.warped)
    )
    assert terms["total"].shape == (2,)
    np.testing.assert_allclose(terms["total"], expected, rtol=1e-5)


def test_vtn_table_1(fixed, make_output):
    out = make_output(3)
    weights = PRESETS["vtn_addd"].values["loss"]
    terms = registration_losses(out, fixed, weights)
    similarity = [losses.similarity(fixed, stage.warped) for stage in out.stages]
    expected = similarity[0] + 0.05 * similarity[2] + similarity[3]
    expected += 0.1 * (terms["affine/determinant"] + terms["affine/orthogonality"])
    expected += sum(losses.smoothness(stage.flow) for stage in out.stages[1:])
    assert "dense_1/similarity" not in terms
    np.testing.assert_allclose(terms["total"], expected, rtol=1e-5)


def test_repeats_share_the_weights_of_their_cascade(fixed, make_output):
    weights = {"dense": [{"smoothness": 1.0}, {"smoothness": 10.0}]}
    names = [f"dense_{cascade}/repeat_{repeat}" for cascade in (1, 2) for repeat in (1, 2)]
    out = make_output(4, names=names)
    terms = registration_losses(out, fixed, weights)
    assert [name for name in terms if name != "total"] == [f"{name}/smoothness" for name in names]
    smooth = [losses.smoothness(stage.flow).numpy() for stage in out.stages[1:]]
    expected = smooth[0] + smooth[1] + 10 * (smooth[2] + smooth[3])
    np.testing.assert_allclose(terms["total"], expected, rtol=1e-5)


def test_invertibility_and_endpoint_error(fixed, make_output):
    out, back = make_output(1, affine=False), make_output(1, affine=False)
    weights = {"final": {"invertibility": 1e-3, "endpoint_error": 2.0}}
    terms = registration_losses(
        out, fixed, weights, backward=back, reference_flow=out.flow + np.float32(3.0)
    )
    np.testing.assert_allclose(terms["final/endpoint_error"], 27**0.5, rtol=1e-5)
    expected = 1e-3 * losses.invertibility(out.flow, back.flow) + 2.0 * 27**0.5
    np.testing.assert_allclose(terms["total"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"middle": {}}, "unknown part 'middle'"),
        ({"dense": {"determinant": 1.0}}, "unknown term 'determinant' in 'dense'"),
        ({"dense": [{"smoothness": 1.0}] * 2}, "2 dense entries do not fit 3 stages"),
        ({"final": {"invertibility": 1.0}}, "needs the reversed pair"),
        ({"final": {"endpoint_error": 1.0}}, "needs a reference flow"),
        ({"final": {"similarity": 0.0}}, "leave no term"),
    ],
)
def test_weights_that_do_not_fit_are_named(fixed, make_output, weights, message):
    with pytest.raises(ValueError, match=message):
        registration_losses(make_output(3), fixed, weights)


def test_default_weights_are_the_papers():
    assert RCN_WEIGHTS == {
        "affine": {"determinant": 0.1, "orthogonality": 0.1},
        "dense": {"smoothness": 1.0},
        "final": {"similarity": 1.0},
    }


def test_parts_of_own_kinds_names_and_the_names_before_the_slash(fixed, make_output):
    """A named part's terms are added to those of the kind, and replace those of the same name."""
    names = ["warp_1/iteration_1", "warp_1/iteration_2", "warp_2/iteration_1"]
    out = make_output(0, affine=False, names=names, kind="warp")
    objective = {
        "warp": {"mse": 2.0, "smoothness": 3.0},
        "warp_1": {"smoothness": 5.0},
        "warp_1/iteration_2": {"mse": 0.0, "bending_energy": 7.0},
        "dense": {"smoothness": 100.0},
        "final": {"central_gradient": 11.0},
    }
    terms = registration_losses(out, fixed, objective)
    mse = [losses.mse(fixed, stage.warped) for stage in out.stages]
    smooth = [losses.smoothness(stage.flow) for stage in out.stages]
    expected = 2 * mse[0] + 5 * smooth[0]
    expected += 5 * smooth[1] + 7 * losses.bending_energy(out.stages[1].flow)
    expected += 2 * mse[2] + 3 * smooth[2]
    expected += 11 * losses.central_gradient(out.flow)
    assert "warp_1/iteration_2/mse" not in terms
    np.testing.assert_allclose(terms["total"], expected, rtol=1e-5)


def test_a_list_has_one_entry_per_cascade_of_any_kind(fixed, make_output):
    names = ["warp_1/iteration_1", "warp_1/iteration_2", "warp_2/iteration_1"]
    out = make_output(0, affine=False, names=names, kind="warp")
    terms = registration_losses(out, fixed, {"warp": [{"mae": 1.0}, {"mae": 10.0}]})
    mae = [losses.mae(fixed, stage.warped) for stage in out.stages]
    np.testing.assert_allclose(terms["total"], mae[0] + mae[1] + 10 * mae[2], rtol=1e-6)


def test_parameters_reach_the_function(fixed, make_output):
    out = make_output(1)
    objective = {
        "affine": {"deviation": {"weight": 2.0}, "determinant": {"total": True}},
        "final": {"local_ncc": {"weight": 3.0, "window": 5, "squared": False}},
    }
    terms = registration_losses(out, fixed, objective)
    affine = out.stages[0]
    ncc = losses.local_ncc(fixed, out.warped, window=5, squared=False)
    deviation = losses.deviation(affine.matrix, affine.offset, SHAPE)
    of_all = losses.determinant(affine.total_matrix)
    assert not np.allclose(of_all, losses.determinant(affine.matrix))
    np.testing.assert_allclose(terms["final/local_ncc"], ncc)
    np.testing.assert_allclose(terms["affine/deviation"], deviation)
    np.testing.assert_allclose(terms["affine/determinant"], of_all)
    np.testing.assert_allclose(terms["total"], 3 * ncc + 2 * deviation + of_all, rtol=1e-6)


def test_decay_is_avsms():
    """The weight of AVSM's code at epochs 0, 5, ...; those from 300 on have several steps."""
    expected = np.load(GOLDEN / "losses.npz")["affine_factor_every5"]
    for index, value in enumerate(expected):
        decay, weight = (Decay(7), 10.0) if index < 60 else (Decay(7, 301, least=0.01), 0.1)
        factor = weight * decay.factor(7 * 5 * index + 6)
        np.testing.assert_allclose(factor, value, rtol=1e-5, err_msg=str(index))


def test_a_schedule_follows_the_step_within_a_function(fixed, make_output):
    out = make_output(1)
    schedule = {"kind": "decay", "steps_per_epoch": 10, "static_epochs": 0, "rate": 4.0, "least": 0}
    objective = {
        "dense": {"smoothness": {"weight": 2.0, "schedule": schedule}},
        "final": {"mse": {"schedule": "constant"}},
    }

    @tf.function
    def total(step):
        return registration_losses(out, fixed, objective, step=step)

    for step in (0, 9, 10, 55):
        factor = 4 / (4 + np.exp(step // 10 / 4))  # AVSM, eq. 13
        terms = total(tf.constant(step, tf.int64))
        smooth = losses.smoothness(out.stages[1].flow)
        np.testing.assert_allclose(terms["dense_1/smoothness"], smooth, rtol=1e-6)
        expected = 2 * factor * smooth + losses.mse(fixed, out.warped)
        np.testing.assert_allclose(terms["total"], expected, rtol=1e-5)


@pytest.fixture
def batch(rng):
    sizes = np.array(SHAPE)
    return {
        "fixed_labels": rng.integers(0, 4, (2, *SHAPE)).astype("int32"),
        "moving_labels": rng.integers(0, 4, (2, *SHAPE)).astype("int32"),
        "fixed_landmarks": (rng.uniform(size=(2, 5, 3)) * (sizes - 1)).astype("float32"),
        "moving_landmarks": (rng.uniform(size=(2, 5, 3)) * (sizes - 1)).astype("float32"),
        "landmark_mask": np.array([[1, 1, 1, 0, 0], [1, 0, 1, 1, 1]], "float32"),
        "spacing": np.array([1.0, 2.0, 0.5], "float32"),
    }


def test_both_directions_with_their_labels_and_landmarks(fixed, make_output, batch):
    out, back = make_output(1), make_output(1)
    own = {
        "dense": {"smoothness": 1.0},
        "final": {"mse": 2.0, "soft_dice": {"per_step": 2}, "landmark_distance": 0.5},
    }
    objective = {**own, "reversed": {**own, "affine": {"determinant": 1.0}}}
    terms = registration_losses(out, fixed, objective, backward=back, batch=batch, step=4)
    expected = 0.0
    for prefix, result, image, names in (
        ("", out, fixed, ("fixed", "moving")),
        ("reversed/", back, out.moving, ("moving", "fixed")),
    ):
        labels = [batch[f"{name}_labels"] for name in names]
        points = [batch[f"{name}_landmarks"] for name in names]
        dice = losses.soft_dice(result.flow, *labels, 4, per_step=2)
        distance = losses.landmark_distance(
            result.flow, *points, batch["landmark_mask"], batch["spacing"]
        )
        mse = losses.mse(image, result.warped)
        smooth = losses.smoothness(result.stages[1].flow)
        for name, value in {
            "final/mse": mse,
            "final/soft_dice": dice,
            "final/landmark_distance": distance,
            "dense_1/smoothness": smooth,
        }.items():
            np.testing.assert_allclose(terms[prefix + name], value, rtol=1e-6, err_msg=name)
        expected = expected + smooth + 2 * mse + dice + 0.5 * distance
    determinant = losses.determinant(back.stages[0].matrix)
    np.testing.assert_allclose(terms["total"], expected + determinant, rtol=1e-5)
    assert terms["reversed/affine/determinant"].shape == (2,)


def test_needs():
    assert needs(RCN_WEIGHTS) == frozenset()
    assert needs({"final": {"soft_dice": 0.0, "invertibility": 0}}) == frozenset()
    assert needs({"final": {"invertibility": 1}}) == {"reversed"}
    assert needs({"final": {"endpoint_error": 1}}) == {"reference_flow"}
    assert needs({"dense": [{}, {"soft_dice": 1}]}) == {"labels"}
    there = {"affine": {"landmark_distance": {"weight": 0.1}}}
    assert needs({"reversed": there}) == {"reversed", "landmarks"}
    assert needs({"reversed": {"final": {"mse": 0}}}) == frozenset()


STAGES = (("affine", "affine"), ("dense_1", "dense"), ("dense_2", "dense"))


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ({"dens": {"mse": 1}}, "unknown part 'dens'; did you mean 'dense'?"),
        ({"dense_3": {"mse": 1}}, "unknown part 'dense_3'; did you mean 'dense_2'?"),
        ({"reversed": {"dense_9": {"mse": 1}}}, "unknown part 'reversed.dense_9'"),
        ({"dense_1": [{"mse": 1}, {}]}, "2 dense_1 entries do not fit"),
        ({"dense": [{"mse": 1}] * 3}, "3 dense entries do not fit 2 stages"),
        ({"dense": {"mse": 0.0}}, "leave no term"),
        ({"reversed": {}}, "leave no term"),
    ],
)
def test_objectives_that_do_not_fit_the_stages(objective, message):
    with pytest.raises(ValueError) as raised:
        check_stages(objective, STAGES)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (
            {"final": {"local_nc": 1}},
            "unknown term 'local_nc' in 'final'; did you mean 'local_ncc'?",
        ),
        (
            {"final": {"local_ncc": {"windw": 3}}},
            "parameter 'windw' of final.local_ncc; did you",
        ),
        (
            {"final": {"local_ncc": {"window": 2.5}}},
            "local_ncc.window must be a positive whole",
        ),
        ({"final": {"local_ncc": {"squared": 1}}}, "final.local_ncc.squared must be true or false"),
        ({"final": {"local_ncc": {"weight": "x"}}}, "final.local_ncc.weight must be a number"),
        ({"final": {"nmi": {"bandwidth": -1}}}, "final.nmi.bandwidth must be a positive number"),
        ({"final": {"multi_kernel_ncc": {"windows": 3}}}, "windows must be a list of numbers"),
        ({"final": {"multi_kernel_ncc": {"phase": 3}}}, "phase must be a string"),
        ({"final": {"mse": {"schedule": "decay"}}}, "must be 'constant' or an object"),
        ({"final": {"mse": {"schedule": {"kind": "decay"}}}}, "needs `steps_per_epoch`"),
        (
            {"final": {"mse": {"schedule": {"kind": "decay", "rat": 1}}}},
            "unknown key 'rat' of final.mse.schedule; did you mean 'rate'?",
        ),
        ({"final": {"mse": True}}, "final.mse must be a number"),
        ({"final": [{"mse": 1}]}, "'final' must map terms"),
        ({"reversed": [{}]}, "'reversed' must map parts"),
        ({"reversed": {"final": {"invertibility": 1}}}, "'invertibility' is not allowed"),
        ({"affine": {"smoothness": 1}}, "unknown term 'smoothness' in 'affine'"),
        (5, "must map parts to terms"),
    ],
)
def test_forms_that_are_wrong(objective, message):
    with pytest.raises(ValueError) as raised:
        check_weights(objective)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("terms", "missing"),
    [
        ({"soft_dice": 1}, "moving_labels"),
        ({"landmark_distance": 1}, "landmark_mask"),
        ({"landmark_distance": 1}, "spacing"),
    ],
)
def test_a_missing_entry_of_the_batch_is_named(fixed, make_output, batch, terms, missing):
    del batch[missing]
    with pytest.raises(ValueError, match=f"in 'final' needs `{missing}` in the batch"):
        registration_losses(make_output(1), fixed, {"final": terms}, batch=batch)


def test_other_things_that_are_missing(fixed, make_output):
    out = make_output(1)
    with pytest.raises(ValueError, match="'reversed' needs the reversed pair's output"):
        registration_losses(out, fixed, {"reversed": {"final": {"mse": 1}}})
    with pytest.raises(ValueError, match="'determinant' in 'dense_1' needs an affine stage"):
        registration_losses(out, fixed, {"dense_1": {"determinant": 1}})
    with pytest.raises(ValueError, match="`fixed` must have the warped image's shape"):
        registration_losses(out, fixed[:, 1:])


def test_what_one_more_stage_has():
    decay = {"kind": "decay", "steps_per_epoch": 5}
    assert for_one_more_stage(RCN_WEIGHTS) == {
        "dense": {"smoothness": 1.0},
        "final": {"similarity": 1.0},
    }
    objective = {
        "dense": [{"smoothness": 3}, {"smoothness": {"weight": 2, "schedule": decay}, "mse": 0}],
        "final": {"local_ncc": {"window": 5}, "soft_dice": 1, "invertibility": 1},
        "reversed": {"final": {"mse": 1}},
    }
    assert for_one_more_stage(objective) == {
        "dense": {"smoothness": {"weight": 2}},
        "final": {"local_ncc": {"window": 5}},
    }
    of_its_own = {"warp": {"mse": 1.0, "bending_energy": 2.0}, "final": {"mae": 1.0}}
    assert for_one_more_stage(of_its_own) == {
        "dense": {"bending_energy": 2.0},
        "final": {"mae": 1.0},
    }
    assert for_one_more_stage({"final": {"endpoint_error": 1.0}}) == {}


def test_values_of_old_configs_are_the_same_to_the_bit(fixed, make_output):
    """Objectives of configs from before parameters give the same values, so trainings resume."""
    out = make_output(2)
    terms = registration_losses(out, fixed, RCN_WEIGHTS)
    values = [
        (0.1, losses.determinant(out.stages[0].matrix)),
        (0.1, losses.orthogonality(out.stages[0].matrix)),
        (1.0, losses.smoothness(out.stages[1].flow)),
        (1.0, losses.smoothness(out.stages[2].flow)),
        (1.0, losses.similarity(fixed, out.warped)),
    ]
    expected = sum(factor * tf.convert_to_tensor(value) for factor, value in values)
    np.testing.assert_array_equal(terms["total"], expected)
