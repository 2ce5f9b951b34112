"""The geometry that a NIfTI or Analyze header means if its matrices disagree or are missing.

ITK uses the sform if it is orthonormal and scanner-based (code 1) or there is no qform, and the
qform otherwise; its spacing is always pixdim. nibabel, FSL and SPM use the sform whenever its code
is not 0, sheared or not, with its own scale. Here ITK's choice holds, which is also that of ANTs,
ITK-SNAP and 3D Slicer, but

- a warning is given if the two matrices put a voxel more than a tenth of a voxel apart;
- a sheared sform that claims the scanner's space, or the same space as the qform, is refused:
  it is what converters write for a tilted gantry, and the qform beside it is then wrong;
- a sform that is nearly orthonormal becomes the nearest rotation, with its own scale;
- with neither matrix, and in Analyze, LAS is assumed: x grows to the left, y to the front. That is
  how Analyze was defined and what SPM and nibabel take; ITK would take y to the back.
"""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np

from rcn_tf.volumes.formats.nifti_header import NiftiHeader
from rcn_tf.volumes.geometry import MAX_SHEAR, Geometry, largest_shift
from rcn_tf.volumes.orientation import Doubts, code_of, direction_of, in_words

TOLERANCE = 0.1
"""Largest distance in voxels of two geometries that needs no warning."""

SCANNER = 1  # code of a matrix that gives the scanner's own coordinates
_ANALYZE_CODES = ("LAS", "LSA", "ASL", "LPS", "LIA", "ASR")  # of the byte `orient`
_LONGEST = 1.01  # squared length of a quaternion's (b, c, d) that rounding explains


def nifti_geometry(
    header: NiftiHeader, read: Geometry, path: str | pathlib.Path, doubts: Doubts
) -> Geometry:
    """The geometry that a header means.

    Args:
        header: NiftiHeader. read: Geometry that ITK reads from the same file. path: for messages.
        doubts: Doubts, what to do about what the header leaves open.
    Returns: Geometry; `read` itself if it is right within a tenth of a voxel.
    Raises: ValueError: damaged numbers, a voxel size of 0 or a shear; names the way out.
    """
    if not header.sform_code and not header.qform_code:
        return _assumed(header, read, path, doubts)
    sform, qform = _stated_matrices(header, read.size, path, doubts)
    tolerance = TOLERANCE
    if qform is not None:
        tolerance += header.qform_error() * float(np.linalg.norm(read.size))
    if sform is not None and qform is not None:
        _compare(header, sform, qform, tolerance, path, doubts)
    if sform is not None and (qform is None or _itk_takes_sform(header, sform)):
        chosen = repaired(sform, path, doubts, "sform")
        if qform is None:
            _compare_sizes(header, sform, path, doubts)
    else:
        _check_sizes(header, path, doubts)
        chosen = qform
    return read if largest_shift(chosen, read)[1] <= tolerance else chosen


def needs_permission(header: NiftiHeader | None) -> bool:
    """Whether ITK refuses a file because of its sform, unless it is set to be permissive."""
    if header is None or not header.sform_code or header.qform_code:
        return False
    sform = _from_ras(header.sform_affine(), header.size)
    return sform.is_sound() and not sform.is_orthonormal()


def check_sform(header: NiftiHeader, path: str | pathlib.Path) -> None:
    """Raises: ValueError: the sform is used but singular or not finite."""
    if header.sform_code and not _from_ras(header.sform_affine(), header.size).is_sound():
        raise ValueError(
            f"{path} has no finite origin and direction in its sform; its header is damaged: "
            "write a sound matrix into it, or set the sform's code to 0"
        )


def repaired(
    geometry: Geometry, path: str | pathlib.Path, doubts: Doubts, name: str = "direction"
) -> Geometry:
    """Replaces a direction that is nearly orthonormal, by rounding, by an orthonormal one.

    Args: geometry: sound, with a direction of unit columns. name: of the matrix, for messages.
    Returns: Geometry; the same object if nothing needs repair.
    Raises: ValueError: it is sheared by more than MAX_SHEAR degrees and the user gave no
        orientation.
    """
    if geometry.is_orthonormal():
        return geometry
    if geometry.shear() > MAX_SHEAR:
        doubts.refuse(_sheared(geometry, path, name))
    rigid = geometry.rigid()
    shift, voxels = largest_shift(rigid, geometry)
    if voxels > TOLERANCE:
        doubts.say(
            f"the {name} of {path} is not quite orthonormal; the nearest rotation is taken, "
            f"which moves voxels by up to {shift:.2g} mm"
        )
    return rigid


