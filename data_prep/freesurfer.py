"""FreeSurfer's structure ids: which belong to the brain, left/right twins, evaluated ones.

Ids follow FreeSurferColorLUT (aseg). Some label maps also hold tissue outside the brain (here
5xx: skull, skin, eyes ...; 136-165: vessels, meninges and skull); everything that is not in
`WHITENESS` counts as outside.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

CSF = 24
BRAIN_STEM = 16

# Brightness in a T1-weighted scan on a scale where 0 is CSF, 1 cortex and 2 white matter.
WHITENESS = {
    2: 2.0, 41: 2.0,  # cerebral white matter
    3: 1.0, 42: 1.0,  # cerebral cortex
    4: 0.0, 43: 0.0,  # lateral ventricle
    5: 0.1, 44: 0.1,  # its inferior horn
    7: 1.9, 46: 1.9,  # cerebellum white matter
    8: 0.95, 47: 0.95,  # cerebellum cortex
    10: 1.5, 49: 1.5,  # thalamus
    11: 1.05, 50: 1.05,  # caudate
    12: 1.25, 51: 1.25,  # putamen
    13: 1.65, 52: 1.65,  # pallidum
    14: 0.05,  # 3rd ventricle
    15: 0.05,  # 4th ventricle
    16: 1.75,  # brain stem
    17: 1.0, 53: 1.0,  # hippocampus
    18: 1.0, 54: 1.0,  # amygdala
    24: 0.0,  # CSF
    25: 0.7, 57: 0.7,  # lesion
    26: 1.1, 58: 1.1,  # accumbens
    28: 1.65, 60: 1.65,  # ventral diencephalon
    30: 0.5, 62: 0.5,  # vessel
    31: 0.4, 63: 0.4,  # choroid plexus
    72: 0.05,  # 5th ventricle
    77: 1.4,  # white matter hypointensities
    80: 0.7,  # other hypointensities
    85: 1.7,  # optic chiasm
    251: 2.0, 252: 2.0, 253: 2.0, 254: 2.0, 255: 2.0,  # corpus callosum
}  # fmt: skip

# Tissue outside the brain by ids of their own (5xx in the label maps, less 300, to fit a byte), on
# the same scale; -1 is darker than any fluid.
HEAD_WHITENESS = {
    202: 0.5,  # arteries
    206: 0.0,  # eyes
    207: 1.6,  # fat and muscle
    208: 0.8,  # lenses and optic nerves
    209: 1.0,  # mucosa
    211: 1.2,  # skin
    212: 1.0,  # spinal cord and neck
    214: 0.5,  # dura and sinuses
    215: -1.0,  # cortical bone
    216: 1.7,  # marrow
    230: 1.6,  # optic chiasm
}  # fmt: skip

_OUTSIDE_OFFSET = 300  # of the label maps' ids

LEFT_TO_RIGHT = {
    2: 41, 3: 42, 4: 43, 5: 44, 7: 46, 8: 47, 10: 49, 11: 50, 12: 51, 13: 52, 17: 53, 18: 54,
    25: 57, 26: 58, 28: 60, 30: 62, 31: 63,
}  # fmt: skip

# Structures that every annotation of this kind has; the ones scored with Dice.
EVALUATED = (
    2, 3, 4, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 26, 28,
    41, 42, 43, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60,
)  # fmt: skip

# Parts of the cerebral white matter that only some annotations tell apart, without a side.
_WHITE_MATTER_PARTS = (77, 251, 252, 253, 254, 255)
_WHITE_MATTER = (2, 41)


def relabel(labels: np.ndarray, mapping: Mapping[int, int], default: int = 0) -> np.ndarray:
    """Replaces ids: {id: new id}; ids that are not in `mapping` become `default`.

    Args: labels: integer array, ids 0..65535.
    Returns: uint8 array where all new ids fit it, else uint16.
    """
    new_ids = [default, *mapping.values()]
    dtype = np.uint8 if max(new_ids) <= 255 else np.uint16
    table = np.full(max(int(labels.max()), *mapping) + 1, default, dtype)
    for old, new in mapping.items():
        table[old] = new
    return table[labels]


def brain_only(labels: np.ndarray) -> np.ndarray:
    """Sets ids of tissue outside the brain to 0. Returns uint8 of the same shape."""
    return relabel(labels, {label: label for label in WHITENESS})


def brain_and_head(labels: np.ndarray) -> np.ndarray:
    """Brain ids as they are, tissue outside it by the ids of `HEAD_WHITENESS`; all else 0.

    Returns uint8 of the same shape.
    """
    outside = {label + _OUTSIDE_OFFSET: label for label in HEAD_WHITENESS}
    return relabel(labels, {**{label: label for label in WHITENESS}, **outside})


def mirrored_ids(labels: np.ndarray) -> np.ndarray:
    """Exchanges left and right ids (for an image flipped left-right)."""
    mapping = {label: label for label in (*WHITENESS, *HEAD_WHITENESS)}
    mapping.update(LEFT_TO_RIGHT)
    mapping.update({right: left for left, right in LEFT_TO_RIGHT.items()})
    return relabel(labels, mapping)


def evaluated_structures(labels: np.ndarray) -> np.ndarray:
    """Reduces brain labels to `EVALUATED`; all else becomes 0.

    Parts of the white matter without a side (corpus callosum, hypointensities) take the id of
    the nearest white matter, so that annotations with and without them agree.
    """
    merged = relabel(labels, {label: label for label in EVALUATED})
    parts = np.isin(labels, _WHITE_MATTER_PARTS)
    if parts.any():
        away = ~np.isin(labels, _WHITE_MATTER)
        if away.all():
            return merged
        nearest = ndimage.distance_transform_edt(away, return_distances=False, return_indices=True)
        merged[parts] = labels[tuple(nearest[:, parts])]
    return merged
