"""data_prep.synthesis: images drawn from label maps."""

import numpy as np
import pytest
from scipy import ndimage

from data_prep import freesurfer, synthesis


@pytest.fixture
def head():
    """White matter left and right, cortex, a ventricle and CSF around; ids are not in order."""
    grid = np.stack(np.meshgrid(*map(np.arange, (44, 42, 40)), indexing="ij"), axis=-1)
    radius = np.linalg.norm(grid - np.array([21, 20, 19]), axis=-1)
    labels = np.zeros(radius.shape, np.uint8)
    for limit, (left, right) in ((19, (24, 24)), (17, (3, 42)), (12, (2, 41)), (6, (4, 43))):
        labels[radius < limit] = left
        labels[(radius < limit) & (grid[..., 2] < 19)] = right
    return labels


def test_t1_contrast_and_sides(head, rng):
    for _ in range(3):
        image = synthesis.render(head, rng)
        assert image.dtype == np.uint8
        mean = {}
        for label in (2, 41, 3, 42, 4, 43):
            core = ndimage.binary_erosion(head == label, iterations=2)
            mean[label] = np.median(image[core])
        assert mean[4] + 15 < mean[3] < mean[2] - 15
        for left, right in ((2, 41), (3, 42), (4, 43)):
            assert abs(mean[left] - mean[right]) < 20
        assert 0 < image[head == 2].std() < 30


def test_brightness_of_further_tissue(head, rng):
    """Bone is darker than fluid; ids that no table has are refused in T1."""
    shell = ndimage.binary_dilation(head > 0, iterations=5) & (head == 0)
    labels = np.where(shell, 215, head).astype(np.uint8)
    image = synthesis.render(labels, rng, whiteness={**freesurfer.WHITENESS, 215: -1.0})
    core = ndimage.binary_erosion(labels == 215)
    assert image[core].mean() < 0.5 * image[ndimage.binary_erosion(labels == 24)].mean()
    with pytest.raises(ValueError, match="T1-like contrast is for FreeSurfer ids"):
        synthesis.render(labels, rng)


def test_background_is_black(head, rng):
    far = np.pad(head, 6)
    image = synthesis.render(far, rng)
    assert image[:4].max() == 0
    assert image[far > 0].mean() > 60


def test_same_generator_same_image(head):
    first, second, third = (
        synthesis.render(head, np.random.default_rng(seed), "random") for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != third).mean() > 0.2


def test_random_contrast_breaks_the_t1_order(head):
    def brightest(seed):
        image = synthesis.render(head, np.random.default_rng(seed), "random")
        return max((2, 3, 4), key=lambda label: np.median(image[head == label]))

    assert {brightest(seed) for seed in range(12)} == {2, 3, 4}


def test_unknown_contrast(head, rng):
    with pytest.raises(ValueError, match=r"`contrast` must be one of .* got 't2'"):
        synthesis.render(head, rng, "t2")


def test_jitter_keeps_background_and_order(head, rng):
    image = synthesis.jitter_image(
        np.select([head == 2, head == 3, head == 4], [200, 130, 60]), rng
    )
    assert image[head == 0].max() == 0
    assert np.median(image[head == 2]) > np.median(image[head == 3]) > np.median(image[head == 4])


def test_without_neck(head):
    labels = np.pad(head, ((20, 0), (0, 0), (0, 0)))
    labels[:22, 12:15, 12:15] = 16  # brain stem and CSF down the neck
    labels[:22, 15:17, 12:15] = 24
    cut, box = synthesis.without_neck(labels, margin=1)
    core = np.argwhere(np.isin(labels, (2, 41, 3, 42, 4, 43)))
    np.testing.assert_array_equal([s.start for s in box], core.min(axis=0) - 1)
    np.testing.assert_array_equal([s.stop for s in box], core.max(axis=0) + 2)
    np.testing.assert_array_equal(cut, labels[box])
    with pytest.raises(ValueError, match="no FreeSurfer brain structure"):
        synthesis.without_neck(np.full((4, 4, 4), 24))


def test_strip_outer_csf(head):
    brain = np.isin(head, (2, 41, 3, 42, 4, 43))
    none, one, all_ = (synthesis.strip_outer_csf(head, rim) for rim in (0, 1, 9))
    np.testing.assert_array_equal(none[brain], head[brain])
    assert (none == 24).sum() < (one == 24).sum() < (all_ == 24).sum()
    np.testing.assert_array_equal(all_, head)
