"""Measures pairs of scans before registration and after every stage of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from rcn_tf.data.packs import Scan
from rcn_tf.evaluation.registration import Registration
from rcn_tf.evaluation.scores import PairScores

BEFORE = "before"


def evaluate(
    model: Callable,
    pairs: Iterable[tuple[Scan, Scan]],
    *,
    structures: Mapping[str, int] | None = None,
    masks: bool = False,
    overlap: str = "argmax",
    surfaces: bool = False,
    last_only: bool = False,
    refiner: Callable | None = None,
    **options: Any,
) -> Iterator[list[dict[str, Any]]]:
    """Registers every pair and measures it before and after each stage.

    Args:
        model: (fixed, moving, training, **options) -> RegistrationOutput.
        pairs: iterable of (fixed, moving), each a `rcn_tf.data.packs.Scan`.
        structures: {name: label}; by default every label of either scan, named by its id.
        masks: segmentations can be the original's liver masks. If their maximum is 255, they are
            one structure that is warped linearly and thresholded at 128; others are label maps.
        overlap: of label maps. "argmax": a voxel belongs to the strongest structure, see
            `rcn_tf.data.label_warp.warp_labels`. "original": as in the original's code,
            every structure is a mask of its own, and so is their union; some voxels then belong to
            no structure.
        surfaces: also the Hausdorff distance of outer surfaces, the 95th percentile Hausdorff and
            the mean surface distance (slower).
        last_only: measure the last stage alone (faster).
        refiner: as of `Registration`.
        options: call options of the model.

    Yields: rows of one pair, a list of dicts: before, then one per stage, with "fixed",
        "moving", "stage" and the `METRICS` that its data allow (mm need the pack's
        `spacing`). The last stage's row has "seconds": one warm forward pass with the transfer
        of the images to the device and of the flow back, without reading.

    Raises: ValueError: as `PairScores`, or the model's output breaks the contract; the message
        names the pair.
    """
    register = Registration(model, options, last_only, refiner=refiner)
    for fixed, moving in pairs:
        scores = PairScores(
            fixed, moving, structures, masks=masks, overlap=overlap, surfaces=surfaces
        )
        try:
            stages, seconds = register(fixed.volume, moving.volume)
        except ValueError as error:
            raise ValueError(f"{fixed.id} <- {moving.id}: {error}") from error
        rows = [] if last_only else [{"stage": BEFORE, **scores(None, moving.volume)}]
        rows += [{"stage": name, **scores(flow, warped)} for name, flow, warped in stages]
        rows[-1]["seconds"] = seconds
        yield [{"fixed": fixed.id, "moving": moving.id, **row} for row in rows]
