"""Choices and defaults that commands name without loading TensorFlow."""

MIN_SIZE = 32
"""Smallest number of voxels along each axis of the papers' networks."""

PRECISIONS = ("float32", "bfloat16", "float16")
"""Number formats that convolutions can compute in (`rcn_tf.networks.precision`)."""

OVERLAPS = ("argmax", "original")
"""Rules for which voxels belong to a warped label (`rcn_tf.evaluation`)."""

LEARN2REG_FORMS = ("nii", "npz", "npz-half")
"""Forms of a displacement for Learn2Reg (`rcn_tf.volumes.learn2reg.displacement`)."""

REFINE_STEPS = 50
"""Default number of refinement steps of a registration. On images like those of the training they
raise Dice by some hundredths."""
