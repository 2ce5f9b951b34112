"""tf.data pipeline of training pairs.

Batches are dicts: `fixed`, `moving` float32 [B, *spatial, 1] in [0, 1], and what the objective
needs (`rcn_tf.losses.objective.needs`):

    labels           fixed_labels, moving_labels int32 [B, *spatial]
    landmarks        fixed_landmarks, moving_landmarks float32 [B, N, R], voxels; landmark_mask
                     [B, N], 1 where both are known; spacing [B, R] of the moving scan, mm
    reference_flow   reference_flow float32 [B, *spatial, R], voxels

Labels and landmarks of the moving scan follow its augmentation, labels one-hot linear with an
argmax. Landmarks correspond by their place in the list; shorter lists are padded. Background
threads read ahead and scans are cached as uint8 (`rcn_tf.data.scans`). Order and augmentation
depend on (seed, step) alone. Each replica of a tf.distribute strategy reads its own part of every
global batch. Together the replicas, on any number of machines, see what one device would see.
"""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import tensorflow as tf

import custom_ops
from rcn_tf import discrete_warps, fields
from rcn_tf.data.augmentation import batch_flow
from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.grey_values import to_intensities
from rcn_tf.data.identity import training_identity
from rcn_tf.data.pairs import TrainingOrder, scheme_pairs
from rcn_tf.data.reference_flows import ReferenceFlows
from rcn_tf.data.scans import ScanStore
from rcn_tf.errors import warn
from rcn_tf.metrics.landmarks import is_missing
from rcn_tf.wording import counted

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
    flows: ReferenceFlows | None = None
    needs: frozenset = frozenset()
    landmarks: int = 0  # largest number of landmarks of a scan
    identity: dict | None = None  # `rcn_tf.data.identity`
    failures: list = dataclasses.field(default_factory=list)  # of reading, as raised

    @property
    def volume_shape(self) -> tuple[int, ...]:
        """(D, H, W) or (H, W) of the scans."""
        return self.store.config.image_size

    def batches(
        self, start_step: int = 0, part: int = 0, parts: int = 1, parts_here: int = 1
    ) -> tf.data.Dataset:
        """tf.data.Dataset of the batches from step `start_step` on, without end.

        Args:
            start_step: first step.
            parts: number of equal parts of every global batch.
            part: number of the first part that is read here.
            parts_here: number of parts, from `part` on, that are read here for each step.
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

    def distributed(
        self, strategy: tf.distribute.Strategy, start_step: int = 0
    ) -> tf.distribute.DistributedDataset:
        """The batches, each replica of a tf.distribute strategy with its own part of them."""
        replicas = strategy.num_replicas_in_sync

        def parts_of_worker(context):
            here = replicas // context.num_input_pipelines
            return self.batches(start_step, context.input_pipeline_id * here, replicas, here)

        return strategy.distribute_datasets_from_function(parts_of_worker)

    def check_replicas(self, strategy: tf.distribute.Strategy) -> None:
        """Raises ValueError if the replicas cannot share a batch evenly."""
        replicas = strategy.num_replicas_in_sync
        if self.batch_size % replicas:
            raise ValueError(
                f"`batch_size` {self.batch_size} cannot be divided among {replicas} replicas; "
                "choose a multiple (it is that of all replicas together)."
            )

    def pair_names(self, step: int) -> list[str]:
        """ "fixed <- moving" of the pairs of the global batch of a step, counted from 0."""
        draws = range(step * self.batch_size, (step + 1) * self.batch_size)
        return [" <- ".join(self.order[draw]) for draw in draws]

    def _read(self, pair):
        """Arrays of a pair in the order of `_specs`."""
        fixed, moving = (self.store.read(scan) for scan in pair)
        arrays = [scan.volume[..., None] for scan in (fixed, moving)]
        if "labels" in self.needs:
            arrays += [scan.segmentation.astype(np.int32) for scan in (fixed, moving)]
        if "landmarks" in self.needs:
            _check_correspondence(pair, fixed.points, moving.points)
            points = [self._padded(scan.points) for scan in (fixed, moving)]
            unknown = [is_missing(p) | _is_outside(p, self.volume_shape) for p in points]
            known = ~(unknown[0] | unknown[1])
            arrays += [*points, known.astype(np.float32), self._spacing(moving)]
        if self.flows is not None:
            arrays.append(self.flows.read(*pair))
        return tuple(arrays)

    def _padded(self, points):
        """Landmarks padded with missing ones to the largest number that a scan has."""
        return np.pad(points, [(0, self.landmarks - len(points)), (0, 0)], constant_values=-1)

    def _spacing(self, scan):
        """mm per voxel along each array axis, 1 where the pack does not state it."""
        spacing = np.ones(len(self.volume_shape)) if scan.spacing is None else scan.spacing
        return spacing.astype(np.float32)

    def _specs(self):
        shape, rank = self.volume_shape, len(self.volume_shape)
        image, points = (tf.uint8, (*shape, 1)), (tf.float32, (self.landmarks, rank))
        specs = {"fixed": image, "moving": image}
        if "labels" in self.needs:
            specs.update(fixed_labels=(tf.int32, shape), moving_labels=(tf.int32, shape))
        if "landmarks" in self.needs:
            specs.update(fixed_landmarks=points, moving_landmarks=points)
            specs.update(landmark_mask=(tf.float32, (self.landmarks,)))
            specs.update(spacing=(tf.float32, (rank,)))
        if self.flows is not None:
            specs["reference_flow"] = (tf.float32, (*shape, rank))
        return specs

    def _finish(self, steps, places, batch):
        batch = _as_float(batch)
        if self.augment:
            flow = batch_flow(self.volume_shape, self.seed, steps[0], places)
            batch["moving"] = custom_ops.warp(batch["moving"], flow)
            if "labels" in self.needs:
                labels = batch["moving_labels"][..., tf.newaxis]
                batch["moving_labels"] = discrete_warps.warp_labels(labels, flow)[..., 0]
            if "landmarks" in self.needs:
                points = fields.invert_points(batch["moving_landmarks"], flow)[0]
                batch["moving_landmarks"] = points
        return batch


def training_dataset(
    config: str | pathlib.Path,
    scheme: str = "1",
    *,
    batch_size: int,
    seed: int = 0,
    augment: bool = True,
    reference_flows: str | pathlib.Path | None = None,
    needs: frozenset[str] = frozenset(),
    store: ScanStore | None = None,
) -> TrainingData:
    """Training pairs of a scheme, after a check of every scan.

    Args:
        config: path of a dataset config. scheme: its name.
        batch_size: of the global batch. seed: non-negative; of order and augmentation.
        augment: deform the moving images at random.
        reference_flows: file of `rcn_tf.data.reference_flows`; only its pairs are then used.
        needs: of "labels" and "landmarks", which are then read too.
        store: ScanStore of the config, if there already is one.
    Returns: TrainingData.
    Raises: FileNotFoundError, KeyError, ValueError: naming the file and the key, also for any
        scan that cannot be used.
    """
    dataset = load_dataset_config(config) if store is None else store.config
    groups = scheme_pairs(dataset, scheme)
    flows = None
    if reference_flows is not None:
        flows = ReferenceFlows(reference_flows, dataset.image_size)
        groups = [([pair for pair in pairs if pair in flows], share) for pairs, share in groups]
        if not all(pairs for pairs, _ in groups):
            raise ValueError(f"{reference_flows} has no flow for a subset of scheme {scheme!r}.")
    annotations = bool(needs & {"labels", "landmarks"})
    store = store or ScanStore(dataset, annotations=annotations)
    scans = _scans_of(dataset, dataset.scheme(scheme))
    checksums = store.check(scans)
    landmarks = _check_annotations(store, scans, needs)
    identity = training_identity(dataset, scheme, checksums, reference_flows)
    order = TrainingOrder(groups, seed)
    return TrainingData(
        store, order, batch_size, seed, augment, flows, frozenset(needs), landmarks, identity
    )


def _check_annotations(store, scans, needs):
    """Largest number of landmarks of a scan. Raises: ValueError: a scan lacks what is needed."""
    most, missing = 0, "the loss needs {} of every scan, but {!r} in {} has none."
    outside = {}
    for scan_id in scans if needs else ():
        scan = store.read(scan_id)
        for need, there in (("labels", scan.segmentation), ("landmarks", scan.points)):
            if need in needs and there is None:
                alias, key = store.config.locate(scan_id)
                raise ValueError(missing.format(need, key, store.config.files[alias]))
        if "landmarks" in needs:
            most = max(most, len(scan.points))
            lost = _is_outside(scan.points, scan.volume.shape) & ~is_missing(scan.points)
            if lost.any():
                outside[scan_id] = int(lost.sum())
    if outside:
        first = next(iter(outside))
        warn(
            f"{sum(outside.values())} landmarks of {counted(len(outside), 'scan')} lie outside "
            f"their volume, first {outside[first]} of {first!r}; they count as missing"
        )
    return most


def _check_correspondence(pair, fixed, moving):
    """Raises ValueError if two scans have different numbers of landmarks."""
    if len(fixed) != len(moving):
        raise ValueError(
            f"{pair[0]!r} has {len(fixed)} landmarks and {pair[1]!r} has {len(moving)}: those of a "
            "pair must correspond one to one (-1 where one is missing)."
        )


def _is_outside(points, shape):
    """[N] bool: landmarks beyond the volume's outermost voxels' boxes, missing ones included."""
    return ((points < -0.5) | (points > np.array(shape) - 0.5)).any(axis=-1)


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
    images = {key: to_intensities(batch[key]) for key in ("fixed", "moving")}
    return {**batch, **images}


def _without_sharding(dataset):
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options)
