"""Registration of two SimpleITK images by one call."""

from __future__ import annotations

import pathlib
from typing import Any

import SimpleITK as sitk

from rcn_tf.choices import NO_MODEL
from rcn_tf.models.folder import DEFAULT_MODEL, load_with_config
from rcn_tf.registration.optimisation.search import Settings
from rcn_tf.registration.pair import RegistrationResult, register_pair
from rcn_tf.registration.plane import thin_axis


def register_images(
    fixed: sitk.Image,
    moving: sitk.Image,
    model: Any = None,
    *,
    effort: str = "default",
    similarity: str = "auto",
    transform_type: str = "deformable",
    refine_steps: int | None = None,
    **options: Any,
) -> RegistrationResult:
    """Registers the moving image to the fixed one, as `rcn register` does.

        result = rcn_tf.register_images(fixed, moving)
        result.warped                # moving image on the fixed image's grid
        result.save("folder")        # the files of `rcn register`

    Args:
        fixed, moving: SimpleITK.Image, 3D, scalar, any geometry; single slices as volumes of one
            plane, for a model of planes.
        model: RegistrationModel, a model folder, None for the brain model of this package, or
            "none" for optimisation alone.
        effort, similarity, transform_type: of the optimisation from coarse to fine
            (`rcn_tf.registration.optimisation.search.Settings`).
        refine_steps: instead of that optimisation, gradient steps on the network's own grid; 0
            leaves the network's result as it is.
        options: of `rcn_tf.registration.pair.register_pair`: labels, masks, start, call options
            of the model and others.
    Returns: RegistrationResult.
    Raises: ValueError: for images, labels or masks that cannot be used, naming the fault.
    """
    if model is None and refine_steps is None and thin_axis(fixed) is not None:
        model = NO_MODEL  # the brain model is one of volumes
    if model == NO_MODEL:
        model, config = None, {}
    elif model is None or isinstance(model, (str, pathlib.Path)):
        model, config = load_with_config(model or DEFAULT_MODEL)
    else:
        config = getattr(model, "saved_config", {})
    settings = None if refine_steps is not None else Settings(effort, similarity, transform_type)
    return register_pair(
        model,
        config,
        fixed,
        moving,
        refine_steps=refine_steps or 0,
        optimisation=settings,
        **options,
    )
