"""Choices and defaults that commands name without loading TensorFlow."""

MIN_SIZE = 32
"""Smallest number of voxels along each axis of the papers' networks."""

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
"""Number formats that convolutions can compute in (`rcn_tf.networks.precision`)."""

OVERLAPS = ("argmax", "original")
"""Rules for which voxels belong to a warped label (`rcn_tf.evaluation`)."""

EFFORTS = ("fast", "default", "best")
"""How long a pair is optimised (`rcn_tf.registration.optimisation.effort`)."""

SIMILARITIES = ("auto", "local_ncc", "pearson", "mse", "nmi", "mind_ssc", "multi_kernel_ncc")
"""What an optimisation raises (`rcn_tf.registration.optimisation.similarities`)."""

TRANSFORM_TYPES = ("rigid", "affine", "momentum", "deformable")
"""Kinds of transforms, from the least to the most freedom."""

LINEAR = TRANSFORM_TYPES[:2]
"""Those that are a linear map alone, for which no network runs."""

NO_MODEL = "none"
"""Name that stands for no model: the pair is registered by optimisation alone."""

LEARN2REG_FORMS = ("nii", "npz", "npz-half")
"""Forms of a displacement for Learn2Reg (`rcn_tf.volumes.learn2reg.displacement`)."""

OF_MODEL = "model"
"""Beginning of the names of a model's own numbers in a training's log (`logged_scalars`)."""
