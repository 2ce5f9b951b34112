"""Training configs by name: a first one that learns in minutes, and the papers' experiments.

    quick                                    any scans, minutes at 64^3 on two cores
    affine_liver, affine_brain               RCN's Table 2
    vtn_N_liver, vtn_N_brain                 N = 1..10, RCN's Table 2
    voxelmorph_N_liver, voxelmorph_N_brain   N = 1..5, RCN's Table 2
    voxelmorph_alone_...                     RCN's Table 1, liver or brain
    vm_x2_..., vm_double_..., vm_xx2_...     RCN's Table 4, liver or brain
    vtn_d, vtn_addd, ..., vm2                VTN's Tables II, V (liver)
    vtn_d_brain, vtn_addd_brain, ...         VTN's Tables VI, IX (brain)

`quick` has two narrow VTN cascades that start near the identity; it is no paper's.

Everything else trains as published, from the original code's start (`init`): large random flows,
which take thousands of steps to settle. Training does not differ between liver and brain; the
name says which data the scores are of.

RCN (section 4.1) has the defaults of `rcn_tf.training.config`. VTN (section V) has batches of 8
and 5 epochs of 20000 steps, the learning rate halved after the 4th. Its Table I gives the loss
ratios of ADDD; shorter cascades have the last of them here, as the paper lists no others. Its
networks without "A" saw brains that ANTs had aligned affinely. The supervised networks' end-point
error has no stated weight, 1 here, nor is the regularisation mentioned for the brain; they are
trained without augmentation, which the reference flows would not follow. Both papers trained
VoxelMorph's own code once more (VTN its variant 2, for 5000 steps of 4 pairs); the networks
without an affine stage stand for it.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from rcn_tf.presets.papers import load_tables


@dataclasses.dataclass(frozen=True)
class Preset:
    """A training config by name.

    name: as given to `rcn train`. description: what is trained, on what. paper: the table, "" for
    one of this project's own. scores: {measure: the table's mean}; Dice and IoU in 0..1, landmark
    distances in the papers' units. values: the training config, as in a file.
    """

    name: str
    description: str
    paper: str
    scores: Mapping
    values: Mapping


_DATASETS = {"liver": ("SLIVER", "LiTS", "LSPIG"), "brain": ("LPBA",)}  # RCN's, tested on

# Name: what is trained, its network, table and row in RCN.
_RCN = {
    "affine": ("affine", {"base": "vtn", "n_cascades": 0}, "table2", "Affine only"),
    "voxelmorph_alone": (
        "VoxelMorph without affine stage, images aligned affinely by ANTs",
        {"base": "voxelmorph", "n_cascades": 1, "affine": False},
        "table1",
        "VoxelMorph",
    ),
    **{
        f"{base}_{n}": (
            f"affine + {f'{n} x ' if n > 1 else ''}{name}",
            {"base": base, "n_cascades": n},
            "table2",
            f"{n}-cascade {name}",
        )
        for base, name, most in (("voxelmorph", "VoxelMorph", 5), ("vtn", "VTN", 10))
        for n in range(1, most + 1)
    },
    **{
        base: (f"affine + {what}", {"base": base, "n_cascades": 1}, "table4", row)
        for base, what, row in (
            ("vm_x2", "VoxelMorph with twice the channels", "VM x2"),
            ("vm_double", "VoxelMorph with twice the convolutions per level", "VM-double"),
            ("vm_xx2", "VoxelMorph's encoder-decoder twice, without a warp in between", "VM xx2"),
        )
    },
}

# Subnetworks, how they are trained, and where: images, table, row.
_VTN = (
    ("d", "", "liver", "vtn5", "D"),
    ("dd", "", "liver", "vtn5", "DD"),
    ("ddd", "", "liver", "vtn5", "DDD"),
    ("ad", "", "liver", "vtn5", "AD"),
    ("add", "", "liver", "vtn5", "ADD"),
    ("addd", "", "liver", "vtn2", "VTN ADDD"),
    ("addd", "inv", "liver", "vtn2", "VTN ADDD + inv"),
    ("addd", "supervised", "liver", "vtn2", "supervised"),
    ("d", "", "brain", "vtn9", "D?"),
    ("dd", "", "brain", "vtn9", "DD?"),
    ("ddd", "", "brain", "vtn9", "DDD?"),
    ("ad", "", "brain", "vtn9", "AD"),
    ("add", "", "brain", "vtn9", "ADD"),
    ("addd", "", "brain", "vtn9", "ADDD"),
    ("add", "inv", "brain", "vtn6", "VTN ADD + inv"),
    ("add", "supervised", "brain", "vtn6", "supervised"),
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

_VM2 = {
    "network": {"base": "voxelmorph", "n_cascades": 1, "affine": False, "init": "original"},
    "batch_size": 4,
    "steps": 5000,
    "halve_at": [],
}


_QUICK = {
    "description": "quick: affine + 2 narrow VTN cascades, a first model of any scans in minutes",
    "network": {"n_cascades": 2, "channels": 4, "affine_channels": 4},
    "optimizer": {"learning_rate": 3e-4},
    "steps": 1500,
    "halve_at": [],
    "batch_size": 1,
    "augment": False,  # hardly a pair is seen twice
    "log_every": 20,
    "images_every": 500,
    "checkpoint_every": 100,
    "validation": {"every": 500, "pairs": 6},
}


def _quick():
    what = "affine + 2 narrow VTN cascades on any scans: minutes at 64 x 64 x 64, gentle start"
    return Preset("quick", what, "", MappingProxyType({}), MappingProxyType(_QUICK))


def _rcn_presets():
    """Every network of RCN on both kinds of images."""
    images = {"liver": "liver CT", "brain": "brain MRI to an atlas"}
    for name, (what, network, table, row) in _RCN.items():
        values = {"network": {**network, "init": "original"}}
        for image_type, data in images.items():
            datasets = _DATASETS[image_type]
            yield _preset(
                f"{name}_{image_type}",
                f"{what}, {data}",
                (table, row, lambda column, of=datasets: column.startswith(of)),
                values,
            )


def _vtn_presets():
    for letters, addition, image_type, table, row in _VTN:
        ending = "brain" if image_type == "brain" else ""
        yield _preset(
            "_".join(filter(None, ("vtn", letters, addition, ending))),
            f"{letters.upper()}{_VTN_ADDITIONS[addition]}, {_VTN_DATA[image_type]}",
            (table, row, _is_accuracy),
            _vtn_values(letters, addition),
        )
    for name, images, table, row in (
        ("vm2", "liver", "vtn2", "VoxelMorph-2"),
        ("vm2_brain", "brain", "vtn6", "VoxelMorph-2?"),
    ):
        what = f"VoxelMorph alone, {_VTN_DATA[images]}"
        yield _preset(name, what, (table, row, _is_accuracy), _VM2)


def _is_accuracy(column):
    return column in ("IoU", "landmarks")


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


def _preset(name, what, reference, values):
    """Args: reference: table, row, and a function that says which columns are the preset's."""
    table, row, is_wanted = reference
    paper = load_tables()[table].source
    printed = load_tables()[table].rows[row]
    scores = {k: score.mean for k, score in printed.items() if is_wanted(k)}
    values = {"description": f"{name}: {what} ({paper})", **values}
    return Preset(name, what, paper, MappingProxyType(scores), MappingProxyType(values))


PRESETS = MappingProxyType(
    {preset.name: preset for preset in (_quick(), *_rcn_presets(), *_vtn_presets())}
)
