"""Packs whose scans are all aligned affinely to one of them, by ANTs.

Some networks of the papers have no affine stage and take brains that ANTs has aligned to an
atlas (VTN, section V-B; RCN, footnote 1 of Table 1). The papers do not print that command; here
the rigid and affine stages of VTN's footnote 2 run with ANTs' usual iterations.

Every aligned scan has the `spacing` of the original scan and the attribute `alignment`: the linear
part of the map from its voxels to those of the original (axis order ij). With it distances are
measured in the original scan (`rcn_tf.evaluation.PairScores`).
"""

from __future__ import annotations

import dataclasses
import functools
import multiprocessing
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import map_coordinates

from data_prep import batch
from data_prep.prepared_scan import PreparedScan
from data_prep.scan_files import ScanFiles
from eval.baselines import ants
from eval.baselines.physical import flow_of_transform
from rcn_tf.commands.parser import CommandParser
from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.label_warp import warp_labels
from rcn_tf.data.packs import PackReader, volume_checksum
from rcn_tf.files.json_files import read_json, write_json
from rcn_tf.metrics.landmarks import is_missing
from rcn_tf.running import run_command

_KEPT = ("spacing", "source")  # attributes that are copied


@dataclasses.dataclass(frozen=True)
class AlignmentRecipe:
    """Aligns a scan of a pack (`ScanFiles.image`) to scan `reference` of `reference_pack`.

    checksum: of the reference's volume, so that scans are made anew if it changes.
    """

    reference_pack: str
    reference: str
    checksum: str

    def __call__(self, files: ScanFiles, timer: Any) -> PreparedScan:
        """Aligns one scan. Args: ScanFiles, StepTimer. Returns: PreparedScan."""
        if multiprocessing.parent_process():  # this is one of several workers
            os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
        with timer.step("read"):
            scan, fixed = _read(files.image, files.id), _read(self.reference_pack, self.reference)
        with timer.step("align"):
            transform = ants.register(
                fixed.volume, scan.volume, deformable=False, schedule=ants.USUAL_SCHEDULE
            )
        with timer.step("resample"):
            return _aligned(scan, transform)


def align(
    config: str | pathlib.Path,
    reference: str,
    out: str | pathlib.Path,
    *,
    workers: int = 1,
    progress: Callable[[Any], Any] | None = None,
) -> pathlib.Path:
    """Writes aligned packs and a dataset config with the same subsets.

    Args:
        config: path of a dataset config. reference: scan "alias/id" of it to align to.
        out: config to write; its packs are written beside it as STEM_ALIAS.h5.
        workers, progress: see `data_prep.batch.build_pack`.
    Returns: path of the config.
    Raises: KeyError, ValueError, OSError: naming config, pack or scan.
    """
    config, out = pathlib.Path(config), pathlib.Path(out)
    parsed, raw = load_dataset_config(config), read_json(config)
    alias, key = parsed.locate(reference)
    pack = str(parsed.files[alias].resolve())
    recipe = AlignmentRecipe(pack, key, volume_checksum(_read(pack, key).volume))
    for alias, path in parsed.files.items():
        with PackReader(path) as pack:
            scans = [ScanFiles(one, image=path) for one in pack.ids()]
        target = out.with_name(f"{out.stem}_{alias.strip('/') or 'all'}.h5")
        batch.build_pack(scans, recipe, target, workers=workers, strict=True, progress=progress)
        raw["files"][alias] = {"path": target.name}
    write_json(out, raw)
    return out


def _aligned(scan, transform):
    """A scan, warped by a linear transform from the reference's points to its own."""
    flow = flow_of_transform(transform, scan.volume.shape)
    positions = np.indices(scan.volume.shape) + np.moveaxis(flow, -1, 0)
    volume = map_coordinates(scan.volume.astype(np.float32), positions, order=1, mode="nearest")
    segmentation = None if scan.segmentation is None else warp_labels(scan.segmentation, flow)
    points = None if scan.points is None else _moved(scan.points, transform.GetInverse())
    attributes = {key: scan.attributes[key] for key in _KEPT if key in scan.attributes}
    attributes["alignment"] = linear_part(transform)
    return PreparedScan(np.rint(volume).astype(np.uint8), segmentation, points, attributes)


def linear_part(transform: sitk.Transform) -> np.ndarray:
    """[3, 3] matrix of a linear SimpleITK transform, for displacements in axis order ij."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.array(transform.TransformPoint(axis)) - origin for axis in np.eye(3)]
    return np.stack(columns, axis=1)[::-1, ::-1]


def _moved(points, transform):
    """Landmarks [n, 3] (voxels, ij), moved by a transform; missing ones stay as they are."""
    moved = [transform.TransformPoint([float(x) for x in p[::-1]])[::-1] for p in points]
    missing = is_missing(points)
    return np.where(missing[:, None], points, np.float32(moved))


@functools.lru_cache(maxsize=4)
def _reader(path):
    return PackReader(path)


def _read(path, scan_id):
    return _reader(path).read(scan_id)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code (`rcn_tf.running`)."""
    parser = CommandParser(prog="python -m eval.prealign", description=__doc__)
    parser.add_argument("config", help="dataset config")
    parser.add_argument("--reference", required=True, metavar="ALIAS/ID", help="scan to align to")
    parser.add_argument("--out", required=True, metavar="CONFIG", help="dataset config to write")
    parser.add_argument("--workers", type=int, default=1, help="number of processes (default: 1)")
    args = parser.parse_args(argv)
    return run_command("python -m eval.prealign", lambda: _run(args))


def _run(args):
    path = align(
        args.config,
        args.reference,
        args.out,
        workers=args.workers,
        progress=lambda scan: print(scan.scan_id, flush=True),
    )
    print(path)


if __name__ == "__main__":
    sys.exit(main())
