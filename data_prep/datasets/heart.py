"""Cardiac MRI: ED and ES of the same heart (VR-Net, section V-A). Pages: docs/datasets/.

A patient's frames form the pairs: the config's key `fixed` says that ED is fixed.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Callable
from typing import Any

from data_prep.datasets.layout import Dataset, image_paths
from data_prep.hearts import ED, ES, STRUCTURES, Heart, HeartFiles
from data_prep.splits import split_subjects
from rcn_tf.errors import warn
from rcn_tf.files.natural_order import natural_order
from rcn_tf.wording import counted

SLICES = ("three", "all")
"""Slices of a heart: the middle ones of its basal, middle and apical third; or all."""

_SHARES = {"train": 0.4, "validation": 0.1, "test": 0.5}
_THIRDS = (1 / 6, 1 / 2, 5 / 6)
_FRAME_FILE = re.compile(r"(?P<name>patient\d+)_frame(?P<number>\d+)(?P<labels>_gt)?\.nii(\.gz)?")
_ED_OR_ES = re.compile(
    r"(?P<before>(?:seg|labels?)_)?(?P<name>.+)_(?P<frame>ED|ES)"
    r"(?P<after>_(?:gt|seg|labels?))?\.(?:nii|nii\.gz|mha|mhd|nrrd)"
)


@dataclasses.dataclass(frozen=True)
class HeartDataset(Dataset):
    """A data set of hearts.

    hearts: function (folder) -> list of Heart, in order. spacing: mm of the pack's grid.
    slices: of SLICES where scans are slices; None where they are volumes. all_frames: whether
    training also sees the cine's other frames. labels_are: ids of right ventricle, myocardium and
    left ventricle in the files. expected: number of patients. split: {subset: share of patients}.
    """

    hearts: Callable[[pathlib.Path], list] = lambda folder: []
    spacing: float = 1.0
    slices: str | None = None
    all_frames: bool = False
    labels_are: tuple = (1, 2, 3)
    orientation: str | None = None
    kind: str = "heart"
    images: tuple = ()
    expected: int = 0
    fixed: str | None = ED
    structures: dict | None = dataclasses.field(default_factory=lambda: dict(STRUCTURES))
    split: dict | None = dataclasses.field(default_factory=lambda: dict(_SHARES))
    unit: str = "patient"

    def find(self, folder: pathlib.Path) -> Any:
        """As `Dataset.find`; the scans are HeartFiles. Raises: ValueError: an incomplete heart."""
        folder = pathlib.Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"Folder {folder} does not exist.")
        hearts = self.hearts(folder)
        if not hearts:
            raise FileNotFoundError(
                f"{folder} holds no scan of {self.title}; see docs/datasets/{self.name}.md for "
                "the folders and file names that are expected."
            )
        changes = {"label_ids": self.labels_are, "orientation": self.orientation}
        hearts = [dataclasses.replace(heart, **changes) for heart in _of_one_kind(hearts)]
        filmed = set()
        if self.all_frames and self.split:
            filmed = next(iter(split_subjects([one.name for one in hearts], self.split).values()))
        planes = {heart.name: self._planes(heart) for heart in hearts}
        self._report_left_out(hearts, planes)
        return [
            scan
            for heart in hearts
            for scan in _scans(heart, planes[heart.name], filmed=heart.name in filmed)
        ], []

    def subjects(self, scans: Any) -> Any:
        """The patients of HeartFiles."""
        return [scan.heart.name for scan in scans]

    def is_test_scan(self, scan_id: str) -> bool:
        """Whether a scan may be tested on: ED and ES, the frames with labels."""
        return scan_id.rpartition("_")[2] in (ED, ES)

    def _planes(self, heart):
        """Slices of a heart that become scans; [None] for the whole."""
        if self.slices is None:
            return [None]
        there = heart.labelled_slices()
        if not there:
            raise ValueError(
                f"{heart.name}: no slice has a left ventricle in the labels of both ED and ES, so "
                "there is nothing to register; leave the patient out, or correct the labels"
            )
        if self.slices == "three":
            return sorted({there[int(part * len(there))] for part in _THIRDS})
        return there

    def _report_left_out(self, hearts, planes):
        if self.slices != "all":
            return
        lost = {heart.name: heart.grid().shape[0] - len(planes[heart.name]) for heart in hearts}
        if total := sum(lost.values()):
            first = next(name for name, number in lost.items() if number)
            warn(
                f"{counted(total, 'slice')} left out, without a left ventricle in the labels of "
                f"both ED and ES (the first: {counted(lost[first], 'slice')} of {first})"
            )


def acdc_hearts(folder: pathlib.Path) -> list[Heart]:
    """Hearts of ACDC's folders `patientNNN`, which hold Info.cfg, frames and labels.

    Raises: ValueError: a patient's Info.cfg, a frame or one of two label maps is missing.
    """
    places = [folder, *(path for path in folder.rglob("patient*") if path.is_dir())]
    places = [path for path in places if re.fullmatch(r"patient\d+", path.name)]
    return [_acdc_heart(path) for path in sorted(places, key=lambda one: natural_order(one.name))]


def ed_es_hearts(folder: pathlib.Path) -> list[Heart]:
    """Hearts of files `NAME_ED`, `NAME_ES` with labels `NAME_ED_labels`, in any folders.

    Raises: ValueError: ED without ES or the reverse, labels of one frame alone, a name twice.
    """
    images: dict[str, dict] = {}
    labels: dict[str, dict] = {}
    for path in image_paths(folder):
        match = _ED_OR_ES.fullmatch(path.name)
        if match is None:
            continue
        place = path.parent.relative_to(folder).parts
        name = re.sub(r"[^\w.-]", "_", "_".join((*place, match["name"])))
        found = (labels if match["before"] or match["after"] else images).setdefault(name, {})
        if match["frame"] in found:
            raise ValueError(f"{found[match['frame']]} and {path} are one frame: keep one of them")
        found[match["frame"]] = path
    for name, frames in images.items():
        for here, other in ((ED, ES), (ES, ED)):
            if other not in frames:
                raise ValueError(
                    f"{frames[here]} has no {other} beside it: every heart needs both frames, "
                    f"{name}_ED and {name}_ES"
                )
    return [
        _heart(name, frames, labels.get(name, {}), name)
        for name, frames in sorted(images.items(), key=lambda item: natural_order(item[0]))
    ]


def _scans(heart, planes, *, filmed):
    """HeartFiles of a heart. Args: filmed: whether the cine's other frames are scans too."""
    return [
        HeartFiles(
            heart.name + ("" if plane is None else f"_s{plane + 1:02d}") + f"_{frame}",
            image=dict(heart.images).get(frame, heart.cine),
            labels=dict(heart.labels).get(frame),
            heart=heart,
            frame=frame,
            plane=plane,
        )
        for plane in planes
        for frame in (ED, ES, *(heart.other_frames() if filmed else ()))
    ]


