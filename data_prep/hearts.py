"""The frames of a heart, and where in them the heart is.

A heart is filmed over a beat (cine MRI); its end-diastolic (ED) and end-systolic (ES) frames have
label maps. All frames share one grid, a stack of short-axis slices whose first array axis runs
across the slices. Scans cut from a heart share one crop, centred

- on the labels of both frames together, where there are any;
- else on what moves: the standard deviation over time relative to the local brightness, which
  coils close to the chest wall raise. On six patients it lay within 32 mm of the labels' centre.
"""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from data_prep.scan_files import ScanFiles
from rcn_tf.volumes.formats.frames import FrameSource, frame_count
from rcn_tf.volumes.formats.images import read_image
from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.label_ids import require_integers
from rcn_tf.volumes.same_space import labels_on

STRUCTURES = {"LV": 3, "Myo": 2, "RV": 1}
"""Label ids in packs: left ventricle, myocardium, right ventricle (those of ACDC)."""

ED, ES = "ED", "ES"
_MOTION_SMOOTHING, _BRIGHTNESS_SMOOTHING = 8.0, 15.0  # mm
_DARK = 0.1  # of the largest brightness; motion in darker places counts less


@dataclasses.dataclass(frozen=True)
class Heart:
    """Files of a heart.

    name: of the patient. images, labels: {"ED": path, "ES": path} as tuples of pairs; labels may be
    empty. cine: 4D file, or None. numbers: of ED and ES in the cine, from 1. label_ids: of right
    ventricle, myocardium and left ventricle in the files.
    """

    name: str
    images: tuple
    labels: tuple = ()
    cine: pathlib.Path | None = None
    numbers: tuple = ()
    label_ids: tuple = (1, 2, 3)
    orientation: str | None = None

    def paths(self) -> dict[str, pathlib.Path]:
        """{role: path} of all files."""
        found = {f"image {frame}": path for frame, path in self.images}
        found |= {f"labels {frame}": path for frame, path in self.labels}
        return found if self.cine is None else {**found, "cine": self.cine}

    def other_frames(self) -> dict[str, int]:
        """{"f07": 6}: names and places (from 0) of the cine's frames besides ED and ES."""
        count = 0 if self.cine is None else frame_count(self.cine)
        return {f"f{k:02d}": k - 1 for k in range(1, count + 1) if k not in self.numbers}

    def frame(self, name: str) -> sitk.Image:
        """The frame "ED" or "ES", 3D. Raises: ValueError, OSError."""
        return read_image(dict(self.images)[name], orientation=self.orientation)

    def film(self) -> np.ndarray:
        """All frames of the cine, or ED and ES where there is none, [T, D, H, W].

        Raises: ValueError: the cine has another grid than ED and ES.
        """
        if self.cine is None:
            return np.stack([sitk.GetArrayFromImage(self.frame(name)) for name in (ED, ES)])
        with FrameSource(self.cine, self.orientation) as source:
            film = np.stack([sitk.GetArrayFromImage(source[k]) for k in range(len(source))])
        if film.shape[1:] != self.grid().shape:
            sizes = ["x".join(map(str, shape)) for shape in (film.shape[1:], self.grid().shape)]
            raise ValueError(f"{self.cine} has frames of {sizes[0]} voxels, ED and ES {sizes[1]}")
        return film

    def label_map(self, name: str) -> np.ndarray | None:
        """Label map of a frame [D, H, W] uint8 with the ids of STRUCTURES; None without labels.

        Raises: ValueError: ids that are none of `label_ids`, or labels beside their image.
        """
        path = dict(self.labels).get(name)
        if path is None:
            return None
        labels = read_image(path, orientation=self.orientation)
        array = require_integers(labels_on(self.frame(name), labels, str(path)), str(path))
        unknown = sorted(set(np.unique(array).tolist()) - {0, *self.label_ids})
        if unknown:
            rv, myo, lv = self.label_ids
            raise ValueError(
                f"{path} has the label {unknown[0]}; expected right ventricle {rv}, myocardium "
                f"{myo}, left ventricle {lv}: name the ids of these files with --label-ids"
            )
        result = np.zeros(array.shape, np.uint8)
        for theirs, ours in zip(self.label_ids, (1, 2, 3)):
            result[array == theirs] = ours
        return result

    def grid(self) -> Grid:
        """Grid of the frames. Raises: ValueError: ED and ES have different ones."""
        grids = {name: Grid.from_image(self.frame(name)) for name, _ in self.images}
        first, second = grids[ED], grids[ES]
        if first.shape != second.shape or not np.allclose(first.affine, second.affine, atol=1e-2):
            shapes = ["x".join(map(str, grid.shape)) for grid in (first, second)]
            raise ValueError(
                f"{self.name}: ED and ES do not lie on one grid ({shapes[0]} and {shapes[1]} "
                "voxels, or another place); resample one onto the other"
            )
        return first

    def labelled_slices(self) -> list[int]:
        """Slices with a left ventricle at ED and at ES; all slices of a heart without labels."""
        if not self.labels:
            return list(range(self.grid().shape[0]))
        first, second = (labels == STRUCTURES["LV"] for labels in self._label_maps())
        both = first.any(axis=(1, 2)) & second.any(axis=(1, 2))
        return np.flatnonzero(both).tolist()

    def _label_maps(self):
        """Those of ED and ES, where there are any."""
        return [self.label_map(frame) for frame in (ED, ES)]

    def centre(self) -> np.ndarray:
        """Array index [3] of the heart's centre, fractional.

        Raises: ValueError: the label maps are empty, or nothing moves.
        """
        if self.labels:
            first, second = self._label_maps()
            labelled = (first > 0) | (second > 0)
            if not labelled.any():
                raise ValueError(f"{self.name}: the label maps of ED and ES are empty")
            box = ndimage.find_objects(labelled.astype(np.uint8))[0]
            return np.array([(axis.start + axis.stop - 1) / 2 for axis in box])
        return moving_centre(self.film(), self.grid().spacing, self.name)


def moving_centre(film: np.ndarray, spacing: np.ndarray, name: str) -> np.ndarray:
    """Centre of what moves in a film.

    Args: film: [T, D, H, W]. spacing: [3] mm. name: of the heart in the error.
    Returns: array index [3] (d, h, w), fractional: the centre of mass of what exceeds the median.
    Raises: ValueError: nothing moves.
    """
    film = np.asarray(film, np.float32)
    step = np.array([np.inf, *spacing[1:]])  # slices are thick: smoothed in their plane alone
    motion = ndimage.gaussian_filter(film.std(axis=0), _MOTION_SMOOTHING / step)
    brightness = ndimage.gaussian_filter(film.mean(axis=0), _BRIGHTNESS_SMOOTHING / step)
    if not motion.max() > 0:
        raise ValueError(f"{name}: its frames are all the same, so nothing shows the heart")
    motion /= brightness + _DARK * brightness.max()
    return np.array(ndimage.center_of_mass(np.clip(motion - np.median(motion), 0, None)))


@dataclasses.dataclass(frozen=True)
class HeartFiles(ScanFiles):
    """A scan that is cut from a heart: a frame, or one slice of it.

    heart: its files, all of which place the crop. frame: its name. plane: slice, from 0; None for
    the whole frame.
    """

    heart: Heart | None = None
    frame: str = ED
    plane: int | None = None

    def _by_role(self):
        return {**super()._by_role(), **(self.heart.paths() if self.heart else {})}
