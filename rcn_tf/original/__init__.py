"""Checkpoints of the original TensorFlow 1 project, imported as model folders of this one.

    imported = import_checkpoint("weights/Nov23-1120", "models/liver")
    imported.n_cascades, imported.step, imported.n_repeats

The original's training leaves in one folder `args.json` (`arguments`) and up to five checkpoints
`model-STEP.index` and `model-STEP.data-00000-of-00001` (`checkpoint`). The network follows from the
names and shapes of the variables (`architecture`), whether or not `args.json` is there.
"""

from rcn_tf.original.importer import ImportedModel, import_checkpoint

__all__ = ["ImportedModel", "import_checkpoint"]