def _acdc_heart(folder):
    numbers = _frame_numbers(folder)
    images, labels = {}, {}
    for path in sorted(folder.iterdir()):
        match = _FRAME_FILE.fullmatch(path.name)
        if match and match["name"] == folder.name and path.is_file():
            (labels if match["labels"] else images)[int(match["number"])] = path
    for frame, number in numbers.items():
        if number not in images:
            raise ValueError(
                f"{folder}: {frame} is frame {number} by its Info.cfg, but there is no "
                f"{folder.name}_frame{number:02d}.nii.gz: complete the download"
            )
    by_frame = [
        {frame: files[number] for frame, number in numbers.items() if number in files}
        for files in (images, labels)
    ]
    cine = [path for path in folder.glob(f"{folder.name}_4d.nii*") if path.is_file()]
    return _heart(
        folder.name, *by_frame, folder, cine=next(iter(cine), None), numbers=tuple(numbers.values())
    )


def _frame_numbers(folder):
    """{"ED": number, "ES": number} of a patient's Info.cfg."""
    path = folder / "Info.cfg"
    if not path.is_file():
        raise ValueError(
            f"{folder} has no Info.cfg, which says which frames are ED and ES: complete the "
            "download, or move the folder away"
        )
    text = path.read_text(encoding="utf-8", errors="replace")
    entries = dict(re.findall(r"^\s*(\w+)\s*:\s*(.*?)\s*$", text, re.M))
    for frame in (ED, ES):
        if not entries.get(frame, "").isdigit():
            raise ValueError(f"{path} does not say which frame is {frame} (a line `{frame}: 1`)")
    if entries[ED] == entries[ES]:
        raise ValueError(f"{path} says that ED and ES are the same frame, {entries[ED]}")
    return {frame: int(entries[frame]) for frame in (ED, ES)}


def _heart(name, images, labels, where, **others):
    if len(labels) == 1:
        (there,) = labels
        raise ValueError(f"{where}: {there} has labels, the other frame has none: both need them")
    pairs = (tuple((frame, files[frame]) for frame in (ED, ES) if frame in files)
             for files in (images, labels))  # fmt: skip
    return Heart(name, *pairs, **others)


def _of_one_kind(hearts):
    """Hearts with labels where some have them, else all."""
    labelled = [heart for heart in hearts if heart.labels]
    if labelled and len(labelled) < len(hearts):
        without = [heart.name for heart in hearts if not heart.labels]
        which = f"{counted(len(without), 'patient')} without label maps"
        warn(f"{which} left out, as nothing could be measured on them: {without[0]} ...")
    return labelled or hearts


ACDC = HeartDataset(
    name="acdc",
    title="ACDC",
    hearts=acdc_hearts,
    expected=100,
    shape=(128, 128),
    spacing=1.8,
    slices="three",
)

CARDIAC3D = HeartDataset(
    name="cardiac3d",
    title="ED and ES volumes of hearts",
    hearts=ed_es_hearts,
    expected=220,
    shape=(96, 128, 128),
    spacing=1.2,
    split={"train": 100 / 220, "validation": 20 / 220, "test": 100 / 220},
)
