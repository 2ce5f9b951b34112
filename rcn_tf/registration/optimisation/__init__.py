"""Instance optimisation: registration of one pair by descent on its own similarity.

effort       how many voxels and steps an optimisation may spend
levels       grids from coarse to fine over the fixed image's box, and both images on them
affine       a rigid, then an affine map, on the coarse levels
deformation  a dense displacement on one level
momentum     a momentum on one level, whose map is a diffeomorphism
optimise     all levels, from any start, with a record of what was done
"""
