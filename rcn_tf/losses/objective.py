"""The objective of a training, as data: weighted terms for the parts of a registration.

    {"affine": {"determinant": 0.1, "orthogonality": 0.1},
     "dense": {"smoothness": 1.0},
     "final": {"similarity": 1.0}}

A part is a kind of stages ("affine", "dense" or a kind of the model's own), the name of one stage
("dense_2", "warp_1/iteration_2"), "final" for the end result, or "reversed" for the end result of
the reversed pair. A kind's value may be a list with one entry for each of its stages, of which
repeats ("dense_2/repeat_1") share one. A term's value is its weight, or an object with the weight,
the term's parameters and a schedule:

    {"final": {"local_ncc": {"weight": 1.0, "window": 7},
               "label_dice": {"weight": 0.5, "structures": 10}},
     "affine": {"affine_size": {"weight": 10, "schedule": {"kind": "sigmoid_decay",
                "static": 10, "decay": 3, "least": 1e-3, "epoch": 400}}}}

`rcn_tf.losses.terms.TERMS` lists the terms.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from rcn_tf.losses.terms import AFFINE, BATCH_ENTRIES, FINAL, REVERSED, STAGE, TERMS, Inputs
from rcn_tf.models.output import RegistrationOutput

# RCN: similarity on the last warped image only, VTN's ratios for the regularisation.
RCN_WEIGHTS = {
    "affine": {"determinant": 0.1, "orthogonality": 0.1},
    "dense": {"smoothness": 1.0},
    "final": {"similarity": 1.0},
}

KNOWN_KINDS = ("affine", "dense")
_SCHEDULES = {
    "constant": {},
    "sigmoid_decay": {"static": 0.0, "decay": 1.0, "least": 0.0, "epoch": 1},
}


def registration_losses(
    output: RegistrationOutput,
    fixed: tf.Tensor,
    weights: Mapping | None = None,
    *,
    backward: RegistrationOutput | None = None,
    reference_flow: tf.Tensor | None = None,
    batch: Mapping[str, tf.Tensor] | None = None,
    step: Any = 0,
) -> dict[str, tf.Tensor]:
    """Loss terms of a registration and their weighted sum.

    Args:
        output: RegistrationOutput.
        fixed: [B, *spatial, 1] float32.
        weights: objective as in the module's docstring; the RCN paper's by default. Terms
            with weight 0 are not computed.
        backward: RegistrationOutput of the reversed pair, for what needs it.
        reference_flow: [B, *spatial, R], for `endpoint_error`; may be in the batch.
        batch: mapping with what terms need beside the images: `fixed_labels`, `moving_labels`
            [B, *spatial] integers; `fixed_landmarks`, `moving_landmarks` [B, N, R] voxels,
            `landmark_mask` [B, N], `spacing` [R] mm per voxel.
        step: number of the training step, for schedules and random choices.

    Returns: dict of [B] float32: unweighted terms "affine/determinant",
        "dense_1/smoothness", "final/similarity", ... and the weighted sum "total".

    Raises: ValueError: unknown parts or terms, a list that does not fit the stages, `fixed` of
        another shape, or an input that a weighted term needs is missing.
    """
    weights = RCN_WEIGHTS if weights is None else weights
    check_weights(weights)
    fixed = tf.convert_to_tensor(fixed, tf.float32)
    if not fixed.shape.is_compatible_with(output.warped.shape):
        raise ValueError(
            f"`fixed` must have the warped image's shape {tuple(output.warped.shape)}; "
            f"got {tuple(fixed.shape)}."
        )
    batch = dict(batch or {})
    if reference_flow is not None:
        batch["reference_flow"] = reference_flow
    _check_inputs(weights, batch, backward)
    kinds = tuple((stage.name, stage.kind) for stage in output.stages)
    check_stages(weights, kinds)
    common = {"backward": backward, "batch": batch, "step": step}
    terms, total = {}, 0.0
    for part, entry in _entries(weights, kinds):
        inputs = _inputs(part, output, fixed, common)
        for term, value in entry.items():
            weight, parameters, schedule = _parsed(value)
            if weight:
                terms[f"{part}/{term}"] = TERMS[term].compute(inputs, **parameters)
                total += weight * _factor(schedule, step) * terms[f"{part}/{term}"]
    return {**terms, "total": total}


def check_weights(weights: Mapping) -> None:
    """Raises ValueError if an objective is not of the form in the module's docstring."""
    if not isinstance(weights, Mapping):
        raise ValueError(f"loss weights must map parts to terms; got {weights!r}.")
    for part, value in weights.items():
        listed = isinstance(value, (list, tuple)) and part not in (FINAL, REVERSED)
        for entry in value if listed else [value]:
            if not isinstance(entry, Mapping):
                raise ValueError(
                    f"loss weights: {part!r} must map terms to numbers; got {entry!r}."
                )
            for term, weight in entry.items():
                _check_term(part, term, weight)


