"""Registration of two SimpleITK images by one call."""

from __future__ import annotations

import pathlib
from typing import Any

import SimpleITK as sitk

from rcn_tf.choices import REFINE_STEPS
from rcn_tf.models.folder import DEFAULT_MODEL, load_with_config
from rcn_tf.registration.pair import RegistrationResult, register_pair


def register_images(
    fixed: sitk.Image,
    moving: sitk.Image,
    model: Any = None,
    *,
    refine_steps: int = REFINE_STEPS,
    **options: Any,
) -> RegistrationResult:
    """Registers the moving image to the fixed one, as `rcn register` does.

        result = rcn_tf.register_images(fixed, moving)
        result.warped                # moving image on the fixed image's grid
        result.save("folder")        # the files of `rcn register`

    Args:
        fixed, moving: SimpleITK.Image, 3D, scalar, any geometry; single slices as volumes of one
            plane, for a model of planes.
        model: RegistrationModel, a model folder, or None for the brain model of this package.
        refine_steps: gradient steps of instance optimisation on this pair; 0 leaves it out.
        options: of `rcn_tf.registration.pair.register_pair`: labels, masks, start, call options
            of the model and others.
    Returns: RegistrationResult.
    Raises: ValueError: for images, labels or masks that cannot be used, naming the fault.
    """
    if model is None or isinstance(model, (str, pathlib.Path)):
        model, config = load_with_config(model or DEFAULT_MODEL)
    else:
        config = getattr(model, "saved_config", {})
    return register_pair(model, config, fixed, moving, refine_steps=refine_steps, **options)
