"""The training loop: from a config to a model folder, resumable at any step."""

import dataclasses
import pathlib
import time

import numpy as np
import tensorflow as tf

from rcn_tf.cascade import RecursiveCascade
from rcn_tf.data.pipeline import training_dataset
from rcn_tf.files import read_json, write_json
from rcn_tf.keras_api import keras
from rcn_tf.model_folder import save_model
from rcn_tf.training.checkpoints import Checkpoints
from rcn_tf.training.optimizers import Halving, make_optimizer
from rcn_tf.training.records import Records
from rcn_tf.training.step import default_strategy, make_train_step
from rcn_tf.volumes.preprocessing import DEFAULT_OPTIONS
from rcn_tf.weights import named_weights

# What must not change between the parts of one run.
_FIXED_KEYS = (
    "network",
    "loss",
    "batch_size",
    "seed",
    "augment",
    "n_repeats",
    "data",
    "optimizer.name",
)


class TrainingDivergedError(ValueError):
    """The loss or a weight is not finite; the message names the step and the pairs or weight."""


def train(config, folder, *, resume=False, strategy=None, on_step=None, should_stop=None):
    """Trains a network and writes its model folder.

    The folder holds, besides the model: `training.json` (the config as used),
    `checkpoints/`, `logs/` (TensorBoard) and `metrics.jsonl`. The pairs and augmentation of
    a step depend on the seed and the step's number only, so a resumed run sees what an
    uninterrupted one would have seen.

    Args:
        config: TrainingConfig.
        folder: of the run.
        resume: continue from the newest checkpoint in `folder`.
        strategy: tf.distribute strategy; by default all GPUs, or the one device.
        on_step: called after every step with (step, {term: batch mean}).
        should_stop: called after every step; True saves and returns early.

    Returns: number of steps that the model has behind it.

    Raises:
        TrainingDivergedError: the loss became NaN or infinite; the last checkpoint is kept.
        FileNotFoundError, KeyError, ValueError: bad data or config, before any step; or
            a `folder` that already holds a run, or none to resume.
        OSError: something cannot be written.
    """
    folder = pathlib.Path(folder)
    _check_folder(folder, config.to_dict(), resume)
    keras.utils.set_random_seed(config.seed)
    strategy = strategy or default_strategy()
    source = training_dataset(
        config.data.config,
        config.data.scheme,
        batch_size=config.batch_size,
        seed=config.seed,
        augment=config.augment,
    )
    with strategy.scope():
        model = RecursiveCascade(
            volume_shape=source.volume_shape, **dataclasses.asdict(config.network)
        )
        optimizer = make_optimizer(halve_at=config.halve_at, **dataclasses.asdict(config.optimizer))
        if hasattr(optimizer, "build"):  # Keras' own; tensorflow-addons' build when restored
            optimizer.build(model.trainable_variables)
    checkpoints = Checkpoints(folder / "checkpoints", model, optimizer, config.keep_checkpoints)
    if resume:
        checkpoints.restore()
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "training.json", config.to_dict())
    run = _Run(config, folder, model, optimizer, checkpoints, strategy)
    return run.fit(source, on_step or _ignore, should_stop or _never)


