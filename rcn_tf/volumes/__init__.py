"""Volumes and physical space: image files, grids, network inputs, transforms, resampling.

Arrays have SimpleITK's order (z, y, x); physical points are ITK's (x, y, z), LPS, mm.
"""

from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.images import read_image, write_image
from rcn_tf.volumes.preprocessing import (
    PreparedVolume,
    prepare_labels,
    prepare_volume,
)
from rcn_tf.volumes.transforms import GridTransform
from rcn_tf.volumes.warping import warp_image, warp_labels

__all__ = [
    "Grid",
    "GridTransform",
    "PreparedVolume",
    "prepare_labels",
    "prepare_volume",
    "read_image",
    "warp_image",
    "warp_labels",
    "write_image",
]
