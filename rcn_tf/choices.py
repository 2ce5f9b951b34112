"""Choices and defaults that commands name without loading TensorFlow."""

MIN_SIZE = 32
"""Smallest number of voxels along each axis of the papers' networks."""

PRECISIONS = ("float32", "bfloat16", "float16")
"""In which convolutions compute (`rcn_tf.networks.precision`)."""

OVERLAPS = ("argmax", "original")
"""Which voxels a warped label has (`rcn_tf.evaluation`)."""

REFINE_STEPS = 50
"""Gradient steps of a registration by default: for images like those of the training they add some
hundredths of Dice."""
