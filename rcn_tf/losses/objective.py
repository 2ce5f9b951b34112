"""Weighted sum of loss terms over the stages of a registration, as data.

Weights are a mapping (part of a training config):

    {"affine": {"determinant": 0.1, "orthogonality": 0.1},
     "dense": {"smoothness": 1.0},
     "final": {"similarity": 1.0}}

`dense` applies to every dense stage, or is a list with one entry per cascade; `final` to
the end result. Terms: similarity (affine, dense, final); determinant, orthogonality
(affine); smoothness (dense); invertibility, endpoint_error (final).
"""

import math
from collections.abc import Mapping

import tensorflow as tf

from rcn_tf import losses

# RCN: similarity on the last warped image only, VTN's ratios for the regularisation.
RCN_WEIGHTS = {
    "affine": {"determinant": 0.1, "orthogonality": 0.1},
    "dense": {"smoothness": 1.0},
    "final": {"similarity": 1.0},
}

_ALLOWED = {
    "affine": ("similarity", "determinant", "orthogonality"),
    "dense": ("similarity", "smoothness"),
    "final": ("similarity", "invertibility", "endpoint_error"),
}


def registration_losses(output, fixed, weights=None, *, backward=None, reference_flow=None):
    """Loss terms of a registration and their weighted sum.

    Args:
        output: RegistrationOutput.
        fixed: [B, D, H, W, 1] float32.
        weights: mapping as in the module's docstring; the RCN paper's by default. Terms
            with weight 0 are not computed.
        backward: RegistrationOutput of the reversed pair, for `invertibility`.
        reference_flow: [B, D, H, W, 3], for `endpoint_error`.

    Returns: dict of [B] float32: unweighted terms "affine/determinant",
        "dense_1/smoothness", "final/similarity", … and the weighted sum "total".

    Raises: ValueError: unknown terms, a list that does not fit the cascade, `fixed` of another
        shape, or an input that a weighted term needs is missing.
    """
    weights = RCN_WEIGHTS if weights is None else weights
    check_weights(weights)
    fixed = tf.convert_to_tensor(fixed, tf.float32)
    if not fixed.shape.is_compatible_with(output.warped.shape):
        raise ValueError(
            f"`fixed` must have the warped image's shape {tuple(output.warped.shape)}; "
            f"got {tuple(fixed.shape)}."
        )
    terms, factors = {}, {}
    for name, stage, stage_weights in _weighted_stages(output, weights):
        for term, weight in stage_weights.items():
            if weight:
                terms[f"{name}/{term}"] = _stage_term(term, stage, fixed)
                factors[f"{name}/{term}"] = weight
    for term, weight in weights.get("final", {}).items():
        if weight:
            terms[f"final/{term}"] = _final_term(term, output, fixed, backward, reference_flow)
            factors[f"final/{term}"] = weight
    if not terms:
        raise ValueError("the loss weights leave no term for this network.")
    terms["total"] = sum(factors[name] * term for name, term in terms.items())
    return terms


def check_weights(weights):
    """Raises ValueError if `weights` is not of the form in the module's docstring."""
    if not isinstance(weights, Mapping):
        raise ValueError(f"loss weights must map parts to terms; got {weights!r}.")
    for part, value in weights.items():
        if part not in _ALLOWED:
            raise ValueError(f"loss weights: unknown part {part!r}; known: {tuple(_ALLOWED)}.")
        for entry in value if isinstance(value, (list, tuple)) and part == "dense" else [value]:
            _check_terms(part, entry)


def _check_terms(part, entry):
    if not isinstance(entry, Mapping):
        raise ValueError(f"loss weights: {part!r} must map terms to numbers; got {entry!r}.")
    for term, weight in entry.items():
        if term not in _ALLOWED[part]:
            raise ValueError(
                f"loss weights: unknown term {term!r} in {part!r}; known: {_ALLOWED[part]}."
            )
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not number or not abs(weight) < math.inf:
            raise ValueError(f"loss weights: {part}.{term} must be a number; got {weight!r}.")


def _weighted_stages(output, weights):
    """(name, stage, its weights) for every stage; repeats share their cascade's weights."""
    dense_stages = [stage for stage in output.stages if stage.kind != "affine"]
    dense = weights.get("dense", {})
    if not isinstance(dense, (list, tuple)):
        dense = [dense] * len(dense_stages)
    if dense_stages and (not dense or len(dense_stages) % len(dense)):
        raise ValueError(
            f"loss weights: {len(dense)} dense entries do not fit {len(dense_stages)} stages."
        )
    for stage in output.stages:
        if stage.kind == "affine":
            yield stage.name, stage, weights.get("affine", {})
    for k, stage in enumerate(dense_stages):
        repeats = len(dense_stages) // len(dense)
        yield stage.name, stage, dense[k // repeats]


def _stage_term(term, stage, fixed):
    if term == "similarity":
        return losses.similarity(fixed, stage.warped)
    if term == "smoothness":
        return losses.smoothness(stage.flow)
    return getattr(losses, term)(stage.matrix)  # determinant, orthogonality


def _final_term(term, output, fixed, backward, reference_flow):
    if term == "similarity":
        return losses.similarity(fixed, output.warped)
    if term == "invertibility":
        if backward is None:
            raise ValueError("the invertibility loss needs the reversed pair's output.")
        return losses.invertibility(output.flow, backward.flow)
    if reference_flow is None:
        raise ValueError("the end-point error needs a reference flow.")
    return losses.endpoint_error(output.flow, reference_flow)
