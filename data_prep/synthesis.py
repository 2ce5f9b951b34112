"""Images from label maps: a minimal generative model in the manner of SynthSeg.

Each structure gets an intensity, then come texture, partial-volume smoothing, a bias field,
noise and a gamma curve. Only the brain is rendered (as in a skull-stripped scan): the
background stays exactly 0. All functions are pure; the generator decides everything random.
Arrays are [D, H, W]; lengths in mm.

Reference: Billot et al., "SynthSeg: Segmentation of brain MRI scans of any contrast and
resolution without retraining", Medical Image Analysis 86, 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import ndimage

from data_prep.freesurfer import BRAIN_STEM, CSF, LEFT_TO_RIGHT, WHITENESS
from data_prep.spatial_maps import smooth_random_field

CONTRASTS = ("t1", "random")
BONE = 0.03
"""Intensity of cortical bone in T1, where white matter has 0.9."""


def render(
    labels: np.ndarray,
    rng: np.random.Generator,
    contrast: str = "t1",
    *,
    spacing: Any = 1.0,
    twins: Mapping[int, int] = LEFT_TO_RIGHT,
    whiteness: Mapping[int, float] = WHITENESS,
) -> np.ndarray:
    """Draws an image of a label map.

    Args:
        labels: integers [D, H, W], 0 outside. For "t1" FreeSurfer ids of the brain
            (`freesurfer.brain_only`).
        rng: numpy.random.Generator.
        contrast: "t1": CSF dark, white matter bright, levels jittered; "random": any
            intensity for any structure.
        spacing: mm per voxel.
        twins: {left id: right id} of structures that share their intensity.
        whiteness: {id: brightness in "t1"}: 0 as CSF, 1 as cortex, 2 as white matter, -1 as bone.
    Returns: uint8 [D, H, W].
    Raises: ValueError: for an unknown contrast, or ids that "t1" does not know.
    """
    if contrast not in CONTRASTS:
        raise ValueError(f"`contrast` must be one of {CONTRASTS}; got {contrast!r}.")
    ids = np.unique(labels)
    known = whiteness if contrast == "t1" else ids[ids > 0].tolist()
    if not set(ids.tolist()) <= {0, *known}:
        raise ValueError("T1-like contrast is for FreeSurfer ids; others need `random`.")
    table = np.zeros(max(*known, *ids) + 1, np.float32)
    for label, intensity in _intensities(rng, contrast, known, twins, whiteness).items():
        table[label] = intensity
    image = table[labels]
    grain = ndimage.gaussian_filter(
        rng.standard_normal(labels.shape, np.float32), rng.uniform(0.4, 1.0) / spacing
    )
    image += grain * (rng.uniform(0.01, 0.04) / grain.std())
    image *= labels > 0
    image = ndimage.gaussian_filter(image, rng.uniform(0.7, 1.3) / spacing)
    return _finish(degrade(image, rng, foreground=labels > 0))


def jitter_image(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gives a real scan another gamma, bias field and noise; the background stays 0.

    Args: image: real [D, H, W], 0 outside the head or brain. Returns: uint8 [D, H, W].
    """
    image = np.asarray(image, np.float32)
    scaled = np.clip(image / np.percentile(image[image > 0], 99.8), 0, 1.1)
    return _finish(degrade(scaled, rng, foreground=image > 0))


def degrade(image: np.ndarray, rng: np.random.Generator, *, foreground: np.ndarray) -> np.ndarray:
    """Gamma curve, multiplicative bias field and noise.

    Args: image: float32 [D, H, W], about 0..1; foreground: bool [D, H, W].
    Returns: float32 [D, H, W], 0 outside a slightly smoothed foreground.
    """
    image = np.clip(image, 0, None) ** np.float32(np.exp(rng.normal(0, 0.12)))
    bias = smooth_random_field(image.shape, (4, 4, 4), rng)[..., 0]
    image *= np.exp(np.float32(rng.uniform(0, 0.12)) * bias)
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0.005, 0.02))
    return (image + noise * foreground).clip(0, None)


def without_neck(labels: np.ndarray, margin: int = 3) -> tuple[np.ndarray, tuple[slice, ...]]:
    """Removes CSF and brain stem that run down into the neck.

    Keeps what lies in the bounding box of all other brain structures.

    Args: labels: brain ids [D, H, W]; margin: voxels around that box.
    Returns: tuple: labels [d, h, w] cut to the box, and the box's slices.
    Raises: ValueError: if there is no brain structure.
    """
    core = (labels > 0) & (labels != CSF) & (labels != BRAIN_STEM)
    if not core.any():
        raise ValueError("The label map holds no FreeSurfer brain structure.")
    (bounds,) = ndimage.find_objects(core.astype(np.uint8))
    box = tuple(
        slice(max(axis.start - margin, 0), min(axis.stop + margin, size))
        for axis, size in zip(bounds, labels.shape)
    )
    return labels[box], box


def strip_outer_csf(labels: np.ndarray, rim: int) -> np.ndarray:
    """Removes CSF farther than `rim` voxel steps from the rest of the brain.

    Skull stripping leaves more or less of the fluid around the brain; `rim` says how much.
    """
    brain = (labels > 0) & (labels != CSF)
    kept = ndimage.binary_dilation(brain, iterations=rim) if rim else brain
    # Fluid enclosed by the brain (cisterns, sulci) belongs to any stripped scan.
    kept = ndimage.binary_closing(kept, iterations=2) | kept
    return np.where(kept, labels, 0).astype(labels.dtype)


def _intensities(rng, contrast, ids, twins, whiteness):
    """Intensity per id, white matter near 0.9 in T1; twins share it."""
    right_to_left = {right: left for left, right in twins.items() if {left, right} <= set(ids)}
    if contrast == "t1":
        levels = [BONE, rng.uniform(0.15, 0.38), rng.uniform(0.55, 0.70), 0.9]
    values = {}
    for label in sorted(ids):
        if label in right_to_left:
            continue
        if contrast == "t1":
            mean = np.interp(whiteness[label], (-1, 0, 1, 2), levels)
            values[label] = max(mean + rng.normal(0, 0.02), 0.02)
        else:
            values[label] = rng.uniform(0.1, 1)
    for right, left in right_to_left.items():
        values[right] = values[left]
    return values


def _finish(image):
    return np.clip(np.rint(image * 230), 0, 255).astype(np.uint8)
