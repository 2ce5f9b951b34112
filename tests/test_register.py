"""`register_images` with networks of known flow: points, images, labels, metrics, errors."""

import json
import types

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.register import register_images
from rcn_tf.register_metrics import box_slices, metrics_rows
from rcn_tf.volumes import Grid, prepare_volume
from tests.scans_for_tests import textured
from tests.volumes.test_preprocessing import blob
from tests.volumes.test_warping import smooth_flow, turned_copy

SHAPE = (20, 24, 28)


class KnownNetwork:
    """A network whose flow is known; keeps what it was called with."""

    volume_shape = SHAPE

    def __init__(self, flow=None):
        self.flow = np.zeros((*SHAPE, 3), np.float32) if flow is None else flow

    def __call__(self, fixed, moving, n_repeats, training):
        self.called_with = fixed, moving, n_repeats, training
        stage = types.SimpleNamespace(matrix=None, offset=None)
        return types.SimpleNamespace(flow=self.flow[None], stages=(stage,))


def far(image):
    """A copy that lies nowhere near."""
    image = sitk.Image(image)
    image.SetOrigin([900.0, 0.0, 0.0])
    return image


def blob_labels():
    """Three slabs of the ellipsoid, ids 2, 17 and 300."""
    image = blob()
    x = Grid.from_image(image).points()[..., 0]
    ids = np.select([x < -1, x < 7], [2, 17], 300).astype(np.int16)
    ids[sitk.GetArrayFromImage(image) == 0] = 0
    return Grid.from_image(image).to_image(ids)


def write_pair(folder):
    """Files of an image with labels, fixed, and of a flipped and turned copy, moving."""
    images = {"fixed": blob(), "fixed_labels": blob_labels()}
    images["moving"] = turned_copy(sitk.DICOMOrient(blob() + 3, "LIA"))[0]
    images["moving_labels"] = turned_copy(sitk.DICOMOrient(blob_labels(), "LIA"))[0]
    for name, image in images.items():
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))


def test_rotated_flipped_copy_is_brought_back():
    fixed = blob()
    moving, rigid = turned_copy(sitk.DICOMOrient(fixed, "LIA"))
    labels, _ = turned_copy(sitk.DICOMOrient(blob_labels(), "LIA"))
    result = register_images(
        KnownNetwork(), {}, fixed, moving, fixed_labels=blob_labels(), moving_labels=labels
    )
    for image in (result.warped, result.warped_labels, result.displacement):
        assert image.GetSize() == fixed.GetSize()
        assert image.GetOrigin() == fixed.GetOrigin()
        assert image.GetSpacing() == fixed.GetSpacing()
        assert image.GetDirection() == fixed.GetDirection()
    assert result.inverse_displacement.GetDirection() == moving.GetDirection()
    np.testing.assert_allclose(
        sitk.GetArrayFromImage(result.warped), sitk.GetArrayFromImage(fixed), atol=1e-3
    )
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(result.warped_labels), sitk.GetArrayFromImage(blob_labels())
    )
    # The field itself, at a voxel: ITK's own rigid map of the point.
    index = (11, 7, 15)
    point = np.array(fixed.TransformIndexToPhysicalPoint(index))
    expected = np.array(rigid.TransformPoint(point)) - point
    np.testing.assert_allclose(result.displacement[index], expected, atol=1e-4)

    metrics = result.metrics
    assert metrics["correlation"]["before"] < 0.9
    assert metrics["correlation"]["after"] == pytest.approx(1, abs=1e-6)
    assert metrics["dice"]["mean"]["before"] < 0.9
    assert metrics["dice"]["structures"][300]["after"] == 1
    assert metrics["jaccard"]["mean"]["initial"] == 1
    assert metrics["folding_percent"] == 0
    assert metrics["jacobian_std"] == 0
    assert metrics["inverse_error_mm"]["max"] < 1e-6
    assert metrics["warnings"] == []
    assert set(metrics["seconds"]) >= {"prepare", "network", "warp", "inverse"}


def test_network_sees_prepared_volumes_and_repeats():
    network = KnownNetwork()
    register_images(network, {"preprocessing": {"margin": 0.2}}, blob(), blob() * 2, n_repeats=3)
    fixed, moving, n_repeats, training = network.called_with
    assert (n_repeats, training) == (3, False)
    expected = prepare_volume(blob(), SHAPE, margin=0.2).array
    np.testing.assert_array_equal(fixed[0, ..., 0], expected)
    np.testing.assert_allclose(moving, fixed, atol=1e-6)


