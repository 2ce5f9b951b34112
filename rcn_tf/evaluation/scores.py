"""Metrics of one pair of scans under any flow, from a network or from another method."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from custom_ops import warp
from rcn_tf import metrics
from rcn_tf.choices import OVERLAPS
from rcn_tf.data.label_warp import warp_labels
from rcn_tf.data.packs import Scan
from rcn_tf.metrics import surface


class PairScores:
    """Metrics of one pair under any flow; what does not depend on the flow is computed once.

    Args: as of `rcn_tf.evaluation.evaluate`. Scans may have the attribute `alignment` ([R, R], the
        linear part of the map from their voxels to an original's): distances are then those
        in the original. VTN (section V-B) undoes the fixed scan's alignment of landmark
        distances; here they lie in the moving scan, and its alignment is undone.

    Raises: ValueError: the scans have different shapes, or not the same landmarks.
    """

    def __init__(
        self,
        fixed: Scan,
        moving: Scan,
        structures: Mapping[str, int] | None = None,
        *,
        masks: bool = False,
        overlap: str = "argmax",
        surfaces: bool = False,
    ):
        if overlap not in OVERLAPS:
            raise ValueError(f"`overlap` must be one of {OVERLAPS}; got {overlap!r}.")
        if fixed.volume.shape != moving.volume.shape:
            raise ValueError(
                f"scans of a pair must have equal shapes; got {fixed.id!r} {fixed.volume.shape} "
                f"and {moving.id!r} {moving.volume.shape}."
            )
        self._fixed, self._moving, self._surfaces = fixed, moving, surfaces
        self._fixed_to_mm, self._moving_spacing = _to_mm(fixed), moving.spacing
        self._one_by_one = overlap == "original"
        self._names: tuple[str, ...] = ()
        self._labels: tuple[int, ...] = ()
        self._labelled = self._masks = False
        if fixed.segmentation is not None and moving.segmentation is not None:
            self._labelled = True
            segmentations = fixed.segmentation, moving.segmentation
            self._masks = masks and max(part.max() for part in segmentations) == 255
            if self._masks:
                names = tuple(structures or ())
                structures = {names[0] if len(names) == 1 else "mask": 1}
            elif structures is None:
                structures = {str(label): label for label in metrics.structures(*segmentations)}
            self._names, self._labels = tuple(structures), tuple(structures.values())
        self._landmarks = False
        if fixed.points is not None and moving.points is not None:
            self._landmarks = True
            if fixed.points.shape != moving.points.shape:
                raise ValueError(
                    f"scans of a pair must have the same landmarks; got {len(fixed.points)} of "
                    f"{fixed.id!r} and {len(moving.points)} of {moving.id!r}."
                )

    def __call__(self, flow: np.ndarray | None, warped: np.ndarray) -> dict[str, float]:
        """Scores under a flow [*spatial, R] (None: none) and the image [*spatial] it gives."""
        row = {"similarity": metrics.correlation(self._fixed.volume, warped)}
        if self._labelled:
            row.update(self._overlap(flow))
        if self._landmarks:
            row.update(self._landmark_distances(flow))
        if flow is not None:
            row["jacobian_std"] = metrics.jacobian_std(flow[None])[0]
            row["jacobian_gradient"] = metrics.jacobian_gradient(flow[None])[0]
            row["folding_percent"] = 100 * metrics.folding_fraction(flow[None])[0]
            row["folded_volume_percent"] = 100 * metrics.folded_volume(flow[None])[0]
            for kind, product in (("", False), ("product_", True)):
                number, size = metrics.folds(flow[None], product=product)
                row[f"{kind}folds"], row[f"{kind}fold_size"] = float(number[0]), size[0]
        return row

    def symmetry(self, flow: np.ndarray, reversed_flow: np.ndarray) -> float:
        """Mean distance in the interior that the trip to the moving scan and back ends off.

        Args: flow: [*spatial, R] of the pair. reversed_flow: of the reversed pair.
        Returns: mm, or voxels if the fixed scan has no spacing.
        Reference: AVSM, section 3 and Fig. 7, which prints the logarithm of the mean square.
        """
        spacing = self._fixed.spacing
        trips = metrics.round_trip(flow[None], reversed_flow[None], spacing=spacing)
        return float(trips.mean())

    def _label_maps(self, flow):
        """Fixed and warped label map; masks become label 1."""
        fixed, moving = self._fixed.segmentation, self._moving.segmentation
        if self._masks:
            return fixed > metrics.MASK_THRESHOLD, _warped_mask(moving, flow)
        return fixed, moving if flow is None else warp_labels(moving, flow)

    def _overlap(self, flow):
        if self._one_by_one and not self._masks:
            masks = [self._thresholded([label], flow) for label in self._labels]
            dice = [metrics.dice(*pair, [1])[0] for pair in masks]
            organs = self._thresholded(self._labels, flow)
        else:
            fixed, warped = self._label_maps(flow)
            masks = ((fixed == label, warped == label) for label in self._labels)
            dice = metrics.dice(fixed, warped, self._labels)
            organs = [np.isin(labels, self._labels) for labels in (fixed, warped)]
        return self._overlap_row(np.asarray(dice, float), organs, masks)

    def _thresholded(self, labels, flow):
        """Fixed and warped mask of some labels together, the latter warped, then thresholded."""
        fixed, moving = (np.isin(scan.segmentation, labels) for scan in (self._fixed, self._moving))
        return fixed, _warped_mask(np.uint8(255) * moving, flow)

    def _overlap_row(self, dice, organs, masks):
        """Args: dice: of each structure; organs: all structures in both scans; masks: of each."""
        columns = {"dice": dice, "jaccard": dice / (2 - dice)}  # an identity of the two
        to_mm = self._fixed_to_mm
        if self._surfaces and to_mm is not None:
            masks = list(masks)
            distances = [surface.surface_distances(*pair, to_mm) for pair in masks]
            columns["outer_hausdorff_mm"] = [
                surface.outer_hausdorff(*pair, to_mm) for pair in masks
            ]
            columns["hd95_mm"] = [surface.directed_maximum(*d, 95) for d in distances]
            columns["surface_mm"] = [surface.pooled_mean(*d) for d in distances]
        row = {"organ_jaccard": float(metrics.jaccard(*organs, [1])[0])}
        for metric, values in columns.items():
            row.update(_with_mean(metric, values, self._names))
        return row

    def _landmark_distances(self, flow):
        points = self._fixed.points, self._moving.points
        names = [str(k + 1) for k in range(len(points[0]))]
        linear = self._moving.attributes.get("alignment")
        voxels = metrics.landmark_distance(flow, *points, linear=linear)
        row = _with_mean("landmark_voxels", voxels, names)
        if self._moving_spacing is not None:
            spacing = self._moving_spacing
            millimetres = metrics.landmark_distance(flow, *points, spacing, linear=linear)
            row.update(_with_mean("landmark_mm", millimetres, names))
        return row


def _warped_mask(mask, flow):
    """Voxels above the threshold in a mask 0..255, warped linearly under a flow (None: none)."""
    if flow is not None:
        mask = warp(mask[None, ..., None].astype(np.float32), flow[None]).numpy()[0, ..., 0]
    return mask > metrics.MASK_THRESHOLD


def _to_mm(scan):
    """[R, R] from a scan's voxels to mm in the scan it was aligned from, or None."""
    spacing = scan.spacing
    if spacing is None:
        return None
    return np.diag(spacing) @ scan.attributes.get("alignment", np.eye(len(spacing)))


def _with_mean(metric, values, names):
    """{"metric": mean, "metric:NAME": value, …}"""
    parts = {f"{metric}:{name}": float(value) for name, value in zip(names, values)}
    return {metric: _mean(values), **parts}


def _mean(values):
    """Mean of what is not NaN; NaN if nothing is left."""
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    return values.mean() if values.size else np.nan
