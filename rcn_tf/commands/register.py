"""Align one image to another, or many pairs: warped image, displacement, report and metrics."""

import contextlib
import importlib
import pathlib
import sys
import threading

from rcn_tf.choices import LEARN2REG_FORMS as FORMS
from rcn_tf.choices import LINEAR, NO_MODEL
from rcn_tf.commands import dicom_options, register_pairs
from rcn_tf.commands.model_options import (
    add_model_options,
    check_model_options,
    model_options,
)
from rcn_tf.commands.optimisation_options import (
    add_optimisation,
    check_optimisation,
    initial_transform,
    optimisation_settings,
)
from rcn_tf.commands.options import (
    add_background,
    add_compress,
    add_geometry,
    add_label_type,
    add_precision,
    add_trust,
)
from rcn_tf.commands.register_summary import print_summary
from rcn_tf.commands.shown_warnings import noting_warnings
from rcn_tf.errors import printable, warn
from rcn_tf.quiet_tensorflow import load_tensorflow, tensorflow_meanwhile
from rcn_tf.registration.outputs import (
    FIELD,
    INVERSE_FIELD,
    LEARN2REG,
    OUTPUTS,
    results_folder,
)
from rcn_tf.registration.pairs_file import FILES
from rcn_tf.registration.steps import Steps

WARNINGS_LAST = True
FAILED = 3
"""Exit code where the result fitted worse than its start."""
INPUTS = FILES


def add_arguments(parser):
    """Declares the arguments of `rcn register`."""
    image = {"type": pathlib.Path, "metavar": "IMAGE"}
    parser.add_argument(
        "--fixed", help="image to align to (3D or a single slice, any format)", **image
    )
    parser.add_argument("--moving", help="image to be aligned", **image)
    register_pairs.add_arguments(parser)
    parser.add_argument(
        "--out", required=True, type=pathlib.Path, metavar="DIR", help="folder for the results"
    )
    parser.add_argument(
        "--model",
        type=pathlib.Path,
        metavar="DIR",
        help="model folder of `rcn train`, or none to register by optimisation alone (default: "
        "the brain MRI model that comes with rcn; none for single slices)",
    )
    add_precision(parser)
    add_trust(parser)
    parser.add_argument("--moving-labels", help="structures of the moving image, to warp", **image)
    parser.add_argument(
        "--fixed-labels", help="the same structures of the fixed one, to compare", **image
    )
    parser.add_argument("--fixed-mask", help="organ of interest (default: found)", **image)
    parser.add_argument("--moving-mask", help="organ of interest (default: found)", **image)
    add_geometry(parser)
    add_label_type(parser)
    add_background(parser)
    add_model_options(parser)
    add_optimisation(parser)
    parser.add_argument(
        "--start",
        choices=("header", "boxes"),
        help="start at the positions in the headers, or with the boxes around the organs laid over "
        "each other (default: whichever fits better)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="write the result even if it fits worse than its start (default: write the start)",
    )
    parser.add_argument(
        "--no-inverse",
        action="store_true",
        help="do not compute the inverse field (`rcn apply --inverse` does not need it)",
    )
    parser.add_argument(
        "--fields",
        choices=("all", "none"),
        default="all",
        help=f"none leaves out {FIELD} and {INVERSE_FIELD}, the largest files; transform.h5 holds "
        "the transform too (default: all)",
    )
    add_compress(parser)
    parser.add_argument(
        "--learn2reg",
        nargs="?",
        choices=FORMS,
        const=FORMS[0],
        metavar="FORM",
        help="also write the displacement in voxels, as the Learn2Reg challenges take it: nii "
        "(default), npz (float16) or npz-half (float16 at half resolution, 2020 and 2021)",
    )
    dicom_options.add_series(parser)
    dicom_options.add_dicom(parser)


def run(args):
    """Registers the pair; nothing is left in DIR unless everything could be written.

    Returns: exit code, 0, or FAILED where the start is written instead of a worse result.
    """
    if args.pairs is not None:
        return register_pairs.run(args, check, register)
    register_pairs.check_one_pair(args)
    check(args)
    replaced = any((args.out / name).exists() for name in OUTPUTS)
    steps = Steps(_say)
    with noting_warnings() as noted:
        metrics = register(args, steps, noted, load_model)
    print_summary(metrics, args.out, replaced)
    for text in metrics["warnings"]:
        warn(text)
    return FAILED if metrics["failed"] else 0


def check(args):
    """Checks the arguments of one pair before anything is read. Raises: ValueError."""
    if args.out.exists() and not args.out.is_dir():
        raise ValueError(f"--out {args.out} is a file; expected a folder")
    check_model_options(args)
    if not _may_run_a_network(args):
        model_options(None, args)
    check_optimisation(args)
    if args.fixed_labels and not args.moving_labels:
        raise ValueError("--fixed-labels needs --moving-labels, to be compared with")
    if str(args.model) == NO_MODEL and args.refine is not None:
        raise ValueError("--refine goes on from a network's result, and --model none has none")
    _check_inputs_stay(args)
    dicom_options.check_series(args)
    dicom_options.check_dicom(args)


def load_model(args):
    """(RegistrationModel or None, config) that the arguments choose; loads TensorFlow."""
    load_tensorflow()
    if not _needs_a_model(args):
        return None, {}
    from rcn_tf.models.folder import DEFAULT_MODEL, load_with_config

    return load_with_config(args.model or DEFAULT_MODEL, args.precision, trust_code=args.trust_code)


