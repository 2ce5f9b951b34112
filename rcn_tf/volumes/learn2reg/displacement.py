"""Displacements as Learn2Reg's evaluation reads them: in voxels, along the axes of the files.

    d[i, j, k] = M(T(F^-1(i, j, k))) - (i, j, k)
    warped[i, j, k] = moving[(i, j, k) + d[i, j, k]]       SciPy's map_coordinates

F and M map points to voxel indices of the fixed and the moving file, in the order in which nibabel
shows them (x, y, z of the file, the opposite of SimpleITK's arrays). In the challenge both images
have one grid; here they need not.

| form       | file                                  | array                                  |
|------------|---------------------------------------|----------------------------------------|
| `nii`      | .nii.gz, float32                      | [X, Y, Z, 3], today's submissions      |
| `npz`      | .npz, entry `arr_0`, float16          | [X, Y, Z, 3], read by today's code too |
| `npz-half` | .npz, entry `arr_0`, float16          | [3, X/2, Y/2, Z/2], 2020 and 2021      |

The evaluation of 2020 and 2021 enlarged each component by `scipy.ndimage.zoom(d, 2, order=2)`,
which lays the first and the last sample onto the first and the last voxel; the values stay in
voxels of the full grid.
References: learn2reg.grand-challenge.org/Submission, github.com/MDL-UzL/L2R (evaluation.py).
"""

from __future__ import annotations

import pathlib

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from rcn_tf.choices import LEARN2REG_FORMS as FORMS
from rcn_tf.files.whole_files import replacing
from rcn_tf.volumes.formats.image_writing import write_image
from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.sampling import slabs


def voxel_displacement(displacement: sitk.Image, moving: Grid) -> np.ndarray:
    """A displacement in mm as Learn2Reg's, in voxels.

    Args:
        displacement: SimpleITK.Image of vectors on the fixed image's grid, mm, LPS.
        moving: Grid of the moving image.
    Returns: [X, Y, Z, 3] float32, voxels; channel c is along axis c of the moving file.
    """
    fixed = Grid.from_image(displacement)
    vectors = sitk.GetArrayViewFromImage(displacement)
    result = np.empty((*fixed.shape[::-1], 3), np.float32)
    for slab in slabs(fixed.shape):
        points = fixed.points(slab)
        index = fixed.point_to_index(points)
        moved = moving.point_to_index(points + vectors[slab]) - index  # [d, H, W, (d, h, w)]
        result[:, :, slab] = moved[..., ::-1].transpose(2, 1, 0, 3)
    return result


def write_displacement(
    displacement: sitk.Image, moving: Grid, path: str | pathlib.Path, form: str = "nii"
) -> None:
    """Writes a displacement in one of Learn2Reg's forms, replacing `path` in one step.

    Args:
        displacement, moving: as of `voxel_displacement`.
        path: file to write, .nii.gz or .npz as the form says (`file_name`).
        form: one of `rcn_tf.choices.LEARN2REG_FORMS`.
    Raises: ValueError: another form, or an odd size along an axis for `npz-half`. OSError.
    """
    _check_form(form)
    path = pathlib.Path(path)
    voxels = voxel_displacement(displacement, moving)
    if form == "nii":
        write_image(_four_dimensional(voxels, displacement), path)
        return
    if form == "npz-half":
        voxels = half_resolution(voxels)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, voxels.astype(np.float16))


def file_name(stem: str, form: str) -> str:
    """ "disp_0001_0002.nii.gz" or ".npz". Raises: ValueError: no such form."""
    _check_form(form)
    return stem + (".nii.gz" if form == "nii" else ".npz")


def half_resolution(voxels: np.ndarray) -> np.ndarray:
    """The form of 2020 and 2021.

    Args: voxels: [X, Y, Z, 3], voxels.
    Returns: [3, X/2, Y/2, Z/2], voxels of the full grid.
    Raises: ValueError: a size is odd.
    """
    shape = voxels.shape[:3]
    if any(n % 2 or n < 4 for n in shape):
        raise ValueError(
            f"half resolution needs even sizes from 4 on; the fixed image has "
            f"{' x '.join(map(str, shape))} voxels: take the form nii"
        )
    axes = [np.linspace(0, n - 1, n // 2) for n in shape]
    index = np.stack(np.meshgrid(*axes, indexing="ij"))
    return np.stack([ndimage.map_coordinates(voxels[..., c], index, order=1) for c in range(3)])


def _check_form(form):
    if form not in FORMS:
        raise ValueError(f"the form of a displacement is one of {', '.join(FORMS)}; got {form!r}")


def _four_dimensional(voxels, like):
    """Scalar 4D image whose last axis is the channel, with the geometry of `like`."""
    array = np.ascontiguousarray(voxels.transpose(3, 2, 1, 0))
    image = sitk.GetImageFromArray(array, isVector=False)
    direction = np.eye(4)
    direction[:3, :3] = np.reshape(like.GetDirection(), (3, 3))
    image.SetSpacing([*like.GetSpacing(), 1.0])
    image.SetOrigin([*like.GetOrigin(), 0.0])
    image.SetDirection(direction.ravel().tolist())
    return image
