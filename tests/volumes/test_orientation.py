"""Orientation codes, against SimpleITK's names of directions."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.errors import InputWarning
from rcn_tf.volumes.orientation import (
    OF_A_FIELD,
    Doubts,
    code_of,
    direction_of,
    in_words,
    set_orientation,
)

CODES = [
    "".join(letters)
    for axes in itertools.permutations(("LR", "PA", "SI"))
    for letters in itertools.product(*axes)
]


@pytest.mark.parametrize("code", CODES)
def test_all_48(code):
    direction = direction_of(code.lower())
    named = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(
        direction.ravel().tolist()
    )
    assert named == code
    assert code_of(direction) == code
    tilted = direction @ [[0.9, -0.3, 0.1], [0.3, 0.9, 0.2], [-0.1, -0.2, 0.95]]
    assert code_of(tilted) == code


@pytest.mark.parametrize("code", ["", "L", "LP", "LPSS", "LLS", "LRS", "XYZ", "APS", None, 123])
def test_no_code(code):
    with pytest.raises(ValueError, match="an orientation is three letters such as LPS or RAS; got"):
        direction_of(code)


def test_in_words():
    text = "LAS (x grows to the left, y to the front, z to the head)"
    assert in_words("las") == text
    assert in_words("PIR") == "PIR (x grows to the back, y to the feet, z to the right)"


def test_the_space_turns_so_that_grids_stay_together():
    image = sitk.Image([5, 6, 7], sitk.sitkInt16)
    image.SetSpacing((1, 2, 3))
    image.SetOrigin((10, -20, 30))
    image.SetDirection((0, -1, 0, 1, 0, 0, 0, 0, 1))
    crop = image[1:4, 2:5, 3:6]
    for one in (image, crop):
        set_orientation(one, "RAS")
    assert image.GetDirection() == (-1, 0, 0, 0, -1, 0, 0, 0, 1)
    assert image.GetSpacing() == (1, 2, 3)
    assert image.TransformIndexToPhysicalPoint((1, 2, 3)) == crop.GetOrigin()
    assert np.linalg.norm(image.GetOrigin()) == pytest.approx(np.linalg.norm((10, -20, 30)))


def test_doubts():
    with pytest.warns(InputWarning, match="a is b; where that is wrong, give --fixed-orientation"):
        Doubts().say("a is b")
    with pytest.raises(ValueError, match="a is b; resample .*, or give --fixed-orientation"):
        Doubts().refuse("a is b")
    with pytest.raises(ValueError, match="or write its header anew"):
        OF_A_FIELD.refuse("a is b")
    Doubts(told=True).say("a is b")
    Doubts(told=True).refuse("a is b")
