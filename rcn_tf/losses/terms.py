"""The terms that an objective may name: each one's function and its inputs from a registration.

A term's parameters are the keyword-only arguments of its function. docs/losses.md lists all terms.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rcn_tf import losses

# Inputs of a term, from a stage or, in the part "final", from the end result.
IMAGES = "images"  # the fixed and the warped image
FLOW = "flow"  # the stage's own flow; in "final" the total flow
MATRIX = "matrix"  # A of an affine stage
MAP = "map"  # A and b of an affine stage, and the shape of the grid
PAIR = "pair"  # the total flows of both directions
MAP_PAIR = "map_pair"  # the affine maps of both directions, and the shape of the grid
MOMENTUM = "momentum"  # momentum and velocity among the extras of a stage
REFERENCE = "reference_flow"  # the total flow and a reference
LABELS = "labels"  # the total flow and label maps
LANDMARKS = "landmarks"  # the total flow and landmarks

_EXCEPT = {  # input: parts in which a term with this input is not allowed
    FLOW: ("affine",),
    MATRIX: ("dense", "final"),
    MAP: ("dense", "final"),
    MAP_PAIR: ("dense", "final"),
    MOMENTUM: ("affine", "final"),
}
_FINAL_ONLY = (REFERENCE,)
_TOTAL = {"total": False}  # affine terms: True for all steps up to the stage, False for its own


class Term(NamedTuple):
    """A loss function and its input, one of the names above."""

    function: Callable
    takes: str

    @property
    def parameters(self) -> dict[str, Any]:
        """{name: default} of the parameters that an objective may set."""
        found = {
            name: parameter.default
            for name, parameter in inspect.signature(self.function).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        }
        return {**found, **_TOTAL} if self.takes in (MATRIX, MAP, MAP_PAIR) else found

    def fits(self, part: str) -> bool:
        """Whether the term is allowed in a part of an objective."""
        if self.takes in _FINAL_ONLY:
            return part == "final"
        return part not in _EXCEPT.get(self.takes, ())


TERMS: Mapping[str, Term] = {
    "similarity": Term(losses.pearson, IMAGES),
    "pearson": Term(losses.pearson, IMAGES),
    "mse": Term(losses.mse, IMAGES),
    "mae": Term(losses.mae, IMAGES),
    "local_ncc": Term(losses.local_ncc, IMAGES),
    "padded_ncc": Term(losses.padded_ncc, IMAGES),
    "multi_kernel_ncc": Term(losses.multi_kernel_ncc, IMAGES),
    "nmi": Term(losses.nmi, IMAGES),
    "mind_ssc": Term(losses.mind_ssc, IMAGES),
    "smoothness": Term(losses.smoothness, FLOW),
    "central_gradient": Term(losses.central_gradient, FLOW),
    "forward_gradient": Term(losses.forward_gradient, FLOW),
    "absolute_gradient": Term(losses.absolute_gradient, FLOW),
    "bending_energy": Term(losses.bending_energy, FLOW),
    "folding": Term(losses.folding, FLOW),
    "determinant": Term(losses.determinant, MATRIX),
    "orthogonality": Term(losses.orthogonality, MATRIX),
    "deviation": Term(losses.deviation, MAP),
    "affine_symmetry": Term(losses.affine_symmetry, MAP_PAIR),
    "momentum_energy": Term(losses.momentum_energy, MOMENTUM),
    "invertibility": Term(losses.invertibility, PAIR),
    "map_symmetry": Term(losses.map_symmetry, PAIR),
    "endpoint_error": Term(losses.endpoint_error, REFERENCE),
    "soft_dice": Term(losses.soft_dice, LABELS),
    "landmark_distance": Term(losses.landmark_distance, LANDMARKS),
}
