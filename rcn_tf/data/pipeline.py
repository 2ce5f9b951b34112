"""tf.data pipeline of training pairs.

Batches are dicts: `fixed`, `moving` float32 [B, D, H, W, 1] in [0, 1]; `fixed_id`, `moving_id`
strings [B]. Background threads read ahead and scans are cached as uint8 (`rcn_tf.data.scans`);
order and augmentation are functions of (seed, step) alone. Batches are global ones: a
tf.distribute strategy splits them among its replicas.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from rcn_tf.data.augmentation import augment_images
from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.pairs import TrainingOrder, scheme_pairs
from rcn_tf.data.scans import ScanStore

PARALLEL_READS = 4
PREFETCH = 2


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """Endless training batches of a dataset config's scheme; see `training_dataset`."""

    store: ScanStore
    order: TrainingOrder
    batch_size: int
    seed: int
    augment: bool

    @property
    def volume_shape(self):
        """(D, H, W) of the scans."""
        return self.store.config.image_size

    def batches(self, start_step=0):
        """tf.data.Dataset of the batches from step `start_step` on, without end."""

        def read(draw):
            names = self.order[int(draw)]
            return (*_images(self.store, names), *names)

        first = start_step * self.batch_size
        pairs = tf.data.Dataset.range(first, np.iinfo(np.int64).max).map(
            lambda draw: _call(read, draw, _image_specs(self.volume_shape)),
            num_parallel_calls=PARALLEL_READS,
            deterministic=True,
        )
        batches = pairs.batch(self.batch_size, drop_remainder=True).enumerate(start_step)
        return _without_sharding(batches.map(self._finish).prefetch(PREFETCH))

    def _finish(self, step, batch):
        batch = _as_float(batch)
        if self.augment:
            batch["moving"] = augment_images(batch["moving"], self.seed, step)
        return batch


def training_dataset(config, scheme="1", *, batch_size, seed=0, augment=True, cache_bytes=2 << 30):
    """Training pairs of a scheme, after a check of every scan.

    Args:
        config: path of a dataset config. scheme: its name.
        batch_size: of the global batch. seed: non-negative; of order and augmentation.
        augment: deform the moving images at random.
        cache_bytes: memory for scans.
    Returns: TrainingData.
    Raises: FileNotFoundError, KeyError, ValueError: naming the file and the key, also for any
        scan that cannot be used.
    """
    config = load_dataset_config(config)
    groups = scheme_pairs(config, scheme)
    store = ScanStore(config, cache_bytes, annotations=False)
    store.check(_scans_of(config, config.scheme(scheme)))
    return TrainingData(store, TrainingOrder(groups, seed), batch_size, seed, augment)


def _scans_of(config, subsets):
    scans = {scan: None for subset in subsets for scan in config.subset(subset)}
    if config.atlas is not None:
        scans[config.atlas] = None
    return scans


def _images(store, names):
    return [store.read(name).volume[..., None] for name in names]


def _image_specs(shape):
    image = (tf.uint8, (*shape, 1))
    name = (tf.string, ())
    return {"fixed": image, "moving": image, "fixed_id": name, "moving_id": name}


def _call(read, index, specs):
    """Runs `read` in Python; names and shapes its results by {key: (dtype, shape)}."""
    values = tf.numpy_function(read, [index], [dtype for dtype, _ in specs.values()])
    for value, (_, shape) in zip(values, specs.values()):
        value.set_shape(shape)
    return dict(zip(specs, values))


def _as_float(batch):
    images = {key: tf.cast(batch[key], tf.float32) / 255 for key in ("fixed", "moving")}
    return {**batch, **images}


def _without_sharding(dataset):
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options)