def _sheared(geometry, path, name):
    return (
        f"{path} is sheared: the axes of its {name} are up to {geometry.shear():.1f} degrees from "
        "perpendicular, as of a tilted gantry (dcm2niix and 3D Slicer straighten such a scan)"
    )


def _stated_matrices(header, size, path, doubts):
    """Geometry of sform and qform, None for a missing one."""
    sform = qform = None
    if header.sform_code:
        check_sform(header, path)
        sform = _from_ras(header.sform_affine(), size)
    if header.qform_code:
        qform = _from_ras(header.qform_affine(), size)
        if not qform.is_sound():
            if sform is None:
                _check_sizes(header, path, doubts)
                raise ValueError(
                    f"{path} has no finite origin and direction in its qform; its header is "
                    "damaged: write a sound matrix into it"
                )
            doubts.say(f"{path} has a damaged qform or voxel sizes (pixdim); its sform is taken")
            qform = None
    return sform, qform


def _itk_takes_sform(header, sform):
    return sform.is_orthonormal() and header.sform_code == SCANNER


def _compare(header, sform, qform, tolerance, path, doubts):
    """Refuses or names a sform and a qform that contradict each other."""
    shift, voxels = largest_shift(qform, sform)
    if voxels <= tolerance:
        return
    same_space = header.sform_code in (SCANNER, header.qform_code)
    if same_space and sform.shear() > MAX_SHEAR:
        doubts.refuse(
            f"{_sheared(sform, path, 'sform')}, and its qform puts voxels up to {shift:.3g} mm "
            "elsewhere"
        )
    taken = "sform" if _itk_takes_sform(header, sform) else "qform"
    names = [
        f"the {name} (code {code}, axes {code_of(geometry.direction)})"
        for name, code, geometry in (
            ("sform", header.sform_code, sform),
            ("qform", header.qform_code, qform),
        )
    ]
    doubts.say(
        f"{path} contradicts itself: {names[0]} and {names[1]} put voxels up to {shift:.3g} mm "
        f"apart; the {taken} is taken"
    )


def _compare_sizes(header, sform, path, doubts):
    """Names voxel sizes that are not the sform's."""
    sizes = np.abs(header.pixdim[1:]) * (header.unit or 1)
    if not (np.isfinite(sizes).all() and (sizes > 0).all()):
        doubts.say(f"{path} has the voxel sizes {_shown(sizes)}; those of its sform are taken")
        return
    shift, voxels = largest_shift(sform, dataclasses.replace(sform, spacing=sizes))
    if voxels > TOLERANCE:
        doubts.say(
            f"{path} has the voxel sizes (pixdim) {_shown(sizes)} mm, its sform "
            f"{_shown(sform.spacing)} mm, which moves voxels by up to {shift:.3g} mm; the sform "
            "is taken"
        )


def _check_sizes(header, path, doubts):
    sizes = header.pixdim[1:]
    if not (np.isfinite(sizes).all() and (sizes != 0).all()):
        raise ValueError(
            f"{path} has the voxel sizes {_shown(sizes)}; write the true ones (pixdim) into its "
            "header"
        )
    if (sizes < 0).any():
        doubts.say(f"{path} has the voxel sizes {_shown(sizes)}; their signs are ignored")
    if header.qform_code and np.sum(np.square(header.quaternion)) > _LONGEST:
        doubts.say(f"the quaternion of {path} is longer than 1; it is taken as a half turn")


def _assumed(header, read, path, doubts):
    """Geometry for a header without matrices: LAS, or the orientation in Analyze's byte."""
    _check_sizes(header, path, doubts)
    code, why, centre = "LAS", "as SPM and nibabel do", (np.array(read.size) + 1) / 2
    what = "does not say its orientation (both codes are 0)"
    if header.is_analyze:
        what = "is an Analyze file, which does not say its orientation"
        file = pathlib.Path(path)
        if file.with_name(f"{file.name.split('.img')[0].split('.hdr')[0]}.mat").exists():
            what += " (the .mat beside it is not read)"
        if 0 < header.orient < len(_ANALYZE_CODES):
            code, why = _ANALYZE_CODES[header.orient], f"for its byte orient is {header.orient}"
        origin = np.array(header.originator)
        if origin.any() and (abs(origin - centre) < 1.5 * np.array(read.size)).all():
            centre = origin
    doubts.say(f"{path} {what}; {in_words(code)} is assumed, {why}")
    spacing, direction = np.abs(header.pixdim[1:]) * (header.unit or 1), direction_of(code)
    return Geometry(read.size, spacing, -direction @ (spacing * (centre - 1)), direction)


def _from_ras(affine, size):
    return Geometry.from_affine(np.diag([-1.0, -1, 1, 1]) @ affine, size)


def _shown(sizes):
    return " x ".join(f"{value:.4g}" for value in sizes)
