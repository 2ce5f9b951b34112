"""One dataset of the papers: from the folder of its download to a pack and a config."""

import dataclasses
import pathlib
from typing import Optional

from data_prep import batch
from data_prep.boxes import read_boxes
from data_prep.config_files import check_outputs, write_config
from data_prep.generic import ImageRecipe
from data_prep.liver import LiverRecipe, reference_quantiles
from data_prep.scan_files import HASH_LENGTH, content_hash
from rcn_tf.data.packs import PackReader


@dataclasses.dataclass(frozen=True)
class Overrides:
    """What a person corrects by hand.

    boxes: {scan id: ((x0, x1), (y0, y1), (z0, z1))}, LPS, mm. masks: {scan id: path}.
    series: which one, for DICOM folders that hold several. only: ids to prepare, or None.
    hash_ids: name scans by the hash of their files instead of folder and file names.
    """

    boxes: dict = dataclasses.field(default_factory=dict)
    masks: dict = dataclasses.field(default_factory=dict)
    series: Optional[str] = None
    only: Optional[list] = None
    hash_ids: bool = False


def default_recipe(dataset):
    """The recipe of a dataset's kind, with the dataset's shape, labels and window."""
    if dataset.kind == "liver":
        return LiverRecipe(shape=dataset.shape, liver_labels=dataset.labels_are)
    return ImageRecipe(
        shape=dataset.shape,
        window=dataset.window,
        apply_mask=dataset.kind == "brain",
        keep_labels=dataset.labels_are,
        crop=dataset.crop,
        landmarks_in=dataset.landmarks_in,
    )


def find_scans(dataset, folder, overrides):
    """Scans of a dataset with the overrides applied; `boxes.csv` in the folder counts as some.

    Returns: tuple: list of ScanFiles; list of paths that are not used (`Dataset.find`).
    Raises:
        ValueError: a box that is none, or a header that cannot be read (with hash_ids).
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
    chosen = []
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
    dataset,
    scans,
    recipe,
    out,
    *,
    atlas=None,
    match=None,
    keep_others=False,
    workers=1,
    strict=False,
    progress=None,
):
    """Writes `NAME.h5` and `NAME.json`.

    Args:
        dataset: Dataset. scans: list of ScanFiles, as `find_scans` gives them.
        recipe: LiverRecipe or ImageRecipe.
        out: folder, made if need be.
        atlas: the fixed scan of all pairs, by the id it was found as; None for none.
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
    if atlas is not None:
        chosen = [scan.found_as for scan in scans]
        if not (keep_others and atlas not in chosen and atlas in _ids(pack)):
            atlas = named_scan(scans, atlas, dataset).id
    out.mkdir(parents=True, exist_ok=True)
    check_outputs(pack, config)
    summary = batch.build_pack(
        scans,
        recipe,
        pack,
        workers=workers,
        strict=strict,
        required=() if atlas is None else (atlas,),
        keep_others=keep_others,
        attributes={"dataset": dataset.name},
        progress=progress,
    )
    ids = summary.prepared
    if dataset.paired:
        found_as = {scan.id: scan.found_as for scan in scans}
        ids = whole_pairs({scan_id: found_as.get(scan_id, scan_id) for scan_id in ids})
        if not ids:
            config.unlink(missing_ok=True)  # an older one would not fit the pack
            raise ValueError(f"{pack} is written, but no pair is whole, so there is no config.")
    write_config(
        config,
        pack,
        shape=recipe.shape,
        subsets={dataset.name: ids},
        labels=summary.labels,
        image_type=dataset.kind,
        atlas=atlas,
        paired=dataset.paired,
        expected=None if dataset.any_number else {dataset.name: dataset.expected},
    )
    return summary, config, [scan_id for scan_id in summary.prepared if scan_id not in ids]


def whole_pairs(names):
    """Ids in pairs, of the scans whose names are the same but for what follows the last "_".

    Args: names: {id: name}.
    """
    pairs = {}
    for scan_id, name in names.items():
        pairs.setdefault(name.rpartition("_")[0], []).append(scan_id)
    return [scan_id for pair in pairs.values() if len(pair) == 2 for scan_id in pair]


def named_scan(scans, name, dataset):
    """The scan that was found as `name`. Raises: KeyError: there is none."""
    for scan in scans:
        if scan.found_as == name:
            return scan
    raise KeyError(f"{dataset.name} has no scan {name!r}; the first is {scans[0].found_as!r}.")


def _ids(pack):
    """Ids of a pack; none where there is no pack."""
    if not pack.is_file():
        return []
    with PackReader(pack) as reader:
        return reader.ids()
