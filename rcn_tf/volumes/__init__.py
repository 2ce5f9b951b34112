"""Volumes and physical space: image files, grids, network inputs, transforms, resampling.

Arrays have SimpleITK's order (z, y, x); physical points are ITK's (x, y, z), LPS, mm. The
names are looked up when first used, so that preparing data does not load TensorFlow.
"""

import importlib

_EXPORTS = {
    "Grid": "grids",
    "GridTransform": "transforms.grid_transform",
    "PreparedVolume": "preparation.network_input",
    "prepare_labels": "preparation.network_input",
    "prepare_volume": "preparation.network_input",
    "read_image": "formats.images",
    "read_transform": "transforms.files",
    "warp_image": "warping",
    "warp_labels": "warping",
    "write_image": "formats.image_writing",
}

__all__ = list(_EXPORTS)


def __getattr__(name):
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
