"""data_prep.freesurfer: structure tables and relabelling."""

import numpy as np
import pytest
import SimpleITK as sitk

from data_prep import freesurfer


def test_brain_only_removes_everything_else():
    labels = np.array([0, 2, 24, 136, 163, 255, 507, 530], np.uint16)
    np.testing.assert_array_equal(
        freesurfer.brain_only(labels.reshape(2, 2, 2)).ravel(), [0, 2, 24, 0, 0, 255, 0, 0]
    )


def test_brain_and_head_keeps_tissue_outside_the_brain_by_ids_of_its_own():
    labels = np.array([0, 2, 24, 136, 507, 515, 530, 999], np.uint16)
    found = freesurfer.brain_and_head(labels)
    np.testing.assert_array_equal(found, [0, 2, 24, 0, 207, 215, 230, 0])
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(freesurfer.mirrored_ids(found), [0, 41, 24, 0, 207, 215, 230, 0])


def test_relabel_keeps_ids_above_255():
    np.testing.assert_array_equal(freesurfer.relabel(np.array([1, 2, 3]), {2: 300}), [0, 300, 0])


def test_mirrored_ids_exchange_sides_and_are_their_own_inverse():
    labels = np.array([0, 2, 41, 16, 60, 28, 255])
    mirrored = freesurfer.mirrored_ids(labels)
    np.testing.assert_array_equal(mirrored, [0, 41, 2, 16, 28, 60, 255])
    np.testing.assert_array_equal(freesurfer.mirrored_ids(mirrored), labels)


def test_white_matter_parts_take_the_nearest_side():
    labels = np.zeros((1, 1, 9), np.uint8)
    labels[0, 0] = [2, 2, 251, 255, 24, 77, 85, 41, 17]
    np.testing.assert_array_equal(
        freesurfer.evaluated_structures(labels)[0, 0], [2, 2, 2, 2, 0, 41, 0, 41, 17]
    )


def test_evaluated_structures_without_white_matter():
    labels = np.array([[[251, 10, 24]]], np.uint8)
    np.testing.assert_array_equal(freesurfer.evaluated_structures(labels), [[[0, 10, 0]]])


def test_tables_agree():
    assert set(freesurfer.EVALUATED) <= set(freesurfer.WHITENESS)
    for left, right in freesurfer.LEFT_TO_RIGHT.items():
        assert freesurfer.WHITENESS[left] == freesurfer.WHITENESS[right]
        assert (left in freesurfer.EVALUATED) == (right in freesurfer.EVALUATED)


@pytest.mark.slow
@pytest.mark.shared_data
def test_every_real_subject_has_all_evaluated_structures(shared_data):
    names = ["subject_a_labels", *(f"labelmap_{n}" for n in ("01", "02", "05", "10"))]
    for name in names:
        labels = sitk.GetArrayFromImage(sitk.ReadImage(shared_data / "brain" / f"{name}.nii.gz"))
        found = np.unique(freesurfer.evaluated_structures(freesurfer.brain_only(labels)))
        np.testing.assert_array_equal(found, sorted((0, *freesurfer.EVALUATED)))
