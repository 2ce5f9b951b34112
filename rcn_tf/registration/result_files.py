"""The files that a registration leaves in its folder.

Images and fields have the scans' own geometry, so `rcn apply` and any ITK program can use them.
"""

from __future__ import annotations

import concurrent.futures
import csv
import pathlib
from typing import TYPE_CHECKING

import SimpleITK as sitk

from rcn_tf.errors import ESCAPES
from rcn_tf.files.json_files import write_json
from rcn_tf.registration.outputs import (
    AFFINE,
    COMPOSITE,
    FIELD,
    INVERSE_FIELD,
    METRICS,
    WARPED,
    WARPED_LABELS,
)
from rcn_tf.registration.pair_metrics import metrics_rows
from rcn_tf.registration.plane import thickened
from rcn_tf.registration.steps import Steps
from rcn_tf.volumes.formats.image_writing import write_image
from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.transforms.itk_transforms import (
    affine_transform,
    composite_transform,
    deformation_grid,
    write_transform,
)

if TYPE_CHECKING:
    from rcn_tf.registration.pair import RegistrationResult

_MEGABYTES = 100  # larger files take seconds to write, so their size is announced


def write_result(
    result: RegistrationResult,
    folder: pathlib.Path,
    *,
    facts: dict,
    metrics: dict,
    fields: bool = True,
    small: bool = False,
    steps: Steps,
) -> None:
    """Writes the files of a registration (`rcn_tf.registration.outputs`) into an existing folder.

    Args:
        result: RegistrationResult.
        facts: further facts for the report and `metrics.json`, such as file names.
        metrics: the result's metrics and the caller's additions; `seconds` is replaced by that
            of `steps`.
        fields: whether to write the displacement field and, if there is one, its inverse.
        small: whether to compress images as far as possible instead of quickly.
        steps: announces and times every file.
    Raises: ValueError, OSError: a file cannot be written.
    """

    def write(name, image):
        size = _megabytes(image)
        note = f" ({size:.0f} MB before compression)" if size > _MEGABYTES else ""
        with steps("write", f"writing {name}{note}"):
            write_image(image, folder / name, small=small)

    metrics = {**metrics, "seconds": steps.seconds}
    with concurrent.futures.ThreadPoolExecutor(1) as beside:
        # Drawing keeps one core busy at most; the images are compressed meanwhile.
        report = beside.submit(_draw_report, result, dict(metrics), facts, folder)
        write(WARPED, result.warped)
        if result.warped_labels is not None:
            write(WARPED_LABELS, result.warped_labels)
        if fields:
            write(FIELD, thickened(result.displacement))
            if result.inverse_displacement is not None:
                write(INVERSE_FIELD, thickened(result.inverse_displacement))
        with steps("write", "writing affine.tfm and transform.h5"):
            _write_transforms(result, Grid.from_image(result.image), folder, steps)
        with steps("write", "drawing the report"):
            report.result()
    settings = {name.replace(" ", "_"): str(value) for name, value in facts.items()}
    write_json(folder / METRICS, {**metrics, "settings": settings})
    rows = metrics_rows(metrics)
    with (folder / "metrics.csv").open("w", newline="", encoding="utf-8", errors=ESCAPES) as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _draw_report(result, metrics, facts, folder):
    # Importing Matplotlib takes a second; `rcn register` does it beside the registration.
    from rcn_tf.registration.report import write_report
    from rcn_tf.registration.report.figures import make_views

    metrics["seconds"] = dict(metrics["seconds"])  # of the steps before this one
    write_report(make_views(result), metrics, facts, folder)


def _write_transforms(result, fixed_grid, folder, steps):
    write_transform(affine_transform(result.transform, *result.affine), folder / AFFINE)
    try:
        composite = composite_transform(result.transform, fixed_grid, *result.affine)
    except ValueError as error:
        steps.say(f"leaving out transform.h5: {error}")
        return
    write_transform(composite, folder / COMPOSITE)
    if deformation_grid(result.transform, fixed_grid) is fixed_grid:
        steps.say("transform.h5 samples the flow more coarsely, at the fixed image's voxels")


def _megabytes(image):
    bits = {sitk.sitkUInt8: 8, sitk.sitkInt8: 8, sitk.sitkUInt16: 16, sitk.sitkInt16: 16}
    per_value = bits.get(image.GetPixelID(), 32) / 8
    return image.GetNumberOfPixels() * image.GetNumberOfComponentsPerPixel() * per_value / 1e6
