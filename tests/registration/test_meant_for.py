"""Images that a model is not meant for: Hounsfield units, extents, skulls."""

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.files.json_files import read_json
from rcn_tf.models.folder import DEFAULT_MODEL
from rcn_tf.registration import meant_for
from rcn_tf.volumes import Grid, prepare_volume

CONFIG = {
    "meant_for": {
        "images": "skull-stripped T1 brains",
        "extent_mm": [[95, 175], [110, 195], [140, 220]],
        "hounsfield": False,
        "skull": False,
        "default": True,
    }
}


def head(scalp=0.0, bone=0.0, scale=1.0):
    """An ellipsoid of brain in voxels of 4 mm, with scalp and bone of the given thickness in mm."""
    image = sitk.Image(64, 72, 64, sitk.sitkFloat32)
    image.SetSpacing([4.0 * scale] * 3)
    image.SetOrigin([-2 * scale * (n - 1) for n in image.GetSize()])
    points = np.abs(Grid.from_image(image).points()) / scale
    radius = np.linalg.norm(points / [66, 84, 64], axis=-1) * 70  # about mm along the normal
    array = np.select([radius < 66, radius < 70], [1.0, 0.6], 0.0)
    if scalp:
        array[(radius > 70 + bone) & (radius < 70 + bone + scalp)] = 0.9
    return Grid.from_image(image).to_image((300 * array).astype(np.float32))


def differences(*images):
    return meant_for.differences(
        CONFIG, images, [prepare_volume(image, (48, 48, 48)) for image in images]
    )


def test_a_brain_is_a_brain():
    assert differences(head(), head(scale=1.1)) == []
    assert meant_for.warnings(CONFIG, [], failed=False) == []


def test_a_skull_is_seen():
    assert differences(head(), head(scalp=9, bone=9)) == [
        "the moving image seems to show the skull"
    ]


def test_small_and_large_things_are_no_brain():
    small, large = differences(head(scale=0.4), head(scale=1.6))
    assert small.startswith("the fixed image shows an object of 5")
    assert large.startswith("the moving image shows an object of 2")


@pytest.mark.parametrize("pixel_type", [sitk.sitkInt16, sitk.sitkFloat32])
def test_hounsfield_units(pixel_type):
    array = sitk.GetArrayFromImage(head())
    ct = Grid.from_image(head()).to_image(np.where(array > 0, array, -1000))
    (found,) = differences(sitk.Cast(ct, pixel_type))
    assert found == "the fixed image is a CT (values from -1000 to 300, as Hounsfield units)"
    assert differences(ct / 100) == []  # z-scores have negative values too


def test_the_warning_says_what_the_model_is_for():
    (text,) = meant_for.warnings(CONFIG, ["the fixed image seems to show the skull"], False)
    assert text.startswith(
        "the default model is for skull-stripped T1 brains, and the fixed image seems to show the"
    )
    (text,) = meant_for.warnings(CONFIG, [], failed=True)
    assert text.startswith("the default model is for skull-stripped T1 brains: for other images")


def test_models_that_do_not_say_are_for_anything():
    volume = prepare_volume(head(scale=0.4), (16, 16, 16))
    assert meant_for.differences({}, [head(scale=0.4)], [volume]) == []
    assert meant_for.warnings({}, [], failed=True) == []


@pytest.mark.skipif(not DEFAULT_MODEL.is_dir(), reason="the default model is not built yet")
def test_the_default_model_says_so():
    assert read_json(DEFAULT_MODEL / "config.json")["meant_for"] == CONFIG["meant_for"]


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("scan", "found"),
    [
        ("brain/colin27_t1_brain.nii.gz", None),
        ("brain/subject_a_t1.nii.gz", None),
        ("brain/fsf_t1_brain.nii.gz", None),
        ("liver/abdomen_ct.nii.gz", "is a CT"),
        ("cardiac/sa_ED.nii.gz", "shows an object of 90 x 29"),
        ("hippocampus/hippocampus_001.nii.gz", "shows an object of 35 x 35 x 51 mm"),
    ],
)
def test_real_scans(shared_data, scan, found):
    phrases = differences(sitk.ReadImage(str(shared_data / scan)))
    assert len(phrases) == (found is not None)
    if found:
        assert found in phrases[0]
