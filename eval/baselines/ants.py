"""ANTs SyN with the stages of VTN's footnote 2, and its linear stages alone.

The command is `antsRegistration -d 3 -u 1 -w [0.025,0.975] -r [F,M,1]`, then Rigid[0.1],
Affine[0.1] and SyN[0.15,3.0,0.0], as in the footnote; it runs in antspyx's build of the program. A
fixed seed, which the footnote lacks, draws the same sample points each time, whereas ANTs uses the
clock by default. Needs `pip install '.[ants]'`.
"""

from __future__ import annotations

import pathlib
import tempfile
from typing import Any

import numpy as np
import SimpleITK as sitk

from eval.baselines.physical import flow_of_transform, image, require

FOOTNOTE_SCHEDULE = "[2000x2000x2000,1e-9,15]"
USUAL_SCHEDULE = "[1000x500x250,1e-6,10]"  # of ANTs' own examples, about 20 times faster

_START = "-d 3 --random-seed 1 -o {prefix} -u 1 -w [0.025,0.975] -r [{fixed},{moving},1]"
_RIGID = "-t Rigid[0.1] -m MI[{fixed},{moving},1,32,Regular,0.2]"
_AFFINE = "-t Affine[0.1] -m MI[{fixed},{moving},1,32,Regular,0.1]"
_LINEAR_LEVELS = "-c {schedule} -s 2x1x0 -f 4x2x1"
_SYN = (
    "-t SyN[0.15,3.0,0.0] -m CC[{fixed},{moving},1,4] "
    "-c [100x100x100x50,1e-9,15] -s 3x2x1x0 -f 6x4x2x1"
)


_SYN_ALONE = (
    "-d 3 --random-seed 1 -o {prefix} -u 1 -w [0.025,0.975] "
    "-t SyN[0.15,3.0,0.0] -m CC[{fixed},{moving},1,4] "
    "-c [100x100x50,1e-6,10] -s 2x1x0 -f 4x2x1"
)


def syn(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Rigid, affine and SyN stages. Returns: flow, see `eval.baselines`."""
    return flow_of_transform(register(fixed, moving), fixed.shape)


def affine(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """The rigid and affine stages with ANTs' usual iterations. Returns: flow."""
    linear = register(fixed, moving, deformable=False, schedule=USUAL_SCHEDULE)
    return flow_of_transform(linear, fixed.shape)


def syn_alone(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """SyN with local cross-correlation on three levels without linear stages.

    As VR-Net uses it on the frames of one film; radius, smoothing and iterations, which the paper
    tuned on one image and does not print, are those of `_SYN_ALONE`.

    Returns: flow, see `eval.baselines`. Raises: as `register`.
    """
    with tempfile.TemporaryDirectory() as folder:
        target, source = _written(folder, fixed, moving)
        prefix = str(pathlib.Path(folder, "out"))
        values = {"fixed": target, "moving": source, "prefix": prefix}
        _run([word.format(**values) for word in _SYN_ALONE.split()])
        return flow_of_transform(_read(f"{prefix}0Warp.nii.gz"), fixed.shape)


def preset(fixed: np.ndarray, moving: np.ndarray, **options: Any) -> np.ndarray:
    """A registration by one of antspyx's presets, which are coarser and faster than `syn`.

    Args: fixed, moving: [D, H, W]. options: of `ants.registration`, such as `type_of_transform`.
    Returns: flow, see `eval.baselines`.
    Raises: MissingExtraError: antspyx is not installed.
    """
    ants = require("ants", "ants")
    with tempfile.TemporaryDirectory() as folder:
        images = [ants.image_read(path) for path in _written(folder, fixed, moving)]
        prefix = str(pathlib.Path(folder, "out"))
        result = ants.registration(*images, outprefix=prefix, random_seed=1, **options)
        transforms = [_read(path) for path in reversed(result["fwdtransforms"])]
        return flow_of_transform(sitk.CompositeTransform(transforms), fixed.shape)


def arguments(
    fixed: str,
    moving: str,
    prefix: str,
    *,
    deformable: bool = True,
    schedule: str = FOOTNOTE_SCHEDULE,
) -> list[str]:
    """Command line of `antsRegistration`.

    Args: fixed, moving: paths. prefix: of the output files. deformable, schedule: see `register`.
    """
    parts = [_START, _RIGID, _LINEAR_LEVELS, _AFFINE, _LINEAR_LEVELS, *([_SYN] * deformable)]
    values = {"fixed": fixed, "moving": moving, "prefix": prefix, "schedule": schedule}
    return [word.format(**values) for word in " ".join(parts).split()]


def register(
    fixed: np.ndarray,
    moving: np.ndarray,
    *,
    deformable: bool = True,
    schedule: str = FOOTNOTE_SCHEDULE,
) -> sitk.Transform:
    """Transform from fixed to moving points, mm at unit spacing.

    Args:
        fixed, moving: [D, H, W]. deformable: whether to run SyN after the linear stages.
        schedule: iterations per level and convergence of the rigid and affine stages.
    Returns: SimpleITK.Transform.
    Raises: MissingExtraError: antspyx is not installed. RuntimeError: ANTs failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        target, source = _written(folder, fixed, moving)
        prefix = str(pathlib.Path(folder, "out"))
        _run(arguments(target, source, prefix, deformable=deformable, schedule=schedule))
        linear = _read(f"{prefix}0GenericAffine.mat")
        if not deformable:
            return linear
        return sitk.CompositeTransform([linear, _read(f"{prefix}1Warp.nii.gz")])


def _run(words):
    """Runs antsRegistration. Raises: MissingExtraError: no antspyx. RuntimeError: it failed."""
    status = require("ants", "ants").internal.get_lib_fn("antsRegistration")(words)
    if status != 0:
        raise RuntimeError(f"antsRegistration failed with exit status {status}.")


def _written(folder, fixed, moving):
    """Paths of the two volumes as files."""
    paths = [str(pathlib.Path(folder, name)) for name in ("fixed.nii", "moving.nii")]
    for path, volume in zip(paths, (fixed, moving)):
        sitk.WriteImage(image(volume), path)
    return paths


def _read(path):
    """SimpleITK transform from a file that ANTs has written, linear or a field."""
    if path.endswith(".mat"):
        return sitk.ReadTransform(path)
    return sitk.DisplacementFieldTransform(sitk.ReadImage(path, sitk.sitkVectorFloat64))
