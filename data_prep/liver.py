"""Liver CT: rough box, crop, Hounsfield window, masks 0/255, landmarks (RCN, 4.2; VTN, V.A.2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np
import SimpleITK as sitk

from data_prep.config_files import MASK
from data_prep.histograms import match_histogram, quantiles
from data_prep.landmarks import six_landmarks
from data_prep.liver_box import find_liver_box
from data_prep.prepared_scan import PreparedScan
from data_prep.scan_files import ScanFiles
from data_prep.source_scan import grid_attributes, read_scan
from data_prep.step_timer import StepTimer
from rcn_tf.data.grey_values import to_grey, to_intensities
from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.label_ids import require_integers
from rcn_tf.volumes.preparation.foreground import foreground_box
from rcn_tf.volumes.preparation.network_input import prepare_labels, prepare_volume

LEVEL, WIDTH = 120.0, 290.0
"""Hounsfield window: -25 HU becomes 0, 265 HU becomes 255."""

MARGIN = 12.0
"""Millimetres kept around the liver's box on each side."""


@dataclasses.dataclass(frozen=True)
class LiverRecipe:
    """From a CT to a prepared scan.

    shape: (D, H, W). margin: mm around the box. level, width: Hounsfield window.
    box_from: "threshold" finds the box in the image (`liver_box`), "labels" takes that of the
    annotated liver; a scan's own box or mask goes before either.
    liver_labels: ids that count as liver in label maps; None: all but 0 (LiTS: liver, tumour).
    reference: `histograms.quantiles` of a scan whose histogram the others get, or None.
    """

    shape: tuple = (128, 128, 128)
    margin: float = MARGIN
    level: float = LEVEL
    width: float = WIDTH
    box_from: str = "threshold"
    liver_labels: tuple | None = None
    reference: tuple | None = None
    orientation: str | None = None

    def __call__(self, files: ScanFiles, timer: StepTimer) -> PreparedScan:
        """Prepares one scan.

        Args: files: ScanFiles; timer: StepTimer.
        Returns: PreparedScan: segmentation 0/255 where there are labels, six landmarks where
            there is a CSV (-1 where missing). Attribute `note` says how the box was found.
        Raises: ValueError, OSError: naming the file.
        """
        with timer.step("read"):
            image, mask, labels = read_scan(files, self.orientation)
            liver = None
            if labels is not None:
                liver = liver_mask(labels, self.liver_labels, str(files.labels))
        with timer.step("box"):
            box, found = self._box(files, image, mask, liver)
        with timer.step("resample"):
            low = self.level - self.width / 2
            window = (low, low + self.width)
            prepared = prepare_volume(
                image, self.shape, box=box, window=window, name=str(files.image)
            )
            array, segmentation = prepared.array, None
            if liver is not None:
                segmentation = prepare_labels(liver, prepared.grid, name=str(files.labels))
        points = None
        if files.landmarks is not None:
            points = prepared.grid.point_to_index(six_landmarks(files.landmarks))
        if self.reference is not None:
            with timer.step("histogram"):
                array = match_histogram(array, self.reference)
        with timer.step("hash"):
            attributes = {
                **grid_attributes(prepared, files.image),
                "note": f"box: {found}",
                "hounsfield_window": np.array(window),
            }
        return PreparedScan(to_grey(array), segmentation, points, attributes)

    def _box(self, files, image, mask, liver):
        """Crop box in voxels of the image reoriented to LPS, and how it was found."""
        canonical = sitk.DICOMOrient(image, "LPS")
        if files.box is not None:
            return _voxel_box(files.box, canonical, files.image), "given box"
        if mask is not None:
            tight, found = _mask_box(mask, files.mask), "given mask"
        elif self.box_from == "labels":
            if liver is None:
                raise ValueError(f"{files.image} has no labels to take the box from")
            tight, found = _mask_box(liver, files.labels), "labels"
        else:
            liver_box = find_liver_box(image, str(files.image))
            tight, found = liver_box.box, str(liver_box)
        margin = self.margin / np.array(canonical.GetSpacing())[::-1]
        size = np.array(canonical.GetSize(), np.float64)[::-1]
        low, high = np.maximum(tight[:, 0] - margin, 0), np.minimum(tight[:, 1] + margin, size)
        return np.stack([low, high], axis=1), found


def reference_quantiles(files: ScanFiles, recipe: LiverRecipe) -> tuple[float, ...]:
    """Quantiles of a prepared scan, for `LiverRecipe.reference` of the others.

    Raises: as the recipe.
    """
    plain = dataclasses.replace(recipe, reference=None)
    return quantiles(to_intensities(plain(files, StepTimer()).volume))


def liver_mask(labels: sitk.Image, wanted: Collection[int] | None, name: str) -> sitk.Image:
    """Mask 0/255 of the liver.

    Args: labels: SimpleITK.Image; wanted: ids that are liver, None for all but 0; name: of
        the file, for errors.
    Returns: SimpleITK.Image, uint8, on the same grid.
    Raises: ValueError: if there is no liver.
    """
    array = require_integers(labels, name)
    liver = array != 0 if wanted is None else np.isin(array, list(wanted))
    if not liver.any():
        raise ValueError(f"{name} has no liver: ids {np.unique(array)[:20].tolist()}")
    mask = sitk.GetImageFromArray(liver.astype(np.uint8) * MASK)
    mask.CopyInformation(labels)
    return mask


def _mask_box(mask, path):
    array = sitk.GetArrayFromImage(sitk.DICOMOrient(mask, "LPS")) != 0
    if not array.any():
        raise ValueError(f"{path} is empty: every voxel is 0")
    return foreground_box(array, margin=0)


def _voxel_box(box, canonical, path):
    """Voxel bounds of a box given in mm ((x0, x1), (y0, y1), (z0, z1)), LPS, cut to the image."""
    grid = Grid.from_image(canonical)
    corners = np.stack(np.meshgrid(*box, indexing="ij"), axis=-1).reshape(-1, 3)
    index = grid.point_to_index(corners) + 0.5
    size = np.array(grid.shape, np.float64)
    low, high = np.maximum(index.min(axis=0), 0), np.minimum(index.max(axis=0), size)
    if not (high - low >= 2).all():
        raise ValueError(f"{path}: the given box lies outside the image or is empty")
    return np.stack([low, high], axis=1)
