"""Presets of VTN (Zhao et al., 2019): liver CT and, with the ending "_brain", brain MRI.

    vtn_d, vtn_addd, ..., vm2              Tables II, V (liver)
    vtn_d_brain, vtn_addd_brain, ...       Tables VI, IX (brain)

The letters are subnetworks, (A)ffine and (D)ense. Section V has batches of 8 and 5 epochs of
20000 steps, the learning rate halved after the 4th, from the original code's start (`init`).
Table I gives the loss ratios of ADDD only; shorter cascades use the last of them here. The paper's
networks without "A" saw brains that ANTs had aligned affinely. For the supervised networks the
paper states neither the weight of the end-point error (1 here) nor the regularisation on the brain;
they are trained without augmentation, because the reference flows would not follow it.
`vm2` is VoxelMorph's variant 2, which the paper trained with its authors' code for 5000 steps of
4 pairs; here the network without an affine stage represents it.
"""

from __future__ import annotations

from typing import Any

from rcn_tf.presets.preset import Preset, by_name, from_paper

_ACCURACY = ("IoU", "landmarks")  # the columns that are scores
_IMAGES = {"liver": "liver CT (LiTS, BFH)", "brain": "brain MRI, all pairs"}
_ADDITIONS = {
    "": "",
    "inv": ", invertibility loss",
    "supervised": ", supervised by flows of ANTs",
}
# Table I: ratios of the dense subnetworks' losses.
_DENSE_LOSSES = (
    {"similarity": 0.0, "smoothness": 1.0},
    {"similarity": 0.05, "smoothness": 1.0},
    {"similarity": 1.0, "smoothness": 1.0},
)
_REGULAR_AFFINE = {"determinant": 0.1, "orthogonality": 0.1}
_VM2 = {
    "network": {"base": "voxelmorph", "n_cascades": 1, "affine": False, "init": "original"},
    "batch_size": 4,
    "steps": 5000,
    "halve_at": [],
}


def _combination(letters: str, images: str, table: str, row: str, addition: str = "") -> Preset:
    """The preset of a combination of subnetworks. Args: addition: to how it is trained."""
    network = "_".join(filter(None, ("vtn", letters, addition)))
    what = f"{letters.upper()}{_ADDITIONS[addition]}"
    flows = addition == "supervised"
    return _preset(network, what, images, table, row, _values(letters, addition), flows=flows)


def _preset(network, what, images, table, row, values, **options):
    return from_paper(
        network if images == "liver" else f"{network}_{images}",
        f"{what}, {_IMAGES[images]}",
        values,
        table=table,
        row=row,
        columns=_ACCURACY,
        data=f"vtn_{images}",
        network=network,
        images=images,
        **options,
    )


def _values(letters: str, addition: str) -> dict[str, Any]:
    """Training config of a combination of (A)ffine and (D)ense subnetworks."""
    cascades, affine = letters.count("d"), letters.startswith("a")
    loss: dict[str, Any] = {
        "affine": {"similarity": 1.0, **_REGULAR_AFFINE},
        "dense": list(_DENSE_LOSSES[-cascades:]),
    }
    if addition == "inv":
        loss["final"] = {"invertibility": 1e-3}
    if addition == "supervised":
        loss = {
            "affine": _REGULAR_AFFINE,
            "dense": {"smoothness": 1.0},
            "final": {"endpoint_error": 1.0},
        }
    if not affine:
        del loss["affine"]
    values = {
        "network": {"base": "vtn", "n_cascades": cascades, "affine": affine, "init": "original"},
        "loss": loss,
        "batch_size": 8,
        "halve_at": [80_000],
    }
    return {**values, "augment": False} if addition == "supervised" else values


PRESETS = by_name(
    [
        _combination("d", "liver", "vtn5", "D"),
        _combination("dd", "liver", "vtn5", "DD"),
        _combination("ddd", "liver", "vtn5", "DDD"),
        _combination("ad", "liver", "vtn5", "AD"),
        _combination("add", "liver", "vtn5", "ADD"),
        _combination("addd", "liver", "vtn2", "VTN ADDD"),
        _combination("addd", "liver", "vtn2", "VTN ADDD + inv", "inv"),
        _combination("addd", "liver", "vtn2", "supervised", "supervised"),
        _combination("d", "brain", "vtn9", "D?"),
        _combination("dd", "brain", "vtn9", "DD?"),
        _combination("ddd", "brain", "vtn9", "DDD?"),
        _combination("ad", "brain", "vtn9", "AD"),
        _combination("add", "brain", "vtn9", "ADD"),
        _combination("addd", "brain", "vtn9", "ADDD"),
        _combination("add", "brain", "vtn6", "VTN ADD + inv", "inv"),
        _combination("add", "brain", "vtn6", "supervised", "supervised"),
        _preset("vm2", "VoxelMorph alone", "liver", "vtn2", "VoxelMorph-2", _VM2),
        _preset("vm2", "VoxelMorph alone", "brain", "vtn6", "VoxelMorph-2?", _VM2),
    ]
)
