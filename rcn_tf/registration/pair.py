"""Registers one pair of images from file geometry to file geometry.

prepare both images -> choose a start -> network -> affine map -> descent from coarse to fine ->
keep the result, or what it should have improved -> transform in physical space -> warped image,
labels and displacement fields at full resolution -> metrics.
Three stages are compared on the fixed image's full-resolution grid: "before" (the moving image
where its header puts it), "initial" (its crop box laid over the fixed one's, zero flow) and
"after" (registered). A result that fits worse than a start (`rcn_tf.registration.start`) is
replaced by that start.
"""

import concurrent.futures
import dataclasses
import pathlib
from typing import Optional

import numpy as np
import SimpleITK as sitk
import tensorflow as tf

from rcn_tf.errors import warn
from rcn_tf.models.output_check import check_finite, check_output
from rcn_tf.registration import meant_for
from rcn_tf.registration import pair_warnings as register_warnings
from rcn_tf.registration.comparison import comparable_images
from rcn_tf.registration.optimisation.optimise import Start, start_of
from rcn_tf.registration.optimisation.search import search
from rcn_tf.registration.orientation_check import better_orientation
from rcn_tf.registration.outputs import results_folder
from rcn_tf.registration.pair_metrics import registration_metrics
from rcn_tf.registration.plane import (
    common_thin_axis,
    grid_shape,
    network_image,
    spatial_affine,
    spatial_flow,
    thin_axis,
)
from rcn_tf.registration.refinement import refine, training_weights
from rcn_tf.registration.start import choose_start
from rcn_tf.registration.steps import Steps
from rcn_tf.registration.verdict import judge
from rcn_tf.volumes import Grid, GridTransform, PreparedVolume, prepare_volume, warp_image
from rcn_tf.volumes.preparation.network_input import DEFAULT_OPTIONS
from rcn_tf.volumes.same_space import labels_beside, labels_on
from rcn_tf.volumes.transforms.displacement import DisplacementField
from rcn_tf.volumes.transforms.itk_transforms import affine_matrix
from rcn_tf.volumes.warping import warp_labels

PREPARED_SHAPE = (96, 96, 96)
"""Grid on which images are prepared and compared where there is no model to say it."""

UNKNOWN_IMAGES = "the model does not know such images"
DIFFERENT_CONTRASTS = "the images have different contrasts"
"""Why a result must be convincing (`rcn_tf.registration.verdict`)."""


@dataclasses.dataclass(frozen=True, eq=False)
class RegistrationResult:
    """Result of `register_pair`.

    Args:
        image: SimpleITK.Image, the fixed image.
        transform: GridTransform, fixed points -> moving points.
        affine: (A [3, 3], b [3]) of the network's affine stage in voxels, or (None, None).
        fixed, moving: PreparedVolume, the network's inputs.
        start: "header" or "boxes", the network's start (`rcn_tf.registration.start`).
        fallback: True if the result fitted worse than a start, so that `transform` is that start.
        warped: SimpleITK.Image, registered moving image on the fixed image's grid.
        before, initial: the same without registration; see the module.
        displacement: vector image on the fixed image's grid, mm, LPS, float32.
        inverse_displacement: the inverse on the moving image's grid, or None.
        warped_labels: SimpleITK.Image of label ids on the fixed image's grid, or None.
        fixed_labels: SimpleITK.Image, the fixed labels on the fixed image's grid, or None.
        metrics: see `rcn_tf.registration.pair_metrics`; `agreement` and `agreement_inside` per
            stage (`rcn_tf.registration.agreement`); `start`, `fallback` and `failed`
            (`rcn_tf.registration.verdict`); `warnings`, a list of sentences; `seconds` per step.
    """

    image: sitk.Image
    transform: GridTransform
    affine: tuple
    fixed: PreparedVolume
    moving: PreparedVolume
    start: str
    fallback: bool
    warped: sitk.Image
    before: sitk.Image
    initial: sitk.Image
    displacement: sitk.Image
    inverse_displacement: Optional[sitk.Image]
    warped_labels: Optional[sitk.Image]
    fixed_labels: Optional[sitk.Image]
    metrics: dict

    def save(self, folder, *, facts=None, fields: bool = True, small: bool = False) -> None:
        """Writes the files of `rcn register` into a folder, all or none.

        Args:
            folder: made where it is missing; earlier results in it are replaced.
            facts: dict of further facts for the report, such as the files' names.
            fields: whether to write the displacement fields, the largest files.
            small: whether to compress images as far as possible instead of quickly.
        Raises: ValueError, OSError: a file cannot be written.
        """
        from rcn_tf.registration.result_files import write_result  # which draws pictures

        with results_folder(pathlib.Path(folder)) as partial:
            write_result(
                self,
                partial,
                facts=facts or {},
                metrics=self.metrics,
                fields=fields,
                small=small,
                steps=Steps(),
            )


