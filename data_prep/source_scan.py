"""Reads a scan's files and records where it lies and what it comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk

from data_prep.scan_files import ScanFiles, content_hash
from rcn_tf.volumes.formats.images import read_image
from rcn_tf.volumes.same_space import labels_on


def read_scan(
    files: ScanFiles, orientation: str | None = None
) -> tuple[sitk.Image, sitk.Image | None, sitk.Image | None]:
    """Image, mask and labels of a scan (None where there are none), on one voxel grid.

    A single slice is a volume of one plane.

    Args: files: ScanFiles. orientation: see `ImageRecipe`.
    Raises: ValueError, OSError: naming the file.
    """
    source: Any = files.image
    image = read_image(source, files.series, orientation=orientation, planes=True)
    others = []
    for path in (files.mask, files.labels):
        other = None if path is None else read_image(path, orientation=orientation, planes=True)
        if other is not None:
            other = labels_on(image, other, str(path))
        others.append(other)
    mask, labels = others
    return image, mask, labels


def grid_attributes(prepared: Any, source: Any) -> dict[str, Any]:
    """Attributes of a scan: its grid, crop box and a hash that stands for its source file."""
    return {
        **prepared.grid.to_attributes(),
        "crop_box": np.asarray(prepared.box),
        "source": f"sha256:{content_hash(source)}",
    }
