"""The terms that an objective may name: which function, where, with what parameters and inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Callable

import tensorflow as tf

from rcn_tf.losses.affine import affine_size, determinant, orthogonality
from rcn_tf.losses.consistency import invertibility
from rcn_tf.losses.regularity import (
    absolute_gradient,
    bending_energy,
    folding,
    forward_gradient,
    smoothness,
    squared_gradient,
)
from rcn_tf.losses.similarity import (
    local_ncc,
    mean_absolute,
    mind_ssc,
    mse,
    multi_kernel_lncc,
    nmi,
    pearson,
)
from rcn_tf.losses.supervision import endpoint_error, label_dice, landmark_error
from rcn_tf.models.output import RegistrationOutput, StageOutput

STAGE, AFFINE, FINAL, REVERSED = "stage", "affine", "final", "reversed"
LABELS, LANDMARKS, REFERENCE_FLOW = "labels", "landmarks", "reference_flow"
BATCH_ENTRIES = {
    LABELS: ("fixed_labels", "moving_labels"),
    LANDMARKS: ("fixed_landmarks", "moving_landmarks", "landmark_mask", "spacing"),
    REFERENCE_FLOW: ("reference_flow",),
}
"""Which entries of a batch a need stands for."""


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a term is computed from.

    Attributes:
        fixed: [B, *spatial, C], the image that is registered to.
        flow: [B, *spatial, R], a stage's own flow, or the total one.
        warped: [B, *spatial, C].
        stage: StageOutput, or None for the end result.
        total_flow: [B, *spatial, R].
        backward: RegistrationOutput of the reversed pair, or None.
        batch: mapping with labels, landmarks and more.
        step: number of the training step, for random choices.
    """

    fixed: tf.Tensor
    flow: tf.Tensor
    warped: tf.Tensor
    stage: StageOutput | None
    total_flow: tf.Tensor
    backward: RegistrationOutput | None
    batch: Mapping[str, tf.Tensor]
    step: Any


@dataclasses.dataclass(frozen=True)
class Term:
    """One entry of `TERMS`.

    Attributes:
        compute: (Inputs, **parameters) -> [B].
        places: kinds of parts where it has a meaning.
        parameters: {name: default}.
        needs: what it reads beside the images.
    """

    compute: Callable[..., tf.Tensor]
    places: tuple[str, ...]
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    needs: tuple[str, ...] = ()


def _of_images(function, **parameters):
    return Term(
        lambda x, **chosen: function(x.fixed, x.warped, **chosen),
        (AFFINE, STAGE, FINAL, REVERSED),
        parameters,
    )


def _of_flow(function):
    return Term(lambda x: function(x.flow), (STAGE, FINAL))


def _label_dice(x, **parameters):
    labels = [x.batch[name] for name in BATCH_ENTRIES[LABELS]]
    return label_dice(*labels, x.total_flow, step=x.step, **parameters)


def _landmark_error(x):
    fixed, moving, mask, spacing = (x.batch[name] for name in BATCH_ENTRIES[LANDMARKS])
    return landmark_error(fixed, moving, mask, x.total_flow, spacing)


TERMS: dict[str, Term] = {
    "similarity": _of_images(pearson),
    "mse": _of_images(mse),
    "mean_absolute": _of_images(mean_absolute),
    "local_ncc": _of_images(local_ncc, window=9, squared=True),
    "multi_kernel_lncc": _of_images(
        multi_kernel_lncc, sizes=(), weights=(), dilation=0, limits=(64, 128)
    ),
    "nmi": _of_images(nmi, bins=32),
    "mind_ssc": _of_images(mind_ssc, radius=1, dilation=2),
    "smoothness": _of_flow(smoothness),
    "squared_gradient": _of_flow(squared_gradient),
    "forward_gradient": _of_flow(forward_gradient),
    "absolute_gradient": _of_flow(absolute_gradient),
    "bending_energy": _of_flow(bending_energy),
    "folding": _of_flow(folding),
    "determinant": Term(lambda x: determinant(x.stage.matrix), (AFFINE,)),
    "orthogonality": Term(lambda x: orthogonality(x.stage.matrix), (AFFINE,)),
    "affine_size": Term(lambda x: affine_size(x.stage.matrix, x.stage.offset), (AFFINE,)),
    "invertibility": Term(
        lambda x: invertibility(x.total_flow, x.backward.flow),
        (FINAL,),
        needs=(REVERSED,),
    ),
    "endpoint_error": Term(
        lambda x: endpoint_error(x.total_flow, x.batch[REFERENCE_FLOW]),
        (FINAL,),
        needs=(REFERENCE_FLOW,),
    ),
    "label_dice": Term(
        _label_dice,
        (AFFINE, STAGE, FINAL),
        {"structures": 8, "pooled": False, "seed": 0},
        needs=(LABELS,),
    ),
    "landmarks": Term(_landmark_error, (AFFINE, STAGE, FINAL), needs=(LANDMARKS,)),
}
"""{name in an objective: Term}."""
