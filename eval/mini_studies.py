"""The mini studies: small data with real anatomy for each paper's tables.

Brains have two forms, "quick" and "large"; other studies have one, which serves as both.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

from eval import mini_avsm, mini_hearts, mini_matching, mini_study
from eval.baselines.physical import MissingExtraError
from eval.tables import Table, Task
from eval.tables.avsm import KNEES
from eval.tables.rwcnet import DATASETS as MATCHING
from eval.tables.vrnet import IMAGES as HEARTS


@dataclasses.dataclass(frozen=True)
class MiniStudy:
    """A mini study.

    folder: usual name of the folder with its scans; needs: what lies in it, for people. build:
    function (scans, out, workers, progress, say). training: settings of a ModelSpec's training.
    cascades: most of a cascade. note: what it is, one sentence.
    """

    folder: str
    needs: str
    build: Callable[..., None]
    training: Callable[[Any], tuple]
    cascades: int | None
    note: str

    def scans(self, given: pathlib.Path | None, usual: pathlib.Path) -> pathlib.Path:
        """The folder of its scans: below the one given, that itself, or below the usual one.

        Raises: FileNotFoundError: it does not exist.
        """
        places = [usual / self.folder] if given is None else [given / self.folder, given]
        found = next((place for place in places if place.is_dir()), None)
        if found is None:
            raise FileNotFoundError(
                f"--mini needs a folder with {self.needs} (--data); {places[-1]} is not a folder."
            )
        return found


def study_of(task: Task, form: str = "quick") -> MiniStudy:
    """The mini study for a task. Args: form: of `mini_study.FORMS`."""
    if task == MATCHING["NLST"]:
        return LUNG
    if task == MATCHING["OASIS"]:
        return MATCHED_BRAIN
    if task.images in KNEES:
        return KNEE
    return HEART if task.images in HEARTS else BRAINS[form]


def studies_of(tables: Iterable[Table], form: str = "quick") -> list[MiniStudy]:
    """The mini studies that tables need, each once. Args: form: as of `study_of`."""
    found = [study_of(task, form) for table in tables for task in table.tasks()]
    known = (*BRAINS.values(), HEART, KNEE, MATCHED_BRAIN, LUNG)
    return [study for study in known if study in found]


def reduced(table: Table, form: str = "quick") -> Table:
    """The table with as many cascades as its studies have. Args: form: as of `study_of`."""
    studies = studies_of([table], form)
    limits = [study.cascades for study in studies if study.cascades is not None]
    return table.reduced(min(limits)) if limits else table


def _brains(form, training):
    def build(scans, out, workers, progress, say):
        options = {"workers": workers, "progress": progress}
        mini_study.build(scans, out, shape=form.shape, **options)
        try:
            mini_study.build_aligned(out, **options)
        except MissingExtraError as error:
            say(f"no aligned scans: {error}")

    size = "x".join(map(str, form.shape))
    return MiniStudy(
        "brain",
        "label maps of brains and a real scan",
        build,
        training,
        form.cascades,
        "The papers' tables on 19 people (12 to train on, 2 to validate with, 5 to test on) in "
        f"volumes of {size} voxels, with at most {form.cascades} cascades; {form.note}.",
    )


def _build_hearts(scans, out, workers, progress, say):
    del say  # nothing is left out
    mini_hearts.build(scans, out, workers=workers, progress=progress)


def _build_visits(scans, out, workers, progress, say):
    del say  # nothing is left out
    mini_avsm.build(scans, out, workers=workers, progress=progress)


def _build_matched_brains(scans, out, workers, progress, say):
    del say
    mini_matching.build_brains(scans, out, workers=workers, progress=progress)


def _build_lungs(scans, out, workers, progress, say):
    del say
    mini_matching.build_lungs(scans, out, workers=workers, progress=progress)


BRAIN = _brains(mini_study.QUICK, mini_study.training)
BRAINS = {"quick": BRAIN, "large": _brains(mini_study.LARGE, mini_study.large_training)}
HEART = MiniStudy(
    "cardiac",
    "films and label maps of hearts",
    _build_hearts,
    mini_hearts.training,
    None,
    "VR-Net's tables on six hearts (four to train on, two to test), slices of "
    f"{'x'.join(map(str, mini_hearts.SHAPE))} pixels, with narrow networks and few training steps.",
)
KNEE = MiniStudy(
    "brain",
    "brain scans and label maps",
    _build_visits,
    mini_avsm.training,
    None,
    "AVSM's tables on renderings of seven brains (four to train on, three to test) of "
    f"{'x'.join(map(str, mini_avsm.SHAPE))} voxels in place of knees, with narrow networks and few "
    "training steps.",
)
MATCHED_BRAIN = MiniStudy(
    "brain",
    "brain scans and label maps",
    _build_matched_brains,
    mini_matching.training,
    None,
    "RWCNet's brains: five with labels (two to train on, three to test) of "
    f"{'x'.join(map(str, mini_matching.BRAIN_SHAPE))} voxels, with narrow networks, few iterations "
    "and few training steps.",
)
LUNG = MiniStudy(
    "lung",
    "scans and masks of a lung",
    _build_lungs,
    mini_matching.training,
    None,
    "RWCNet's lungs: one patient's at two times (one to train on, one to test), moved by known "
    f"fields of 10 to 25 mm, {'x'.join(map(str, mini_matching.LUNG_SHAPE))} voxels, with narrow "
    "networks, few iterations and few training steps.",
)
