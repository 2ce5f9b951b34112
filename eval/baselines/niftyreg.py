"""NiftyReg: its affine registration, and free-form deformations with NMI or LNCC.

As in AVSM's section 3: three levels, control points every 10 voxels; LNCC with a Gaussian of 40
voxels and a penalty of 0.01 on the logarithm of the Jacobian determinant. The programs
`reg_aladin`, `reg_f3d` and `reg_transform` must be on the PATH; no package of this project installs
them.
"""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import tempfile

import numpy as np
import SimpleITK as sitk

from eval.baselines.physical import MissingExtraError, flow_of_field, image

LEVELS, SPACING = 3, 10
LNCC_SIGMA, LOG_JACOBIAN = 40, 0.01


def affine(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Block matching of `reg_aladin`. Returns: flow, see `eval.baselines`.

    Raises: MissingExtraError: the programs are not installed. RuntimeError: one failed.
    """
    return _run(fixed, moving, None)


def nmi(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """`reg_f3d` with normalised mutual information. Returns: flow. Raises: as `affine`."""
    return _run(fixed, moving, [])


def lncc(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """`reg_f3d` with local correlation. Returns: flow. Raises: as `affine`."""
    return _run(fixed, moving, ["--lncc", str(LNCC_SIGMA), "-jl", str(LOG_JACOBIAN)])


def commands(folder: pathlib.Path, deformable: list[str] | None) -> list[list[str]]:
    """The programs' command lines.

    Args: folder: of fixed.nii and moving.nii, and of what is written. deformable: further options
        of `reg_f3d`; None for the affine map alone.
    """

    def path(name):
        return str(folder / name)

    images = ["-ref", path("fixed.nii"), "-flo", path("moving.nii")]
    found = [["reg_aladin", *images, "-aff", path("affine.txt"), "-ln", str(LEVELS),
              "-res", path("out.nii")]]  # fmt: skip
    last = path("affine.txt")
    if deformable is not None:
        grid = ["-sx", str(-SPACING), "-ln", str(LEVELS)]  # negative: voxels, not mm
        last = path("points.nii")
        found.append(["reg_f3d", *images, "-aff", path("affine.txt"), "-cpp", last, *grid,
                      "-res", path("out.nii"), *deformable])  # fmt: skip
    found.append(["reg_transform", "-ref", path("fixed.nii"), "-disp", last, path("field.nii")])
    return found


def _run(fixed, moving, deformable):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for part, volume in (("fixed", fixed), ("moving", moving)):
            sitk.WriteImage(image(volume), str(folder / f"{part}.nii"))
        for words in commands(folder, deformable):
            if shutil.which(words[0]) is None:
                raise MissingExtraError(
                    f"NiftyReg's program {words[0]} is not on the PATH; see its own documentation"
                )
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                text = " ".join((done.stderr or done.stdout).split())
                raise RuntimeError(f"{words[0]} failed: {text}")
        return _flow(folder / "field.nii")


def _flow(path):
    """Flow of a displacement field in NIfTI's coordinates, whose x and y point the other way."""
    vectors = np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(str(path), sitk.sitkVectorFloat64)))
    return flow_of_field(vectors * [-1.0, -1.0, 1.0])
