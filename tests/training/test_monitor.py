"""Early warnings: their texts, and when there are none."""

import types

import numpy as np
import pytest

from rcn_tf.training.config import TrainingConfig
from rcn_tf.training.monitor import (
    SHORT,
    FlatLoss,
    Folding,
    NotFalling,
    at_the_start,
    source_of_nan,
)

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


def test_folding_of_an_original_start_is_laid_to_it():
    assert "random flows that `network.init` original" in Folding(original=True)(600, 0.15)
    assert "smoothness weight" in Folding(original=True)(50_000, 0.15)
    assert "smoothness weight" in Folding()(600, 0.15)


def source(contrast=None):
    """Training data of one scan that was drawn with a given contrast."""
    scan = types.SimpleNamespace(attributes={} if contrast is None else {"contrast": contrast})
    store = types.SimpleNamespace(read=lambda scan_id: scan)
    return types.SimpleNamespace(identity={"subsets": [{"scans": ["a"]}]}, store=store)


def test_what_cannot_succeed_is_said_at_the_start():
    config = TrainingConfig()
    assert at_the_start(config, source(), None) == []
    assert at_the_start(config, source("t1"), None) == []
    (random,) = at_the_start(config, source("random"), None)
    assert "scans such as 'a' were drawn with random contrasts" in random
    supervised = config.with_settings("loss={final: {endpoint_error: 1}}")
    assert at_the_start(supervised, source("random"), None) == []
    validation = types.SimpleNamespace(warning="seen before")
    assert at_the_start(config, source(), validation) == ["seen before"]


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        (["network.init=original", f"steps={SHORT - 1}"], True),
        (["network.init=original", f"steps={SHORT}"], False),
        (["network.init=gentle", "steps=100"], False),
        (["network.init=original", "network.base=voxelmorph", "network.affine=false"], False),
    ],
)
def test_few_steps_from_an_original_start_are_warned_of(settings, warned):
    config = TrainingConfig.from_dict({"steps": 100}).with_settings(*settings)
    found = at_the_start(config, source(), None)
    assert bool(found) == warned
    assert all("--set network.init=gentle, or the preset quick" in line for line in found)


def lines(totals, similarity):
    return [{"total": total, "final/similarity": similarity} for total in totals]


def test_a_loss_that_does_not_fall_is_laid_to_the_contrast_or_the_rate():
    for similarity, words in ((0.9, "correlate by 0.10 only"), (0.1, "learning rate too large")):
        falling = NotFalling()
        values = lines(0.9 + 0.01 * np.cos(np.arange(25)), similarity)
        said = [falling(10 * k, line) for k, line in enumerate(values, start=1)]
        assert [k for k, line in enumerate(said, start=1) if line] == [20]
        assert words in said[19]
        assert "not fallen in 200 steps" in said[19]


def test_a_loss_that_falls_is_let_be():
    falling = NotFalling()
    assert not any(falling(k, line) for k, line in enumerate(lines(np.geomspace(1, 0.5, 30), 0.9)))
