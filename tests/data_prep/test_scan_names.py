"""data_prep.scan_names and data_prep.subjects: ids and subjects from paths."""

import pytest

from data_prep.packs import check_new_id
from data_prep.scan_names import name_scans
from data_prep.subjects import joined, subjects_of


@pytest.mark.parametrize(
    ("paths", "ids", "subjects"),
    [
        ("one.nii.gz two.mha", "one two", "one two"),
        ("sub-01/anat/sub-01_T1w.nii.gz sub-02/anat/sub-02_T1w.nii", "sub-01 sub-02", None),
        ("sub-01_T1w.nii.gz", "sub-01", None),
        (
            "sub-1/ses-a/sub-1_ses-a_T1w.nii sub-1/ses-b/sub-1_ses-b_T1w.nii sub-2_T1w.nii",
            "sub-1_ses-a sub-1_ses-b sub-2",
            "sub-1 sub-1 sub-2",
        ),
        (
            "sub-1_run-1_T1w.nii sub-1_run-2_T1w.nii sub-2_acq-x_run-1_T1w.nii",
            "sub-1_run-1 sub-1_run-2 sub-2_run-1",
            "sub-1 sub-1 sub-2",
        ),
        ("sub-1_T1w.nii sub-1_T2w.nii", "sub-1_T1w sub-1_T2w", "sub-1 sub-1"),
        ("old/sub-1_T1w.nii new/sub-1_T1w.nii", "old new", "sub-1 sub-1"),
        ("sub-1/anat/T1.nii sub-2/anat/T1.nii", "sub-1 sub-2", None),
        ("a/T1.nii.gz b/T1.nii.gz", "a b", None),
        ("p1/image.nii.gz p2/image.nii.gz p3/image.nii.gz", "p1 p2 p3", None),
        ("a/T1.nii a/T2.nii b/T1.nii", "a_T1 a_T2 b_T1", "a a b"),
        ("p/1/image.nii p/2/image.nii q/1/image.nii", "p_1 p_2 q_1", "p p q"),
        ("P1/x.nii P1/y.nii P2/z.nii", "x y z", "P1 P1 P2"),
        ("imagesTr/x.nii imagesTs/y.nii", "x y", "x y"),
        ("image.nii deep/image.nii", "image deep", None),
        ("a[1].nii b{2}.nii c#?.nii", "a_1_ b_2_ c__", None),
        ("M\udcfcller.nii other.nii", "M_ller other", None),
        ("x.nii x.nii", "x x", None),
    ],
)
def test_ids_and_subjects(tmp_path, paths, ids, subjects):
    found, owners = name_scans([tmp_path / path for path in paths.split()])
    assert found == ids.split()
    assert subjects_of(owners) == (subjects or ids).split()
    for scan_id in found:
        check_new_id(scan_id)


def test_dicom_folders_have_their_whole_name(tmp_path):
    for name in ("1.2.840", "1.2.841"):
        (tmp_path / name).mkdir()
    assert name_scans([tmp_path / "1.2.840", tmp_path / "1.2.841"])[0] == ["1.2.840", "1.2.841"]


@pytest.mark.parametrize(
    ("ids", "subjects"),
    [
        ("subject_a_t1 subject_a_t2 subject_b_t1", "subject_a subject_a subject_b"),
        ("P01_1 P01_2 P02_1 P3", "P01 P01 P02 P3"),
        ("P01_20200101 P01_2021-01-01 P02_20200101", "P01 P01 P02"),
        ("hippocampus_001 hippocampus_003", "hippocampus_001 hippocampus_003"),
        ("BraTS2021_00001 BraTS2021_00002", "BraTS2021_00001 BraTS2021_00002"),
        ("scd_1_ED scd_1_ES scd_2_ED", "scd_1 scd_1 scd_2"),
        ("002_S_0413-S138 002_S_0413-I99", "002_S_0413 002_S_0413"),
        ("OAS1_0001_MR1 OAS1_0001_MR2 OAS1_0002_MR1", "OAS1_0001 OAS1_0001 OAS1_0002"),
        ("p7-baseline p7-followup p7_post_brain", "p7 p7 p7"),
        ("case00_mr case00_us case01_mr", "case00 case00 case01"),
        ("1 2 10", "1 2 10"),
        ("T1 T2 left", "T1 T2 left"),
        ("fixed moving", "fixed moving"),
    ],
)
def test_subjects_of_ids(ids, subjects):
    assert subjects_of(ids.split()) == subjects.split()


def test_two_accounts_of_the_subjects():
    assert joined(["a", "b", "c", "d"], ["x", "y", "x", "y"]) == ["a", "b", "a", "b"]
    assert joined(["a", "b", "b"], ["x", "x", "z"]) == ["a", "a", "a"]
