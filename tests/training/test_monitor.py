"""Early warnings: what is said, and when nothing is."""

import numpy as np

from rcn_tf.training.monitor import FlatLoss, Folding, source_of_nan

PAIRS = ["a <- b", "c <- d"]


def test_the_source_of_a_nan_is_the_earliest_stage():
    fine, bad = np.array([1.0, 2.0]), np.array([1.0, np.nan])
    terms = {"affine/determinant": fine, "dense_10/smoothness": bad, "dense_2/smoothness": bad}
    terms.update({"final/similarity": bad, "total": bad})
    message = source_of_nan(terms, PAIRS)
    assert message == "the loss is not finite for c <- d: dense_2/smoothness is nan"
    assert source_of_nan({"final/similarity": fine, "total": fine}, PAIRS) is None


def test_a_sum_that_overflows_is_its_own_source():
    terms = {"final/similarity": np.array([1e38]), "total": np.array([np.inf])}
    assert source_of_nan(terms, PAIRS[:1]).endswith("a <- b: total is inf")


def test_folding_is_warned_of_once_above_five_percent():
    folding = Folding()
    assert folding(1, 0.05) is None
    assert folding(2, 0.0612).startswith("6.1 % of the volume folds")
    assert folding(3, 0.5) is None


def test_a_start_that_folds_by_design_is_left_alone():
    folding = Folding(from_step=100)
    assert folding(99, 0.5) is None
    assert folding(100, 0.5).startswith("50.0 %")


def test_a_flat_loss_is_warned_of_once():
    flat = FlatLoss()
    assert [flat(0.5 + 1e-5 * (k % 2)) for k in range(9)] == [None] * 9
    assert "stayed within 0.1 % of 0.5000 over the last 10" in flat(0.5)
    assert [flat(0.5) for _ in range(20)] == [None] * 20


def test_a_falling_or_noisy_loss_is_not_flat():
    falling, noisy = FlatLoss(), FlatLoss()
    assert not any(falling(0.5 - 1e-4 * k) for k in range(50))
    assert not any(noisy(0.5 + 1e-3 * (k % 3)) for k in range(50))


def test_only_the_last_lines_count():
    flat = FlatLoss()
    for mean in (1.0, 0.9, *[0.5] * 9):
        assert flat(mean) is None
    assert flat(0.5) is not None
