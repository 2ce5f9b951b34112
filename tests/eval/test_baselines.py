"""Classical methods on shifted and affinely moved blobs, and errors for missing packages."""

import sys

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter, map_coordinates

from eval.baselines import ants, bspline, demons, elastix, physical, tvl1
from rcn_tf import metrics
from rcn_tf.data.label_warp import warp_labels
from tests.eval import study

SHIFT = np.array([1.0, 2.0, 3.0])  # along (z, y, x); all differ, so that a wrong order shows


def pair():
    fixed, labels, _ = study.scan((0, 0, 0))
    moving, moved_labels, _ = study.scan(SHIFT.astype(int))
    return fixed, moving, labels, moved_labels


def dice_after(flow, labels, moving_labels):
    return np.nanmean(metrics.dice(labels, warp_labels(moving_labels, flow)))


def test_flow_of_a_transform_has_the_arrays_order():
    transform = sitk.AffineTransform(3)
    transform.SetTranslation([float(x) for x in SHIFT[::-1]])
    transform.SetMatrix([1, 0, 0.1, 0, 1, 0, 0, 0, 1])  # x += 0.1 z
    flow = physical.flow_of_transform(transform, (4, 5, 6))
    assert flow.shape == (4, 5, 6, 3)
    assert flow.dtype == np.float32
    np.testing.assert_allclose(flow[2, 3, 4], SHIFT + [0, 0, 0.2], rtol=1e-6)


def test_ants_runs_the_stages_of_the_footnote():
    """VTN, footnote 2, with the file names put in, and a seed that makes runs repeatable."""
    printed = (
        "-d 3 --random-seed 1 -o OUT -u 1 -w [0.025,0.975] -r [F,M,1] "
        "-t Rigid[0.1] -m MI[F,M,1,32,Regular,0.2] -c [2000x2000x2000,1e-9,15] -s 2x1x0 -f 4x2x1 "
        "-t Affine[0.1] -m MI[F,M,1,32,Regular,0.1] -c [2000x2000x2000,1e-9,15] -s 2x1x0 -f 4x2x1 "
        "-t SyN[0.15,3.0,0.0] -m CC[F,M,1,4] -c [100x100x100x50,1e-9,15] -s 3x2x1x0 -f 6x4x2x1"
    )
    assert " ".join(ants.arguments("F", "M", "OUT")) == printed
    assert (
        " ".join(ants.arguments("F", "M", "OUT", deformable=False)) == printed.split(" -t SyN")[0]
    )
    assert ants.arguments("a b", "M", "OUT")[11] == "[a b,M,1]"  # spaces do not split a path


@pytest.mark.parametrize("kind", ["Affine", "SyN"])
def test_presets_of_antspyx_undo_a_shift(kind):
    pytest.importorskip("ants")
    fixed, moving, labels, moving_labels = pair()
    flow = ants.preset(fixed, moving, type_of_transform=kind)
    assert flow.dtype == np.float32
    assert dice_after(flow, labels, moving_labels) > 0.9
    inside = fixed > 40
    np.testing.assert_allclose(flow[inside].mean(axis=0), SHIFT, atol=0.3)


def test_demons_undo_a_shift():
    fixed, moving, labels, moving_labels = pair()
    assert dice_after(np.zeros((*fixed.shape, 3)), labels, moving_labels) < 0.5
    flow = demons.demons(fixed, moving)
    assert flow.dtype == np.float32
    assert dice_after(flow, labels, moving_labels) > 0.9
    assert dice_after(demons.affine(fixed, moving), labels, moving_labels) > 0.9


def test_ants_undoes_a_shift():
    pytest.importorskip("ants")
    fixed, moving, labels, moving_labels = pair()
    transform = ants.register(fixed, moving, deformable=False, schedule=ants.USUAL_SCHEDULE)
    flow = physical.flow_of_transform(transform, fixed.shape)
    assert dice_after(flow, labels, moving_labels) > 0.9
    np.testing.assert_allclose(flow[12, 14, 12], SHIFT, atol=0.3)


