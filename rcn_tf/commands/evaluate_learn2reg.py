"""`rcn evaluate` on a dataset of Learn2Reg: registered as files, measured as the challenge does.

Every pair is registered as `rcn register` does it, at the images' own resolution, and measured by
the displacement in voxels (`rcn_tf.evaluation.learn2reg`), before (no displacement) and after.
"""

import sys
import time

from rcn_tf.commands.model_options import model_options
from rcn_tf.errors import printable, warn
from rcn_tf.wording import counted

BEFORE, AFTER = "before", "registered"


def run(args):
    """Evaluates the model on the pairs of a subset, and writes the tables of `rcn evaluate`."""
    from rcn_tf.commands.evaluate import print_results
    from rcn_tf.evaluation import summarise, to_frame, write_results
    from rcn_tf.models.folder import load_with_config, versions
    from rcn_tf.volumes.learn2reg.dataset import read_dataset

    _check(args)
    dataset = read_dataset(args.data)
    pairs = dataset.pairs(args.subset)
    chosen = pairs[: args.limit]
    for fixed, moving in chosen:
        for case in (fixed, moving):
            if not case.image.exists():
                raise FileNotFoundError(f"{args.data}, {args.subset}: no such file: {case.image}")
    model, config = load_with_config(args.model, args.precision, trust_code=args.trust_code)
    options = model_options(model, args)
    rows = []
    for number, (fixed, moving) in enumerate(chosen, 1):
        name = f"[{number}/{len(chosen)}] {moving.image.name} to {fixed.image.name}"
        print(f"rcn: {printable(name)}", file=sys.stderr, flush=True)
        rows += _rows(model, config, dataset, fixed, moving, args, options)
    folder = (args.out or args.model / "evaluation") / args.subset
    frame = to_frame(rows)
    stages = summarise(frame)
    worst = {stage: _worst(rows, stage) for stage in (BEFORE, AFTER)}
    summary = {
        "model": str(args.model),
        "data": str(args.data),
        "subset": args.subset,
        "options": options,
        "refinement_steps": args.refine,
        "pairs": len(chosen),
        "pairs_available": len(pairs),
        "stages": stages,
        "worst_30_percent": worst,
        "versions": versions(),
    }
    write_results(folder, frame, summary)
    print_results(f"{args.subset}: mean (std) across {counted(len(chosen), 'pair')}", stages)
    for name, value in worst[AFTER].items():
        print(f"{name}, mean of the worst 30 % of the pairs: {value:.4g}")
    if not args.refine:
        print("Not refined, as `rcn register` does by default: --refine 50 measures that too.")
    print(f"Written: {folder / 'pairs.csv'}, {folder / 'summary.json'}")


def _worst(rows, stage):
    """{measure: mean over the worst 30 % of the pairs} of what the pairs have."""
    from rcn_tf.evaluation.learn2reg import worst_mean

    found = {}
    for name, higher_is_worse in (("landmark_mm", True), ("dice", False)):
        values = [row[name] for row in rows if row["stage"] == stage and name in row]
        if values:
            found[name] = worst_mean(values, higher_is_worse=higher_is_worse)
    return found


def _check(args):
    from rcn_tf.commands.options import check_positive, check_refine

    check_positive(args, ["limit"])
    check_refine(args)
    if args.scheme:
        raise ValueError("a dataset of Learn2Reg has no schemes; give --subset registration_val")
    for name in ("paired", "augment_seed"):
        if getattr(args, name):
            option = name.replace("_", "-")
            raise ValueError(f"--{option} is for dataset configs; leave it out with Learn2Reg's")
    if args.overlap != "argmax":
        raise ValueError("Learn2Reg warps labels by the nearest voxel; leave out --overlap")


def _rows(model, config, dataset, fixed, moving, args, options):
    """The rows of one pair before and after registration."""
    from rcn_tf.evaluation.learn2reg import score
    from rcn_tf.registration.pair import register_pair
    from rcn_tf.volumes import Grid, read_image
    from rcn_tf.volumes.learn2reg.displacement import voxel_displacement

    images = [read_image(case.image, planes=True) for case in (fixed, moving)]
    start = time.perf_counter()
    result = register_pair(
        model,
        config,
        *images,
        **_masks(fixed, moving),
        refine_steps=args.refine,
        inverse=False,
        **options,
    )
    seconds = time.perf_counter() - start
    after = voxel_displacement(result.displacement, Grid.from_image(images[1]))
    measured = {
        "labels": _labels(fixed, moving, images),
        "names": dataset.structures or None,
        "points": _points(dataset.points(fixed.image, moving.image), images[0].GetSize()),
        "spacing": tuple(image.GetSpacing() for image in images),
        "surfaces": args.hd95,
    }
    names = {"fixed": fixed.image.name, "moving": moving.image.name}
    return [
        {**names, "stage": BEFORE, **score(0 * after, **measured)},
        {**names, "stage": AFTER, **score(after, **measured), "seconds": seconds},
    ]


def _masks(fixed, moving):
    from rcn_tf.volumes import read_image

    if not (fixed.mask and moving.mask):
        return {}
    return {
        "fixed_mask": read_image(fixed.mask, planes=True),
        "moving_mask": read_image(moving.mask, planes=True),
    }


def _labels(fixed, moving, images):
    """Label maps [X, Y, Z] of both images, or None."""
    from rcn_tf.volumes import read_image
    from rcn_tf.volumes.label_ids import require_integers

    if not (fixed.label and moving.label):
        return None
    arrays = []
    for case, image in zip((fixed, moving), images):
        labels = read_image(case.label, planes=True)
        if labels.GetSize() != image.GetSize():
            raise ValueError(
                f"{case.label} has {' x '.join(map(str, labels.GetSize()))} voxels, its image "
                f"{' x '.join(map(str, image.GetSize()))}"
            )
        arrays.append(require_integers(labels, str(case.label)).transpose(2, 1, 0))
    return tuple(arrays)


def _points(files, size):
    """Corresponding points [N, 3] of the fixed image, of `size` voxels, and the moving one."""
    import numpy as np

    if files is None:
        return None
    tables = []
    for file in files:
        try:
            points = np.loadtxt(file, delimiter=",", ndmin=2)
        except ValueError as error:
            raise ValueError(f"{file} is no table of three numbers a line: {error}") from error
        if points.ndim != 2 or points.shape[1] != 3:
            raise ValueError(f"{file} has {points.shape[1]} numbers a line; expected x, y, z")
        if not np.isfinite(points).all():
            raise ValueError(f"{file} has numbers that are not finite")
        tables.append(points)
    if len(tables[0]) != len(tables[1]):
        warn(
            f"{files[0]} and {files[1]} have {len(tables[0])} and {len(tables[1])} points: "
            "they are left out, since points correspond line by line"
        )
        return None
    outside = ((tables[0] < 0) | (tables[0] > np.array(size) - 1)).any(axis=1).sum()
    if outside:
        warn(
            f"{files[0]} has {counted(outside, 'point')} outside the fixed image, where the "
            "challenge's evaluation moves nothing"
        )
    return tuple(tables)
