"""data_prep.liver_box: livers of any exposure and orientation, and images without a liver."""

import numpy as np
import pytest
import SimpleITK as sitk

from data_prep.liver_box import find_liver_box
from rcn_tf.volumes.formats.images import read_image
from rcn_tf.volumes.preparation.network_input import foreground_box
from tests.data_prep.phantoms import abdomen


def overlap(box, other):
    """IoU of two boxes."""
    edges = np.minimum(box[:, 1], other[:, 1]) - np.maximum(box[:, 0], other[:, 0])
    common = np.prod(np.maximum(edges, 0))
    volumes = [np.prod(one[:, 1] - one[:, 0]) for one in (box, other)]
    return common / (sum(volumes) - common)


def liver_of(labels, label):
    return sitk.GetArrayFromImage(sitk.DICOMOrient(labels, "LPS")) == label


@pytest.mark.parametrize("liver_hu", [5.0, 55.0, 85.0, 130.0])
def test_liver_of_any_exposure(liver_hu):
    image, labels = abdomen(liver_hu)
    liver = liver_of(labels, 1)
    found = find_liver_box(image)
    assert overlap(found.box, foreground_box(liver, 0)) > 0.8
    assert found.window[0] < liver_hu < found.window[1]
    assert found.narrowed[0] < liver_hu < found.narrowed[1]
    assert found.volume == pytest.approx(liver.sum() * 0.125, rel=0.2)
    assert f"window {found.window[0]}..{found.window[1]} HU" in str(found)


@pytest.mark.parametrize("orientation", ["RAS", "SLP", "AIR"])
def test_any_orientation(orientation):
    image, labels = abdomen()
    expected = find_liver_box(image).box
    turned = find_liver_box(sitk.DICOMOrient(image, orientation)).box
    np.testing.assert_allclose(turned, expected)
    assert overlap(expected, foreground_box(liver_of(labels, 1), 0)) > 0.8


def test_the_left_side_is_no_liver():
    """In a mirrored patient the largest organ is on the left; it is not taken for the liver."""
    image, _ = abdomen()
    mirrored = np.ascontiguousarray(sitk.GetArrayFromImage(image)[:, :, ::-1])
    changed = sitk.GetImageFromArray(mirrored)
    changed.CopyInformation(image)
    with pytest.raises(ValueError, match=r"no liver found \(the best candidate has 1\d\d ml\)"):
        find_liver_box(changed)


def test_scanner_padding_and_coarse_grid(rng):
    image, labels = abdomen()
    array = sitk.GetArrayFromImage(image)
    array[:, :4] = array[:, -4:] = -3024
    padded = sitk.GetImageFromArray(array)
    padded.CopyInformation(image)
    fine = sitk.Expand(padded, (2, 2, 1), sitk.sitkLinear)
    box = find_liver_box(fine).box / np.array([1, 2, 2])[:, None]
    assert overlap(box, foreground_box(liver_of(labels, 1), 0)) > 0.75


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a + 1024, "ct: the values are no Hounsfield units"),
        (lambda a: np.full_like(a, -1000), "no air or no body"),
        (lambda a: np.where(a > -50, -90, a), "ct: no liver found"),
    ],
)
def test_no_liver(change, message):
    image, _ = abdomen(noise=0)
    changed = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(image)))
    changed.CopyInformation(image)
    with pytest.raises(ValueError, match=message):
        find_liver_box(changed, "ct")


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize("shift", [-25, 0, 40, 80])
def test_real_abdomen(shared_data, rng, shift):
    """As measured in benchmarks/RESULTS.md; contrast agent is imitated by brightening organs."""
    image = read_image(shared_data / "liver/abdomen_ct.nii.gz")
    labels = read_image(shared_data / "liver/abdomen_ct_labels.nii.gz")
    ids = sitk.GetArrayFromImage(labels)
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    for structures, factor in (((5,), 1.0), ((1,), 1.1), ((2, 3), 2.0), ((7, 8, 9), 1.8)):
        array[np.isin(ids, structures)] += shift * factor
    array += rng.normal(0, 15, array.shape)
    changed = sitk.GetImageFromArray(array)
    changed.CopyInformation(image)
    liver = liver_of(labels, 5)
    found = find_liver_box(changed)
    assert overlap(found.box, foreground_box(liver, 0)) > 0.7
    box = found.box + np.array([-1, 1]) * 12 / 3
    inside = tuple(slice(max(0, int(low)), int(high)) for low, high in box)
    assert liver[inside].sum() > 0.98 * liver.sum()
