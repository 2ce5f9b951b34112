"""The mini studies: small data with real anatomy for each paper's tables."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

from eval import mini_avsm, mini_hearts, mini_study
from eval.baselines.physical import MissingExtraError
from eval.tables import Table
from eval.tables.avsm import KNEES
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


def study_of(table: Table) -> MiniStudy:
    """The mini study for a table."""
    images = table.tasks()[0].images
    return HEART if images in HEARTS else KNEE if images in KNEES else BRAIN


def studies_of(tables: Iterable[Table]) -> list[MiniStudy]:
    """The mini studies that tables need, each once."""
    found = [study_of(table) for table in tables]
    return [study for study in (BRAIN, HEART, KNEE) if study in found]


def _build_brains(scans, out, workers, progress, say):
    mini_study.build(scans, out, workers=workers, progress=progress)
    try:
        mini_study.build_aligned(out, workers=workers, progress=progress)
    except MissingExtraError as error:
        say(f"no aligned scans: {error}")


def _build_hearts(scans, out, workers, progress, say):
    del say  # nothing is left out
    mini_hearts.build(scans, out, workers=workers, progress=progress)


def _build_visits(scans, out, workers, progress, say):
    del say  # nothing is left out
    mini_avsm.build(scans, out, workers=workers, progress=progress)


BRAIN = MiniStudy(
    "brain",
    "brain scans and label maps",
    _build_brains,
    lambda spec: mini_study.TRAINING,
    mini_study.CASCADES,
    "The papers' tables on seven brains (four to train on, three to test) of "
    f"{'x'.join(map(str, mini_study.SHAPE))} voxels, with at most {mini_study.CASCADES} cascades "
    "of narrow networks and few training steps.",
)
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
