"""Networks that predict one stage's displacement from two images.

A dense base network is a Keras model made by a factory
`factory(channels=..., flow_multiplier=..., init=..., name=...)` and called as
`network(fixed, moving) -> flow`; anything of that form can be cascaded. For 2D images the factory
is also called with `rank=2`. `BASES` names the papers' networks.
"""

from rcn_tf.networks.affine import AffineNetwork
from rcn_tf.networks.voxelmorph import VoxelMorph, VoxelMorphTwice, vm_double, vm_x2
from rcn_tf.networks.vtn import VTN

BASES = {
    "vtn": VTN,
    "voxelmorph": VoxelMorph,
    "vm_x2": vm_x2,
    "vm_double": vm_double,
    "vm_xx2": VoxelMorphTwice,
}

__all__ = [
    "BASES",
    "AffineNetwork",
    "VTN",
    "VoxelMorph",
    "VoxelMorphTwice",
    "vm_double",
    "vm_x2",
]
