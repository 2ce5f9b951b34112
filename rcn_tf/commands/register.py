"""Align one image to another: warped image, displacement fields, report and metrics."""

import csv
import os
import pathlib
import shutil
import sys

from rcn_tf.commands import dicom_options
from rcn_tf.commands.options import (
    add_precision,
    add_quality,
    add_repeats,
    add_trust,
    check_positive,
)

WARNINGS_LAST = True
INPUTS = ("fixed", "moving", "fixed_labels", "moving_labels", "fixed_mask", "moving_mask")
OUTPUTS = (
    ("warped.nii.gz", "moving image on the fixed image's grid"),
    (dicom_options.FOLDER, "the same as a DICOM series"),
    ("warped_labels.nii.gz", "moving labels on the fixed image's grid"),
    ("displacement.nii.gz", "displacement field on the fixed image's grid, mm"),
    ("inverse_displacement.nii.gz", "its inverse, on the moving image's grid"),
    ("affine.tfm", "the affine part, an ITK transform"),
    ("transform.h5", "affine part and deformation, an ITK composite transform"),
    ("report.html", "pictures and metrics; open it in a browser"),
    ("overview.png", "before and after in one picture"),
    ("metrics.json", "metrics, with settings"),
    ("metrics.csv", "the same metrics as a table"),
)


def add_arguments(parser):
    """Declares the arguments of `rcn register`."""
    image = {"type": pathlib.Path, "metavar": "IMAGE"}
    parser.add_argument(
        "--fixed", required=True, help="image to align to (3D, any format)", **image
    )
    parser.add_argument("--moving", required=True, help="image to be aligned", **image)
    parser.add_argument(
        "--out", required=True, type=pathlib.Path, metavar="DIR", help="folder for the results"
    )
    parser.add_argument(
        "--model",
        type=pathlib.Path,
        metavar="DIR",
        help="model folder of `rcn train` (default: the brain MRI model that comes with rcn)",
    )
    add_precision(parser)
    add_trust(parser)
    parser.add_argument("--moving-labels", help="structures of the moving image, to warp", **image)
    parser.add_argument(
        "--fixed-labels", help="the same structures of the fixed one, to compare", **image
    )
    parser.add_argument("--fixed-mask", help="organ of interest (default: found)", **image)
    parser.add_argument("--moving-mask", help="organ of interest (default: found)", **image)
    add_repeats(parser)
    add_quality(parser)
    dicom_options.add_series(parser)
    dicom_options.add_dicom(parser)


def run(args):
    """Registers the pair; nothing is left in DIR unless everything could be written."""
    if args.out.exists() and not args.out.is_dir():
        raise ValueError(f"--out {args.out} is a file; expected a folder")
    check_positive(args, ["repeats", "refine"])
    if args.fixed_labels and not args.moving_labels:
        raise ValueError("--fixed-labels needs --moving-labels, to be compared with")
    _check_inputs_stay(args)
    dicom_options.check_series(args)
    dicom_options.check_dicom(args)
    images = _read_images(args)
    headers = _read_headers(args) if args.dicom else None
    from rcn_tf.model_folder import DEFAULT_MODEL, load_model
    from rcn_tf.register import register_images

    with _Results(args.out) as partial:
        _say(f"loading the model {args.model or 'that comes with rcn'}")
        model, config = load_model(
            args.model or DEFAULT_MODEL, args.precision, trust_code=args.trust_code
        )
        result = register_images(
            model,
            config,
            **images,
            n_repeats=args.repeats,
            diffeomorphic=args.diffeomorphic,
            refine_steps=args.refine or 0,
            on_step=_say,
        )
        _say("writing the results")
        metrics = dict(result.metrics)
        if headers is not None:
            error = dicom_options.write_dicom(result.warped, partial, headers, args)
            metrics["dicom_rounding"] = error
        _write(result, metrics, images, args, partial)
    _print_summary(metrics, args.out)


def _check_inputs_stay(args):
    """Raises: ValueError: an input is one of the files that the results would replace."""
    results = {(args.out / name).resolve() for name, _ in OUTPUTS}
    for name in INPUTS:
        path = getattr(args, name)
        if path is not None and path.resolve() in results:
            raise ValueError(f"{path} would be replaced by the result; choose another --out")


def _read_images(args):
    from rcn_tf.volumes.images import read_image

    paths = {name: getattr(args, name) for name in INPUTS}
    _say(f"reading {args.fixed.name} and {args.moving.name}")
    series = {"fixed": args.fixed_series, "moving": args.moving_series}
    return {
        name: read_image(path, series.get(name)) for name, path in paths.items() if path is not None
    }


def _read_headers(args):
    return dicom_options.read_dicom_headers(
        args.moving,
        args.fixed,
        moving_series=args.moving_series,
        fixed_series=args.fixed_series,
        anonymize=not args.no_anonymize,
    )


