"""What an optimisation may start from: the candidates, how well each fits, and which is best.

An affine map can be searched for, and large motion by a search over offsets (`discrete`). Which
similarity is optimised may depend on the affine map, as it shows whether the contrasts differ.
"""

from __future__ import annotations

from collections.abc import Mapping

from rcn_tf.registration.agreement import Comparison, Fit
from rcn_tf.registration.contrast import differs
from rcn_tf.registration.optimisation.discrete import matched
from rcn_tf.registration.optimisation.optimise import Start, align_images
from rcn_tf.registration.optimisation.similarities import AUTO
from rcn_tf.registration.steps import Steps
from rcn_tf.volumes.preparation.network_input import PreparedVolume

ONE_CONTRAST, TWO_CONTRASTS = "local_ncc", "mind_ssc"
"""Similarities that AUTO stands for."""

MIN_OVERLAP = 0.6
"""Fraction of the part of the fixed box that is shown at first and that a start must keep shown."""

COST_VOLUME = "cost_volume"
"""Name of the start that the search over offsets finds."""

GOOD = 0.8
"""Agreement of a start from which on descent arrives without a search over offsets."""

MIN_GAIN = 0.03
"""Gain in agreement over the other starts that the search over offsets needs to be chosen."""


class Starts:
    """Candidates for the start of one pair.

    Args:
        fixed, moving: PreparedVolume over each image's box.
        candidates: {name: Start}, at least one; the first is what the headers or the boxes give.
        comparison: Comparison of the images.
        steps: announces and times what is done.

    Attributes:
        starts: {name: Start}.
        fits: {name: Fit}, in the same order.
    """

    def __init__(
        self,
        fixed: PreparedVolume,
        moving: PreparedVolume,
        candidates: Mapping[str, Start],
        comparison: Comparison,
        steps: Steps,
    ):
        self._images, self._comparison, self._steps = (fixed, moving), comparison, steps
        self._first = next(iter(candidates.values()))
        self.starts: dict[str, Start] = {}
        self.fits: dict[str, Fit] = {}
        for name, start in candidates.items():
            self._add(name, start)

    def similarity(self, wanted: str) -> str:
        """What `wanted`, maybe AUTO, stands for if the first candidate is an alignment."""
        if wanted != AUTO:
            return wanted
        two = differs(self._comparison, None, self._first.transform.transform_points)
        return TWO_CONTRASTS if two else ONE_CONTRAST

    def align(self, kind: str, wanted: str) -> str:
        """Adds a map that is searched for from the first candidate.

        Args: kind: "rigid" or "affine", the map's name. wanted: a similarity, maybe AUTO.
        Returns: what the similarity stands for.
        """
        similarity = ONE_CONTRAST if wanted == AUTO else wanted
        with self._steps("align", f"searching for the best {kind} map"):
            found = self._found(kind, similarity, self._first)
            if wanted == AUTO:
                maps = (start.transform.transform_points for start in (self._first, found))
                if differs(self._comparison, *maps):
                    similarity = TWO_CONTRASTS
                    found = self._found(kind, similarity, self._first)
        self._add(kind, found)
        return similarity

    def match(self) -> None:
        """Adds a search over offsets from the best candidate, unless that fits well already."""
        best = self.best()
        if self.fits[best].agreement < GOOD:
            with self._steps("match", "searching for large motion"):
                affine = self.starts[best].affine
                self._add(COST_VOLUME, Start(matched(*self._images, affine), affine))

    def polish(self, kind: str, similarity: str) -> None:
        """Makes a map that `align` found more accurate."""
        with self._steps("align", f"making the {kind} map more accurate"):
            self._add(kind, self._found(kind, similarity, self.starts[kind], polish=True))

    def best(self) -> str:
        """Name of the start that agrees best.

        It must keep most of what the first one shows. The search over offsets fits noise too, so it
        needs a gain.
        """
        least = MIN_OVERLAP * next(iter(self.fits.values())).overlap

        def rank(name):
            fit = self.fits[name]
            doubt = MIN_GAIN if name == COST_VOLUME else 0.0
            return fit.overlap >= least, fit.agreement - doubt

        return max(self.fits, key=rank)

    def _found(self, kind, similarity, start, *, polish=False):
        options = {"kind": kind, "similarity": similarity, "polish": polish}
        return align_images(*self._images, start.affine, **options)

    def _add(self, name, start):
        self.starts[name] = start
        self.fits[name] = self._comparison.of(start.transform.transform_points)
