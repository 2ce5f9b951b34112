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
from rcn_tf.registration.agreement import Comparison, Fit
from rcn_tf.registration.contrast import differs
from rcn_tf.registration.optimisation.discrete import matched
from rcn_tf.registration.optimisation.effort import EFFORTS
from rcn_tf.registration.optimisation.optimise import Start, align_images, optimise
from rcn_tf.registration.optimisation.similarities import AUTO, SIMILARITIES
from rcn_tf.registration.steps import Steps
from rcn_tf.volumes.preparation.network_input import PreparedVolume
from rcn_tf.volumes.transforms.grid_transform import GridTransform

MIN_OVERLAP = 0.6
"""Fraction of the part of the fixed box that is shown at first and that a start must keep shown."""

COST_VOLUME = "cost_volume"
"""Name of the start that the search over offsets finds."""

GOOD = 0.8
"""Agreement of a start from which on descent has always arrived without a search over offsets."""

MIN_GAIN = 0.03
"""Gain in agreement over the other starts that the search over offsets needs to be chosen."""


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
    candidates = dict(candidates)
    aligned_only = settings.transform_type in LINEAR
    kind = settings.transform_type if aligned_only else "affine"
    first = next(iter(candidates.values()))
    similarity, aligned = settings.similarity, None
    if aligned_only or aligns:
        with steps("align", f"searching for the best {kind} map"):
            similarity, aligned = _aligned(fixed, moving, first, kind, similarity, comparison)
        candidates[kind] = aligned
    elif similarity == AUTO:
        similarity = _similarity(differs(comparison, None, first.transform.transform_points))
    fits = {
        name: comparison.of(start.transform.transform_points) for name, start in candidates.items()
    }
    best = kind if aligned_only else best_start(fits)
    searches = not aligned_only and aligns and EFFORTS[settings.effort].matches
    if searches and fits[best].agreement < GOOD:
        with steps("match", "searching for large motion"):
            affine = candidates[best].affine
            candidates[COST_VOLUME] = Start(matched(fixed, moving, affine), affine)
        fit = comparison.of(candidates[COST_VOLUME].transform.transform_points)
        fits[COST_VOLUME] = fit
        best = COST_VOLUME if fit.agreement > fits[best].agreement + MIN_GAIN else best
    if best == kind and aligned is not None:
        with steps("align", f"making the {kind} map more accurate"):
            candidates[kind] = align_images(
                fixed, moving, aligned.affine, kind=kind, similarity=similarity, polish=True
            )
        fits[kind] = comparison.of(candidates[kind].transform.transform_points)
    record = {
        **dataclasses.asdict(settings),
        "similarity": similarity,
        "contrasts_differ": settings.similarity == AUTO and similarity == _similarity(True),
        "candidates": {name: fit.agreement for name, fit in fits.items()},
        "start": best,
        "levels": [],
    }
    if aligned_only:
        return Found({best: candidates[best].transform}, record)
    with steps("optimise", f"optimising from coarse to fine ({settings.effort}, {similarity})"):
        result, levels = optimise(
            fixed,
            moving,
            candidates[best],
            EFFORTS[settings.effort],
            similarity=similarity,
            transform_type=settings.transform_type,
        )
    record["levels"] = [level._asdict() for level in levels]
    return Found({"optimised": result, best: candidates[best].transform}, record)


def best_start(fits: Mapping[str, Fit]) -> str:
    """Name of the start that agrees best, among those that lose little of what the first shows."""
    least = MIN_OVERLAP * next(iter(fits.values())).overlap
    kept = [name for name, fit in fits.items() if fit.overlap >= least]
    return max(kept, key=lambda name: fits[name].agreement)


def _aligned(fixed, moving, first, kind, similarity, comparison):
    """(name of the similarity, Start by an affine map): the similarity may depend on the map."""
    wanted = _similarity(False) if similarity == AUTO else similarity
    found = align_images(fixed, moving, first.affine, kind=kind, similarity=wanted)
    if similarity != AUTO:
        return wanted, found
    maps = (start.transform.transform_points for start in (first, found))
    wanted = _similarity(differs(comparison, *maps))
    if wanted != _similarity(False):
        found = align_images(fixed, moving, first.affine, kind=kind, similarity=wanted)
    return wanted, found


def _similarity(differ):
    """What is compared where the contrasts differ, and where they do not."""
    return "mind_ssc" if differ else "local_ncc"
