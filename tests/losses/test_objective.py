"""Weights as data: which stage carries which term."""

import numpy as np
import pytest

import rcn_tf
from rcn_tf import losses
from rcn_tf.losses.objective import RCN_WEIGHTS, registration_losses
from rcn_tf.presets import PRESETS

SHAPE = (6, 8, 7)


@pytest.fixture
def fixed(rng):
    return rng.uniform(size=(2, *SHAPE, 1)).astype("float32")


@pytest.fixture
def make_output(rng):
    def make(n_dense, affine=True):
        def stage(name, matrix=None):
            flow = rng.standard_normal((2, *SHAPE, 3)).astype("float32")
            warped = rng.uniform(size=(2, *SHAPE, 1)).astype("float32")
            kind = "dense" if matrix is None else "affine"
            return rcn_tf.StageOutput(flow, flow, warped, matrix, name=name, kind=kind)

        matrix = 0.1 * rng.standard_normal((2, 3, 3)).astype("float32")
        stages = [stage("affine", matrix)] if affine else []
        stages += [stage(f"dense_{k}") for k in range(1, n_dense + 1)]
        return rcn_tf.RegistrationOutput(stages[-1].total_flow, stages[-1].warped, tuple(stages))

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
    out = make_output(4)
    terms = registration_losses(out, fixed, weights)
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
