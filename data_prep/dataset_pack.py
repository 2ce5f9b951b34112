"""One dataset of the papers: from the folder of its download to a pack and a config."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from data_prep import batch
from data_prep.config_files import check_outputs, make_folder
from data_prep.config_plan import ids_of, plan_config
from data_prep.crop_boxes import read_boxes
from data_prep.datasets.layout import Dataset
from data_prep.heart_scans import HeartRecipe
from data_prep.image_files import ImageRecipe
from data_prep.knees import KneeRecipe
from data_prep.liver import LiverRecipe, reference_quantiles
from data_prep.scan_files import HASH_LENGTH, ScanFiles, content_hash
from data_prep.scan_outcomes import Summary
from data_prep.splits import split_subjects
from rcn_tf.data.config_checks import group_of


@dataclasses.dataclass(frozen=True)
class Overrides:
    """Corrections that a person makes by hand.

    boxes: {scan id: ((x0, x1), (y0, y1), (z0, z1))}, LPS, mm. masks: {scan id: path}.
    series: which one, for DICOM folders that hold several. only: ids to prepare, or None.
    hash_ids: name scans by the hash of their files instead of folder and file names.
    """

    boxes: dict = dataclasses.field(default_factory=dict)
    masks: dict = dataclasses.field(default_factory=dict)
    series: str | None = None
    only: list | None = None
    hash_ids: bool = False


def default_recipe(dataset: Any) -> LiverRecipe | ImageRecipe | HeartRecipe | KneeRecipe:
    """The recipe of a dataset's kind, with the dataset's shape, labels and window."""
    if dataset.kind == "liver":
        return LiverRecipe(shape=dataset.shape, liver_labels=dataset.labels_are)
    if dataset.kind == "heart":
        return HeartRecipe(shape=dataset.shape, spacing=dataset.spacing)
    if dataset.kind == "knee":
        return KneeRecipe(shape=dataset.shape, label_ids=dataset.labels_are)
    return ImageRecipe(
        shape=dataset.shape,
        window=dataset.window,
        apply_mask=dataset.kind == "brain",
        keep_labels=dataset.labels_are,
        crop=dataset.crop,
        landmarks_in=dataset.landmarks_in,
    )


def find_scans(
    dataset: Dataset, folder: pathlib.Path, overrides: Any
) -> tuple[list[ScanFiles], list[pathlib.Path]]:
    """Scans of a dataset with the overrides applied; `boxes.csv` in the folder counts as some.

    Returns: tuple: list of ScanFiles; list of paths that are not used (`Dataset.find`).
    Raises:
        ValueError: a box that is not valid, or a header that cannot be read (with hash_ids).
        KeyError: an override for a scan that is not there.
        FileNotFoundError: no folder, no scan, no such mask.
    """
    if overrides.hash_ids and overrides.only is not None:
        raise ValueError("--only and --hash-ids do not go together: prepare all scans.")
    found, unused = dataset.find(folder)
    scans = {scan.id: scan for scan in found}
    boxes = {}
    if dataset.kind == "liver" and (pathlib.Path(folder) / "boxes.csv").is_file():
        boxes = read_boxes(pathlib.Path(folder) / "boxes.csv")
    boxes.update(overrides.boxes)
    for mask in overrides.masks.values():
        if not pathlib.Path(mask).is_file():
            raise FileNotFoundError(f"no such file: {mask}")
    for scan_id in (*boxes, *overrides.masks, *(overrides.only or ())):
        if scan_id not in scans:
            raise KeyError(f"{folder} has no scan {scan_id!r}; the first is {next(iter(scans))!r}.")
    chosen: list[ScanFiles] = []
    for scan_id, scan in scans.items():
        if overrides.only is not None and scan_id not in overrides.only:
            continue
        mask = overrides.masks.get(scan_id, scan.mask)
        hashed = content_hash(scan.image)[:HASH_LENGTH] if overrides.hash_ids else scan_id
        if hashed in {one.id for one in chosen}:  # the same image again
            unused.append(scan.image)
            continue
        chosen.append(
            dataclasses.replace(
                scan,
                id=hashed,
                found_as=scan_id,
                mask=None if mask is None else pathlib.Path(mask),
                box=boxes.get(scan_id),
                series=overrides.series,
            )
        )
    return chosen, unused


def build_dataset(
    dataset: Dataset,
    scans: Sequence[ScanFiles],
    recipe: Any,
    out: pathlib.Path,
    *,
    atlas: str | None = None,
    hold_out: Any = None,
    match: ScanFiles | None = None,
    keep_others: bool = False,
    workers: int = 1,
    strict: bool = False,
    progress: Callable[[Any], Any] | None = None,
) -> tuple[Summary, pathlib.Path, list[str]]:
    """Writes `NAME.h5` and `NAME.json`.

    Args:
        dataset: Dataset. scans: list of ScanFiles, as `find_scans` gives them.
        recipe: as of `default_recipe`.
        out: folder, made if need be.
        atlas: the fixed scan of all pairs, by the id it was found as; "none" for none; None:
            that of an older config, else the dataset's.
        hold_out: scans for scheme "2" alone (`data_prep.splits.parse_hold_out`), or None.
        match: ScanFiles whose histogram the others are matched to (liver), or None.
        keep_others, workers, strict, progress: see `batch.build_pack`.
    Returns: Summary, path of the config, ids of prepared scans that the config leaves out
        because the other one of their pair is not there.
    Raises: ValueError, KeyError, OSError: as `batch.build_pack`, and where no pair is whole.
    """
    out = pathlib.Path(out)
    pack, config = out / f"{dataset.name}.h5", out / f"{dataset.name}.json"
    if match is not None:
        reference = reference_quantiles(match, recipe)
        recipe = dataclasses.replace(recipe, reference=reference)
    make_folder(out)
    check_outputs(pack, config)
    plan = plan_config(
        config,
        pack,
        dict(zip([scan.id for scan in scans], dataset.subjects(scans))),
        hold_out=hold_out,
        atlas=_atlas_id(atlas, scans, dataset, pack, keep_others),
        usual_atlas=_atlas_id(dataset.atlas, scans, dataset, pack, keep_others),
        keep_others=keep_others,
        split=None if dataset.split is None else _split(dataset, scans),
        only_trained=[scan.id for scan in scans if not dataset.is_test_scan(scan.id)],
    )
    summary = batch.build_pack(
        scans,
        recipe,
        pack,
        workers=workers,
        strict=strict,
        required=() if plan.atlas is None else (plan.atlas,),
        keep_others=keep_others,
        attributes={"dataset": dataset.name},
        progress=progress,
    )
    ids = summary.prepared
    if dataset.paired or dataset.fixed is not None:
        found_as = {scan.id: scan.found_as or scan.id for scan in scans}
        names = {scan_id: found_as.get(scan_id, scan_id) for scan_id in ids}
        ids = whole_pairs(names) if dataset.paired else whole_groups(names, dataset.fixed)
        if not ids:
            raise ValueError(
                f"{pack} is written, but no pair is whole, so {config} is not: "
                f"{'it is left as it was' if config.exists() else 'there is no config'}."
            )
    remarks = plan.write(
        ids,
        shape=recipe.shape,
        labels=summary.labels,
        subset=dataset.name,
        image_type=dataset.kind,
        paired=dataset.paired,
        fixed=dataset.fixed,
        structures=dataset.structures,
        expected=None if dataset.any_number or dataset.unit != "scan" else dataset.expected,
    )
    summary = dataclasses.replace(summary, remarks=tuple(remarks))
    return summary, config, [scan_id for scan_id in summary.prepared if scan_id not in ids]


def whole_pairs(names: Mapping[str, str]) -> list[str]:
    """Ids in pairs, of the scans whose names are the same but for what follows the last "_".

    Args: names: {id: name}.
    """
    pairs: dict[str, list[str]] = {}
    for scan_id, name in names.items():
        pairs.setdefault(name.rpartition("_")[0], []).append(scan_id)
    return [scan_id for pair in pairs.values() if len(pair) == 2 for scan_id in pair]


def whole_groups(names: Mapping[str, str], fixed: str | None) -> list[str]:
    """Ids of scans in groups that have their fixed scan and another one (`fixed` of a config).

    Args: names: {id: name}. fixed: the end of the fixed scans' names.
    """
    groups: dict[str, list[str]] = {}
    for scan_id, name in names.items():
        groups.setdefault(group_of(name), []).append(scan_id)
    return [
        scan_id
        for group, ids in groups.items()
        if len(ids) > 1 and f"{group}_{fixed}" in [names[scan_id] for scan_id in ids]
        for scan_id in ids
    ]


def _split(dataset, scans):
    """{subset: ids of its scans}; only the training has scans that cannot be tested on."""
    subjects = dataset.subjects(scans)
    chosen = split_subjects(subjects, dataset.split)
    train = next(iter(chosen))
    return {
        subset: [
            scan.id
            for scan, subject in zip(scans, subjects)
            if subject in names and (subset == train or dataset.is_test_scan(scan.id))
        ]
        for subset, names in chosen.items()
    }


def named_scan(scans: Sequence[ScanFiles], name: str, dataset: Dataset) -> ScanFiles:
    """The scan that was found as `name`. Raises: KeyError: there is none."""
    for scan in scans:
        if scan.found_as == name:
            return scan
    raise KeyError(f"{dataset.name} has no scan {name!r}; the first is {scans[0].found_as!r}.")


def _atlas_id(atlas, scans, dataset, pack, keep_others):
    """The atlas, given as the id it was found as, as `plan_config` takes it.

    Raises: KeyError: there is no such scan.
    """
    if atlas in (None, "none"):
        return atlas
    if keep_others and all(scan.found_as != atlas for scan in scans) and atlas in ids_of(pack):
        return atlas
    return named_scan(scans, atlas, dataset).id
