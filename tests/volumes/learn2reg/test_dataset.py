"""Datasets of Learn2Reg, in the forms that the challenges' JSON files have."""

import json

import pytest

from rcn_tf.registration.pairs_file import read_pairs
from rcn_tf.volumes.learn2reg.dataset import case_name, lists_pairs, read_dataset

PAIRS = [
    {"fixed": "./imagesTr/T_0003_0001.nii.gz", "moving": "./imagesTr/T_0003_0000.nii.gz"},
    {"fixed": "./imagesTr/T_0004_0000.nii.gz", "moving": "./imagesTr/T_0005_0000.nii.gz"},
]
CONTENT = {
    "name": "T",
    "modality": {"0": "CT", "1": "MR"},
    "labels": {"0": {"0": "background", "1": "liver"}, "1": {"2": "spleen"}},
    "tensorImageShape": {"0": [8, 6, 4]},
    "training": [
        {"image": "./imagesTr/T_0003_0000.nii.gz", "label": "./other/three.nii.gz"},
        {"image": "./imagesTr/T_0003_0001.nii.gz"},
    ],
    "numRegistration_val": 2,
    "registration_val": PAIRS,
    "registration_test": [],
    "training_paired_images": PAIRS[:1],
}


def write(folder, *files, **changes):
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    path = folder / "T_dataset.json"
    path.write_text(json.dumps({**CONTENT, **changes}))
    return path


IMAGES = [f"imagesTr/T_{n}.nii.gz" for n in ("0003_0000", "0003_0001", "0004_0000", "0005_0000")]


def test_pairs_with_what_belongs_to_them(tmp_path):
    path = write(
        tmp_path,
        *IMAGES,
        "other/three.nii.gz",
        "labelsTr/T_0003_0001.nii.gz",
        "masksTr/T_0004_0000.nii.gz",
        "masksTr/T_0005_0000.nii.gz",
    )
    dataset = read_dataset(path)
    assert (dataset.name, dataset.structures) == ("T", {"liver": 1, "spleen": 2})
    (fixed, moving), (other, last) = dataset.pairs()
    assert fixed.image == tmp_path / "imagesTr/T_0003_0001.nii.gz"
    assert fixed.label == tmp_path / "labelsTr/T_0003_0001.nii.gz"
    assert moving.label == tmp_path / "other/three.nii.gz"  # as the file states it
    assert (moving.mask, other.label) == (None, None)
    assert last.mask == tmp_path / "masksTr/T_0005_0000.nii.gz"

    pairs = read_pairs(path)
    assert [pair.name for pair in pairs] == ["0003_0001_0003_0000", "0004_0005"]
    assert set(pairs[0].files()) == {"fixed", "moving", "fixed_labels", "moving_labels"}
    assert set(pairs[1].files()) == {"fixed", "moving", "fixed_mask", "moving_mask"}
    assert pairs[1].where == f"{path}, registration_val, pair 2"
    assert len(read_pairs(path, "training_paired_images")) == 1


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["landmarksTr/T_0004_0000.csv", "landmarksTr/T_0005_0000.csv"], "landmarksTr"),
        (["keypointsTr/T_0004_0000.csv", "keypointsTr/T_0005_0000.csv"], "keypointsTr"),
        (["keypointsTr/T_0004_0000.csv"], None),
    ],
)
def test_points(tmp_path, files, found):
    dataset = read_dataset(write(tmp_path, *IMAGES, *files))
    points = dataset.points(*(tmp_path / PAIRS[1][role] for role in ("fixed", "moving")))
    assert (points and points[0].parent.name) == found


def test_keypoints_of_two_modalities_lie_elsewhere(tmp_path):
    files = [f"keypoints01Tr/T_0003_000{k}.csv" for k in range(2)]
    dataset = read_dataset(write(tmp_path, *IMAGES, *files))
    fixed, moving = (tmp_path / PAIRS[0][role] for role in ("fixed", "moving"))
    assert [path.name for path in dataset.points(fixed, moving)] == [
        "T_0003_0001.csv",
        "T_0003_0000.csv",
    ]


@pytest.mark.parametrize(
    ("fixed", "moving", "name"),
    [
        ("OASIS_0395_0000", "OASIS_0396_0000", "0395_0396"),
        ("NLST_0101_0000", "NLST_0101_0001", "0101_0101"),
        ("ThoraxCBCT_0011_0001", "ThoraxCBCT_0011_0000", "0011_0001_0011_0000"),
        ("ThoraxCBCT_0011_0002", "ThoraxCBCT_0011_0000", "0011_0002_0011_0000"),
        ("brain", "OASIS_0396_0000", None),
    ],
)
def test_names_of_the_evaluation(tmp_path, fixed, moving, name):
    """Expected are the names that the challenge's code composes."""
    paths = [tmp_path / f"{stem}.nii.gz" for stem in (fixed, moving)]
    assert case_name(*paths) == name


def test_faults(tmp_path):
    path = write(tmp_path, *IMAGES[:-1])
    with pytest.raises(FileNotFoundError, match="pair 2: no such file: .*T_0005_0000.nii.gz"):
        read_pairs(path)
    with pytest.raises(ValueError, match="'registration_vel'; did you mean registration_val.*2"):
        read_pairs(path, "registration_vel")
    with pytest.raises(ValueError, match="no pairs under 'registration_test'; .*training_paired"):
        read_pairs(path, "registration_test")
    path.write_text('{"name": "T", "registration_val": [{"fixed": 3}]}')
    assert not lists_pairs(path)
    with pytest.raises(ValueError, match="lists no pairs: a dataset of Learn2Reg has"):
        read_dataset(path)
    path.write_text('{"name": ')
    with pytest.raises(ValueError, match="not valid JSON"):
        read_pairs(path)


def test_a_dataset_config_of_this_project_is_something_else(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"files": {}, "subsets": {"all": []}, "registration_val": []}')
    assert not lists_pairs(path)
    assert lists_pairs(write(tmp_path))
