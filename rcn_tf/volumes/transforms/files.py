"""Reading of transforms: a registration's folder, a displacement field or ITK's files.

folder of `rcn register`     displacement.nii.gz, or transform.h5 if no fields were written
displacement field           vectors in mm, LPS: .nii.gz, .mha, ... of this project, ANTs, ITK
ITK transform                .tfm, .txt, .h5, .mat (ANTs' 0GenericAffine.mat), .xfm
"""

from __future__ import annotations

import dataclasses
import pathlib

import SimpleITK as sitk

from rcn_tf.registration.outputs import COMPOSITE, FIELD, INVERSE_FIELD, WARPED
from rcn_tf.volumes.formats.images import read_image
from rcn_tf.volumes.formats.vector_images import read_displacement, read_displacement_header
from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.transforms.chain import Link
from rcn_tf.volumes.transforms.displacement import DisplacementField
from rcn_tf.volumes.transforms.itk_entries import SUFFIXES
from rcn_tf.volumes.transforms.itk_maps import read_itk_maps

FILES = (FIELD, INVERSE_FIELD, COMPOSITE, WARPED)
"""Files that are read from a folder of `rcn register`."""


@dataclasses.dataclass(frozen=True, eq=False)
class TransformFile:
    """A transform that was read, from fixed to moving points.

    Args:
        path: file or folder.
        links: list of Link, in the order in which points go through.
        field_grid: Grid of a displacement field, else None.
    """

    path: pathlib.Path
    links: list[Link]
    field_grid: Grid | None = None

    def fixed_grid(self) -> Grid | None:
        """Grid of the fixed image, or None if the file does not state it."""
        if self.field_grid is None and (self.path / WARPED).is_file():
            return Grid.from_image(read_image(self.path / WARPED, planes=True))
        return self._plane_of(self.field_grid)

    def moving_grid(self) -> Grid | None:
        """Grid of the moving image, or None if the file does not state it."""
        if (self.path / INVERSE_FIELD).is_file():
            grid = Grid.from_image(read_displacement_header(self.path / INVERSE_FIELD))
            return self._plane_of(grid)
        return None

    def _plane_of(self, grid):
        """The grid of a field's image; fields of a single slice lie on three planes."""
        if grid is None or 3 not in grid.shape or not (self.path / WARPED).is_file():
            return grid
        warped = read_image(self.path / WARPED, planes=True)
        if 1 not in warped.GetSize():
            return grid
        axis = warped.GetSize()[::-1].index(1)
        return grid.crop_resampled(
            [(1, 2) if k == axis else (0, n) for k, n in enumerate(grid.shape)],
            [1 if k == axis else n for k, n in enumerate(grid.shape)],
        )


def read_transform(path: str | pathlib.Path) -> TransformFile:
    """Reads a transform.

    Args: path: a folder or file as in the list above, in this module's docstring.
    Returns: TransformFile.
    Raises: FileNotFoundError, ValueError: naming the file and what is wrong.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() in SUFFIXES and not path.is_dir():
        return TransformFile(path, [Link(one) for one in read_itk_maps(path)])
    if path.is_dir() and not (path / FIELD).is_file():
        if (path / COMPOSITE).is_file():
            return TransformFile(path, [Link(one) for one in read_itk_maps(path / COMPOSITE)])
        raise FileNotFoundError(
            f"{path} is not a result of `rcn register`: it has no {FIELD} and no {COMPOSITE}"
        )
    image = read_displacement(path / FIELD if path.is_dir() else path)
    field = DisplacementField(Grid.from_image(image), sitk.GetArrayFromImage(image))
    return TransformFile(path, [Link(field)], field.grid)
