"""The folder of a registration: names and meanings of its files, and how they get there.

This module loads no TensorFlow, because `--help` names the files.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

from rcn_tf.errors import naming
from rcn_tf.files.working_folders import EARLIER, working_folder

FIELD, INVERSE_FIELD = "displacement.nii.gz", "inverse_displacement.nii.gz"
COMPOSITE, AFFINE = "transform.h5", "affine.tfm"
WARPED, WARPED_LABELS = "warped.nii.gz", "warped_labels.nii.gz"
METRICS = "metrics.json"
REPORT, OVERVIEW = "report.html", "overview.png"
DICOM_FOLDER = "warped_dicom"
LEARN2REG = "learn2reg"
"""Beginning of the name of a displacement in Learn2Reg's form."""
RECORD = "pair.json"

OUTPUTS = {
    WARPED: "moving image on the fixed image's grid",
    DICOM_FOLDER: "the same as a DICOM series",
    WARPED_LABELS: "moving labels on the fixed image's grid",
    FIELD: "displacement field on the fixed image's grid, mm",
    INVERSE_FIELD: "its inverse, on the moving image's grid",
    AFFINE: "the affine part, an ITK transform",
    COMPOSITE: "affine part and deformation, an ITK composite transform",
    f"{LEARN2REG}.nii.gz": "displacement in voxels, as Learn2Reg wants it",
    f"{LEARN2REG}.npz": "displacement in voxels, as Learn2Reg wants it",
    REPORT: "pictures and metrics; open it in a browser",
    OVERVIEW: "before and after in one picture",
    METRICS: "metrics, with settings",
    "metrics.csv": "the same metrics as a table",
    RECORD: "what a pair of many was made from",
}
"""The files that `rcn register` may write, in the order in which it lists them."""


@contextlib.contextmanager
def results_folder(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """Temporary folder to write into; if nothing fails, all its files move to `out` together.

    Files of `OUTPUTS` from an earlier run that were not written again are then removed from `out`.
    On an error `out` stays as it was, and folders that were made for it are removed. Leftovers of
    killed runs are removed too.

    Args: out: the results' folder, made with its parents where it is missing.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with working_folder(out) as working:
            partial = working / "results"
            partial.mkdir()
            with naming(out, instead_of=partial):
                yield partial
                _move(partial, out)
    except BaseException:
        with contextlib.suppress(OSError):
            for folder in made:
                folder.rmdir()
        raise


def _move(partial, out):
    for name in OUTPUTS:
        new, old = partial / name, out / name
        if old.is_dir():  # nothing can be renamed onto a folder
            old.replace(partial.with_name(f"{EARLIER}-{name}"))
        if new.exists():
            new.replace(old)
        else:  # left by an earlier run, for example by one with labels
            old.unlink(missing_ok=True)
