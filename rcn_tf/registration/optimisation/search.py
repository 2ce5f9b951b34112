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

from rcn_tf.choices import TRANSFORM_TYPES
from rcn_tf.registration.agreement import Comparison
from rcn_tf.registration.optimisation.discrete import matched
from rcn_tf.registration.optimisation.effort import EFFORTS
from rcn_tf.registration.optimisation.optimise import Start, align_images, optimise
from rcn_tf.registration.optimisation.similarities import SIMILARITIES
from rcn_tf.registration.steps import Steps
from rcn_tf.volumes.preparation.network_input import PreparedVolume
from rcn_tf.volumes.transforms.grid_transform import GridTransform

COST_VOLUME = "cost_volume"
"""Name of the start that the search over offsets finds."""

GOOD = 0.9
"""Agreement of a start from which on descent has always arrived without a search over offsets."""

MIN_GAIN = 0.03
"""Gain in agreement over the other starts that the search over offsets needs to be chosen."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a pair is optimised.

    Args:
        effort: "fast", "default" or "best" (`EFFORTS`).
        similarity: one of SIMILARITIES.
        transform_type: "rigid", "affine" or "deformable"; the first two leave out the network and
            the dense levels.
    Raises: ValueError: an unknown choice.
    """

    effort: str = "default"
    similarity: str = "local_ncc"
    transform_type: str = "deformable"

    def __post_init__(self):
        known = {"effort": EFFORTS, "similarity": SIMILARITIES, "transform_type": TRANSFORM_TYPES}
        for name, allowed in known.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(allowed)}; got {getattr(self, name)!r}."
                )

    @property
    def uses_a_network(self) -> bool:
        """Whether a network's flow can be of use."""
        return self.transform_type == "deformable"


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
    candidates = dict(candidates)
    fits = {name: _agreement(comparison, start) for name, start in candidates.items()}
    first = next(iter(candidates))
    aligned_only = settings.transform_type != "deformable"
    kind = settings.transform_type if aligned_only else "affine"
    if aligned_only or aligns:
        with steps("align", f"searching for the best {kind} map"):
            candidates[kind] = align_images(
                fixed, moving, candidates[first].affine, kind=kind, similarity=settings.similarity
            )
        fits[kind] = _agreement(comparison, candidates[kind])
    best = kind if aligned_only else max(fits, key=fits.__getitem__)
    if not aligned_only and aligns and EFFORTS[settings.effort].matches and fits[best] < GOOD:
        with steps("match", "searching for large motion"):
            affine = candidates[best].affine
            candidates[COST_VOLUME] = Start(matched(fixed, moving, affine), affine)
        fits[COST_VOLUME] = _agreement(comparison, candidates[COST_VOLUME])
        best = COST_VOLUME if fits[COST_VOLUME] > fits[best] + MIN_GAIN else best
    if best == kind:
        with steps("align", f"making the {kind} map more accurate"):
            found = candidates[kind].affine
            candidates[kind] = align_images(
                fixed, moving, found, kind=kind, similarity=settings.similarity, polish=True
            )
        fits[kind] = _agreement(comparison, candidates[kind])
    record = {
        **dataclasses.asdict(settings),
        "candidates": fits,
        "start": best,
        "levels": [],
    }
    if aligned_only:
        return Found({best: candidates[best].transform}, record)
    with steps("optimise", f"optimising from coarse to fine ({settings.effort})"):
        result, levels = optimise(
            fixed,
            moving,
            candidates[best],
            EFFORTS[settings.effort],
            similarity=settings.similarity,
        )
    record["levels"] = [level._asdict() for level in levels]
    return Found({"optimised": result, best: candidates[best].transform}, record)


def _agreement(comparison, start):
    return comparison.of(start.transform.transform_points).agreement
