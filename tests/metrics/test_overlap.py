"""Dice and Jaccard against counting by hand and SimpleITK."""

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf

from rcn_tf import metrics


def _row(*values):
    return np.array(values, np.uint8).reshape(1, 1, -1)


@pytest.fixture
def label_maps():
    rng = np.random.default_rng(3)
    a = rng.integers(0, 5, (7, 9, 6)).astype(np.uint8)
    return a, np.where(rng.random(a.shape) < 0.6, a, rng.integers(0, 5, a.shape)).astype(np.uint8)


def test_counts_by_hand():
    a, b = _row(0, 1, 1, 1, 2, 2, 0), _row(1, 1, 1, 0, 2, 0, 0)
    np.testing.assert_allclose(metrics.dice(a, b), [4 / 6, 2 / 3])
    np.testing.assert_allclose(metrics.jaccard(a, b), [2 / 4, 1 / 2])


def test_agrees_with_simpleitk(label_maps):
    a, b = label_maps
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(sitk.GetImageFromArray(a), sitk.GetImageFromArray(b))
    labels = [1, 2, 3, 4]
    np.testing.assert_allclose(metrics.dice(a, b), [overlap.GetDiceCoefficient(k) for k in labels])
    np.testing.assert_allclose(
        metrics.jaccard(a, b), [overlap.GetJaccardCoefficient(k) for k in labels]
    )


def test_scores_follow_the_order_of_labels(label_maps):
    scores = metrics.dice(*label_maps)
    np.testing.assert_array_equal(metrics.dice(*label_maps, labels=[3, 1]), scores[[2, 0]])


def test_structure_absent_from_one_scores_zero_and_from_both_nan():
    a, b = _row(1, 1, 0, 4), _row(1, 1, 7, 0)
    np.testing.assert_array_equal(metrics.dice(a, b, [1, 4, 5, 7]), [1, 0, np.nan, 0])
    np.testing.assert_array_equal(metrics.jaccard(a, b, [1, 4, 5, 7]), [1, 0, np.nan, 0])


def test_batches_and_tensors(label_maps):
    a, b = label_maps
    scores = metrics.dice(tf.stack([a, a]), tf.stack([b, a]))
    np.testing.assert_allclose(scores, [metrics.dice(a, b), np.ones(4)])


def test_boolean_masks_are_one_structure():
    np.testing.assert_allclose(metrics.dice(_row(1, 1, 0) > 0, _row(0, 1, 0) > 0), [2 / 3])


def test_empty_maps_have_no_structures():
    assert metrics.dice(_row(0, 0), _row(0, 0)).shape == (0,)


def test_mask_overlap_thresholds_above_128():
    a, b = _row(0, 255, 255, 255), _row(129, 128, 255, 200)
    dice, jaccard = metrics.mask_overlap(a, b)
    assert dice == pytest.approx(4 / 6)
    assert jaccard == pytest.approx(2 / 4)
    dice, jaccard = metrics.mask_overlap(np.stack([a, a])[..., None], np.stack([b, a])[..., None])
    np.testing.assert_allclose(dice, [4 / 6, 1])
    np.testing.assert_allclose(jaccard, [2 / 4, 1])


def test_structures_are_sorted_and_without_background():
    np.testing.assert_array_equal(metrics.structures(_row(0, 9, 2), _row(2, 4, 0)), [2, 4, 9])


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((2, 2, 2), int), np.zeros((2, 2, 3), int), r"\(2, 2, 2\) and \(2, 2, 3\)"),
        (np.zeros(2, int), np.zeros(2, int), "equal shapes"),
        (np.zeros((2, 2, 2)), np.zeros((2, 2, 2), int), "integers; got float64"),
    ],
)
def test_wrong_input(a, b, message):
    with pytest.raises(ValueError, match=message):
        metrics.dice(a, b)


def test_two_axes_and_batches_of_them(label_maps):
    """A batch of 2D maps needs a last axis of one, because three axes always mean a volume."""
    a, b = (labels[:2] for labels in label_maps)  # two slices
    for score in (metrics.dice, metrics.jaccard):
        expected = [score(a[k][None], b[k][None], [1, 2, 3, 4]) for k in range(2)]
        np.testing.assert_array_equal(score(a[0], b[0], [1, 2, 3, 4]), expected[0])
        np.testing.assert_array_equal(score(a[..., None], b[..., None], [1, 2, 3, 4]), expected)
    masks = [np.uint8(255 * (labels == 2)) for labels in (a, b)]
    expected = [metrics.mask_overlap(masks[0][k][None], masks[1][k][None])[0] for k in range(2)]
    batched = metrics.mask_overlap(masks[0][..., None], masks[1][..., None])[0]
    np.testing.assert_array_equal(batched, expected)
    assert metrics.mask_overlap(masks[0][0], masks[1][0])[0] == expected[0]