class _Run:
    """State of a running training, so that the loop reads as a loop."""

    def __init__(self, config, folder, model, optimizer, checkpoints, strategy):
        self.config = config
        self.folder = folder
        self.model = model
        self.schedule = Halving(config.optimizer.learning_rate, config.halve_at)
        self.checkpoints = checkpoints
        self.strategy = strategy
        self.records = Records(folder, checkpoints.step)
        self.step_function = make_train_step(
            strategy,
            model,
            optimizer,
            weights=config.loss,
            batch_size=config.batch_size,
            n_repeats=config.n_repeats,
            recompute=_recompute(config),
        )

    def fit(self, source, on_step, should_stop):
        step = saved = self.checkpoints.step
        logged = (step, time.monotonic())
        if step < self.config.steps:
            batches = self.strategy.experimental_distribute_dataset(source.batches(step))
            for batch in batches:
                terms = self._take_step(batch, step + 1)
                step += 1
                self.records.add(terms)
                on_step(step, terms)
                if step % self.config.log_every == 0:
                    logged = self._log(step, logged)
                if step % self.config.images_every == 0:
                    self._log_images(step, batch)
                if step % self.config.checkpoint_every == 0:
                    self._save()
                    saved = step
                if step >= self.config.steps or should_stop():
                    break
        if step > saved or not self.checkpoints.exist():
            self._save()
        else:  # a kill may have come between checkpoint and model
            self._save_model()
        self.records.close()
        return step

    def _take_step(self, batch, step):
        terms = self.step_function(batch["fixed"], batch["moving"])
        terms = {name: term.numpy() for name, term in terms.items()}
        bad = ~np.isfinite(terms["total"])
        if bad.any():
            pairs = ", ".join(np.array(self._pair_names(batch))[bad])
            raise TrainingDivergedError(
                f"the loss is not finite at step {step} for {pairs}; the last checkpoint is "
                f"of step {self._last_saved()}."
            )
        return {name: float(term.mean()) for name, term in terms.items()}

    def _last_saved(self):
        latest = tf.train.latest_checkpoint(str(self.checkpoints.folder))
        return latest.rsplit("-", 1)[-1] if latest else "0 (none yet)"

    def _pair_names(self, batch):
        columns = []
        for key in ("fixed_id", "moving_id"):
            parts = self.strategy.experimental_local_results(batch[key])
            columns.append([name.decode() for part in parts for name in part.numpy()])
        return [f"{fixed} <- {moving}" for fixed, moving in zip(*columns)]

    def _log(self, step, logged):
        last_step, last_time = logged
        now = time.monotonic()
        pairs = (step - last_step) * self.config.batch_size
        self.records.log(
            step,
            pairs_per_second=pairs / (now - last_time),
            learning_rate=float(self.schedule(step - 1)),
        )
        return step, now

    def _log_images(self, step, batch):
        fixed, moving = (
            self.strategy.experimental_local_results(batch[key])[0][:1]
            for key in ("fixed", "moving")
        )
        warped = self.model(fixed, moving, n_repeats=self.config.n_repeats).warped
        self.records.images(step, fixed=fixed, moving=moving, warped=warped)

    def _save(self):
        self._check_weights()
        self.checkpoints.save()
        self._save_model()

    def _save_model(self):
        save_model(
            self.model,
            self.folder,
            preprocessing=DEFAULT_OPTIONS,
            training={"steps": self.checkpoints.step, "config": self.config.to_dict()},
        )

    def _check_weights(self):
        """A finite loss may have had a gradient that is not: never save what came of it."""
        for name, variable in named_weights(self.model).items():
            if not tf.reduce_all(tf.math.is_finite(variable)):
                raise TrainingDivergedError(
                    f"weight {name} is not finite at step {self.checkpoints.step}; the last "
                    f"checkpoint is of step {self._last_saved()}."
                )


def _recompute(config):
    """Whether activations are computed again; "auto" keeps them at present."""
    return config.recompute is True


def _check_folder(folder, config, resume):
    started = (folder / "checkpoints" / "checkpoint").exists()
    if started and not resume:
        raise ValueError(f"{folder} already holds a training run: continue it with --resume.")
    if not resume:
        return
    if not started:
        raise FileNotFoundError(f"{folder} holds no checkpoint to resume from.")
    before = read_json(folder / "training.json")
    for key in _FIXED_KEYS:
        difference = _difference(key, _lookup(before, key), _lookup(config, key))
        if difference:
            raise ValueError(f"cannot resume {folder}: {difference}.")


def _lookup(config, key):
    for part in key.split("."):
        config = config.get(part, {})
    return config


def _difference(key, old, new):
    """First difference of two settings in words, or None."""
    if isinstance(old, dict) and isinstance(new, dict):
        parts = [_difference(f"{key}.{k}", old.get(k), new.get(k)) for k in {**old, **new}]
        return next(filter(None, parts), None)
    return None if old == new else f"`{key}` was {old!r}, is {new!r}"


def _ignore(_step, _terms):
    pass


def _never():
    return False