def register(args, steps, noted, load):
    """Registers one pair and puts its files into place.

    Args: steps: Steps. noted: the warnings so far. load: function of `args`, as `load_model`.
    Returns: dict, the metrics.
    """
    with steps("read", f"reading {_shown(args, 'fixed')} and {_shown(args, 'moving')}"):
        there = all(getattr(args, name).exists() for name in ("fixed", "moving"))
        # A wrong name is reported at once, without waiting for TensorFlow.
        with tensorflow_meanwhile() if there else contextlib.nullcontext():
            images = _read_images(args)
            initial = initial_transform(args)
            headers = _read_headers(args) if args.dicom else None
    with results_folder(args.out) as partial:
        with steps("load", f"loading {_model_in_words(args, images)}"):
            model, config = _load_for(images, args, load)
            from rcn_tf.registration.pair import register_pair
            from rcn_tf.registration.result_files import write_result

        _load_report_meanwhile()

        options = model_options(model, args)
        result = register_pair(
            model,
            config,
            **images,
            refine_steps=args.refine or 0,
            optimisation=optimisation_settings(args),
            initial=initial,
            start=args.start,
            force=args.force,
            inverse=not args.no_inverse and args.fields == "all",
            steps=steps,
            keep_label_type=args.keep_label_type,
            background=args.background,
            **options,
        )
        metrics = {**result.metrics, "warnings": [*noted, *result.metrics["warnings"]]}
        if headers is not None:
            with steps("write", "writing the DICOM series"):
                error = dicom_options.write_dicom(result.warped, partial, headers, args)
            metrics["dicom_rounding"] = error
        if args.learn2reg:
            with steps("write", "writing the displacement for Learn2Reg"):
                _write_learn2reg(result, images["moving"], partial, args.learn2reg)
        metrics["peak_memory_mb"] = _peak_memory_mb()
        write_result(
            result,
            partial,
            facts={**_facts(args, result, model), **options},
            metrics=metrics,
            fields=args.fields == "all",
            small=args.compress,
            steps=steps,
        )
    return {**metrics, "seconds": steps.seconds}


def _model_name(args):
    return args.model.resolve().name if args.model else "default"


def _may_run_a_network(args):
    """Whether the arguments leave a network anything to do."""
    linear = args.transform_type in LINEAR
    return str(args.model) != NO_MODEL and args.initial is None and not linear


def _needs_a_model(args):
    """Whether a model is loaded.

    One that is named is loaded even where its network does not run, because it says how images are
    prepared.
    """
    return str(args.model) != NO_MODEL if args.model else _may_run_a_network(args)


def _without_model(args, images):
    """Whether a pair is registered by optimisation alone."""
    if args.model is not None or not _needs_a_model(args):
        return not _needs_a_model(args)
    from rcn_tf.registration.plane import thin_axis

    return args.refine is None and thin_axis(images["fixed"]) is not None


def _model_in_words(args, images):
    if _without_model(args, images):
        return "TensorFlow"
    return f"the model {args.model or 'that comes with rcn'}"


def _load_for(images, args, load):
    """(model, config) for a pair; (None, {}) where it is registered without a model."""
    if not _without_model(args, images):
        return load(args)
    load_tensorflow()
    return None, {}


def _write_learn2reg(result, moving, folder, form):
    from rcn_tf.volumes import Grid
    from rcn_tf.volumes.learn2reg.displacement import file_name, write_displacement

    path = folder / file_name(LEARN2REG, form)
    write_displacement(result.displacement, Grid.from_image(moving), path, form)


def _shown(args, name):
    """What is read of an image, in words."""
    path, frame = getattr(args, name), getattr(args, f"{name}_frame")
    return path.name if frame is None else f"frame {frame} of {path.name}"


def _facts(args, result, model):
    """What the report states besides the metrics; of files the names, not where they lie."""
    from rcn_tf import __version__

    facts = {
        "fixed image": args.fixed.name,
        "moving image": args.moving.name,
        "model": _model_name(args) if model is not None else NO_MODEL,
        "network grid": " x ".join(map(str, result.fixed.grid.shape)),
        "rcn_tf": __version__,
    }
    if args.refine is not None:
        facts["refinement steps"] = args.refine
    for name in ("fixed_orientation", "moving_orientation", "fixed_frame", "moving_frame"):
        if getattr(args, name) is not None:
            facts[name.replace("_", " ")] = getattr(args, name)
    return facts


def _check_inputs_stay(args):
    """Raises: ValueError: an input is one of the files that the results would replace."""
    results = {(args.out / name).resolve() for name in OUTPUTS}
    for name in INPUTS:
        path = getattr(args, name)
        if path is not None and path.resolve() in results:
            raise ValueError(f"{path} would be replaced by the result; choose another --out")


def _read_images(args):
    from rcn_tf.volumes.formats.images import read_image

    paths = {name: getattr(args, name) for name in INPUTS}
    frames = {"fixed": args.fixed_frame, "moving": args.moving_frame}
    series = {"fixed": args.fixed_series, "moving": args.moving_series}
    return {
        name: read_image(
            path,
            series.get(name),
            orientation=getattr(args, f"{name.partition('_')[0]}_orientation"),
            frame=frames.get(name),
            planes=True,
        )
        for name, path in paths.items()
        if path is not None
    }


def _read_headers(args):
    return dicom_options.read_dicom_headers(
        args.moving,
        args.fixed,
        moving_series=args.moving_series,
        fixed_series=args.fixed_series,
        anonymize=not args.no_anonymize,
    )


def _load_report_meanwhile():
    """Imports what draws the report, which takes a second, in a thread beside the registration."""

    def load():
        with contextlib.suppress(Exception):  # which drawing the report then raises
            importlib.import_module("rcn_tf.registration.report")

    threading.Thread(target=load, daemon=True).start()


def _peak_memory_mb():
    """Largest resident memory of this process in MB; None on Windows."""
    try:
        import resource
    except ModuleNotFoundError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def _say(text):
    print(f"rcn: {printable(text)} ...", file=sys.stderr, flush=True)
