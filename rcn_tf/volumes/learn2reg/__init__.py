"""The conventions of the Learn2Reg challenges: displacements in voxels, datasets, scores."""
