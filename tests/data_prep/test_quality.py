"""data_prep.quality: every flag is raised by its own defect and by no other."""

import dataclasses

import numpy as np
import pytest

from data_prep.contact_sheet import tile
from data_prep.quality import flag_scans, measure
from rcn_tf.data.packs import Scan

SHAPE = (32, 32, 32)


@pytest.fixture
def good(rng):
    """A liver scan with nothing wrong: 1.2 litres in a crop of 200 mm."""
    volume = rng.integers(40, 200, SHAPE).astype(np.uint8)
    segmentation = np.zeros(SHAPE, np.uint8)
    segmentation[8:24, 8:24, 6:26] = 255
    return Scan(
        "a",
        volume,
        segmentation,
        np.full((6, 3), 12.0, np.float32),
        {"spacing": np.array([6.25, 6.25, 6.25])},
    )


def flags_of(scan, image_type="liver"):
    return measure("a", scan, image_type).flags


def test_a_good_scan_has_none(good):
    assert flags_of(good) == {}
    assert flags_of(dataclasses.replace(good, attributes={}, segmentation=None, points=None)) == {}


def _with(**changes):
    return lambda scan: dataclasses.replace(scan, **{k: f(scan) for k, f in changes.items()})


def _cut(scan):
    segmentation = scan.segmentation.copy()
    segmentation[24:, 8:24, 8:24] = 255
    return segmentation


def _points(value):
    def change(scan):
        points = scan.points.copy()
        points[2] = value
        return points

    return change


@pytest.mark.parametrize(
    ("change", "flag", "text"),
    [
        (_with(volume=lambda s: np.zeros_like(s.volume)), "empty", "0.0% of the voxels"),
        (_with(volume=lambda s: np.where(s.volume > 90, 255, s.volume)), "clipped", "saturated"),
        (_with(segmentation=_cut), "cut", "reaches the border: superior"),
        (_with(segmentation=lambda s: 0 * s.segmentation), "empty label", "is empty"),
        (_with(attributes=lambda s: {"spacing": [4.4] * 3}), "small liver", "has 436 ml"),
        (_with(attributes=lambda s: {"spacing": [9.5] * 3}), "large liver", "ml"),
        (_with(attributes=lambda s: {"spacing": [1.0, 6, 6]}), "spacing", "spans 192 x 192 x 32"),
        (_with(attributes=lambda s: {"spacing": [4.0, 4, 13]}), "spacing", "13.00 x 4.00 x 4.00"),
        (_with(attributes=lambda s: {"spacing": [np.nan] * 3}), "spacing", "nan"),
        (_with(points=_points(-1)), "landmarks", "1 of 6 landmarks are missing"),
        (_with(points=_points(40)), "landmarks", "1 of 6 landmarks lie outside"),
    ],
)
def test_each_flag(good, change, flag, text):
    found = flags_of(change(good))
    assert flag in found
    assert text in found[flag]


def test_comparison_with_the_others(good):
    scans = {f"s{k}": good for k in range(6)}
    scans["dark"] = dataclasses.replace(good, volume=good.volume // 8)
    scans["bare"] = dataclasses.replace(good, segmentation=None)
    flags = flag_scans([measure(name, scan, "liver") for name, scan in scans.items()])
    assert list(flags) == list(scans)
    assert flags["s0"] == {}
    assert "darker than the others" in flags["dark"]["exposure"]
    assert "no segmentation" in flags["bare"]["unlabelled"]


def test_tile_shows_superior_and_anterior_up(good):
    volume = np.zeros((6, 8, 10), np.uint8)
    volume[5] = 200  # superior
    volume[:, 0] = 100  # anterior
    volume[:, :, 0] = 50  # right
    picture = tile(dataclasses.replace(good, volume=volume, segmentation=None))
    assert picture.shape == (8, 10 + 2 + 10 + 2 + 8 + 2, 3)
    axial, coronal, sagittal = picture[:, :10, 0], picture[:6, 12:22, 0], picture[:6, 24:32, 0]
    assert (axial[0, 1:] == 100).all()
    assert (axial[:, 0] == 50).all()
    assert (coronal[0, 1:] == 200).all()
    assert (sagittal[1:, 0] == 100).all()


def flags_of_many(scans):
    return flag_scans([measure(name, scan, "brain") for name, scan in scans.items()])


def brains(rng, count):
    """Scans of one bright ellipsoid each, brightest at the front and the top."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 32)] * 3, indexing="ij"))
    inside = (grid**2).sum(axis=0) < 0.8
    shaded = np.where(inside, 120 + 60 * grid[0] - 60 * grid[1], 0)
    attributes = {"spacing": np.full(3, 6.0)}
    noise = [rng.normal(0, 4, inside.shape) * inside for _ in range(count)]
    return {
        f"s{k}": Scan(f"s{k}", (shaded + one).astype(np.uint8), attributes=attributes)
        for k, one in enumerate(noise)
    }


def test_most_scans_wrong(rng):
    """If three of four scans are too dark, those are flagged and not the correct one."""
    scans = brains(rng, 4)
    for name in ("s0", "s1", "s3"):
        scans[name] = dataclasses.replace(scans[name], volume=scans[name].volume // 9)
    flags = flags_of_many(scans)
    assert flags["s2"] == {}
    assert all("darker than the others" in flags[k]["exposure"] for k in ("s0", "s1", "s3"))
    everything = {k: v for k, v in scans.items() if k != "s2"}
    assert all("very dark" in found["exposure"] for found in flags_of_many(everything).values())


@pytest.mark.parametrize("wrong", [("s0", "s1"), ("s2",)])
def test_two_groups_of_which_neither_is_implausible(rng, wrong):
    scans = brains(rng, 3)
    for name in wrong:
        scans[name] = dataclasses.replace(scans[name], attributes={"spacing": np.full(3, 3.0)})
    flags = flags_of_many(scans)
    assert all("one of two groups" in flags[k]["size"] for k in scans)
    assert "smaller than the others (edge 96 mm, theirs 192" in flags[wrong[0]]["size"]


def test_few_of_many_are_named_alone(rng):
    scans = brains(rng, 12)
    scans["s5"] = dataclasses.replace(scans["s5"], volume=scans["s5"].volume // 2)
    assert {k for k, found in flags_of_many(scans).items() if found} == {"s5"}


@pytest.mark.parametrize(
    ("turned", "axis", "word"),
    [(("s1",), 0, "upside down"), (("s0", "s2", "s3"), 1, "back to front")],
)
def test_scans_that_lie_otherwise(rng, turned, axis, word):
    scans = brains(rng, 4)
    for name in turned:
        scans[name] = dataclasses.replace(scans[name], volume=np.flip(scans[name].volume, axis))
    flags = flags_of_many(scans)
    assert all(word in flags[k]["orientation"] for k in scans)
    assert flags_of_many(brains(rng, 4)) == {f"s{k}": {} for k in range(4)}


def test_a_background_that_is_not_zero(rng):
    scan = brains(rng, 1)["s0"]
    filled = dataclasses.replace(scan, volume=np.where(scan.volume == 0, 111, scan.volume))
    assert "the corners are 111" in flags_of(filled, "brain")["background"]
    assert flags_of(scan, "brain") == {}