def register_pair(
    model,
    config,
    fixed,
    moving,
    *,
    fixed_labels=None,
    moving_labels=None,
    fixed_mask=None,
    moving_mask=None,
    refine_steps=0,
    optimisation=None,
    initial=None,
    start=None,
    force=False,
    inverse=True,
    steps=None,
    keep_label_type=False,
    background=None,
    **options,
):
    """Registers the moving image to the fixed one.

    Args:
        model: RegistrationModel, or another callable with a `volume_shape`, called as
            (fixed, moving, training, **options) -> RegistrationOutput; None registers by
            optimisation alone.
        config: the model folder's config; its `preprocessing` section is used, and `meant_for`
            (`rcn_tf.registration.meant_for`) if it has one.
        fixed, moving: SimpleITK.Image, 3D, scalar, any geometry.
        fixed_labels, moving_labels: label images in the spaces of their images, on any grid,
            or None. The moving ones are warped; with both, overlap is measured on the fixed
            image's grid.
        fixed_mask, moving_mask: images in the same spaces whose non-zero voxels are the
            foreground, or None to find it from the intensities.
        refine_steps: gradient steps of instance optimisation on the network's grid
            (`rcn_tf.registration.refinement`).
        optimisation: Settings of the optimisation from coarse to fine
            (`rcn_tf.registration.optimisation`); None leaves it out.
        initial: map of points (`transform_points`) from which the optimisation starts, instead of
            the network's result and an affine map; needs `optimisation`.
        start: "header" or "boxes"; None takes the better one.
        force: return the network's result even if it fits worse than a start.
        inverse: whether to compute the inverse transform, which takes as long as the transform.
        steps: rcn_tf.registration.steps.Steps, which announces and times the steps; None
            announces nothing.
        keep_label_type: give the warped labels the pixel type of the moving ones; by default the
            smallest that holds the ids.
        background: grey value outside the moving image; None takes that of its background.
        options: call options of the model, such as n_repeats of a cascade.
    Returns: RegistrationResult.
    Raises: ValueError: for images, labels or masks that cannot be used, naming the fault.
    """
    steps = steps or Steps()
    if optimisation is None and (model is None or initial is not None):
        what = "an initial transform" if initial is not None else "registration without a model"
        raise ValueError(f"{what} needs the optimisation, which `refine_steps` replaces")
    runs = optimisation is None or (optimisation.uses_a_network and initial is None)
    if options and not (runs and model is not None):
        raise ValueError(f"no network runs here that could take the options {', '.join(options)}")
    with steps("prepare", "preparing both images"):
        if fixed_labels is not None and moving_labels is None:
            raise ValueError("the fixed labels need moving labels to be compared with")
        if fixed_labels is not None:
            fixed_labels = labels_on(fixed, fixed_labels, "the fixed labels")
        if moving_labels is not None:
            moving_labels = labels_beside(moving, moving_labels, "the moving labels")
        across, shape = _network_grid(model, fixed, moving)
        boxes = _prepared(shape, config, (fixed, fixed_mask), (moving, moving_mask))
        for name, volume in zip(("the fixed image", "the moving image"), boxes):
            for remark in volume.remarks:
                warn(f"{name}: {remark}")
    with steps("start", "comparing where the registration can start"):
        begin = choose_start(*boxes, start)
        unlike = meant_for.differences(config, (fixed, moving), boxes)
        turned = None  # slices have no 48 orientations
        if across is None:
            turned = better_orientation(*boxes, begin.fits["header"])
    output, gain, record = None, None, None
    first = start or begin.best
    candidates = {first: _start(begin.transform(first))}
    if initial is not None:
        candidates = {"initial": start_of(initial.transform_points, boxes[0].grid)}
    elif model is not None and runs:
        output, gain = _run_network(model, config, begin, across, refine_steps, steps, options)
        flow = spatial_flow(_finite_flow(output, model), across)
        found = GridTransform(begin.fixed.grid, begin.moving.grid, flow)
        candidates["network"] = _start(found, *_affine_stages(output, across))
    if optimisation is None:
        results = {"network": candidates["network"].transform}
    else:
        found = search(
            *boxes,
            candidates,
            begin.comparison,
            optimisation,
            steps,
            aligns=initial is None,
        )
        results, record, output = found.transforms, found.record, None
    with steps("transform", "computing the displacement at full resolution"):
        # An optimisation fits any images, whatever the model was trained on.
        unknown = unlike if optimisation is None else []
        doubt = DIFFERENT_CONTRASTS if record and record["contrasts_differ"] else ""
        doubt = UNKNOWN_IMAGES if unknown else doubt
        verdict = judge(begin, results, doubt=doubt, force=force)
        transform = verdict.transform
        displacement_image = _vector_image(transform.displacement_on(Grid.from_image(fixed)), fixed)
        displacement = sitk.GetArrayViewFromImage(displacement_image)  # large, so held once
    with steps("warp", "warping the moving image"):
        stages = {"before": None, "initial": begin.boxes, "after": displacement}
        fill = boxes[1].background.value if background is None else background
        images = {name: warp_image(moving, by, fixed, fill) for name, by in stages.items()}
        labels = {}
        if moving_labels is not None:
            wanted = stages if fixed_labels is not None else ["after"]  # what is compared
            label_options = {"name": "the moving labels", "keep_type": keep_label_type}
            labels = {
                stage: warp_labels(moving_labels, stages[stage], fixed, **label_options)
                for stage in wanted
            }
    backward = inverse_displacement = None
    if inverse:
        with steps("inverse", "inverting the transform"):
            field = DisplacementField(Grid.from_image(fixed), displacement)
            grid = Grid.from_image(moving)
            vectors, _ = field.inverse_vectors_on(grid, lambda: transform.coarse().inverse())
            inverse_displacement = _vector_image(vectors, moving)
            vectors = sitk.GetArrayViewFromImage(inverse_displacement)
            backward = DisplacementField(grid, vectors)
    with steps("metrics", "measuring"):
        compared = comparable_images(fixed, moving, boxes, stages, images)
        metrics = registration_metrics(transform, backward, *compared, fixed_labels, labels)
        metrics.update(_judgement(begin, verdict))
        if record is not None:
            metrics["optimisation"] = {**record, "written": verdict.name}
        metrics["warnings"] = [
            *register_warnings.about_the_kinds(
                {"the fixed image": fixed, "the moving image": moving},
                {"the fixed labels": fixed_labels, "the moving labels": moving_labels},
            ),
            *register_warnings.about_the_orientation(fixed, moving, turned),
            *register_warnings.about_the_start(begin),
            *verdict.warnings,
            *meant_for.warnings(config, unknown, verdict.failed),
            *register_warnings.about_the_result(metrics),
        ]
    if gain is not None:
        metrics["refinement"] = {k: v for k, v in gain._asdict().items() if k != "seconds"}
    return RegistrationResult(
        image=fixed,
        transform=transform,
        affine=(None, None) if verdict.fallback else _affine_stages(output, across),
        fixed=begin.fixed,
        moving=begin.moving,
        start=begin.name,
        fallback=verdict.fallback,
        warped=images["after"],
        before=images["before"],
        initial=images["initial"],
        displacement=displacement_image,
        inverse_displacement=inverse_displacement,
        warped_labels=labels.get("after"),
        fixed_labels=fixed_labels,
        metrics={**metrics, "seconds": steps.seconds},
    )


