"""Measure a model on the pairs of a dataset: overlap, landmarks, folding, seconds.

Prints, before registration and after every stage, mean and standard deviation across pairs,
and writes every pair to `pairs.csv` and the means to `summary.json`.
"""

import dataclasses
import itertools
import pathlib

from rich.console import Console
from rich.progress import track
from rich.table import Table

from rcn_tf.commands.model_options import (
    add_model_options,
    check_model_options,
    model_options,
)
from rcn_tf.commands.options import (
    add_precision,
    add_refine,
    add_trust,
    check_positive,
    check_refine,
)
from rcn_tf.errors import warn
from rcn_tf.quiet_tensorflow import load_tensorflow
from rcn_tf.wording import counted

WARNINGS_LAST = True
_HEADINGS = {  # metric: (heading, format)
    "dice": ("Dice", ".3f"),
    "jaccard": ("Jaccard", ".3f"),
    "landmark_voxels": ("Landmarks (voxels)", ".2f"),
    "landmark_mm": ("Landmarks (mm)", ".2f"),
    "hd95_mm": ("HD95 (mm)", ".2f"),
    "surface_mm": ("Surface (mm)", ".2f"),
    "similarity": ("Similarity", ".3f"),
    "jacobian_std": ("Std. Jacobian", ".3f"),
    "folding_percent": ("Folding (%)", ".2f"),
}
_WIDTH = 160  # columns, where the output is not a terminal


def add_arguments(parser):
    """Declares the arguments of `rcn evaluate`."""
    parser.add_argument("model", type=pathlib.Path, help="model folder")
    parser.add_argument(
        "--data", type=pathlib.Path, required=True, metavar="CONFIG", help="dataset config (JSON)"
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--subset", metavar="NAME", help="subset whose pairs are registered")
    which.add_argument("--scheme", metavar="NAME", help="every subset of this scheme, one by one")
    add_model_options(parser)
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        metavar="DIR",
        help="results go to DIR/SUBSET (default: evaluation/SUBSET in the model folder)",
    )
    parser.add_argument(
        "--paired",
        action="store_true",
        help="scans 2k and 2k + 1 belong together, although the config does not say so (LSPIG)",
    )
    add_precision(parser)
    add_trust(parser)
    add_refine(parser)
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N pairs of a subset")
    parser.add_argument(
        "--augment-seed",
        type=int,
        metavar="S",
        help="deform the moving scans, labels and landmarks as training does, from this seed",
    )
    parser.add_argument(
        "--overlap",
        choices=("argmax", "original"),
        default="argmax",
        help="which voxels a warped label has: those where it is the strongest (default), or, as "
        "in the original's code, those where it has more than half",
    )
    parser.add_argument(
        "--hd95",
        action="store_true",
        help="also Hausdorff (95th percentile) and mean surface distances in mm (slower)",
    )


def run(args):
    """Evaluates the model; everything that can be wrong with the input is checked first."""
    load_tensorflow()
    from rcn_tf.data.dataset_config import load_dataset_config
    from rcn_tf.data.overlap import training_volumes
    from rcn_tf.data.pairs import subset_pairs
    from rcn_tf.data.scans import ScanStore
    from rcn_tf.models.folder import load_model

    check_positive(args, ["limit"])
    check_model_options(args)
    check_refine(args)
    config = load_dataset_config(args.data)
    subsets = [args.subset] if args.subset else list(config.scheme(args.scheme))
    if args.paired:
        config = load_dataset_config(args.data, paired=subsets)
    pairs = {
        name: list(itertools.islice(subset_pairs(config, name), args.limit)) for name in subsets
    }
    model, model_config = load_model(args.model, args.precision, trust_code=args.trust_code)
    if tuple(model.volume_shape) != config.image_size:
        raise ValueError(
            f"model {args.model} registers volumes of shape {tuple(model.volume_shape)}, but "
            f"`image_size` of {args.data} is {config.image_size}."
        )
    trained = training_volumes(args.model, model_config)
    with ScanStore(config) as store:
        store.check(sorted({scan for group in pairs.values() for pair in group for scan in pair}))
        for name in subsets:
            seen = _training_pairs(store, pairs[name], trained)
            _evaluate_subset(model, model_config, store, name, pairs[name], seen, args)


