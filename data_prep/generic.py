"""Packs from image files of any kind that SimpleITK reads (NIfTI, MetaImage, NRRD, ...).

Each image is cropped to its foreground box (or its mask's), resampled onto the pack's grid and
normalised exactly as `rcn register` does it; labels follow by nearest neighbour, landmarks are
turned from physical points (LPS, mm) into voxels of the grid. The grid's geometry is stored with
each scan, so that results can be brought back to the patient.
"""

import csv
import os
import pathlib

import numpy as np

from data_prep.packs import PackWriter, to_uint8
from rcn_tf.files import write_json
from rcn_tf.volumes.images import read_image, require_same_geometry
from rcn_tf.volumes.preprocessing import prepare_labels, prepare_volume

_MASK = 255  # the only id of a segmentation in the manner of the original's livers
_DOUBLE_SUFFIXES = (".gz", ".bz2", ".zst")


def build_pack(
    images,
    out,
    config,
    *,
    shape,
    labels=None,
    landmarks=None,
    masks=None,
    ids=None,
    subset="all",
    atlas=None,
    progress=None,
):
    """Writes a pack and the dataset config that describes it.

    Nothing appears under the final names before all scans are done; on an error older files
    stay.

    Args:
        images: paths. labels, landmarks, masks: as many paths, or None for none.
        out: pack to write (HDF5). config: dataset config to write (JSON).
        shape: (D, H, W) of the grid.
        ids: names of the scans; by default the file names without suffix.
        subset: name of the subset that lists all scans, used by schemes "1" and "2".
        atlas: id of the scan with which all others are paired; None pairs all with all.
        progress: called with the id of each finished scan.
    Raises: ValueError, KeyError, OSError: naming the file.
    """
    images, out, config = [pathlib.Path(p) for p in images], pathlib.Path(out), pathlib.Path(config)
    ids = [_stem(path) for path in images] if ids is None else list(ids)
    columns = {"ids": ids, "labels": labels, "landmarks": landmarks, "masks": masks}
    for name, values in columns.items():
        if values is not None and len(values) != len(images):
            raise ValueError(f"{len(images)} images but {len(values)} {name}: give one for each.")
    _check_ids(ids, atlas)
    for path in [*images, *(labels or ()), *(landmarks or ()), *(masks or ())]:
        if not pathlib.Path(path).is_file():
            raise FileNotFoundError(f"no such file: {path}")
    if out.resolve() == config.resolve():
        raise ValueError(f"the pack and the dataset config must be two files; got {out} twice.")
    if not config.parent.is_dir():
        raise FileNotFoundError(f"Folder {config.parent} does not exist.")

    structures = set()
    nothing = [None] * len(images)
    with PackWriter(out) as pack:
        rows = zip(ids, images, labels or nothing, landmarks or nothing, masks or nothing)
        for scan_id, *sources in rows:
            scan = prepare_scan(*sources, shape=shape)
            pack.add(scan_id, **scan)
            if scan["segmentation"] is not None:
                structures.update(np.unique(scan["segmentation"]).tolist())
            if progress:
                progress(scan_id)
    write_json(config, _config(out, config, shape, ids, subset, atlas, structures - {0}))


def prepare_scan(image, labels=None, landmarks=None, mask=None, *, shape):
    """Reads and prepares one scan.

    Args: image, labels, landmarks, mask: paths or None; shape: (D, H, W).
    Returns: dict, the arguments of `PackWriter.add` besides the id.
    Raises: ValueError, OSError: naming the file.
    """
    picture = read_image(image)
    region = None if mask is None else read_image(mask)
    if region is not None:
        require_same_geometry(picture, region, str(image), str(mask))
    prepared = prepare_volume(picture, shape, mask=region, name=str(image))
    segmentation = points = None
    if labels is not None:
        annotation = read_image(labels)
        require_same_geometry(picture, annotation, str(image), str(labels))
        segmentation = prepare_labels(annotation, prepared.grid, name=str(labels))
    if landmarks is not None:
        points = prepared.grid.point_to_index(read_landmarks(landmarks))
    attributes = {
        **prepared.grid.to_attributes(),
        "crop_box": np.asarray(prepared.box),
        "source": pathlib.Path(image).name,
    }
    return {
        "volume": to_uint8(prepared.array),
        "segmentation": segmentation,
        "points": points,
        "attributes": attributes,
    }


def read_landmarks(path):
    """Landmarks from a CSV file with a header line and columns x, y, z (LPS, mm).

    Other columns are ignored; a row with empty coordinates is a missing landmark.

    Returns: [n, 3] float64, NaN where missing.
    Raises: ValueError: naming the file and the line.
    """
    with pathlib.Path(path).open(newline="", encoding="utf-8-sig") as file:
        try:
            rows = list(csv.reader(file))
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"cannot read {path} as CSV: {error}") from error
    header = [name.strip().lower() for name in rows[0]] if rows else []
    if not {"x", "y", "z"} <= set(header):
        raise ValueError(f"{path} must begin with a header line naming x, y and z; got {header}")
    positions = [header.index(axis) for axis in "xyz"]
    points = []
    for number, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        try:
            points.append([float(row[k].strip() or "nan") for k in positions])
        except (ValueError, IndexError) as error:
            raise ValueError(f"{path}, line {number}: not three numbers: {row}") from error
    return np.array(points, np.float64).reshape(-1, 3)


def _stem(path):
    name = path.name
    if path.suffix.lower() in _DOUBLE_SUFFIXES:
        name = path.stem
    return pathlib.Path(name).stem


def _check_ids(ids, atlas):
    for scan_id in ids:
        if ids.count(scan_id) > 1:
            raise ValueError(f"Scan id {scan_id!r} occurs twice: give different ones with --ids.")
        if not scan_id or "/" in scan_id:
            raise ValueError(f"A scan id must be a name without '/'; got {scan_id!r}.")
    if atlas is not None and atlas not in ids:
        raise ValueError(f"The atlas {atlas!r} is none of the scan ids {ids}.")


def _config(out, config, shape, ids, subset, atlas, structures):
    alias = out.stem
    # Relative, so that the folder can be moved.
    path = os.path.relpath(out.resolve(), config.parent.resolve())
    result = {
        "files": {alias: {"path": path, "type": "HDF5"}},
        "image_size": list(shape),
        "image_type": "liver" if structures == {_MASK} else "brain",
        "schemes": {"1": {subset: 1.0}, "2": {subset: 1.0}},
        "subsets": {subset: [f"{alias}/{scan_id}" for scan_id in ids]},
    }
    if atlas is not None:
        result["atlas"] = f"{alias}/{atlas}"
    if structures:
        result["segmentation_class_value"] = {str(k): k for k in sorted(structures)}
    return result
