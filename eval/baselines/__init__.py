"""Classical registration methods that the papers compare with, run on the packs' volumes.

Each module has functions `method(fixed, moving) -> flow`. The volumes are uint8 [*spatial] on one
grid, with voxels taken to be 1 mm as in the papers' packs; the flow is float32 [*spatial, R] in
voxels, axis order ij, pull-back. Methods do not get masks, labels or landmarks. Optional packages
are imported when a method runs; if one is missing, `MissingExtraError` says how to install it.
"""
