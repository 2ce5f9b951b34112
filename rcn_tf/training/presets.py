"""The papers' experiments as training configs by name: `rcn train vtn_10_liver`.

    vtn_N_liver, vtn_N_brain                 N = 1..10, RCN's Table 2
    voxelmorph_N_liver, voxelmorph_N_brain   N = 1..5, RCN's Table 2
    vm_x2_..., vm_double_..., vm_xx2_...     RCN's Table 4, liver or brain
    vtn_d, vtn_addd, ...                     VTN's Tables II, V (liver)
    vtn_d_brain, vtn_addd_brain, ...         VTN's Tables VI, IX (brain)

Training does not differ between liver and brain; the name says which data the scores are of. All
start as the original code does (`init`).

RCN (section 4.1) has the defaults of `rcn_tf.training.config`. VTN (section V) has batches of 8
and 5 epochs of 20000 steps, the learning rate halved after the 4th. Its Table I gives the loss
ratios of ADDD; shorter cascades have the last of them here, as the paper lists no others. Its
networks without "A" saw brains that ANTs had aligned affinely. The supervised networks' end-point
error has no stated weight, 1 here, nor is the regularisation mentioned for the brain; they are
trained without augmentation, which the reference flows would not follow.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType


@dataclasses.dataclass(frozen=True)
class Preset:
    """An experiment of a paper.

    name: as given to `rcn train`. description: what is trained, on what. paper: the table.
    scores: {measure: the table's mean}; Dice and IoU in 0..1, landmark distances in the papers'
    units. values: the training config, as in a file.
    """

    name: str
    description: str
    paper: str
    scores: Mapping
    values: Mapping


_RCN_LIVER = ("SLIVER Dice", "SLIVER landmarks", "LiTS Dice", "LSPIG Dice")
_RCN_BRAIN = ("LPBA Dice",)
_VTN_MEASURES = ("IoU", "landmarks")

# (base, cascades): Dice SLIVER, landmark distance SLIVER, Dice LiTS, LSPIG, LPBA.
_RCN_TABLE_2 = {
    ("voxelmorph", 1): (0.913, 13.1, 0.867, 0.833, 0.688),
    ("voxelmorph", 2): (0.933, 12.8, 0.888, 0.845, 0.699),
    ("voxelmorph", 3): (0.940, 12.6, 0.897, 0.849, 0.706),
    ("voxelmorph", 4): (0.943, 12.5, 0.900, 0.851, 0.707),
    ("voxelmorph", 5): (0.944, 12.4, 0.903, 0.849, 0.708),
    ("vtn", 1): (0.914, 13.0, 0.870, 0.833, 0.686),
    ("vtn", 2): (0.935, 12.2, 0.891, 0.843, 0.697),
    ("vtn", 3): (0.943, 11.8, 0.900, 0.850, 0.703),
    ("vtn", 4): (0.948, 11.6, 0.906, 0.852, 0.708),
    ("vtn", 5): (0.949, 11.5, 0.908, 0.853, 0.709),
    ("vtn", 6): (0.951, 11.3, 0.910, 0.852, 0.712),
    ("vtn", 7): (0.951, 11.2, 0.908, 0.852, 0.712),
    ("vtn", 8): (0.952, 11.1, 0.910, 0.854, 0.714),
    ("vtn", 9): (0.953, 10.9, 0.910, 0.851, 0.716),
    ("vtn", 10): (0.953, 10.8, 0.909, 0.855, 0.716),
}
_RCN_TABLE_4 = {
    "vm_x2": (0.922, 13.0, 0.879, 0.839, 0.691),
    "vm_double": (0.919, 12.9, 0.877, 0.833, 0.689),
    "vm_xx2": (0.925, 12.8, 0.881, 0.843, 0.693),
}
_RCN_NAMES = {
    "vtn": "VTN",
    "voxelmorph": "VoxelMorph",
    "vm_x2": "VoxelMorph with twice the channels",
    "vm_double": "VoxelMorph with twice the convolutions per level",
    "vm_xx2": "VoxelMorph's encoder-decoder twice, without a warp in between",
}

# Subnetworks, how they are trained, and where: table, segmentation IoU, landmark distance.
_VTN_TABLES = (
    ("d", "", "liver", "Table V", 0.8119, 14.44),
    ("dd", "", "liver", "Table V", 0.8556, 12.97),
    ("ddd", "", "liver", "Table V", 0.8709, 12.49),
    ("ad", "", "liver", "Table V", 0.8323, 13.20),
    ("add", "", "liver", "Table V", 0.8703, 12.28),
    ("addd", "", "liver", "Table II", 0.8868, 12.04),
    ("addd", "inv", "liver", "Table II", 0.8882, 11.42),
    ("addd", "supervised", "liver", "Table II", 0.7680, 13.38),
    ("d", "", "brain", "Table IX", 0.9241, 2.91),
    ("dd", "", "brain", "Table IX", 0.9305, 2.83),
    ("ddd", "", "brain", "Table IX", 0.9320, 2.85),
    ("ad", "", "brain", "Table IX", 0.9214, 2.73),
    ("add", "", "brain", "Table IX", 0.9270, 2.62),
    ("addd", "", "brain", "Table IX", 0.9286, 2.63),
    ("add", "inv", "brain", "Table VI", 0.9278, 2.64),
    ("add", "supervised", "brain", "Table VI", 0.9060, 2.94),
)
_VTN_DATA = {"liver": "liver CT (LiTS, BFH)", "brain": "brain MRI, all pairs"}
_VTN_ADDITIONS = {
    "": "",
    "inv": ", invertibility loss",
    "supervised": ", supervised by flows of ANTs",
}

# VTN, Table I: ratios of the dense subnetworks' losses.
_VTN_DENSE = (
    {"similarity": 0.0, "smoothness": 1.0},
    {"similarity": 0.05, "smoothness": 1.0},
    {"similarity": 1.0, "smoothness": 1.0},
)
_REGULAR_AFFINE = {"determinant": 0.1, "orthogonality": 0.1}


def _rcn_presets():
    for (base, cascades), scores in _RCN_TABLE_2.items():
        yield from _rcn_pair(f"{base}_{cascades}", base, cascades, "RCN, Table 2", scores)
    for base, scores in _RCN_TABLE_4.items():
        yield from _rcn_pair(base, base, 1, "RCN, Table 4", scores)


def _rcn_pair(name, base, cascades, paper, scores):
    """An architecture on both kinds of images."""
    what = f"affine + {f'{cascades} x ' if cascades > 1 else ''}{_RCN_NAMES[base]}"
    values = {"network": {"base": base, "n_cascades": cascades, "init": "original"}}
    liver, brain = dict(zip(_RCN_LIVER, scores)), dict(zip(_RCN_BRAIN, scores[-1:]))
    yield _preset(f"{name}_liver", f"{what}, liver CT", paper, liver, values)
    yield _preset(f"{name}_brain", f"{what}, brain MRI to an atlas", paper, brain, values)


def _vtn_presets():
    for letters, addition, image_type, table, *scores in _VTN_TABLES:
        ending = "brain" if image_type == "brain" else ""
        yield _preset(
            "_".join(filter(None, ("vtn", letters, addition, ending))),
            f"{letters.upper()}{_VTN_ADDITIONS[addition]}, {_VTN_DATA[image_type]}",
            f"VTN, {table}",
            dict(zip(_VTN_MEASURES, scores)),
            _vtn_values(letters, addition),
        )


def _vtn_values(letters, addition):
    """Training config of a combination of (A)ffine and (D)ense subnetworks."""
    cascades, affine = letters.count("d"), letters.startswith("a")
    loss = {
        "affine": {"similarity": 1.0, **_REGULAR_AFFINE},
        "dense": list(_VTN_DENSE[-cascades:]),
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


def _preset(name, what, paper, scores, values):
    values = {"description": f"{name}: {what} ({paper})", **values}
    return Preset(name, what, paper, MappingProxyType(scores), MappingProxyType(values))


PRESETS = MappingProxyType({preset.name: preset for preset in (*_rcn_presets(), *_vtn_presets())})