def test_metrics_of_a_known_flow():
    d = np.arange(SHAPE[0], dtype=np.float32)[:, None, None]
    flow = np.zeros((*SHAPE, 3), np.float32)
    flow[..., 0] = np.where(d < 10, 0, -1.5 * (d - 9))  # det J is 1, then -0.5 from d = 9 on
    fixed = blob()
    result = register_images(KnownNetwork(flow), {}, fixed, fixed, force=True)
    metrics = result.metrics
    assert metrics["folding_percent"] == pytest.approx(100 * 10 / 19)
    assert metrics["jacobian_std"] == pytest.approx(np.std([1.0] * 9 + [-0.5] * 10), rel=1e-6)
    millimetres = 15 * result.moving.grid.spacing[0]
    assert metrics["displacement_mm"]["max"] == pytest.approx(millimetres, rel=1e-6)
    assert any("folds" in text for text in metrics["warnings"])
    assert any("did not rise" in text for text in metrics["warnings"])


def test_warped_labels_have_no_new_ids():
    moving, _ = turned_copy(blob())
    labels, _ = turned_copy(blob_labels())
    network = KnownNetwork(smooth_flow(4))
    result = register_images(network, {}, blob(), moving, moving_labels=labels, force=True)
    found = sitk.GetArrayFromImage(result.warped_labels)
    assert found.dtype == np.int16
    assert set(np.unique(found)) == {0, 2, 17, 300}
    assert "dice" not in result.metrics


def test_metrics_are_json_and_a_table():
    result = register_images(
        KnownNetwork(), {}, blob(), blob(), fixed_labels=blob_labels(), moving_labels=blob_labels()
    )
    json.dumps(result.metrics, allow_nan=False)
    rows = metrics_rows(result.metrics)
    assert rows[0]["metric"] == "correlation"
    assert rows[0]["after"] == pytest.approx(1)
    assert [row["structure"] for row in rows if row["metric"] == "dice"] == ["mean", 2, 17, 300]


def test_images_that_do_not_meet_give_none_not_nan():
    result = register_images(KnownNetwork(), {}, blob(), far(blob()))
    assert result.metrics["correlation"]["before"] is None
    assert result.metrics["correlation"]["after"] == pytest.approx(1, abs=1e-6)
    assert result.metrics["warnings"] == []


def test_different_ids_and_different_parts_are_warned_of():
    small = sitk.Cast(blob_labels() == 17, sitk.sitkInt16)
    result = register_images(
        KnownNetwork(),
        {},
        blob(),
        blob(),
        moving_mask=small,
        fixed_labels=blob_labels(),
        moving_labels=small,
    )
    warnings = " ".join(result.metrics["warnings"])
    assert "4 of 4 structures never overlap" in warnings
    assert "differ 2." in warnings


def test_the_network_sees_what_both_scans_show():
    """A scan that was cut off is compared with the part of the other that it shows."""
    network = KnownNetwork()
    image = textured()
    result = register_images(network, {}, image, image[:, :, 10:])
    fixed, moving, *_ = network.called_with
    np.testing.assert_allclose(fixed, moving, atol=0.12)  # as their intensity ranges differ
    assert (result.start, result.fallback) == ("header", False)
    assert result.metrics["correlation"]["after"] > 0.99 > result.metrics["correlation"]["initial"]
    assert np.abs(sitk.GetArrayViewFromImage(result.displacement)).max() < 1e-3
    warnings = " ".join(result.metrics["warnings"])
    assert "starts from where the headers put the images" in warnings
    assert "the fields of view differ: the moving image shows" in warnings


def test_box_slices_cover_the_box():
    grid = Grid.from_image(sitk.DICOMOrient(blob(), "RAS"))
    network = Grid.from_image(blob()).crop_resampled([[4, 10], [3, 20], [5, 9]], SHAPE)
    sizes = [s.stop - s.start for s in box_slices(network, grid)]
    assert sizes == [6, 17, 4]


def test_bad_input():
    image, labels = blob(), blob_labels()
    network = KnownNetwork()
    cases = [
        ({"fixed_labels": labels}, "need moving labels"),
        ({"moving_labels": far(labels)}, "no voxel of the moving labels lies within"),
        ({"moving_labels": image * 0.3}, "the moving labels must hold whole-number"),
        ({"fixed_mask": far(labels)}, "no voxel of the mask of the fixed image lies"),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            register_images(network, {}, image, image, **options)
    with pytest.raises(ValueError, match="the moving image is empty"):
        register_images(network, {}, image, image * 0)
    with pytest.raises(ValueError, match="zoom"):
        register_images(network, {"preprocessing": {"zoom": 2}}, image, image)
    broken = KnownNetwork(np.full((*SHAPE, 3), np.nan, np.float32))
    with pytest.raises(ValueError, match="flow with NaN"):
        register_images(broken, {}, image, image)
