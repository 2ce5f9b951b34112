"""Measures pairs of scans before registration and after every stage of a cascade."""

import time

import numpy as np
import tensorflow as tf

from custom_ops import warp
from rcn_tf import metrics
from rcn_tf.labels import warp_labels
from rcn_tf.metrics import surface

BEFORE = "before"


def evaluate(
    model, pairs, *, n_repeats=1, structures=None, masks=False, surfaces=False, last_only=False
):
    """Registers every pair and measures it before and after each stage.

    Args:
        model: (fixed, moving, n_repeats, training) -> RegistrationOutput.
        pairs: iterable of (fixed, moving), each a `rcn_tf.data.packs.Scan`.
        n_repeats: shared-weight repeats of each dense stage.
        structures: {name: label}; by default every label of either scan, named by its id.
        masks: segmentations may be the original's liver masks: where their maximum is 255
            they are one structure, warped linearly and thresholded at 128. All others are
            label maps, see `rcn_tf.labels.warp_labels`.
        surfaces: also the 95th percentile Hausdorff and mean surface distance (slower).
        last_only: measure the last stage alone (faster).

    Yields: rows of one pair, a list of dicts: before, then one per stage, with "fixed",
        "moving", "stage" and the `METRICS` that its data allow (mm need the pack's
        `spacing`). "seconds" stands in the last stage's row: one warm forward pass, with
        the transfer of the images to the device and of the flow back, without reading.

    Raises: ValueError: if scans of a pair have different shapes, or lack landmarks of the
        other.
    """
    register = _Registration(model, n_repeats, last_only)
    for fixed, moving in pairs:
        if fixed.volume.shape != moving.volume.shape:
            raise ValueError(
                f"scans of a pair must have equal shapes; got {fixed.id!r} {fixed.volume.shape} "
                f"and {moving.id!r} {moving.volume.shape}."
            )
        scores = _PairScores(fixed, moving, structures, masks=masks, surfaces=surfaces)
        stages, seconds = register(fixed.volume, moving.volume)
        rows = [] if last_only else [{"stage": BEFORE, **scores(None, moving.volume)}]
        rows += [{"stage": name, **scores(flow, warped)} for name, flow, warped in stages]
        rows[-1]["seconds"] = seconds
        yield [{"fixed": fixed.id, "moving": moving.id, **row} for row in rows]


class _Registration:
    """A model compiled for pairs of volumes; calling it gives its stages and the seconds."""

    def __init__(self, model, n_repeats, last_only):
        self._names = None
        self._warm = False
        wanted = slice(-1, None) if last_only else slice(None)

        @tf.function
        def forward(fixed, moving):
            out = model(fixed, moving, n_repeats=n_repeats, training=False)
            self._names = _stage_names(out.stages, n_repeats)[wanted]  # while tracing
            return [(stage.total_flow, stage.warped) for stage in out.stages[wanted]]

        self._forward = forward

    def __call__(self, fixed, moving):
        fixed, moving = _network_image(fixed), _network_image(moving)
        if not self._warm:
            self._forward(tf.constant(fixed), tf.constant(moving))
            self._warm = True
        start = time.perf_counter()
        outputs = self._forward(tf.constant(fixed), tf.constant(moving))
        outputs[-1][0].numpy()
        seconds = time.perf_counter() - start
        stages = [
            (name, flow.numpy()[0], warped.numpy()[0, ..., 0])
            for name, (flow, warped) in zip(self._names, outputs)
        ]
        return stages, seconds


