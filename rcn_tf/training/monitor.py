"""What a person should learn early about a training that goes wrong.

What is here returns a sentence, or None where all is well.
"""

import numpy as np

from rcn_tf.files import natural_order

FOLDING_LIMIT = 0.05
_FLAT_WINDOWS = 10
_FLAT_CHANGE = 1e-3


def source_of_nan(terms, pairs):
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
    """Notices flows that fold; it speaks once.

    Args: from_step: an original start (`init`) folds by design; until then nothing is said.
    """

    def __init__(self, from_step=0):
        self._from_step = from_step
        self._said = False

    def __call__(self, step, fraction):
        if self._said or step < self._from_step or fraction <= FOLDING_LIMIT:
            return None
        self._said = True
        return (
            f"{100 * fraction:.1f} % of the volume folds: the smoothness weight is small for these "
            "images, or the learning rate large"
        )


class FlatLoss:
    """Notices a loss that does not move: called with every logged mean, it speaks once."""

    def __init__(self):
        self._means = []
        self._said = False

    def __call__(self, mean):
        self._means = [*self._means[1 - _FLAT_WINDOWS :], mean]
        if self._said or len(self._means) < _FLAT_WINDOWS:
            return None
        spread = max(self._means) - min(self._means)
        if spread > _FLAT_CHANGE * abs(np.mean(self._means)):
            return None
        self._said = True
        return (
            f"the loss has stayed within {100 * _FLAT_CHANGE:g} % of {mean:.4f} over the last "
            f"{_FLAT_WINDOWS} log lines: is the learning rate too small, or nothing left to learn?"
        )
