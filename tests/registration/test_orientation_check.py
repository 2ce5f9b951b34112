"""The 48 orientations: which are found, which are not, and the code that is suggested."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.registration.agreement import Fit
from rcn_tf.registration.orientation_check import (
    ALL,
    AS_STATED,
    Orientation,
    better_orientation,
    corrected_code,
    corrected_fixed_code,
    describe,
)
from rcn_tf.volumes import Grid, prepare_volume
from rcn_tf.volumes.orientation import set_orientation
from tests.scans_for_tests import other_contrast, textured, with_other_axes

SHAPE = (24, 28, 32)
WRONG = [
    ((0, 1, 2), (1, -1, 1)),
    ((0, 1, 2), (-1, 1, 1)),
    ((0, 1, 2), (-1, -1, 1)),
    ((1, 0, 2), (1, 1, 1)),
    ((2, 0, 1), (1, -1, 1)),
]


def prepared(image):
    return prepare_volume(image, SHAPE)


def test_there_are_48_and_the_first_changes_nothing():
    array = np.arange(24).reshape(2, 3, 4)
    assert len(set(ALL)) == 48
    np.testing.assert_array_equal(AS_STATED.apply(array), array)
    assert len({o.apply(np.arange(27).reshape(3, 3, 3)).tobytes() for o in ALL}) == 48


@pytest.mark.parametrize(("axes", "signs"), WRONG)
def test_wrong_axes_are_found_and_the_code_puts_them_right(axes, signs):
    image = textured()
    wrong = with_other_axes(image, axes, signs)
    found = better_orientation(prepared(image), prepared(other_contrast(wrong)))
    assert found is not None
    assert found.score > found.stated_score + 0.15
    # With the suggested code the voxels are at their true places, compared point by point.
    set_orientation(wrong, corrected_code(wrong, found.orientation))
    wrong = sitk.DICOMOrient(wrong, "LPS")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(wrong), sitk.GetArrayFromImage(image))


@pytest.mark.parametrize(("axes", "signs"), WRONG)
def test_the_fixed_images_code_puts_it_right_too(axes, signs):
    image = textured()
    wrong = with_other_axes(image, axes, signs)
    found = better_orientation(prepared(wrong), prepared(image))
    set_orientation(wrong, corrected_fixed_code(wrong, found.orientation))
    wrong = sitk.DICOMOrient(wrong, "LPS")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(wrong), sitk.GetArrayFromImage(image))


@pytest.mark.parametrize("stored", ["RAS", "LIA", "PSR"])
def test_files_with_other_axes_and_right_headers_are_right(stored):
    image = textured()
    assert better_orientation(prepared(image), prepared(sitk.DICOMOrient(image, stored))) is None


def test_advice_fits_a_file_of_any_axes():
    image = textured()
    wrong = sitk.DICOMOrient(with_other_axes(image, (0, 1, 2), (1, -1, 1)), "RIA")
    found = better_orientation(prepared(image), prepared(wrong))
    # LPS with y reversed is LAS; of axes stored as R, I, A the last grows to the back.
    assert corrected_code(wrong, found.orientation) == "RIP"


def test_symmetric_scans_give_no_false_alarm():
    image = textured()
    array = sitk.GetArrayFromImage(image)
    symmetric = Grid.from_image(image).to_image(np.maximum(array, array[:, :, ::-1]))
    mirrored = with_other_axes(symmetric, (0, 1, 2), (1, 1, -1))
    assert better_orientation(prepared(symmetric), prepared(mirrored)) is None
    upside_down = with_other_axes(symmetric, (0, 1, 2), (-1, 1, 1))
    found = better_orientation(prepared(symmetric), prepared(upside_down))
    assert found.orientation == Orientation((0, 1, 2), (-1, 1, 1))  # not mirrored as well


def test_unrelated_scans_and_a_good_header_give_no_alarm():
    assert better_orientation(prepared(textured(0)), prepared(textured(1))) is None
    image, wrong = textured(), with_other_axes(textured(), (0, 1, 2), (1, -1, 1))
    assert better_orientation(prepared(image), prepared(wrong), Fit(0.99, 0.99, 1, None)) is None
    assert better_orientation(prepared(image), prepared(other_contrast(image))) is None


@pytest.mark.parametrize(
    ("axes", "signs", "words"),
    [
        ((0, 1, 2), (1, -1, 1), "its y axis reversed"),
        ((0, 1, 2), (-1, 1, -1), "its x and z axes reversed"),
        ((1, 0, 2), (1, 1, 1), "its y and z axes exchanged"),
        ((1, 2, 0), (1, 1, -1), "its x, y and z axes exchanged and its x axis reversed"),
    ],
)
def test_words(axes, signs, words):
    assert describe(Orientation(axes, signs)) == words


@pytest.mark.slow
@pytest.mark.shared_data
def test_real_brains(shared_data):
    scans = [
        prepare_volume(sitk.ReadImage(str(shared_data / "brain" / f"{name}.nii.gz")), (24, 24, 24))
        for name in ("mni152_t1", "colin27_t1_brain", "subject_a_t1", "rniftyreg_epi_t2")
    ]
    for fixed, moving in itertools.permutations(scans, 2):
        assert better_orientation(fixed, moving) is None