class _PairScores:
    """Metrics of one pair under any flow; what does not depend on the flow is kept."""

    def __init__(self, fixed, moving, structures, *, masks, surfaces):
        self._fixed, self._moving, self._surfaces = fixed, moving, surfaces
        self._fixed_spacing, self._moving_spacing = _spacing(fixed), _spacing(moving)
        self._names, self._labels = (), ()
        self._labelled = fixed.segmentation is not None and moving.segmentation is not None
        if self._labelled:
            segmentations = fixed.segmentation, moving.segmentation
            self._masks = masks and max(part.max() for part in segmentations) == 255
            if self._masks:
                names = tuple(structures or ())
                structures = {names[0] if len(names) == 1 else "mask": 1}
            elif structures is None:
                structures = {str(label): label for label in metrics.structures(*segmentations)}
            self._names, self._labels = tuple(structures), tuple(structures.values())
        self._landmarks = fixed.points is not None and moving.points is not None
        if self._landmarks and fixed.points.shape != moving.points.shape:
            raise ValueError(
                f"scans of a pair must have the same landmarks; got {len(fixed.points)} of "
                f"{fixed.id!r} and {len(moving.points)} of {moving.id!r}."
            )

    def __call__(self, flow, warped):
        """Scores under a flow [D, H, W, 3] (None: none) and the image [D, H, W] it gives."""
        row = {"similarity": metrics.correlation(self._fixed.volume, warped)}
        if self._labelled:
            row.update(self._overlap(*self._label_maps(flow)))
        if self._landmarks:
            row.update(self._landmark_distances(flow))
        if flow is not None:
            row["jacobian_std"] = metrics.jacobian_std(flow[None])[0]
            row["folding_percent"] = 100 * metrics.folding_fraction(flow[None])[0]
        return row

    def _label_maps(self, flow):
        """Fixed and warped label map; masks become label 1."""
        fixed, moving = self._fixed.segmentation, self._moving.segmentation
        if not self._masks:
            return fixed, moving if flow is None else warp_labels(moving, flow)
        if flow is not None:
            mask = moving[None, ..., None].astype(np.float32)
            moving = warp(mask, flow[None]).numpy()[0, ..., 0]
        threshold = metrics.MASK_THRESHOLD
        return fixed > threshold, moving > threshold

    def _overlap(self, fixed, warped):
        dice = metrics.dice(fixed, warped, self._labels)
        columns = {"dice": dice, "jaccard": dice / (2 - dice)}  # an identity of the two
        spacing = self._fixed_spacing
        if self._surfaces and spacing is not None:
            distances = [
                surface.surface_distances(fixed == label, warped == label, spacing)
                for label in self._labels
            ]
            columns["hd95_mm"] = [surface.directed_maximum(*d, 95) for d in distances]
            columns["surface_mm"] = [surface.pooled_mean(*d) for d in distances]
        row = {}
        for metric, values in columns.items():
            row[metric] = _mean(values)
            row.update({f"{metric}:{name}": v for name, v in zip(self._names, values)})
        return row

    def _landmark_distances(self, flow):
        points = self._fixed.points, self._moving.points
        row = {"landmark_voxels": _mean(metrics.landmark_distance(flow, *points))}
        if self._moving_spacing is not None:
            distances = metrics.landmark_distance(flow, *points, self._moving_spacing)
            row["landmark_mm"] = _mean(distances)
        return row


def _spacing(scan):
    """Millimetres per array axis (d, h, w), or None; packs store ITK's order (x, y, z)."""
    spacing = scan.attributes.get("spacing")
    return None if spacing is None else np.asarray(spacing, float)[::-1]


def _stage_names(stages, n_repeats):
    """ "affine", "cascade 1", "cascade 2" …; with repeats "cascade 1.1", "cascade 1.2" …"""
    names, dense = [], 0
    for stage in stages:
        if stage.matrix is not None:
            names.append("affine")
            continue
        cascade, repeat = divmod(dense, n_repeats)
        names.append(f"cascade {cascade + 1}" + (f".{repeat + 1}" if n_repeats > 1 else ""))
        dense += 1
    return names


def _network_image(volume):
    return volume[None, ..., None].astype(np.float32) / 255


def _mean(values):
    """Mean of what is not NaN; NaN if nothing is left."""
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    return values.mean() if values.size else np.nan
