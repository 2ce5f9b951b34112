"""`register_pair` with networks of known flow: points, images, labels, metrics, errors."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.errors import InputWarning
from rcn_tf.metrics import dice, structures
from rcn_tf.models.folder import DEFAULT_MODEL, load_with_config
from rcn_tf.models.output import unregistered
from rcn_tf.registration.pair import register_pair
from rcn_tf.registration.pair_metrics import box_slices, metrics_rows
from rcn_tf.volumes import Grid, prepare_volume
from tests.scans_for_tests import textured
from tests.volumes.preparation.test_background import brain, head, outside_circle
from tests.volumes.preparation.test_network_input import CHANGES, as_image, blob
from tests.volumes.test_warping import smooth_flow, turned_copy

SHAPE = (20, 24, 28)


class KnownNetwork:
    """A network whose flow is known; keeps what it was called with."""

    volume_shape = SHAPE

    def __init__(self, flow=None):
        self.flow = np.zeros((*SHAPE, 3), np.float32) if flow is None else flow

    def __call__(self, fixed, moving, training, n_repeats=1):
        self.called_with = fixed, moving, n_repeats, training
        return unregistered(moving).then(self.flow[None])


def far(image):
    """A copy that lies nowhere near."""
    image = sitk.Image(image)
    image.SetOrigin([900.0, 0.0, 0.0])
    return image


class ImageNetwork(KnownNetwork):
    """A network whose flow follows the images, so that other inputs give another flow."""

    def __call__(self, fixed, moving, training, n_repeats=1):
        difference = np.asarray(fixed - moving)[0, ..., 0]
        self.flow = np.stack([8 * difference, -6 * difference, 5 * difference**2], axis=-1)
        return super().__call__(fixed, moving, training, n_repeats)


def textured_pair():
    """A brain, its mirror image in another place, and labels of the latter."""
    fixed = as_image(brain())
    moving = turned_copy(as_image(brain()[::-1, :, ::-1].copy()), 5, (3.0, 2.0, -4.0))[0]
    ids = (sitk.GetArrayFromImage(moving) // 25).astype(np.int16)
    labels = Grid.from_image(moving).to_image(ids)
    return fixed, moving, labels


def changed(image, change):
    result = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(image)).astype(np.float32))
    result.CopyInformation(image)
    return result


@pytest.mark.slow
@pytest.mark.parametrize(
    "of_fixed, of_moving",
    [
        ("scaled", "negative"),
        ("masked z-score", "bright corners"),
        ("NaN background", "rim and corners"),
        ("bright background", "negative z-score"),
        ("blanked slices", "infinite corners"),
        ("padded corners", "whole z-score"),
    ],
)
def test_a_registration_depends_on_neither_grey_values_nor_background(of_fixed, of_moving):
    fixed, moving, labels = textured_pair()
    plain = register_pair(ImageNetwork(), {}, fixed, moving, moving_labels=labels, force=True)
    other = register_pair(
        ImageNetwork(),
        {},
        changed(fixed, CHANGES[of_fixed]),
        changed(moving, CHANGES[of_moving]),
        moving_labels=labels,
        force=True,
    )
    assert np.abs(plain.transform.flow).max() > 1
    first, second = (sitk.GetArrayFromImage(result.displacement) for result in (plain, other))
    np.testing.assert_allclose(second, first, atol=0.15)  # mm
    assert np.abs(second - first).mean() < 0.01
    first, second = (sitk.GetArrayFromImage(result.warped_labels) for result in (plain, other))
    assert (first != second).mean() < 0.002
    for stage, value in plain.metrics["correlation"].items():
        assert other.metrics["correlation"][stage] == pytest.approx(
            value, abs=0.1
        )  # padding is left out


def test_outside_the_moving_image_lies_its_background():
    fixed = as_image(np.pad(brain(), ((0, 3),) * 3))
    moving = changed(as_image(brain()), CHANGES["masked z-score"]) * -1
    outside = np.pad(np.zeros(brain().shape, bool), ((0, 3),) * 3, constant_values=True)
    far = np.zeros((*SHAPE, 3), np.float32) + 12
    for background, expected in ((None, 0), (-7.5, -7.5)):
        result = register_pair(
            KnownNetwork(far), {}, fixed, moving, background=background, force=True
        )
        assert (sitk.GetArrayFromImage(result.before)[outside] == expected).all()
        assert (sitk.GetArrayFromImage(result.warped)[-1] == expected).all()


def test_correlation_counts_what_the_moving_image_shows():
    fixed = as_image(brain())
    half = fixed[:, :, : SHAPE[0] // 2]
    fixed_array, shown = brain(), brain().shape[0] - SHAPE[0] // 2
    result = register_pair(KnownNetwork(), {}, fixed, half)
    assert fixed_array[-shown:].any()
    assert result.metrics["correlation"]["before"] == pytest.approx(1, abs=1e-6)
    padded = sitk.GetArrayFromImage(fixed)
    padded[outside_circle(padded)] = -2000
    padded[:, 14:17, 3:20] = -2000  # and a streak through the organ
    padded[:, :, 0] = -2000
    result = register_pair(KnownNetwork(), {}, fixed, as_image(padded))
    assert result.metrics["correlation"]["before"] == pytest.approx(1, abs=1e-6)


def test_a_box_that_is_the_whole_image_is_said():
    inner = as_image(head()[6:18, 8:22, 8:19])
    with pytest.warns(InputWarning, match="the moving image: no background was found"):
        register_pair(KnownNetwork(), {}, as_image(head()), inner)
    mask = inner > 0
    register_pair(KnownNetwork(), {}, as_image(head()), inner, moving_mask=mask)


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
    result = register_pair(
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
    assert metrics["inverse_error_mm"]["max"] < 1e-4
    assert metrics["warnings"] == []
    assert set(metrics["seconds"]) >= {"prepare", "network", "warp", "inverse"}


def test_network_sees_prepared_volumes_and_repeats():
    network = KnownNetwork()
    register_pair(network, {"preprocessing": {"margin": 0.2}}, blob(), blob() * 2, n_repeats=3)
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
    result = register_pair(KnownNetwork(flow), {}, fixed, fixed, force=True)
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
    result = register_pair(network, {}, blob(), moving, moving_labels=labels, force=True)
    found = sitk.GetArrayFromImage(result.warped_labels)
    assert found.dtype == np.int16
    assert set(np.unique(found)) == {0, 2, 17, 300}
    assert "dice" not in result.metrics


def test_metrics_are_json_and_a_table():
    result = register_pair(
        KnownNetwork(), {}, blob(), blob(), fixed_labels=blob_labels(), moving_labels=blob_labels()
    )
    json.dumps(result.metrics, allow_nan=False)
    rows = metrics_rows(result.metrics)
    assert rows[0]["metric"] == "correlation"
    assert rows[0]["after"] == pytest.approx(1)
    assert [row["structure"] for row in rows if row["metric"] == "dice"] == ["mean", 2, 17, 300]


def test_images_that_do_not_meet_give_none_not_nan():
    result = register_pair(KnownNetwork(), {}, blob(), far(blob()))
    assert result.metrics["correlation"]["before"] is None
    assert result.metrics["correlation"]["after"] == pytest.approx(1, abs=1e-6)
    assert result.metrics["warnings"] == []


def test_different_ids_and_different_parts_are_warned_of():
    small = sitk.Cast(blob_labels() == 17, sitk.sitkInt16)
    result = register_pair(
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
    result = register_pair(network, {}, image, image[:, :, 10:])
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
            register_pair(network, {}, image, image, **options)
    with pytest.raises(ValueError, match="the moving image is empty"):
        register_pair(network, {}, image, image * 0)
    with pytest.raises(ValueError, match="zoom"):
        register_pair(network, {"preprocessing": {"zoom": 2}}, image, image)
    broken = KnownNetwork(np.full((*SHAPE, 3), np.nan, np.float32))
    with pytest.raises(ValueError, match="KnownNetwork: the total flow holds NaN or infinity"):
        register_pair(broken, {}, image, image)


@pytest.mark.nightly
def test_real_brains_normalised_inside_their_masks(shared_data):
    """With the default model, whose result a shift of the box by a voxel changes by a fifth."""
    cases = shared_data.parent / "cases"
    if not cases.is_dir():
        pytest.skip("the small brains are not here")
    names = ("fixed", "moving", "moving_labels")
    fixed, moving, labels = (sitk.ReadImage(str(cases / f"{name}.nii.gz")) for name in names)
    model, config = load_with_config(DEFAULT_MODEL)

    def scored(array):
        brain = array > 20
        values = array[brain]
        return np.where(brain, (array - values.mean()) / values.std(), 0)

    results = []
    for change in (lambda array: array, scored, lambda array: -scored(array)):
        pair = changed(fixed, change), changed(moving, change)
        results.append(register_pair(model, config, *pair, moving_labels=labels).warped_labels)
    plain, *others = map(sitk.GetArrayFromImage, results)
    for other in others:
        assert np.nanmean(dice(plain, other, structures(plain, other))) > 0.95
