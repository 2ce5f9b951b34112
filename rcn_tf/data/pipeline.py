"""tf.data pipeline of training pairs.

Batches are dicts: `fixed`, `moving` float32 [B, D, H, W, 1] in [0, 1]; for supervised training
also `reference_flow` [B, D, H, W, 3]. Background threads read ahead and scans are cached as
uint8 (`rcn_tf.data.scans`); order and augmentation are functions of (seed, step) alone. The
replicas of a tf.distribute strategy each read their own part of every global batch, on however
many machines: together they see what one device would.
"""

import dataclasses
from typing import Optional

import numpy as np
import tensorflow as tf

from rcn_tf.data.augmentation import augment_images
from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.identity import training_identity
from rcn_tf.data.pairs import TrainingOrder, scheme_pairs
from rcn_tf.data.reference_flows import ReferenceFlows
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
    flows: Optional[ReferenceFlows] = None
    identity: Optional[dict] = None  # `rcn_tf.data.identity`
    failures: list = dataclasses.field(default_factory=list)  # of reading, as raised

    @property
    def volume_shape(self):
        """(D, H, W) of the scans."""
        return self.store.config.image_size

    def batches(self, start_step=0, part=0, parts=1, parts_here=1):
        """tf.data.Dataset of the batches from step `start_step` on, without end.

        Args:
            start_step: first step.
            part, parts: of `parts` equal parts of every global batch, those from number `part` on;
            parts_here: how many of them, one after the other, before the next step's.
        """
        size = self.batch_size // parts

        def sample(number):
            """(step, place in the global batch) of the sample that is read at `number`."""
            element, within = number // size, number % size
            return element // parts_here, (part + element % parts_here) * size + within

        def read(step, place):
            try:
                return self._read(self.order[int(step) * self.batch_size + int(place)])
            except (KeyError, ValueError, OSError) as error:
                self.failures.append(error)  # TensorFlow raises one of its own
                raise

        def load(number):
            step, place = sample(number)
            return step, place, _call(read, (step, place), self._specs())

        first = start_step * parts_here * size
        samples = tf.data.Dataset.range(first, np.iinfo(np.int64).max).map(
            load, num_parallel_calls=PARALLEL_READS, deterministic=True
        )
        batches = samples.batch(size, drop_remainder=True).map(self._finish)
        return _without_sharding(batches.prefetch(PREFETCH * parts_here))

    def distributed(self, strategy, start_step=0):
        """The batches, each replica of a tf.distribute strategy with its own part of them."""
        replicas = strategy.num_replicas_in_sync

        def parts_of_worker(context):
            here = replicas // context.num_input_pipelines
            return self.batches(start_step, context.input_pipeline_id * here, replicas, here)

        return strategy.distribute_datasets_from_function(parts_of_worker)

    def check_replicas(self, strategy):
        """Raises ValueError if the replicas cannot share a batch evenly."""
        replicas = strategy.num_replicas_in_sync
        if self.batch_size % replicas:
            raise ValueError(
                f"`batch_size` {self.batch_size} cannot be divided among {replicas} replicas; "
                "choose a multiple (it is that of all replicas together)."
            )

    def pair_names(self, step):
        """ "fixed <- moving" of the pairs of the global batch of a step, counted from 0."""
        draws = range(step * self.batch_size, (step + 1) * self.batch_size)
        return [" <- ".join(self.order[draw]) for draw in draws]

    def _read(self, pair):
        images = [self.store.read(scan).volume[..., None] for scan in pair]
        return (*images, *([] if self.flows is None else [self.flows.read(*pair)]))

    def _specs(self):
        image = (tf.uint8, (*self.volume_shape, 1))
        specs = {"fixed": image, "moving": image}
        if self.flows is not None:
            specs["reference_flow"] = (tf.float32, (*self.volume_shape, 3))
        return specs

    def _finish(self, steps, places, batch):
        batch = _as_float(batch)
        if self.augment:
            batch["moving"] = augment_images(batch["moving"], self.seed, steps[0], places)
        return batch


def training_dataset(
    config,
    scheme="1",
    *,
    batch_size,
    seed=0,
    augment=True,
    reference_flows=None,
    cache_bytes=2 << 30,
):
    """Training pairs of a scheme, after a check of every scan.

    Args:
        config: path of a dataset config. scheme: its name.
        batch_size: of the global batch. seed: non-negative; of order and augmentation.
        augment: deform the moving images at random.
        reference_flows: file of `rcn_tf.data.reference_flows`; only its pairs are then used.
        cache_bytes: memory for scans.
    Returns: TrainingData.
    Raises: FileNotFoundError, KeyError, ValueError: naming the file and the key, also for any
        scan that cannot be used.
    """
    config = load_dataset_config(config)
    groups = scheme_pairs(config, scheme)
    flows = None
    if reference_flows is not None:
        flows = ReferenceFlows(reference_flows, config.image_size)
        groups = [([pair for pair in pairs if pair in flows], share) for pairs, share in groups]
        if not all(pairs for pairs, _ in groups):
            raise ValueError(f"{reference_flows} has no flow for a subset of scheme {scheme!r}.")
    store = ScanStore(config, cache_bytes, annotations=False)
    checksums = store.check(_scans_of(config, config.scheme(scheme)))
    identity = training_identity(config, scheme, checksums, reference_flows)
    order = TrainingOrder(groups, seed)
    return TrainingData(store, order, batch_size, seed, augment, flows, identity)


def _scans_of(config, subsets):
    scans = {scan: None for subset in subsets for scan in config.subset(subset)}
    if config.atlas is not None:
        scans[config.atlas] = None
    return scans


def _call(read, arguments, specs):
    """Runs `read` in Python; names and shapes its results by {key: (dtype, shape)}."""
    values = tf.numpy_function(read, arguments, [dtype for dtype, _ in specs.values()])
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
