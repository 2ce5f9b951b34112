"""Early warnings about a training that goes wrong.

Each check returns a sentence, or None if all is well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rcn_tf.files.natural_order import natural_order

if TYPE_CHECKING:
    from rcn_tf.data.pipeline import TrainingData
    from rcn_tf.training.config import TrainingConfig
    from rcn_tf.training.validation import Validation

FOLDING_LIMIT = 0.05
SETTLING = 20_000  # steps in which folds most likely still come from the start `init: original`
SHORT = 5000  # steps; fewer are too few for that start
WHY_NOT_FINITE = (
    "A lower `optimizer.learning_rate`, or `optimizer.clip_norm=1`, usually helps; continue with "
    "--resume"
)
_COMPARED, _WATCHED = 5, 20  # log lines: the last five of twenty against the first five
_FLAT_WINDOWS = 10
_FLAT_CHANGE = 1e-3


def at_the_start(
    config: TrainingConfig, source: TrainingData, validation: Validation | None
) -> list[str]:
    """Warnings that follow from a training's settings and data alone.

    Args: config: TrainingConfig. source: TrainingData. validation: Validation or None.
    Returns: list of sentences.
    """
    found = [
        _short_for_its_start(config),
        _drawn_at_random(config, source),
        validation and validation.warning,
    ]
    return [sentence for sentence in found if sentence]


def _short_for_its_start(config):
    network = config.network
    base = str(network.get("base", ""))
    near_identity = base.startswith(("voxelmorph", "vm_")) and not network.get("affine")
    if network.get("init") != "original" or near_identity or config.steps >= SHORT:
        return None
    return (
        f"`network.init` is original, the papers' start with large random flows: {config.steps} "
        "steps are too few to undo them; --set network.init=gentle, or the preset quick, starts "
        "near the identity"
    )


def _drawn_at_random(config, source):
    parts = config.loss.values()
    parts = [one for part in parts for one in (part if isinstance(part, tuple) else [part])]
    if not any(part.get("similarity") for part in parts):
        return None
    for subset in source.identity["subsets"]:
        scan = subset["scans"][0]  # a pack is drawn in one way
        if source.store.read(scan).attributes.get("contrast") == "random":
            return (
                f"scans such as {scan!r} were drawn with random contrasts, which the correlation "
                "that is trained with cannot align: draw them again with `rcn prepare synth "
                "--contrast t1`"
            )
    return None


def source_of_nan(terms: Mapping[str, np.ndarray], pairs: Sequence[str]) -> str | None:
    """Names the loss terms and pairs that are not finite.

    Args: terms: {name: [B]}, with "total"; their names sort in the order of the stages.
        pairs: B names.
    """
    bad = ~np.isfinite(terms["total"])
    if not bad.any():
        return None
    sources = [name for name, values in terms.items() if not np.isfinite(values).all()]
    first = min(sources, key=lambda name: (name == "total", natural_order(name)))
    which = ", ".join(np.array(pairs)[bad])
    return f"the loss is not finite for {which}: {first} is {terms[first][bad][0]}"


class Folding:
    """Warns once if flows fold.

    Args: from_step: step before which it stays silent, as an original start (`init`) always folds.
        original: whether the run has such a start.
    """

    def __init__(self, from_step: int = 0, original: bool = False):
        self._from_step, self._original = from_step, original
        self._said = False

    def __call__(self, step: int, fraction: float) -> str | None:
        if self._said or step < self._from_step or fraction <= FOLDING_LIMIT:
            return None
        self._said = True
        found = f"{100 * fraction:.1f} % of the volume folds"
        if self._original and step < SETTLING:
            return (
                f"{found}: most likely these are still the large random flows that `network.init` "
                "original starts with; gentle starts near the identity"
            )
        return (
            f"{found}: the smoothness weight is small for these images, or the learning rate large"
        )


class FlatLoss:
    """Warns once if the loss does not change; called with every logged mean."""

    def __init__(self):
        self._means = []
        self._said = False

    def __call__(self, mean: float) -> str | None:
        self._means = [*self._means[1 - _FLAT_WINDOWS :], mean]
        if self._said or len(self._means) < _FLAT_WINDOWS:
            return None
        spread = max(self._means) - min(self._means)
        if spread > _FLAT_CHANGE * abs(np.mean(self._means)):
            return None
        self._said = True
        return (
            f"the loss has stayed within {100 * _FLAT_CHANGE:g} % of {mean:.4f} over the last "
            f"{_FLAT_WINDOWS} log lines: is the learning rate too small, or "
            "is nothing left to learn?"
        )


class NotFalling:
    """Warns once if the loss of a training does not fall from the beginning on.

    It is called with the values of every log line from the first step on, and compares the five
    lines up to the twentieth with the first five.
    """

    def __init__(self):
        self._lines = []

    def __call__(self, step: int, values: Mapping[str, float]) -> str | None:
        if len(self._lines) == _WATCHED:
            return None
        self._lines.append(values)
        if len(self._lines) < _WATCHED:
            return None
        first, last = self._lines[:_COMPARED], self._lines[-_COMPARED:]
        before, now = (float(np.mean([line["total"] for line in part])) for part in (first, last))
        if now < 0.98 * before:
            return None
        correlation = 1 - np.mean([line.get("final/similarity", 0.0) for line in last])
        return f"the loss has not fallen in {step} steps ({before:.4f}, now {now:.4f}): " + (
            f"the images of a pair correlate by {correlation:.2f} only; do they show the same part "
            "of the body in the same contrast?"
            if correlation < 0.5
            else "is the learning rate too large or too small?"
        )
