"""data_prep.datasets: each download's tree is recognised, with the ids of the original packs."""

import os
import pathlib

import pytest
import SimpleITK as sitk

from data_prep.datasets import DATASETS
from data_prep.datasets.brain import LPBA_STRUCTURES
from tests.dicom_files import write_series

ROOT = pathlib.Path(__file__).parents[2]

# dataset: {path: id of the image, or None for a file that is no image of its own}
TREES = {
    "msd": {
        "Task03_Liver/imagesTs/liver_131.nii.gz": "liver/131",
        "Task03_Liver/imagesTs/._liver_131.nii.gz": None,  # macOS leaves these in the archives
        "Task03_Liver/imagesTr/liver_5.nii.gz": None,  # LiTS itself
        "Task08_HepaticVessel/imagesTr/hepaticvessel_001.nii.gz": "hepaticvessel/1",
        "Task08_HepaticVessel/imagesTs/hepaticvessel_010.nii.gz": "hepaticvessel/10",
        "Task08_HepaticVessel/labelsTr/hepaticvessel_001.nii.gz": None,
        "Task07_Pancreas/imagesTr/pancreas_004.nii.gz": "pancreas/4",
    },
    "bfh": {"a/one.nii.gz": "a_one", "two.mha": "two", "notes.txt": None},
    "sliver": {
        "training-part1/liver-orig001.mhd": "1",
        "training-part1/liver-seg001.mhd": None,
        "liver-orig014.mhd": "14",
        "liver-seg014.mhd": None,
    },
    "lits": {
        "Training Batch 1/volume-0.nii": "0",
        "Training Batch 1/segmentation-0.nii": None,
        "volume-130.nii.gz": "130",
        "segmentation-130.nii.gz": None,
    },
    "lspig": {
        "2017_02_pregas.nii.gz": "2017_02_pregas",
        "2017_02_pregas_seg.nii.gz": None,
        "2017_02_aftergas.nii.gz": "2017_02_aftergas",
        "2017_02_aftergas_seg.nii.gz": None,
    },
    "adni": {
        "ADNI/002_S_0295/MPR/2006-04-18_08_20_30.0/I45107/ADNI_002_S_0295.nii": (
            "002_S_0295-I45107"
        ),
        "subjects/002_S_0413/mri/brainmask.nii.gz": "002_S_0413",
        "subjects/002_S_0413/mri/T1.nii.gz": None,
    },
    "abide": {
        "Caltech/0051456/session_1/anat_1/mprage.nii.gz": "Caltech-51456",
        "ABIDEII-GU_1/28741/session_1/anat_1/anat.nii.gz": "GU_1-28741",
        "ABIDEII-GU_1/28741/session_1/rest_1/rest.nii.gz": None,
        "KKI-50772/mri/brainmask.mgz": "KKI-50772",
    },
    "adhd": {
        "WashU/0015001/session_1/anat_1/mprage_skullstripped.nii.gz": "WashU-15001",
        "WashU/0015001/session_1/anat_1/mprage_anonymized.nii.gz": None,
        "KKI/sub-2026113/ses-1/anat/sub-2026113_ses-1_run-1_T1w.nii.gz": "KKI-2026113",
    },
    "lpba": {
        "LPBA40/delineation_space/S01/S01.delineation.skullstripped.nii.gz": "S01",
        "LPBA40/delineation_space/S01/S01.delineation.skullstripped.img.gz": None,
        "LPBA40/delineation_space/S01/S01.delineation.structure.label.nii.gz": None,
        "S40.delineation.skullstripped.img": "S40",
        "S40.delineation.structure.label.img": None,
    },
    "oasis": {
        "OASIS/imagesTr/OASIS_0001_0000.nii.gz": "0001",
        "OASIS/labelsTr/OASIS_0001_0000.nii.gz": None,
        "neurite/OASIS_OAS1_0002_MR1/aligned_norm.nii.gz": "0002",
        "neurite/OASIS_OAS1_0002_MR1/aligned_seg35.nii.gz": None,
        "neurite/OASIS_OAS1_0002_MR1/norm.nii.gz": None,
    },
    "oai": {
        "OAI/images/9000001_V00.nii.gz": "9000001_V00",
        "OAI/images/9000002_LEFT_V01.nii.gz": "9000002-LEFT_V01",
        "OAI/labels/9000002_LEFT_V01.nii.gz": None,
        "OAI/images/notes_V00.nii.gz": None,
    },
    "nlst": {
        "NLST/imagesTr/NLST_0001_0000.nii.gz": "0001_0000",
        "NLST/imagesTr/NLST_0001_0001.nii.gz": "0001_0001",
        "NLST/masksTr/NLST_0001_0000.nii.gz": None,
        "NLST/keypointsTr/NLST_0001_0000.csv": None,
    },
}
ANNOTATED = {  # dataset: number of scans in TREES with labels
    "sliver": 2, "lits": 2, "lspig": 2, "lpba": 2, "oasis": 2, "nlst": 1, "oai": 1,
}  # fmt: skip


