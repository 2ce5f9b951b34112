"""`rcn register` with labels and masks that do not lie on the voxels of their image."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.models.folder import save_model
from rcn_tf.volumes import Grid
from tests.commands.test_register import register, small_network
from tests.registration.test_pair import write_pair


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with a pair of images, their labels and a model that moves voxels."""
    folder = tmp_path_factory.mktemp("grids")
    write_pair(folder)
    save_model(small_network(), folder / "model", preprocessing={"margin": 0.05})
    return folder


def scores(inputs, out, fixed, moving):
    """(mean Dice after registration, warped labels) with these labels, also given as masks."""
    options = ["--fixed-labels", fixed, "--moving-labels", moving]
    options += ["--fixed-mask", fixed, "--moving-mask", moving]
    assert register(inputs, out, *options) == 0
    dice = json.loads((out / "metrics.json").read_text())["dice"]["mean"]
    image = sitk.ReadImage(str(out / "warped_labels.nii.gz"))
    return dice["after"], sitk.GetArrayFromImage(image)


@pytest.fixture(scope="module")
def plain(inputs, tmp_path_factory):
    """`scores` with labels on the grids of their images."""
    labels = (inputs / f"{name}_labels.nii.gz" for name in ("fixed", "moving"))
    return scores(inputs, tmp_path_factory.mktemp("plain") / "out", *labels)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        *(pytest.param(c, marks=pytest.mark.slow) for c in ("reordered", "cropped")),
        "finer",
        "shifted",
    ],
)
def test_labels_and_masks_on_another_grid_of_the_same_space(change, inputs, plain, tmp_path):
    """Whatever grid a segmentation is saved on, the structures come out where they did."""

    def other_grid(name):
        image = sitk.ReadImage(str(inputs / f"{name}_labels.nii.gz"))
        if change == "reordered":
            image = sitk.DICOMOrient(image, "PIR")
        elif change == "cropped":
            found = sitk.LabelShapeStatisticsImageFilter()
            found.Execute(image > 0)
            x, y, z, nx, ny, nz = found.GetBoundingBox(1)
            image = image[x : x + nx, y : y + ny, z : z + nz]
        elif change == "shifted":
            image.SetOrigin([c + 0.01 for c in image.GetOrigin()])
        else:
            grid = Grid.from_image(image)
            fine = grid.crop_resampled([[0, n] for n in grid.shape], [2 * n for n in grid.shape])
            like = fine.to_image(np.zeros(fine.shape, np.uint8))
            image = sitk.Resample(image, like, sitk.Transform(), sitk.sitkNearestNeighbor)
        sitk.WriteImage(image, str(tmp_path / f"{name}.nrrd"))
        return tmp_path / f"{name}.nrrd"

    plain_dice, expected = plain
    dice, found = scores(inputs, tmp_path / "out", other_grid("fixed"), other_grid("moving"))
    assert plain_dice > 0.2
    if change == "reordered":
        assert dice == plain_dice
        np.testing.assert_array_equal(found, expected)
    else:
        assert dice == pytest.approx(plain_dice, abs=0.02)
        assert (found == expected)[(expected > 0) | (found > 0)].mean() > 0.95
