"""Finds a dataset's scans in the folder tree of its download.

A dataset is described by regular expressions for the paths, relative to the folder that is
given, of its images, labels and landmarks; `(?:.*/)?` in front lets the download lie deeper.
A path may be that of an image file or, ending in "/", of a folder that holds a DICOM series.
Named groups make the scan's id; the files of a scan are those with the same id. Numbers lose
leading zeros, as in the ids of the RCN project's packs ("hepaticvessel/1").

Beside what the download holds, a person may put `landmarks/ID.csv` (columns x, y, z; LPS, mm)
and `masks/ID.nii.gz` into the folder, with "_" for "/" in ID; these folders hold nothing else.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from data_prep.scan_files import PATTERN_CHARACTERS, ScanFiles
from data_prep.subjects import subjects_of
from rcn_tf.files.natural_order import natural_order
from rcn_tf.volumes.dicom.kinds import is_dicom_file

ANYWHERE = r"(?:.*/)?"
NIFTI = r"\.nii(?:\.gz)?"

_IMAGE_SUFFIXES = (
    ".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr", ".img", ".img.gz", ".mgz", ".csv",
)  # fmt: skip
_DICOM_SUFFIXES = (".dcm", ".ima", "")
OWN_FOLDERS = ("landmarks", "masks")


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset of the papers.

    name: of the command, the pack and its alias. title: for people. kind: "liver", "brain", "lung",
    "heart" or "knee", which decides how scans are prepared. images: regular expressions, the
    preferred ones first where several files could be the same scan. labels, landmarks: likewise.
    scan_id: format of the ids from the groups; of several joined by "|" the first whose groups
    a pattern has. landmarks_in: "mm" (columns x, y, z; LPS) or "voxels". expected: number of
    scans in the paper; any_number: whether other numbers are as complete.
    labels_are: ids kept in label maps (brain) or counted as liver; None for all.
    shape: (D, H, W). crop: False where the scans share a grid already. window: intensities
    that become 0 and 255, None to find them. paired: scans 2k and 2k + 1 belong together.
    atlas: id of the usual fixed scan. subject: regular expression for what names the subject in
    an id; "" where ids are anybody's (`data_prep.subjects`). fixed: the config's key of that name.
    structures: {name: label id} for the config; None names structures by their ids. split:
    {subset: share of the subjects} for training, validation and test; None trains on all.
    unit: what `expected` counts.
    """

    name: str
    title: str
    kind: str
    images: tuple
    expected: int
    any_number: bool = False
    labels: tuple = ()
    landmarks: tuple = ()
    landmarks_in: str = "mm"
    scan_id: str = "{id}"
    labels_are: tuple | None = None
    shape: tuple = (128, 128, 128)
    crop: bool = True
    window: tuple | None = None
    paired: bool = False
    atlas: str | None = None
    subject: str = ".+"
    fixed: str | None = None
    structures: dict | None = None
    split: dict | None = None
    unit: str = "scan"

    def find(self, folder: pathlib.Path) -> Any:
        """Scans below a folder.

        Args: folder: path.
        Returns: tuple: list of ScanFiles in natural order of their ids; list of paths that
            have the id of another one and are not used.
        Raises:
            FileNotFoundError: no such folder, or no scan in it.
            OSError: a folder that cannot be listed.
        """
        folder = pathlib.Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"Folder {folder} does not exist.")
        paths = {
            path.relative_to(folder).as_posix() + "/" * path.is_dir(): path
            for path in image_paths(folder)
            if path.relative_to(folder).parts[0] not in OWN_FOLDERS
        }
        images, unused = self._by_id(paths, self.images)
        if not images:
            raise FileNotFoundError(
                f"{folder} holds no scan of {self.title}; see docs/datasets/{self.name}.md for "
                "the folders and file names that are expected."
            )
        labels, _ = self._by_id(paths, self.labels)
        landmarks, _ = self._by_id(paths, self.landmarks)
        scans = []
        for scan_id in sorted(images, key=natural_order):
            flat = scan_id.replace("/", "_")
            own_landmarks = folder / "landmarks" / f"{flat}.csv"
            own_mask = folder / "masks" / f"{flat}.nii.gz"
            scans.append(
                ScanFiles(
                    scan_id,
                    images[scan_id],
                    labels.get(scan_id),
                    own_landmarks if own_landmarks.is_file() else landmarks.get(scan_id),
                    own_mask if own_mask.is_file() else None,
                )
            )
        return scans, unused

    def is_test_scan(self, scan_id: str) -> bool:
        """Whether a scan may be validated and tested on, where `split` says so of its subject."""
        del scan_id
        return True

    def subjects(self, scans: Any) -> Any:
        """The subjects of ScanFiles, a list of names: equal ones for scans of one subject."""
        names = [scan.found_as or scan.id for scan in scans]
        if not self.subject:
            return subjects_of(names)
        found = [re.search(self.subject, name) for name in names]
        return [match[0] if match else name for match, name in zip(found, names)]

    def _by_id(self, paths, patterns):
        """{scan id: path}: of several paths the one of the earliest pattern, then by name; and
        those that lost to one of the same pattern.
        """
        found, unused = {}, []
        for pattern in patterns:
            matches = {path: re.fullmatch(pattern, name) for name, path in paths.items()}
            fresh = set()
            for path, match in matches.items():
                scan_id = self._id(match) if match else None
                if scan_id in fresh:
                    unused.append(path)
                elif match and scan_id not in found:
                    found[scan_id] = path
                    fresh.add(scan_id)
        return found, unused

    def _id(self, match):
        groups = {name: value for name, value in match.groupdict().items() if value is not None}
        if "n" in groups:
            groups["n"] = str(int(groups["n"]))
        if "path" in groups:
            groups["path"] = re.sub(r"[/\\]", "_", groups["path"])
        for template in self.scan_id.split("|"):
            if set(re.findall(r"{(\w+)}", template)) <= set(groups):
                scan_id = template.format(**groups)
                return "".join(
                    c if c.isprintable() and c not in PATTERN_CHARACTERS else "_" for c in scan_id
                )
        raise KeyError(f"{self.name}: no id from {match[0]!r}")


def image_paths(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Image files and DICOM folders below a folder, in natural order; hidden ones are skipped.

    Links to folders are followed, each folder once. Raises: OSError: one cannot be listed.
    """
    folder = pathlib.Path(folder)
    seen = set()
    for place, folders, files in os.walk(folder, onerror=_cannot_list, followlinks=True):
        parent = pathlib.Path(place)
        if parent.resolve() in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(parent.resolve())
        folders[:] = sorted((name for name in folders if name[0] != "."), key=natural_order)
        names = sorted((name for name in files if name[0] != "."), key=natural_order)
        if parent != folder and any(_is_dicom(parent / name) for name in names):
            yield parent
        for name in names:
            if name.lower().endswith(_IMAGE_SUFFIXES):
                yield parent / name


def _cannot_list(error):
    raise error


def _is_dicom(file):
    """Whether a file that may be DICOM by its name, which can be any, is so by its content."""
    if file.name.upper() == "DICOMDIR" or not file.is_file():
        return False
    if file.suffix.lower() not in _DICOM_SUFFIXES and not file.suffix[1:].isdigit():
        return False
    try:
        return is_dicom_file(file)
    except OSError:
        return False