def test_every_dataset_is_tested_and_has_a_page():
    hearts = {"acdc", "cardiac3d"}  # in test_hearts.py, as their scans are slices of files
    assert set(TREES) | hearts == set(DATASETS)
    for name, dataset in DATASETS.items():
        page = (ROOT / "docs" / "datasets" / f"{name}.md").read_text()
        assert f"rcn prepare {name} " in page
        assert str(dataset.expected) in page


@pytest.mark.parametrize("name", TREES)
def test_tree(tmp_path, name):
    for path in TREES[name]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    scans, unused = DATASETS[name].find(tmp_path)
    assert unused == []
    found = {scan.image.relative_to(tmp_path).as_posix(): scan.id for scan in scans}
    assert found == {path: scan for path, scan in TREES[name].items() if scan is not None}
    assert sum(scan.labels is not None for scan in scans) == ANNOTATED.get(name, 0)
    if name == "nlst":
        assert scans[0].landmarks.name == "NLST_0001_0000.csv"


def test_the_papers_counts():
    counts = {name: dataset.expected for name, dataset in DATASETS.items()}
    assert counts["msd"] + counts["bfh"] == 1025
    assert [counts[name] for name in ("sliver", "lits", "lspig")] == [20, 131, 34]
    assert [counts[name] for name in ("adni", "abide", "adhd", "lpba")] == [66, 1287, 949, 40]
    assert len(set(LPBA_STRUCTURES)) == 56


def test_annotations_put_beside_the_download(tmp_path):
    for name in ("liver-orig001.mhd", "landmarks/1.csv", "masks/1.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (scan,), _ = DATASETS["sliver"].find(tmp_path)
    assert (scan.landmarks, scan.mask) == (
        tmp_path / "landmarks/1.csv",
        tmp_path / "masks/1.nii.gz",
    )


def test_dicom_folders_are_scans(tmp_path):
    image = sitk.Image(4, 5, 3, sitk.sitkInt16)
    write_series(tmp_path / "patient b" / "portal", image)
    write_series(tmp_path / "a", image)
    scans, _ = DATASETS["bfh"].find(tmp_path)
    assert [(scan.id, scan.image) for scan in scans] == [
        ("a", tmp_path / "a"),
        ("patient b_portal", tmp_path / "patient b" / "portal"),
    ]


def test_files_with_the_same_id_are_reported(tmp_path):
    for name in ("a/b.nii.gz", "a_b.nii.gz", "x.nii.gz", "x.mha", "masks/x.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    scans, unused = DATASETS["bfh"].find(tmp_path)
    assert [scan.id for scan in scans] == ["a_b", "x"]
    assert scans[1].mask == tmp_path / "masks" / "x.nii.gz"
    assert len(unused) == 2


def test_odd_names_make_fit_ids(tmp_path):
    for name in ("scan [1].nii.gz", "5\u00b23.nii.gz", "b#1.nii.gz"):
        (tmp_path / name).write_bytes(b"")
    scans, _ = DATASETS["bfh"].find(tmp_path)
    assert {scan.id for scan in scans} == {"scan _1_", "5\u00b23", "b_1"}


def test_links_pipes_and_closed_folders(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "one.nii.gz").write_bytes(b"")
    folder = tmp_path / "data"
    (folder / "inner").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "inner" / "back").symlink_to(folder)
    os.mkfifo(folder / "inner" / "pipe")
    scans, _ = DATASETS["bfh"].find(folder)
    assert [scan.id for scan in scans] == ["link_one"]

    def closed(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(PermissionError, match="Permission denied"):
        DATASETS["bfh"].find(folder)


def test_nothing_found(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no scan of LiTS; see docs/datasets/lits\.md"):
        DATASETS["lits"].find(tmp_path)
    with pytest.raises(FileNotFoundError, match="gone does not exist"):
        DATASETS["lits"].find(tmp_path / "gone")
