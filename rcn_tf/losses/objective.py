"""The objective: a weighted sum of loss terms over the stages of a registration, as data.

An objective maps parts to terms; in a training config it is the section `loss`:

    {"affine": {"determinant": 0.1, "orthogonality": 0.1},
     "dense": {"smoothness": 1.0},
     "final": {"similarity": 1.0}}

A part is one of these:
- a kind of stages ("affine", "dense", or one that the model defines), with one object for all
  stages of that kind, or a list with one entry per cascade (repeats share an entry);
- a stage's name ("dense_2"), which includes the stages below it ("dense_2/repeat_1"). The terms of
  its kind also apply to it, unless its own part replaces them;
- "final", the end result;
- "reversed", a further objective for the registration with the images exchanged.

A term's value is its weight, or an object {"weight": 1.0, "window": 7, "schedule": {...}} with
the parameters of its function and a schedule ("constant", or `rcn_tf.losses.schedule.Decay` as
{"kind": "decay", "steps_per_epoch": 400}). `rcn_tf.losses.terms.TERMS` lists all terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from rcn_tf.losses import terms as kinds
from rcn_tf.losses.objective_form import (
    FINAL,
    REVERSED,
    Weighted,
    check_stages,
    check_weights,
    final_terms,
    for_one_more_stage,
    needs,
    stage_terms,
)
from rcn_tf.models.output import RegistrationOutput, StageOutput

__all__ = [
    "RCN_WEIGHTS",
    "check_stages",
    "check_weights",
    "for_one_more_stage",
    "needs",
    "registration_losses",
]

# RCN measures similarity on the last warped image only and weights regularity as VTN does.
RCN_WEIGHTS = {
    "affine": {"determinant": 0.1, "orthogonality": 0.1},
    "dense": {"smoothness": 1.0},
    "final": {"similarity": 1.0},
}

_EXCHANGED = {
    "fixed_labels": "moving_labels",
    "moving_labels": "fixed_labels",
    "fixed_landmarks": "moving_landmarks",
    "moving_landmarks": "fixed_landmarks",
}


def registration_losses(
    output: RegistrationOutput,
    fixed: tf.Tensor,
    objective: Mapping[str, Any] | None = None,
    *,
    backward: RegistrationOutput | None = None,
    batch: Mapping[str, tf.Tensor] | None = None,
    step: tf.Tensor | int = 0,
    reference_flow: tf.Tensor | None = None,
) -> dict[str, tf.Tensor]:
    """Loss terms of a registration and their weighted sum.

    Args:
        output: RegistrationOutput.
        fixed: [B, *spatial, 1] float32.
        objective: mapping as in the module's docstring; the RCN paper's by default. Terms
            with weight 0 are not computed.
        backward: RegistrationOutput of the reversed pair, for `invertibility` and "reversed".
        batch: further inputs of terms, by these names: `fixed_labels`, `moving_labels` [B,
            *spatial] int; `fixed_landmarks`, `moving_landmarks` [B, N, R] voxels,
            `landmark_mask` [B, N], `spacing` [R] mm; `reference_flow` [B, *spatial, R] voxels.
        step: of the training, for schedules and the choice of structures; may be a tensor.
        reference_flow: the same as the entry of `batch`.

    Returns: dict of [B] float32: unweighted terms "affine/determinant", "dense_1/smoothness",
        "final/similarity", "reversed/final/similarity", ... and the weighted sum "total".

    Raises: ValueError: a part, term or parameter is unknown or does not fit the stages, `fixed` has
        the wrong shape, or an input that a weighted term needs is missing.
    """
    objective = RCN_WEIGHTS if objective is None else objective
    check_stages(objective, [(stage.name, stage.kind) for stage in output.stages])
    batch = dict(batch or {})
    if reference_flow is not None:
        batch["reference_flow"] = reference_flow
    fixed = tf.convert_to_tensor(fixed, tf.float32)
    terms, factors = {}, {}
    for name, value, factor in _direction(objective, output, fixed, backward, batch, step):
        terms[name], factors[name] = value, factor
    if REVERSED in objective and REVERSED in needs(objective):
        there = objective[REVERSED]
        _require(backward, f"{REVERSED!r}", "the reversed pair's output")
        _require(output.moving, f"{REVERSED!r}", "an output that has its moving image")
        batch = {_EXCHANGED.get(name, name): value for name, value in batch.items()}
        for name, value, factor in _direction(there, backward, output.moving, output, batch, step):
            terms[f"{REVERSED}/{name}"], factors[f"{REVERSED}/{name}"] = value, factor
    terms["total"] = sum(factors[name] * term for name, term in terms.items())
    return terms


def _direction(objective, output, fixed, backward, batch, step):
    """(name, value [B], factor) of every weighted term of one direction."""
    if not fixed.shape.is_compatible_with(output.warped.shape):
        raise ValueError(
            f"`fixed` must have the warped image's shape {tuple(output.warped.shape)}; "
            f"got {tuple(fixed.shape)}."
        )
    stages = output.stages
    entries = stage_terms(objective, [(stage.name, stage.kind) for stage in stages])
    places = [(stage.name, stage, entry) for stage, entry in zip(stages, entries)]
    for place, stage, entry in [*places, (FINAL, None, final_terms(objective))]:
        for name, weighted in entry.items():
            if weighted.weight:
                value = _value(weighted, place, stage, output, fixed, backward, batch, step)
                schedule = weighted.schedule
                scale = weighted.weight * schedule.factor(step) if schedule else weighted.weight
                yield f"{place}/{name}", value, scale


def _value(weighted: Weighted, place, stage: StageOutput, output, fixed, backward, batch, step):
    """The unweighted term of a stage or, if `stage` is None, of the end result."""
    function, takes = weighted.term
    parameters = dict(weighted.parameters)
    who = f"the term {weighted.name!r} in {place!r}"
    total_flow = output.flow if stage is None else stage.total_flow
    if takes == kinds.IMAGES:
        return function(fixed, (stage or output).warped, **parameters)
    if takes == kinds.FLOW:
        return function((stage or output).flow, **parameters)
    if takes in (kinds.PAIR, kinds.MAP_PAIR):
        _require(backward, who, "the reversed pair's output")
        back = backward if stage is None else _same_stage(stage, backward)
    if takes in (kinds.MATRIX, kinds.MAP, kinds.MAP_PAIR):
        of_total = parameters.pop("total", False)
        matrix, offset = _affine_map(stage, of_total, who)
        if takes == kinds.MATRIX:
            return function(matrix, **parameters)
        maps = (matrix, offset)
        if takes == kinds.MAP_PAIR:
            maps += _affine_map(back, of_total, who)
        return function(*maps, total_flow.shape[1:-1], **parameters)
    if takes == kinds.PAIR:
        other = back.flow if stage is None else back.total_flow
        return function(total_flow, other, **parameters)
    if takes == kinds.MOMENTUM:
        made = [stage.extras.get(name) for name in ("momentum", "velocity")]
        for extra in made:
            _require(extra, who, "a stage that has a momentum and a velocity")
        return function(*made, **parameters)
    if takes == kinds.REFERENCE:
        _require(batch.get("reference_flow"), who, "a reference flow")
        return function(total_flow, batch["reference_flow"], **parameters)
    if takes == kinds.LABELS:
        labels = _entries(batch, who, "fixed_labels", "moving_labels")
        return function(total_flow, *labels, step, **parameters)
    names = ("fixed_landmarks", "moving_landmarks", "landmark_mask", "spacing")
    return function(total_flow, *_entries(batch, who, *names), **parameters)


def _affine_map(stage, of_total, who):
    """(A, b) of an affine stage, or of all steps up to it."""
    matrix = stage.total_matrix if of_total else stage.matrix
    offset = stage.total_offset if of_total else stage.offset
    _require(matrix, who, "an affine stage, which has a matrix")
    return matrix, offset


def _same_stage(stage, backward):
    """The stage of that name in the output of the reversed pair."""
    (found,) = (other for other in backward.stages if other.name == stage.name)
    return found


def _entries(batch, who, *names):
    for name in names:
        _require(batch.get(name), who, f"`{name}` in the batch")
    return [batch[name] for name in names]


def _require(value, who, what):
    if value is None:
        raise ValueError(f"{who} needs {what}.")
