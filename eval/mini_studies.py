"""The mini studies: small data with real anatomy for each paper's tables.

Brains have two forms, "quick" and "large"; other studies have one, which serves as both.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

from eval import mini_hearts, mini_study
from eval.baselines.physical import MissingExtraError
from eval.tables import Table
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

    def reduced(self, table: Table) -> Table:
        """The table with as many cascades as the study has."""
        return table if self.cascades is None else table.reduced(self.cascades)


def study_of(table: Table, form: str = "quick") -> MiniStudy:
    """The mini study for a table. Args: form: of `mini_study.FORMS`."""
    return HEART if table.tasks()[0].images in HEARTS else BRAINS[form]


def studies_of(tables: Iterable[Table], form: str = "quick") -> list[MiniStudy]:
    """The mini studies that tables need, each once. Args: form: as of `study_of`."""
    found = [study_of(table, form) for table in tables]
    return [study for study in (*BRAINS.values(), HEART) if study in found]


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