def needs(weights: Mapping) -> frozenset[str]:
    """What weighted terms need beside the images.

    Returns: of "labels", "landmarks", "reference_flow" and "reversed".
    """
    wanted = {need for _, term in _weighted(weights) for need in TERMS[term].needs}
    if any(part == REVERSED for part, _ in _weighted(weights)):
        wanted.add(REVERSED)
    return frozenset(wanted)


def check_stages(weights: Mapping, stages: Sequence[tuple[str, str]]) -> None:
    """Compares an objective with the stages of a model.

    Args: stages: (name, kind) of each, as of `rcn_tf.models.model.stages_of`.
    Raises: ValueError: a part is neither a kind nor a name of the stages, a list does not fit
        them, or no term with a weight is left.
    """
    names, kinds = [name for name, _ in stages], {kind for _, kind in stages}
    groups = {_group(name) for name in names}
    for part, value in weights.items():
        if part in (FINAL, REVERSED, *KNOWN_KINDS) or part in kinds | groups or part in names:
            if isinstance(value, (list, tuple)):
                _check_list(part, value, stages)
            continue
        known = [FINAL, REVERSED, *KNOWN_KINDS, *sorted(kinds - set(KNOWN_KINDS)), *names]
        raise ValueError(f"loss weights: unknown part {part!r}{_hint(part, known)}.")
    entries = _entries(weights, stages)
    if not any(_parsed(value)[0] for _, entry in entries for value in entry.values()):
        raise ValueError("the loss weights leave no term for this network.")


def _check_term(part, term, value):
    place = part if part in (AFFINE, FINAL, REVERSED) else STAGE
    allowed = [name for name, known in TERMS.items() if place in known.places]
    if part not in (AFFINE, FINAL, REVERSED, "dense"):  # its stages may be affine
        allowed = list(TERMS)
    if term not in allowed:
        hint = _hint(term, allowed)
        raise ValueError(f"loss weights: unknown term {term!r} in {part!r}{hint}.")
    name = f"{part}.{term}"
    if not isinstance(value, Mapping):
        return _check_number(name, value)
    _check_number(f"{name}.weight", value.get("weight", 1.0))
    known = ["weight", "schedule", *TERMS[term].parameters]
    for key in value:
        if key not in known:
            raise ValueError(
                f"loss weights: unknown parameter {key!r} of {name}{_hint(key, known)}."
            )
    schedule = value.get("schedule", {})
    kind = schedule.get("kind", "constant") if isinstance(schedule, Mapping) else schedule
    if kind not in _SCHEDULES:
        raise ValueError(
            f"loss weights: {name}.schedule must be one of {', '.join(_SCHEDULES)}; got {kind!r}."
        )
    for key, number in schedule.items() if isinstance(schedule, Mapping) else ():
        if key not in ("kind", *_SCHEDULES[kind]):
            hint = _hint(key, list(_SCHEDULES[kind]))
            raise ValueError(f"loss weights: unknown key {key!r} of {name}.schedule{hint}.")
        if key != "kind":
            _check_number(f"{name}.schedule.{key}", number)
    return None


