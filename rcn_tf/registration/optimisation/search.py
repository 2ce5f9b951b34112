"""What an optimisation starts from, and what it does, for one pair.

    start, network's result, affine map, search by costs  ->  what fits best  ->  coarse to fine

The network's result is a candidate like any other: where it does not know the images, the affine
map fits better, and the optimisation starts from there. Where none of them fits well, the motion
may be larger than descent can follow: a search over offsets (`discrete`) is then a candidate too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rcn_tf.choices import LINEAR, TRANSFORM_TYPES
from rcn_tf.registration.agreement import Comparison
from rcn_tf.registration.optimisation.effort import EFFORTS
from rcn_tf.registration.optimisation.optimise import Start, optimise
from rcn_tf.registration.optimisation.similarities import AUTO, SIMILARITIES
from rcn_tf.registration.optimisation.starts import TWO_CONTRASTS, Starts
from rcn_tf.registration.steps import Steps
from rcn_tf.volumes.preparation.network_input import PreparedVolume
from rcn_tf.volumes.transforms.grid_transform import GridTransform


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a pair is optimised.

    Args:
        effort: "fast", "default" or "best" (`EFFORTS`).
        similarity: one of SIMILARITIES, or "auto": local NCC, or MIND-SSC where the contrasts
            differ (`rcn_tf.registration.contrast`).
        transform_type: one of TRANSFORM_TYPES; "rigid" and "affine" leave out the network and the
            dense levels, "momentum" finds a momentum on them (`optimisation.momentum`) instead of
            a displacement.
    Raises: ValueError: an unknown choice.
    """

    effort: str = "default"
    similarity: str = AUTO
    transform_type: str = "deformable"

    def __post_init__(self):
        known = {
            "effort": EFFORTS,
            "similarity": (AUTO, *SIMILARITIES),
            "transform_type": TRANSFORM_TYPES,
        }
        for name, allowed in known.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(allowed)}; got {getattr(self, name)!r}."
                )

    @property
    def uses_a_network(self) -> bool:
        """Whether a network's flow can be of use."""
        return self.transform_type not in LINEAR


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """Result of a search.

    Attributes:
        transforms: {name: GridTransform}, the most elaborate first: "optimised", and what that
            started from.
        record: JSON-serialisable; what was compared, and what each level did.
    """

    transforms: dict[str, GridTransform]
    record: dict[str, Any]


def search(
    fixed: PreparedVolume,
    moving: PreparedVolume,
    candidates: Mapping[str, Start],
    comparison: Comparison,
    settings: Settings,
    steps: Steps,
    *,
    aligns: bool = True,
) -> Found:
    """Registers a pair from the best of several starts.

    Args:
        fixed, moving: PreparedVolume over each image's box.
        candidates: {name: Start}, at least one; the first is what the headers or the boxes give.
        comparison: Comparison of the images.
        settings: Settings.
        steps: announces and times what is done.
        aligns: whether an affine map and large motion may be searched for beside the candidates. A
            rigid or affine transform is always searched for.
    Returns: Found.
    Raises: ValueError: the loss is not finite.
    """
    linear = settings.transform_type in LINEAR
    kind = settings.transform_type if linear else "affine"
    effort = EFFORTS[settings.effort]
    starts = Starts(fixed, moving, candidates, comparison, steps)
    if linear or aligns:
        similarity = starts.align(kind, settings.similarity)
    else:
        similarity = starts.similarity(settings.similarity)
    if effort.matches and aligns and not linear:
        starts.match()
    best = kind if linear else starts.best()
    if best == kind and (linear or aligns):
        starts.polish(kind, similarity)
    chosen = starts.starts[best]
    record = {
        **dataclasses.asdict(settings),
        "similarity": similarity,
        "contrasts_differ": settings.similarity == AUTO and similarity == TWO_CONTRASTS,
        "candidates": {name: fit.agreement for name, fit in starts.fits.items()},
        "start": best,
        "levels": [],
    }
    if linear:
        return Found({best: chosen.transform}, record)
    with steps("optimise", f"optimising from coarse to fine ({settings.effort}, {similarity})"):
        result, levels = optimise(
            fixed,
            moving,
            chosen,
            effort,
            similarity=similarity,
            transform_type=settings.transform_type,
        )
    record["levels"] = [level._asdict() for level in levels]
    return Found({"optimised": result, best: chosen.transform}, record)
