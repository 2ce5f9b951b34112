"""Label maps told from images."""

import numpy as np
import pytest
from scipy import ndimage

from rcn_tf.volumes.label_ids import look_like_grey_values

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
    """Also a parcellation as fine as 1000 regions of 3 x 3 x 3 voxels."""
    blocks = [-(-n // edge) for n in SHAPE]
    ids = rng.permutation(np.prod(blocks)).reshape(blocks)
    labels = ids.repeat(edge, 0).repeat(edge, 1).repeat(edge, 2)
    assert not look_like_grey_values(labels)


def test_few_values_are_labels(rng):
    assert not look_like_grey_values(rng.integers(0, 9, SHAPE))
