"""Finding the background of phantoms, which is known by construction."""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from rcn_tf.volumes.preparation.background import find_background, standard_form
from rcn_tf.volumes.preparation.standard_image import standard_image

SHAPE = (24, 30, 27)


def brain():
    """A rounded organ with texture that fades into 0, float32, up to about 100."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
    d, h, w = grid
    texture = 60 + 25 * np.sin(9 * d + 2) * np.cos(7 * h) + 15 * np.cos(8 * w - d)
    organ = (d / 0.75) ** 2 + (h / 0.8) ** 2 + (w / 0.7) ** 2 < 1
    faded = ndimage.gaussian_filter(np.where(organ, texture, 0.0), 0.7)
    return np.where(faded > 0.5, faded, 0).astype(np.float32)


def head(noise=2.0):
    """The same organ in air with noise."""
    air = np.random.default_rng(0).normal(0, noise, (2, *SHAPE))
    return np.hypot(brain() + air[0], air[1]).astype(np.float32)


def outside_circle(array):
    h, w = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE[1:]], indexing="ij")
    return np.broadcast_to(h**2 + w**2 > 1, array.shape)


def test_an_ordinary_scan_is_left_as_it_is():
    for array in (brain(), head(), brain().astype(np.int16), head() - 1000):
        background = find_background(array)
        assert standard_form(array, background) is array
        assert background.nothing is None
        assert not background.whole
    assert find_background(brain()).value == 0
    assert find_background(head() - 1000).value == pytest.approx(-997.5, abs=1)


@pytest.mark.parametrize("value", [-1000, 55.5, 500, 32767, np.nan, np.inf])
def test_any_value_around_an_organ_is_its_background(value):
    organ = brain() > 0
    array = np.where(organ, brain(), np.float32(value))
    background = find_background(array)
    np.testing.assert_array_equal(background.masked, ~organ)
    assert background.nothing is None
    assert not background.inverted
    if np.isfinite(value):
        assert background.value == value
    standard = standard_form(array, background)
    np.testing.assert_array_equal(standard[organ], array[organ])
    assert standard[~organ].max() < array[organ].min()


@pytest.mark.parametrize("make", [brain, head])
def test_a_negative_is_turned(make):
    array = make()
    negative = 700 - 2 * array
    background = find_background(negative)
    assert background.inverted
    assert background.value == pytest.approx(700 - 2 * find_background(array).value)
    np.testing.assert_array_equal(standard_form(negative, background), -negative)


def test_a_negative_with_a_background_in_the_middle_is_told_by_the_organs_surface():
    organ = brain() > 0
    values = brain()[organ]
    scored = np.where(organ, (brain() - values.mean()) / values.std(), 0).astype(np.float32)
    assert not find_background(scored).inverted
    assert find_background(-scored).inverted
    # A bright surface beside a dark one (fluid and bone in T2) does not show a negative image.
    bright_rim = np.where(ndimage.binary_erosion(organ), scored, 2.5)
    bright_rim[: SHAPE[0] // 2] = scored[: SHAPE[0] // 2]
    assert not find_background(np.where(organ, bright_rim, 0)).inverted


@pytest.mark.parametrize("value", [-3024, -2000, 32767, 60, np.nan, -3.4e38])
@pytest.mark.parametrize("make", [brain, head])
def test_padding_in_the_corners_is_not_the_background(make, value):
    plain = make()
    outside = outside_circle(plain)
    array = np.where(outside, np.float32(value), plain)
    background = find_background(array)
    np.testing.assert_array_equal(background.nothing, outside)
    assert background.value == pytest.approx(find_background(plain).value, abs=0.2)
    standard = standard_form(array, background)
    np.testing.assert_allclose(standard[outside], background.value)
    np.testing.assert_array_equal(standard[~outside], plain[~outside])


@pytest.mark.parametrize("low", [-1000, -200, 0])
@pytest.mark.parametrize("padded", [False, True])
def test_a_body_without_noise_is_not_its_background(low, padded):
    """In phantoms and clipped CT the body's own constant is not a second background."""
    d, h, w = np.meshgrid(*[np.linspace(-1, 1, n) for n in (20, 36, 40)], indexing="ij")
    body, liver = (w / 0.62) ** 2 + (h / 0.45) ** 2 < 1, d**2 + h**2 + (w + 0.2) ** 2 < 0.1
    array = np.select([liver, body], [110.0, 40.0], low)
    if padded:
        array[h**2 + w**2 > 1] = -3024
    background = find_background(array)
    assert background.value == low
    standard = standard_form(array, background)
    assert standard[~body].max() < standard[body].min()


