"""Reading the folder of an earlier `rcn register` or `RegistrationResult.save`."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np
import SimpleITK as sitk

from rcn_tf.files.json_files import read_json
from rcn_tf.files.plain_names import plain_name
from rcn_tf.registration.outputs import AFFINE, FIELD, INVERSE_FIELD, METRICS, WARPED, WARPED_LABELS
from rcn_tf.volumes.formats.images import read_image
from rcn_tf.volumes.formats.vector_images import read_displacement
from rcn_tf.volumes.transforms.chain import Chain
from rcn_tf.volumes.transforms.files import read_transform


@dataclasses.dataclass(frozen=True, eq=False)
class StoredResult:
    """A registration that was written earlier; images are read when they are asked for.

    Attributes:
        folder: its folder.
        metrics: the content of `metrics.json`, {} if there is none.
    """

    folder: pathlib.Path
    metrics: dict[str, Any]

    def transform_points(self, points: np.ndarray) -> np.ndarray:
        """Moving points of fixed points.

        Args: points: [N, 3] physical points (x, y, z), LPS, mm.
        Returns: [N, 3] float64, LPS, mm.
        """
        return Chain(read_transform(self.folder).links).transform_points(points)

    @property
    def warped(self) -> sitk.Image:
        """The moving image on the fixed image's grid."""
        return read_image(self.folder / WARPED, planes=True)

    @property
    def warped_labels(self) -> sitk.Image | None:
        """The moving labels on the fixed image's grid; None where there are none."""
        path = self.folder / WARPED_LABELS
        return read_image(path, planes=True) if path.is_file() else None

    @property
    def displacement(self) -> sitk.Image | None:
        """The displacement field, mm, LPS; None where it was not written."""
        return self._field(FIELD)

    @property
    def inverse_displacement(self) -> sitk.Image | None:
        """The inverse field, mm, LPS; None where it was not written."""
        return self._field(INVERSE_FIELD)

    @property
    def affine(self) -> sitk.Transform | None:
        """The affine part, from fixed to moving points; None where it was not written."""
        path = self.folder / AFFINE
        if not path.is_file():
            return None
        with plain_name(path) as plain:
            return sitk.ReadTransform(str(plain))

    def _field(self, name):
        path = self.folder / name
        return read_displacement(path) if path.is_file() else None


def load_result(folder: str | pathlib.Path) -> StoredResult:
    """A registration that `rcn register` or `RegistrationResult.save` wrote.

    Args: folder: with its files.
    Returns: StoredResult.
    Raises: FileNotFoundError, ValueError: the folder holds no registration, or a damaged one.
    """
    folder = pathlib.Path(folder)
    read_transform(folder)
    path = folder / METRICS
    return StoredResult(folder, read_json(path) if path.is_file() else {})