def _prepared(shape, config, fixed, moving):
    """(PreparedVolume of the fixed image, of the moving). Args: fixed, moving: (image, mask)."""
    options = _preprocessing(config)

    def prepare(name, scan):
        image, mask = scan
        return prepare_volume(image, shape, mask=mask, name=name, **options)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        return tuple(pool.map(prepare, ("the fixed image", "the moving image"), (fixed, moving)))


def _network_grid(model, fixed, moving):
    """(axis across single slices or None, shape of the grid on which images are prepared)."""
    if model is not None:
        across = common_thin_axis(model.volume_shape, fixed, moving)
        return across, grid_shape(model.volume_shape, across)
    across = thin_axis(fixed)
    return across, grid_shape(PREPARED_SHAPE if across is None else PREPARED_SHAPE[1:], across)


def _run_network(model, config, begin, across, refine_steps, steps, options):
    """(RegistrationOutput, RefinementGain or None)."""
    shape = " x ".join(map(str, model.volume_shape))
    with steps("network", f"running the network at {shape}"):
        volumes = begin.fixed.array, begin.moving.array
        inputs = [tf.constant(network_image(array, across)) for array in volumes]
        output = model(*inputs, training=False, **options)
        _finite_flow(output, model)
    if not refine_steps:
        return output, None
    with steps("refine", f"refining with {refine_steps} gradient steps"):
        return refine(
            output,
            *inputs,
            refine_steps,
            weights=training_weights(config),
            diffeomorphic=options.get("diffeomorphic", False),
        )


