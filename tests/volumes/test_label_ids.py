"""Distinguishing label maps from images."""

import numpy as np
import pytest
from scipy import ndimage

from rcn_tf.volumes.label_ids import look_like_grey_values, look_like_labels

SHAPE = (40, 44, 48)


@pytest.fixture
def scan(rng):
    """Smooth structures with noise, 8 bits, background 0, as a T1 brain."""
    smooth = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 4)
    grey = 120 + 60 * smooth / smooth.std() + rng.normal(0, 4, SHAPE)
    return np.where(np.abs(smooth) < 0.08, np.clip(grey, 1, 255), 0).astype(np.int16)


@pytest.mark.parametrize("change", [lambda a: a, lambda a: a * 8, lambda a: a // 4, lambda a: -a])
def test_images(scan, change):
    assert look_like_grey_values(change(scan))


@pytest.mark.parametrize("edge", [3, 6, 12])
def test_label_maps(rng, edge):
    """Includes a parcellation of 1000 regions of only 3 x 3 x 3 voxels."""
    blocks = [-(-n // edge) for n in SHAPE]
    ids = rng.permutation(np.prod(blocks)).reshape(blocks)
    labels = ids.repeat(edge, 0).repeat(edge, 1).repeat(edge, 2)
    assert not look_like_grey_values(labels)


def test_few_values_are_labels(rng):
    assert not look_like_grey_values(rng.integers(0, 9, SHAPE))


def regions(number):
    """A parcellation of an ellipsoid: each voxel has the id of the nearest of some seeds."""
    seeds = np.random.default_rng(0).uniform(0, SHAPE, (number, 3))
    index = np.moveaxis(np.indices(SHAPE), 0, -1).astype(float)
    ids = np.argmin(((index[..., None, :] - seeds) ** 2).sum(-1), axis=-1) + 1
    ids[((index / SHAPE - 0.5) ** 2).sum(-1) > 0.2] = 0
    return ids.astype(np.int16)


@pytest.mark.parametrize("number", [2, 30, 100])
def test_parcellations_look_like_labels(number):
    assert look_like_labels(regions(number))


@pytest.mark.parametrize("low", [0, -1000, 130])
def test_images_do_not_with_any_background(rng, low):
    texture = (
        100 + 400 * ndimage.gaussian_filter(rng.normal(size=SHAPE), 2) + rng.normal(0, 4, SHAPE)
    )
    image = np.where(regions(2) > 0, texture.clip(1, 255), low)
    assert not look_like_labels(image.astype(np.int16))
    assert not look_like_labels(image)


def test_masks_are_no_label_maps_of_several_structures():
    assert not look_like_labels((regions(2) > 0).astype(np.uint8))