class _Results:
    """Folder to write into; what is in it moves to `out` together, if nothing fails."""

    def __init__(self, out):
        self._out = out
        self._partial = out / f".partial-{os.getpid()}"

    def __enter__(self):
        self._is_new = not self._out.exists()
        self._out.mkdir(parents=True, exist_ok=True)
        self._partial.mkdir()
        return self._partial

    def __exit__(self, kind, error, traceback):
        if kind is None:
            for name, _ in OUTPUTS:
                new, old = self._partial / name, self._out / name
                if old.is_dir():  # which nothing can be renamed to
                    old.replace(self._partial / f"earlier-{name}")
                if new.exists():
                    new.replace(old)
                else:  # of an earlier run with labels
                    old.unlink(missing_ok=True)
        shutil.rmtree(self._partial)
        if kind is not None and self._is_new:
            self._out.rmdir()


def _write(result, metrics, images, args, folder):
    from rcn_tf import __version__
    from rcn_tf.files import write_json
    from rcn_tf.register_metrics import metrics_rows
    from rcn_tf.report import write_report
    from rcn_tf.report.figures import make_views
    from rcn_tf.volumes.grids import Grid
    from rcn_tf.volumes.images import write_image
    from rcn_tf.volumes.itk_transforms import (
        affine_transform,
        composite_transform,
        deformation_grid,
        write_transform,
    )

    write_image(result.warped, folder / "warped.nii.gz")
    write_image(result.displacement, folder / "displacement.nii.gz")
    write_image(result.inverse_displacement, folder / "inverse_displacement.nii.gz")
    write_transform(affine_transform(result.transform, *result.affine), folder / "affine.tfm")
    fixed_grid = Grid.from_image(images["fixed"])
    try:
        composite = composite_transform(result.transform, fixed_grid, *result.affine)
    except ValueError as error:
        _say(f"leaving out transform.h5: {error}")
    else:
        write_transform(composite, folder / "transform.h5")
        if deformation_grid(result.transform, fixed_grid) is fixed_grid:
            _say("transform.h5 samples the flow at the fixed image's voxels, coarser than it is")
    if result.warped_labels is not None:
        write_image(result.warped_labels, folder / "warped_labels.nii.gz")
    facts = {
        "fixed image": args.fixed,
        "moving image": args.moving,
        "model": args.model or "default",
        "repeats": args.repeats,
        "diffeomorphic": args.diffeomorphic,
        "refinement steps": args.refine or 0,
        "network grid": " x ".join(map(str, result.fixed.grid.shape)),
        "rcn_tf": __version__,
    }
    metrics["peak_memory_mb"] = _peak_memory_mb()
    settings = {name.replace(" ", "_"): str(value) for name, value in facts.items()}
    write_json(folder / "metrics.json", {**metrics, "settings": settings})
    rows = metrics_rows(metrics)
    with (folder / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    views = make_views(result, images["fixed"], images.get("fixed_labels"))
    write_report(views, metrics, facts, folder)


def _print_summary(metrics, out):
    def change(stages):
        shown = [
            "undefined" if stages[stage] is None else f"{stages[stage]:.3f}"
            for stage in ("before", "initial", "after")
        ]
        return f"{shown[0]} by header, {shown[1]} boxes aligned, {shown[2]} registered"

    print(f"correlation   {change(metrics['correlation'])}")
    for name in ("dice", "jaccard"):
        if name in metrics:
            count = len(metrics[name]["structures"])
            print(f"{name:<13} {change(metrics[name]['mean'])} (mean of {count} structures)")
    print(f"folding       {metrics['folding_percent']:.3f} % of the volume")
    if "refinement" in metrics:
        gain = metrics["refinement"]
        print(
            f"refinement    loss {gain['loss_before']:.4f} to {gain['loss_after']:.4f} in "
            f"{gain['steps']} steps, {metrics['seconds']['refine']:.1f} s"
        )
    seconds = sum(metrics["seconds"].values())
    memory = metrics["peak_memory_mb"]
    peak = f", {memory:.0f} MB" if memory else ""
    print(f"cost          {seconds:.1f} s without reading and writing{peak}")
    if metrics.get("dicom_rounding"):
        print(f"DICOM         16 bits; values differ by at most {metrics['dicom_rounding']:.3g}")
    for text in metrics["warnings"]:
        print(f"warning: {text}")
    print(f"\nresults in {out}:")
    for name, meaning in OUTPUTS:
        if (out / name).exists():
            print(f"  {name:<28} {meaning}")
    print(
        "3D Slicer: add the fixed image, warped.nii.gz and (as a transform) "
        "displacement.nii.gz with File > Add Data."
    )


def _peak_memory_mb():
    """Largest resident memory of this process in MB; None on Windows."""
    try:
        import resource
    except ModuleNotFoundError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def _say(text):
    print(f"rcn: {text} ...", file=sys.stderr, flush=True)