def _judgement(start, verdict):
    """Metrics of the start and of the verdict."""
    fits = {"before": start.fits["header"], "initial": start.fits["boxes"], "after": verdict.fit}
    return {
        "agreement": {stage: fit.agreement for stage, fit in fits.items()},
        "agreement_inside": {stage: fit.inside for stage, fit in fits.items()},
        "start": start.name,
        "fallback": verdict.fallback,
        "failed": verdict.failed,
    }


def _preprocessing(config):
    options = dict(config.get("preprocessing", {}))
    unknown = sorted(set(options) - set(DEFAULT_OPTIONS))
    if unknown:
        raise ValueError(
            f"the model's `preprocessing` may hold {', '.join(DEFAULT_OPTIONS)}; got {unknown}"
        )
    return options


def _finite_flow(output, model):
    """The total flow [*spatial, R]. Raises: ValueError: the model breaks the contract."""
    who = type(model).__name__
    check_output(output, tuple(model.volume_shape), who)
    check_finite(output.flow, who)
    return np.asarray(output.flow, np.float32)[0]


def _affine_stages(output, across):
    """(A, b) of the affine stages that the registration begins with, if there are any."""
    if output is None or output.affine is None:
        return None, None
    return spatial_affine(*(part.numpy()[0] for part in output.affine), across)


def _start(transform, matrix=None, offset=None):
    """A candidate for the start of an optimisation, with its affine part."""
    return Start(transform, affine_matrix(transform, matrix, offset))


def _vector_image(displacement, like):
    image = sitk.GetImageFromArray(displacement, isVector=True)
    image.CopyInformation(like)
    return image
