"""Classical registration methods that the papers compare with, run on the packs' volumes.

Each module has functions `method(fixed, moving) -> flow`: volumes uint8 [D, H, W] on one grid,
taken to have voxels of 1 mm as in the papers' packs; flow float32 [D, H, W, 3] in voxels, axis
order ij, pull-back. Masks, labels and landmarks are not seen. The optional packages are
imported when a method runs; without them `MissingExtraError` says how to install them.
"""