@pytest.mark.nightly
def test_ants_syn_improves_on_affine():
    pytest.importorskip("ants")
    rng = np.random.default_rng(3)
    fixed, labels, _ = study.scan((0, 0, 0))
    field = np.stack([gaussian_filter(rng.standard_normal(fixed.shape), 5) for _ in "zyx"], -1)
    field *= 4 / np.abs(field).max()
    moving_labels = warp_labels(labels, field)
    moving = pulled_back(fixed, field)
    before = dice_after(np.zeros_like(field), labels, moving_labels)
    transform = ants.register(fixed, moving, schedule=ants.USUAL_SCHEDULE)
    flow = physical.flow_of_transform(transform, fixed.shape)
    assert dice_after(flow, labels, moving_labels) > before + 0.05


@pytest.mark.nightly
def test_elastix_undoes_a_shift(monkeypatch):
    pytest.importorskip("itk")
    monkeypatch.setattr(elastix, "ITERATIONS", 50)
    fixed, moving, labels, moving_labels = pair()
    flow = elastix.bspline(fixed, moving)
    assert flow.shape == (*fixed.shape, 3)
    assert dice_after(flow, labels, moving_labels) > 0.9


@pytest.mark.parametrize(
    ("method", "module", "extra"),
    [
        (ants.syn, "ants", "ants"),
        (elastix.bspline, "itk", "elastix"),
        (tvl1.tvl1, "skimage.registration", "optical-flow"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, method, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    fixed, moving, *_ = pair()
    with pytest.raises(physical.MissingExtraError, match=rf"pip install '\.\[{extra}\]'"):
        method(fixed, moving)


def test_threads(monkeypatch):
    monkeypatch.setenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "3")
    assert physical.threads() == 3
    monkeypatch.delenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    assert physical.threads() >= 1


def pulled_back(volume, field):
    """SciPy's pull-back of a volume."""
    positions = np.indices(volume.shape) + np.moveaxis(field, -1, 0)
    return map_coordinates(volume.astype(np.float32), positions, order=1, mode="nearest")


def beating_slice():
    """A ring that contracts: (fixed, moving) uint8 [H, W] and their label maps."""
    y, x = np.indices((64, 72)) - np.array([31.0, 36.5]).reshape(2, 1, 1)
    slices = []
    for inner, outer in ((11, 17), (8, 15)):
        radius = np.hypot(y, 1.15 * x)
        labels = np.where(radius < inner, 3, np.where(radius < outer, 2, 0)).astype(np.uint8)
        image = gaussian_filter(np.array([60.0, 0, 100.0, 220.0])[labels], 0.8)
        image += 12 * np.sin(0.35 * y + 0.5) * np.cos(0.25 * x)
        slices.append((image.clip(0, 255).astype(np.uint8), labels))
    (fixed, fixed_labels), (moving, moving_labels) = slices
    return fixed, moving, fixed_labels, moving_labels


@pytest.mark.parametrize(
    ("method", "package"),
    [
        (bspline.ffd, None),
        (demons.alone, None),
        (tvl1.tvl1, "skimage.registration"),
    ],
    ids=["ffd", "demons", "tvl1"],
)
def test_methods_for_slices_follow_a_contraction(method, package):
    if package:
        pytest.importorskip(package)
    fixed, moving, labels, moving_labels = beating_slice()
    before = dice_after(np.zeros((*fixed.shape, 2)), labels, moving_labels)
    flow = method(fixed, moving)
    assert (flow.shape, flow.dtype) == ((64, 72, 2), np.float32)
    after = dice_after(flow, labels, moving_labels)
    assert before < 0.75
    assert after > before + 0.1
    wall = (labels == 2) & (np.abs(np.indices(labels.shape)[1] - 36.5) < 3)
    above = wall & (np.indices(labels.shape)[0] < 31)
    assert (
        flow[above][:, 0].mean() > 0.8
    )  # the wall above the centre lies lower in the moving image


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "package"),
    [
        (bspline.ffd, None),
        (demons.alone, None),
        pytest.param(ants.syn_alone, "ants", marks=pytest.mark.nightly),
    ],
    ids=["ffd", "demons", "syn"],
)
def test_methods_without_a_linear_stage_undo_a_shift(method, package):
    if package:
        pytest.importorskip(package)
    fixed, moving, labels, moving_labels = pair()
    flow = method(fixed, moving)
    assert flow.shape == (*fixed.shape, 3)
    before = dice_after(np.zeros_like(flow), labels, moving_labels)
    assert dice_after(flow, labels, moving_labels) > before + 0.2
