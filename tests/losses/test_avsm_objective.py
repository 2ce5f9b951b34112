"""Objectives with AVSM's terms: which stages and maps of both directions they compare."""
# ruff: noqa: F811

import numpy as np
import pytest

import rcn_tf
from rcn_tf import losses
from rcn_tf.losses.objective import check_weights, needs, registration_losses
from tests.losses.test_objective import SHAPE, fixed, make_output  # noqa: F401 (fixtures)


def avsm_like(make_output, rng):
    """An output with an affine stage and a velocity stage that has a momentum."""
    out = make_output(1, names=["velocity_1"], kind="velocity")
    made = {
        key: rng.standard_normal((2, *SHAPE, 3)).astype("float32")
        for key in ("momentum", "velocity")
    }
    affine, velocity = out.stages
    stage = rcn_tf.StageOutput(
        velocity.flow + 1,
        velocity.total_flow,
        velocity.warped,
        name=velocity.name,
        kind="velocity",
        extras=made,
    )
    return rcn_tf.RegistrationOutput(out.flow, out.warped, (affine, stage), out.moving)


def test_symmetry_of_a_stage_compares_it_with_its_own_reverse(fixed, make_output, rng):
    out, back = (avsm_like(make_output, rng) for _ in range(2))
    objective = {
        "affine": {"affine_symmetry": {"weight": 10.0, "total": True}},
        "velocity": {"map_symmetry": {"weight": 500.0, "clamped": True}},
    }
    assert "reversed" in needs(objective)
    terms = registration_losses(out, fixed, objective, backward=back)
    maps = [x for o in (out, back) for x in (o.stages[0].total_matrix, o.stages[0].total_offset)]
    affine = losses.affine_symmetry(*maps, SHAPE)
    velocity = losses.map_symmetry(
        out.stages[1].total_flow, back.stages[1].total_flow, clamped=True
    )
    np.testing.assert_allclose(terms["affine/affine_symmetry"], affine, rtol=1e-5)
    np.testing.assert_allclose(terms["total"], 10 * affine + 500 * velocity, rtol=1e-5)
    with pytest.raises(ValueError, match="'affine_symmetry' in 'affine' needs the reversed pair"):
        registration_losses(out, fixed, objective)


def test_momentum_energy_takes_what_the_stage_made(fixed, make_output, rng):
    out = avsm_like(make_output, rng)
    objective = {"velocity": {"momentum_energy": {"weight": 10.0, "clamped": False}}}
    terms = registration_losses(out, fixed, objective)
    extras = out.stages[1].extras
    expected = losses.momentum_energy(extras["momentum"], extras["velocity"], clamped=False)
    np.testing.assert_allclose(terms["total"], 10 * expected, rtol=1e-5)
    plain = make_output(1, affine=False)
    with pytest.raises(ValueError, match="needs a stage that has a momentum and a velocity"):
        registration_losses(plain, fixed, {"dense": {"momentum_energy": 1.0}})


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ({"final": {"affine_symmetry": 1.0}}, "unknown term 'affine_symmetry' in 'final'"),
        ({"affine": {"momentum_energy": 1.0}}, "unknown term 'momentum_energy' in 'affine'"),
        ({"reversed": {"affine": {"affine_symmetry": 1.0}}}, "not allowed in 'reversed'"),
        ({"reversed": {"velocity": {"map_symmetry": 1.0}}}, "not allowed in 'reversed'"),
    ],
)
def test_terms_of_avsm_have_their_parts(objective, message):
    with pytest.raises(ValueError, match=message):
        check_weights(objective)
