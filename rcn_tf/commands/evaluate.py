"""Measure a model on the pairs of a dataset: overlap, landmarks, folding, seconds.

It prints mean and standard deviation across pairs, before registration and after every stage, and
writes every pair to `pairs.csv` and the means to `summary.json`. An evaluation of the first pairs
alone (`--limit`) replaces one of more pairs only with `--force`.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib

from rich.console import Console
from rich.progress import track
from rich.table import Table

from rcn_tf.choices import OVERLAPS
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
    "outer_hausdorff_mm": ("Hausdorff (mm)", ".2f"),
    "hd95_mm": ("HD95 (mm)", ".2f"),
    "surface_mm": ("Surface (mm)", ".2f"),
    "similarity": ("Similarity", ".3f"),
    "jacobian_std": ("Std. Jacobian", ".3f"),
    "jacobian_gradient": ("|grad J|", ".3f"),
    "sdlogj": ("SDlogJ", ".3f"),
    "folding_percent": ("Folding (%)", ".2f"),
}
_WIDTH = 160  # columns, if the output is not a terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `rcn evaluate`."""
    parser.add_argument("model", type=pathlib.Path, help="model folder")
    parser.add_argument(
        "--data",
        type=pathlib.Path,
        required=True,
        metavar="CONFIG",
        help="dataset config (JSON), or the JSON of a dataset of Learn2Reg",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--subset", metavar="NAME", help="subset whose pairs are registered")
    which.add_argument("--scheme", metavar="NAME", help="evaluate every subset of this scheme")
    add_model_options(parser)
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        metavar="DIR",
        help="write results to DIR/SUBSET (default: evaluation/SUBSET in the model folder)",
    )
    parser.add_argument(
        "--paired",
        action="store_true",
        help="pair only scans 2k and 2k + 1, even if the config does not say so (LSPIG)",
    )
    add_precision(parser)
    add_trust(parser)
    add_refine(parser)
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N pairs of a subset")
    parser.add_argument(
        "--force", action="store_true", help="let --limit replace an evaluation of more pairs"
    )
    parser.add_argument(
        "--augment-seed",
        type=int,
        metavar="S",
        help="deform the moving scans, labels and landmarks as in training, with this seed",
    )
    parser.add_argument(
        "--overlap",
        choices=OVERLAPS,
        default="argmax",
        help="which voxels belong to a warped label: those where it has the largest weight "
        "(argmax, the default) or, as in the original's code, more than half of the weight",
    )
    parser.add_argument(
        "--hd95",
        action="store_true",
        help="also measure distances in mm (slower): Hausdorff of outer surfaces, Hausdorff (95th "
        "percentile) of all surfaces, and the mean surface distance",
    )


def run(args: argparse.Namespace) -> None:
    """Evaluates the model after checking all of the input."""
    load_tensorflow()
    from rcn_tf.commands import evaluate_learn2reg
    from rcn_tf.data.dataset_config import load_dataset_config
    from rcn_tf.data.overlap import training_volumes
    from rcn_tf.data.pairs import subset_pairs
    from rcn_tf.data.scans import ScanStore
    from rcn_tf.models.folder import load_with_config
    from rcn_tf.volumes.learn2reg.dataset import lists_pairs

    check_model_options(args)
    if lists_pairs(args.data):
        evaluate_learn2reg.run(args)
        return
    check_positive(args, ["limit"])
    check_refine(args)
    config = load_dataset_config(args.data)
    subsets = [args.subset] if args.subset else list(config.scheme(args.scheme))
    if args.paired:
        config = load_dataset_config(args.data, paired=subsets)
    pairs = {name: list(subset_pairs(config, name)) for name in subsets}
    folders = {name: (args.out or args.model / "evaluation") / name for name in subsets}
    for name in subsets:
        _check_replaceable(folders[name], len(pairs[name]), args)
    model, model_config = load_with_config(args.model, args.precision, trust_code=args.trust_code)
    if tuple(model.volume_shape) != config.image_size:
        raise ValueError(
            f"model {args.model} registers volumes of shape {tuple(model.volume_shape)}, but "
            f"`image_size` of {args.data} is {config.image_size}."
        )
    options = model_options(model, args)
    trained = training_volumes(args.model, model_config)
    chosen = {name: group[: args.limit] for name, group in pairs.items()}
    with ScanStore(config) as store:
        store.check(sorted({scan for group in chosen.values() for pair in group for scan in pair}))
        for name in subsets:
            seen = _training_pairs(store, chosen[name], trained)
            task = _Subset(name, chosen[name], len(pairs[name]), seen, folders[name])
            _evaluate_subset(model, model_config, store, task, options, args)


@dataclasses.dataclass(frozen=True)
class _Subset:
    """The part of a subset that is measured.

    pairs: ids; available: number of pairs in the subset; seen: number of `pairs` with a scan that
    was trained on, None if unknown; folder: where the results go.
    """

    name: str
    pairs: list
    available: int
    seen: int | None
    folder: pathlib.Path

    @property
    def title(self):
        """States which pairs the numbers are from."""
        text = f"{self.name}: mean (std) across "
        if len(self.pairs) < self.available:
            text += f"the first {len(self.pairs)} of "
        text += counted(self.available, "pair")
        if not self.seen:
            return text
        return (
            f"{text}, {'all' if self.seen == len(self.pairs) else self.seen} of them training pairs"
        )


