"""One dataset of the papers: from the folder of its download to a pack and a config."""

import dataclasses
import pathlib

from data_prep import batch
from data_prep.boxes import read_boxes
from data_prep.config_files import write_config
from data_prep.generic import ImageRecipe
from data_prep.liver import LiverRecipe, reference_quantiles
from data_prep.scan_files import content_hash


@dataclasses.dataclass(frozen=True)
class Overrides:
    """What a person corrects by hand.

    boxes: {scan id: ((x0, x1), (y0, y1), (z0, z1))}, LPS, mm. masks: {scan id: path}.
    series: which one, for DICOM folders that hold several. only: ids to prepare, or None.
    hash_ids: name scans by the hash of their files instead of folder and file names.
    """

    boxes: dict = dataclasses.field(default_factory=dict)
    masks: dict = dataclasses.field(default_factory=dict)
    series: object = None
    only: object = None
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

    Raises:
        ValueError: a box that is none.
        KeyError: an override for a scan that is not there.
        FileNotFoundError: no folder, no scan, no such mask.
    """
    scans = {scan.id: scan for scan in dataset.find(folder)}
    boxes = {}
    if dataset.kind == "liver" and (pathlib.Path(folder) / "boxes.csv").is_file():
        boxes = read_boxes(pathlib.Path(folder) / "boxes.csv")
    boxes.update(overrides.boxes)
    for scan_id in (*boxes, *overrides.masks, *(overrides.only or ())):
        if scan_id not in scans:
            raise KeyError(f"{folder} has no scan {scan_id!r}; the first is {next(iter(scans))!r}.")
    chosen = []
    for scan_id, scan in scans.items():
        if overrides.only is not None and scan_id not in overrides.only:
            continue
        mask = overrides.masks.get(scan_id, scan.mask)
        chosen.append(
            dataclasses.replace(
                scan,
                id=content_hash(scan.image)[:12] if overrides.hash_ids else scan_id,
                mask=None if mask is None else pathlib.Path(mask),
                box=boxes.get(scan_id),
                series=overrides.series,
            )
        )
    return chosen


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
        dataset: Dataset. scans: list of ScanFiles. recipe: LiverRecipe or ImageRecipe.
        out: folder, made if need be.
        atlas: id of the fixed scan of all pairs, None for none.
        match: id of the scan whose histogram the others are matched to (liver), None for none.
        keep_others, workers, strict, progress: see `batch.build_pack`.
    Returns: Summary, path of the config, ids of prepared scans that the config leaves
        out because the other one of their pair failed.
    Raises: ValueError, KeyError, OSError: as `batch.build_pack`.
    """
    out = pathlib.Path(out)
    ids = [scan.id for scan in scans]
    for name in filter(None, (atlas, match)):
        if name not in ids:
            raise KeyError(f"{dataset.name} has no scan {name!r}; the first is {ids[0]!r}.")
    out.mkdir(parents=True, exist_ok=True)
    if match is not None:
        reference = reference_quantiles(scans[ids.index(match)], recipe)
        recipe = dataclasses.replace(recipe, reference=reference)
    pack, config = out / f"{dataset.name}.h5", out / f"{dataset.name}.json"
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
    ids = whole_pairs(summary.prepared) if dataset.paired else summary.prepared
    write_config(
        config,
        pack,
        shape=recipe.shape,
        subsets={dataset.name: ids},
        labels=summary.labels,
        image_type=dataset.kind,
        atlas=atlas,
        paired=dataset.paired,
        expected={dataset.name: dataset.expected},
    )
    return summary, config, [scan_id for scan_id in summary.prepared if scan_id not in ids]


def whole_pairs(ids):
    """The ids of which there are two with the same beginning, up to the last "_", in pairs."""
    pairs = {}
    for scan_id in ids:
        pairs.setdefault(scan_id.rpartition("_")[0], []).append(scan_id)
    return [scan_id for pair in pairs.values() if len(pair) == 2 for scan_id in pair]