def _check_number(name, value):
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not abs(value) < math.inf:
        raise ValueError(f"loss weights: {name} must be a number; got {value!r}.")


def _hint(word, known):
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"


def _check_list(part, value, stages):
    groups = list(dict.fromkeys(_group(name) for name, kind in stages if kind == part))
    if groups and len(groups) % max(len(value), 1):
        raise ValueError(
            f"loss weights: {len(value)} {part} entries do not fit {len(groups)} stages."
        )


def _check_inputs(weights, batch, backward):
    """Whether everything that weighted terms need is there."""
    reasons = {
        REVERSED: "needs the reversed pair's output",
        "reference_flow": "needs a reference flow",
        "labels": "needs labels of both images",
        "landmarks": "needs landmarks of both images",
    }
    for part, term in _weighted(weights):
        for need in (*TERMS[term].needs, *([REVERSED] if part == REVERSED else [])):
            there = backward is not None if need == REVERSED else True
            there = there and all(
                batch.get(name) is not None for name in BATCH_ENTRIES.get(need, ())
            )
            if not there:
                raise ValueError(f"the loss term {term!r} in {part!r} {reasons[need]}.")


def _weighted(weights) -> Iterator[tuple[str, str]]:
    """(part, term) of everything with a weight."""
    for part, value in weights.items():
        for entry in value if isinstance(value, (list, tuple)) else [value]:
            for term, number in entry.items():
                if _parsed(number)[0]:
                    yield part, term


def _group(name):
    """The stage that a repeat repeats, "dense_2" of "dense_2/repeat_1"; others as they are."""
    head, _, tail = name.rpartition("/")
    return head if tail.startswith("repeat_") else name


def _entries(weights, stages) -> Iterator[tuple[str, Mapping]]:
    """(stage's name or "final" or "reversed", its terms) of everything that an objective names."""
    for kind in dict.fromkeys(kind for _, kind in stages):
        members = [name for name, its in stages if its == kind]
        groups = list(dict.fromkeys(map(_group, members)))
        value = weights.get(kind, {})
        for name in members:
            entry = value
            if isinstance(value, (list, tuple)):
                entry = value[groups.index(_group(name)) * len(value) // len(groups)]
            own = [
                weights[part] for part in (_group(name), name) if part in weights and part != kind
            ]
            for further in own[-1:]:
                entry = {**entry, **further}
            yield name, entry
    for part in (FINAL, REVERSED):
        if weights.get(part):
            yield part, weights[part]


def _inputs(part, output, fixed, common):
    if part == FINAL:
        return Inputs(fixed, output.flow, output.warped, None, output.flow, **common)
    if part == REVERSED:
        back = common["backward"]
        return Inputs(output.moving, back.flow, back.warped, None, back.flow, **common)
    stage = next(stage for stage in output.stages if stage.name == part)
    return Inputs(fixed, stage.flow, stage.warped, stage, stage.total_flow, **common)


def _parsed(value):
    """(weight, parameters, schedule) of a term's value."""
    if not isinstance(value, Mapping):
        return value, {}, {}
    parameters = {k: v for k, v in value.items() if k not in ("weight", "schedule")}
    return value.get("weight", 1.0), parameters, value.get("schedule", {})


def _factor(schedule, step):
    """Of a weight, at a step; a number where it is constant.

    "sigmoid_decay" (AVSM's code): 1 for `static` epochs, then k / (k + exp((e - static) / k))
    with e the epoch and k = `decay`, never below `least`; an epoch has `epoch` steps.
    """
    if not isinstance(schedule, Mapping) or schedule.get("kind", "constant") == "constant":
        return 1.0
    chosen = {**_SCHEDULES["sigmoid_decay"], **schedule}
    static, decay = float(chosen["static"]), float(chosen["decay"])
    epoch = tf.floor(tf.cast(step, tf.float32) / float(chosen["epoch"]))
    later = decay / (decay + tf.exp((epoch - static) / decay))
    return tf.maximum(tf.where(epoch < static, 1.0, later), float(chosen["least"]))
