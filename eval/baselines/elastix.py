"""Elastix with an affine and a B-spline stage (VTN's footnote 3: `-p Affine -p BSpline_1000`).

The two parameter files are not published. Here elastix's default maps "affine" and "bspline" are
used, the latter with 1000 iterations per resolution as its name says.
Needs `pip install '.[elastix]'`.
"""

from __future__ import annotations

import tempfile

import numpy as np

from eval.baselines.physical import (
    MissingExtraError,
    flow_of_field,
    how_to_install,
    require,
)

ITERATIONS = 1000


def bspline(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Affine and B-spline stages. Returns: flow, see `eval.baselines`.

    Raises: MissingExtraError: itk-elastix is not installed. RuntimeError: elastix failed.
    """
    itk = require("itk", "elastix")
    if not hasattr(itk, "ElastixRegistrationMethod"):
        raise MissingExtraError(how_to_install("itk-elastix", "elastix"))
    stages = itk.ParameterObject.New()
    stages.AddParameterMap(stages.GetDefaultParameterMap("affine"))
    deformable = stages.GetDefaultParameterMap("bspline")
    deformable["MaximumNumberOfIterations"] = (str(ITERATIONS),)
    stages.AddParameterMap(deformable)
    images = [itk.image_from_array(volume.astype(np.float32)) for volume in (fixed, moving)]
    _, parameters = itk.elastix_registration_method(
        *images, parameter_object=stages, log_to_console=False
    )
    with tempfile.TemporaryDirectory() as folder:  # transformix also writes the field to a file
        field = itk.transformix_deformation_field(images[1], parameters, output_directory=folder)
        return flow_of_field(itk.array_view_from_image(field))
