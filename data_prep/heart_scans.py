"""Scans cut from a heart's frames: slices of 2D studies, isotropic volumes of 3D ones.

Every scan of a heart has the same crop (`data_prep.hearts.Heart.centre`), on a grid along the
file's own axes: short-axis stacks are oblique, and turning them to the patient's axes would mix
slices. What lies outside the image is 0. One window of grey values serves both frames of a pair, as
registration by intensities (VR-Net, eq. 1) takes tissue to keep its brightness over the beat; in
2D it is that of the slice.

Reference: VR-Net, section V-A: slices at 1.8 mm; volumes at 1.2 mm, cropped or padded to
128 x 128 x 96.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import SimpleITK as sitk

from data_prep.hearts import ED, ES, Heart
from data_prep.prepared_scan import PreparedScan
from data_prep.scan_files import content_hash
from rcn_tf.data.grey_values import to_grey
from rcn_tf.volumes.preparation.foreground import intensity_range
from rcn_tf.volumes.preparation.network_input import sample_array


@dataclasses.dataclass(frozen=True)
class HeartRecipe:
    """From a heart's files to one of its scans.

    shape: (H, W) of a slice, or (D, H, W). spacing: mm, isotropic.
    """

    shape: tuple
    spacing: float

    def __call__(self, files: Any, timer: Any) -> PreparedScan:
        """Prepares one scan. Args: HeartFiles, StepTimer. Returns: PreparedScan.

        Raises: ValueError, OSError: naming the heart or the file.
        """
        with timer.step("read"):
            frames = _frames(files.heart, files.fingerprint())
            image = frames.array(files.frame)
        with timer.step("resample"):
            grid, box = self._grid(frames, files.plane)
            low, high = frames.window(tuple(map(tuple, box)))
            scaled = np.clip((image.astype(np.float32) - low) / (high - low), 0, 1)
            volume = sample_array(scaled, frames.grid, grid, order=1, outside=0.0)
            labels = frames.labels(files.frame)
            if labels is not None:
                labels = sample_array(labels, frames.grid, grid, order=0, outside=0)
            if files.plane is not None:
                volume, labels = volume[0], None if labels is None else labels[0]
        with timer.step("hash"):
            source = f"sha256:{content_hash(files.image)}"
        attributes = {**grid.to_attributes(), "crop_box": box, "source": source}
        return PreparedScan(to_grey(volume), labels, None, attributes)

    def _grid(self, frames, plane):
        """The scan's grid, and its box [3, 2] in voxels of the frames."""
        shape = self.shape if plane is None else (1, *self.shape)
        half = np.array(shape) * self.spacing / frames.grid.spacing / 2
        middle = frames.centre + 0.5
        box = np.stack([middle - half, middle + half], axis=1)
        if plane is not None:
            box[0] = plane, plane + 1
        return frames.grid.crop_resampled(box, shape), box


class _Frames:
    """A heart's frames in memory, read when they are asked for."""

    def __init__(self, heart: Heart):
        self._heart = heart
        self.grid, self.centre = heart.grid(), heart.centre()
        self.array = functools.lru_cache(maxsize=2)(self._array)
        self._film = functools.lru_cache(maxsize=1)(heart.film)
        self.labels = functools.lru_cache(maxsize=2)(heart.label_map)
        self.window = functools.lru_cache(maxsize=1)(self._window)

    def _array(self, name):
        if name in (ED, ES):
            return sitk.GetArrayFromImage(self._heart.frame(name))
        return self._film()[self._heart.other_frames()[name]]

    def _window(self, box):
        """Grey values that become 0 and 1: those of ED and ES within a box."""
        low, high = np.array(box).T
        inside = tuple(
            slice(max(int(np.floor(a)), 0), max(int(np.ceil(b)), 1)) for a, b in zip(low, high)
        )
        values = np.stack([self.array(name)[inside] for name in (ED, ES)])
        if not values.size or values.min() == values.max():
            raise ValueError(f"{self._heart.name}: the crop around the heart shows nothing")
        return intensity_range(values, np.ones(values.shape, bool))


@functools.lru_cache(maxsize=2)
def _frames(heart, state):
    del state  # part of the cache's key
    return _Frames(heart)