def _training_pairs(store, pairs, trained):
    """How many pairs have a scan that was trained on; None where that is not known.

    The atlas, which is the fixed image of all pairs, does not count.
    """
    from rcn_tf.data.packs import volume_checksum

    if trained is None:
        return None
    scans = {scan for pair in pairs for scan in pair} - {store.config.atlas}
    known = {scan for scan in scans if volume_checksum(store.read(scan).volume) in trained}
    return sum(not known.isdisjoint(pair) for pair in pairs)


def _evaluate_subset(model, model_config, store, subset, pairs, seen, args):
    from rcn_tf.data.augmentation import augment_scan
    from rcn_tf.evaluation import evaluate, summarise, to_frame, write_results
    from rcn_tf.models.folder import versions

    options = model_options(model, args)

    def scans():
        for number, pair in enumerate(pairs):
            fixed, moving = (dataclasses.replace(store.read(scan), id=scan) for scan in pair)
            if args.augment_seed is not None:
                moving = augment_scan(moving, args.augment_seed, number)
            yield fixed, moving

    results = evaluate(
        model,
        scans(),
        structures=store.config.structures,
        masks=store.config.image_type == "liver",
        overlap=args.overlap,
        surfaces=args.hd95,
        refiner=_refiner(args, model_config),
        **options,
    )
    progress = Console(stderr=True)
    rows = []
    for pair_rows in track(
        results,
        total=len(pairs),
        description=subset,
        console=progress,
        transient=True,
        disable=not progress.is_terminal,
    ):
        rows += pair_rows
    frame = to_frame(rows)
    stages = summarise(frame)
    folder = (args.out or args.model / "evaluation") / subset
    summary = {
        "model": str(args.model),
        "data": str(args.data),
        "subset": subset,
        "repeats": options.get("n_repeats", 1),
        "diffeomorphic": options.get("diffeomorphic", False),
        "options": options,
        "refinement_steps": args.refine,
        "overlap": args.overlap,
        "augment_seed": args.augment_seed,
        "pairs": len(pairs),
        "training_pairs": seen,
        "stages": stages,
        "versions": versions(),
    }
    write_results(folder, frame, summary)
    _print_results(_title(subset, len(pairs), seen), stages, args.hd95)
    print(f"Written: {folder / 'pairs.csv'}, {folder / 'summary.json'}")
    if seen:
        which = (
            "all pairs have scans"
            if seen == len(pairs)
            else (f"{seen} of {counted(len(pairs), 'pair')} {'has' if seen == 1 else 'have'} scans")
        )
        warn(
            f"subset {subset!r} of {args.data}: {which} that the model was trained on, so that "
            "the numbers do not say how new scans are registered; evaluate on held-out scans"
        )


def _title(subset, n_pairs, seen):
    title = f"{subset}: mean (std) across {counted(n_pairs, 'pair')}"
    if not seen:
        return title
    return f"{title}, {'all' if seen == n_pairs else seen} of them training pairs"


def _refiner(args, model_config):
    if not args.refine:
        return None
    from rcn_tf.registration.refinement import refine, training_weights

    options = {"weights": training_weights(model_config), "diffeomorphic": bool(args.diffeomorphic)}
    return lambda *pair: refine(*pair, args.refine, **options)[0]


def _print_results(title, stages, surfaces):
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    measured = [metric for metric in _HEADINGS if any(metric in stage for stage in stages)]
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for metric in measured:
        table.add_column(_HEADINGS[metric][0], justify="right")
    for stage in stages:
        cells = [_cell(stage.get(metric), _HEADINGS[metric][1]) for metric in measured]
        table.add_row(stage["stage"], *cells)
    console.print(table)
    seconds = _cell(stages[-1]["seconds"], ".3f")
    console.print(f"Seconds per pair: {seconds}, without reading; a first, warming pass left out.")
    if not {"dice", "landmark_voxels"} & set(measured):
        console.print("No pair has segmentations or landmarks: only the images were compared.")
    elif surfaces and "hd95_mm" not in measured:
        console.print("No surface distances: they need segmentations and the pack's `spacing`.")


def _cell(statistics, number_format):
    if statistics is None:
        return "-"
    return f"{statistics['mean']:{number_format}} ({statistics['std']:{number_format}})"
