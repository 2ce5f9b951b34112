"""Presets of RCN (Zhao et al., ICCV 2019), every network on liver CT and on brain MRI.

    affine_liver, affine_brain               Table 2
    vtn_N_liver, vtn_N_brain                 N = 1..10, Table 2
    voxelmorph_N_liver, voxelmorph_N_brain   N = 1..5, Table 2
    voxelmorph_alone_...                     Table 1, liver or brain
    vm_x2_..., vm_double_..., vm_xx2_...     Table 4, liver or brain

The training (section 4.1) is that of the defaults of `rcn_tf.training.config`, from the original
code's start (`init`): large random flows, which take thousands of steps to settle. It does not
differ between liver and brain; the name tells which data the scores belong to. The paper also
trained VoxelMorph's own code (Table 1); here the network without an affine stage represents it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rcn_tf.presets.papers import load_tables
from rcn_tf.presets.preset import Preset, by_name, from_paper

_IMAGES = {"liver": "liver CT", "brain": "brain MRI to an atlas"}
_TESTED_ON = {"liver": ("SLIVER", "LiTS", "LSPIG"), "brain": ("LPBA",)}


def _on_both(
    network: str, what: str, arguments: dict[str, Any], table: str, row: str, series: str = ""
) -> Iterator[Preset]:
    """The presets of a network for liver and brain. Args: arguments: of the cascade."""
    for images, data in _IMAGES.items():
        yield from_paper(
            f"{network}_{images}",
            f"{what}, {data}",
            {"network": {**arguments, "init": "original"}},
            table=table,
            row=row,
            columns=[c for c in load_tables()[table].columns if c.startswith(_TESTED_ON[images])],
            data=images,
            network=network,
            images=images,
            series=series,
        )


def _cascades(base: str, label: str, most: int) -> Iterator[Preset]:
    """An affine stage and 1 to `most` cascades of a base network (Table 2)."""
    for n in range(1, most + 1):
        what = f"affine + {f'{n} x ' if n > 1 else ''}{label}"
        arguments = {"base": base, "n_cascades": n}
        row = f"{n}-cascade {label}"
        yield from _on_both(f"{base}_{n}", what, arguments, "table2", row, series=label)


def _variant(base: str, what: str, row: str) -> Iterator[Preset]:
    """A larger VoxelMorph of one cascade (Table 4)."""
    arguments = {"base": base, "n_cascades": 1}
    yield from _on_both(base, f"affine + {what}", arguments, "table4", row)


PRESETS = by_name(
    [
        *_on_both("affine", "affine", {"base": "vtn", "n_cascades": 0}, "table2", "Affine only"),
        *_on_both(
            "voxelmorph_alone",
            "VoxelMorph without affine stage, images aligned affinely by ANTs",
            {"base": "voxelmorph", "n_cascades": 1, "affine": False},
            "table1",
            "VoxelMorph",
        ),
        *_cascades("voxelmorph", "VoxelMorph", 5),
        *_cascades("vtn", "VTN", 10),
        *_variant("vm_x2", "VoxelMorph with twice the channels", "VM x2"),
        *_variant("vm_double", "VoxelMorph with twice the convolutions per level", "VM-double"),
        *_variant(
            "vm_xx2", "VoxelMorph's encoder-decoder twice, without a warp in between", "VM xx2"
        ),
    ]
)