@pytest.mark.parametrize(("outside", "organ"), [(0, 1), (0, 255), (1, 0), (-1.5, 2)])
def test_a_mask_has_an_organ_of_one_value(outside, organ):
    array = np.full((12, 14, 16), outside, np.float32)
    array[3:9, 4:11, 3:12] = organ
    background = find_background(array)
    assert background.value == outside
    standard = standard_form(array, background)
    assert standard[5, 6, 7] > standard[0, 0, 0]
    assert len(np.unique(standard)) == 2


def test_three_backgrounds_at_once():
    array = np.where(outside_circle(brain()), -3024, brain())
    array = np.pad(array, 3, constant_values=-2000)
    background = find_background(array)
    assert background.value == 0
    inner = np.pad(~outside_circle(brain()), 3)
    np.testing.assert_array_equal(background.nothing, ~inner)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_blanked_slices_are_padding(share):
    array = (head() - 40) / 20  # 0 lies in the middle
    blank = int(share * SHAPE[0]) + 1
    array[-blank:] = 0
    background = find_background(array)
    assert background.masked[-blank:].all()
    assert not background.masked[:-blank].any()
    assert background.value == pytest.approx(-1.87, abs=0.05)


def test_noise_between_the_organs_values_is_background(rng):
    organ = brain() > 12
    values = brain()[organ]
    scored = (brain() - values.mean()) / values.std()
    array = np.where(organ, scored, rng.normal(0, 0.05, SHAPE)).astype(np.float32)
    background = find_background(array)
    assert background.value == pytest.approx(0, abs=0.01)
    wrong = background.masked != ~organ
    assert wrong.mean() < 0.01


def test_tissue_with_the_value_of_the_padding_is_kept():
    array = np.rint(brain()).astype(np.int16)
    tissue = array == 60
    assert tissue.sum() > 50
    array[:3] = 60
    background = find_background(array)
    assert background.masked[:3].all()
    assert not background.masked[3:][tissue[3:]].any()


def test_an_image_without_background_is_whole(rng):
    texture = ndimage.gaussian_filter(rng.normal(size=SHAPE), 2)
    background = find_background(texture)
    assert background.whole
    assert background.masked is None
    padded = np.pad(texture, 1, constant_values=99.0)
    background = find_background(padded)
    assert background.whole
    np.testing.assert_array_equal(background.nothing, padded == 99)
    padded = np.pad(texture, 6, constant_values=99.0)
    background = find_background(padded)
    assert (background.whole, background.surface) == (False, "sharp")
    np.testing.assert_array_equal(background.masked, padded == 99)


def test_two_values_are_organ_and_background():
    array = np.zeros(SHAPE, np.uint8)
    array[9:14, 10:19, 8:20] = 5
    background = find_background(array)
    assert (background.value, background.whole, background.inverted) == (0, False, False)
    standard = standard_form(array, background)
    assert standard.max() == 5


def test_declared_padding_is_honoured():
    image = sitk.GetImageFromArray(np.where(outside_circle(head()), 30, head()).astype(np.int16))
    image.SetMetaData("PixelPaddingValue", "30")
    _, background, _ = standard_image(image)
    assert background.value == 30
    # The declaration is ignored if tissue has the value but no region does.
    image = sitk.GetImageFromArray(np.rint(head()).astype(np.int16))
    image.SetMetaData("PixelPaddingValue", "60")
    standard, background, _ = standard_image(image)
    assert standard is image
    assert background.value == pytest.approx(2, abs=1)


def test_holes_are_remarked_and_empty_images_refused():
    array = brain()
    array[12, 15, 13] = np.nan
    _, background, (remark,) = standard_image(sitk.GetImageFromArray(array))
    assert "1 NaN" in remark
    assert np.argwhere(background.masked).tolist() == [[12, 15, 13]]
    for value in (0, np.nan):
        with pytest.raises(ValueError, match="scan is empty"):
            standard_image(sitk.GetImageFromArray(np.full(SHAPE, value, np.float32)), name="scan")
