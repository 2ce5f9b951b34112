"""Seven brains, four to train on and three to test, from which small studies draw renderings.

They are those of `data_prep.brain_study`: real T1 scans, and label maps of real subjects.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from data_prep import batch
from data_prep.brain_study import SUBJECTS
from data_prep.scan_files import ScanFiles
from eval.mini_study import SEED, MiniRecipe, files_of, scan_id

TRAIN = tuple(subject.name for subject in SUBJECTS if subject.train)
TEST = ("subject_a", "labelmap_05", "labelmap_10")


def build_packs(
    scans: str | pathlib.Path,
    out: pathlib.Path,
    renderings: Mapping[str, int],
    shape: tuple[int, ...],
    *,
    prefix: str = "",
    workers: int = 1,
    progress: Callable[[Any], Any] | None = None,
) -> None:
    """Builds the packs of the training and the test subjects, `train.h5` and `test.h5`.

    Args:
        scans: folder with the seven brains. out: folder, created if absent.
        renderings: {"train": number, "test": number} per subject, besides the undeformed scan.
        shape: of the volumes. prefix: of the files' names.
        workers, progress: see `data_prep.batch.build_pack`.
    Raises: FileNotFoundError: naming the scan that is missing.
    """
    scans = pathlib.Path(scans)
    files = {subject.name: files_of(subject, scans) for subject in SUBJECTS}
    out.mkdir(parents=True, exist_ok=True)
    recipe = MiniRecipe(shape, SEED, SUBJECTS)
    for name, subjects in (("train", TRAIN), ("test", TEST)):
        listed = [
            ScanFiles(scan_id(subject, number), *files[subject])
            for subject in subjects
            for number in range(renderings[name] + 1)
        ]
        path = out / f"{prefix}{name}.h5"
        batch.build_pack(listed, recipe, path, strict=True, workers=workers, progress=progress)