def _check_replaceable(folder, available, args):
    """Raises: ValueError: `--limit` would replace an evaluation of more pairs."""
    from rcn_tf.evaluation.stored import SUMMARY, read_summary

    measured = min(available, args.limit or available)
    if measured == available or args.force or not (folder / SUMMARY).is_file():
        return
    earlier = read_summary(folder).get("pairs", 0)
    if earlier > measured:
        raise ValueError(
            f"{folder} holds an evaluation of {counted(earlier, 'pair')}, which --limit "
            f"{args.limit} would replace: choose another folder with --out, or give --force."
        )


def _training_pairs(store, pairs, trained):
    """Number of pairs with a scan that was trained on; None if that is not known.

    The atlas, which is the fixed image of all pairs, does not count.
    """
    from rcn_tf.data.packs import volume_checksum

    if trained is None:
        return None
    scans = {scan for pair in pairs for scan in pair} - {store.config.atlas}
    known = {scan for scan in scans if volume_checksum(store.read(scan).volume) in trained}
    return sum(not known.isdisjoint(pair) for pair in pairs)


def _evaluate_subset(model, model_config, store, subset, options, args):
    from rcn_tf.data.augmentation import augment_scan
    from rcn_tf.evaluation import evaluate, summarise, to_frame, write_results
    from rcn_tf.models.folder import versions

    def scans():
        for number, pair in enumerate(subset.pairs):
            fixed, moving = (dataclasses.replace(store.read(scan), id=scan) for scan in pair)
            if args.augment_seed is not None:
                moving = augment_scan(moving, args.augment_seed, number)
            yield fixed, moving

    results = evaluate(
        model,
        scans(),
        structures=store.config.structures,
        masks=store.config.masks,
        overlap=args.overlap,
        surfaces=args.hd95,
        refiner=_refiner(args, model_config, options),
        **options,
    )
    progress = Console(stderr=True)
    rows = []
    for pair_rows in track(
        results,
        total=len(subset.pairs),
        description=subset.name,
        console=progress,
        transient=True,
        disable=not progress.is_terminal,
    ):
        rows += pair_rows
    frame = to_frame(rows)
    stages = summarise(frame)
    summary = {
        "model": str(args.model),
        "data": str(args.data),
        "subset": subset.name,
        **_named_as_before(model, options),
        "options": options,
        "refinement_steps": args.refine,
        "overlap": args.overlap,
        "augment_seed": args.augment_seed,
        "pairs": len(subset.pairs),
        "pairs_available": subset.available,
        "training_pairs": subset.seen,
        "stages": stages,
        "versions": versions(),
    }
    write_results(subset.folder, frame, summary)
    print_results(subset.title, stages, args.hd95)
    if not args.refine:
        print("Without refinement. `rcn register` refines by default; --refine 50 measures that.")
    print(f"Written: {subset.folder / 'pairs.csv'}, {subset.folder / 'summary.json'}")
    _warn_of_training_pairs(subset, args.data)


def _warn_of_training_pairs(subset, data):
    seen, total = subset.seen, len(subset.pairs)
    if not seen:
        return
    some = f"{seen} of {counted(total, 'pair')} {'has' if seen == 1 else 'have'} scans"
    warn(
        f"subset {subset.name!r} of {data}: {'all pairs have scans' if seen == total else some} "
        "that the model was trained on, so the numbers do not show how well new scans are "
        "registered; evaluate on held-out scans"
    )


def _named_as_before(model, options):
    """The two options that had entries of their own before models declared their options."""
    names = {"n_repeats": "repeats", "diffeomorphic": "diffeomorphic"}
    declared = model.CALL_OPTIONS
    return {
        entry: options.get(name, declared[name].default)
        for name, entry in names.items()
        if name in declared
    }


def _refiner(args, model_config, options):
    if not args.refine:
        return None
    from rcn_tf.registration.refinement import refine, training_weights

    options = {
        "weights": training_weights(model_config),
        "diffeomorphic": options.get("diffeomorphic", False),
    }
    return lambda *pair: refine(*pair, args.refine, **options)[0]


def print_results(title, stages, surfaces=False):
    """Prints the stages of an evaluation as a table (`rcn_tf.evaluation.summarise`)."""
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
    console.print(f"Seconds per pair: {seconds}, without reading and without the first pass.")
    if not {"dice", "landmark_voxels"} & set(measured):
        console.print("No pair has segmentations or landmarks: only the images were compared.")
    elif surfaces and "hd95_mm" not in measured:
        console.print("No surface distances: they need segmentations and the pack's `spacing`.")


def _cell(statistics, number_format):
    if statistics is None:
        return "-"
    return f"{statistics['mean']:{number_format}} ({statistics['std']:{number_format}})"
