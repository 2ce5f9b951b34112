"""The training loop: from a config to a model folder, resumable at any step."""

from __future__ import annotations

import contextlib
import logging
import math
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from rcn_tf.choices import OF_MODEL
from rcn_tf.data.pipeline import training_dataset
from rcn_tf.keras_api import keras
from rcn_tf.losses.objective import check_stages, needs
from rcn_tf.metrics import folding_fraction
from rcn_tf.models.folder import load_model, save_model
from rcn_tf.models.model import stages_of
from rcn_tf.models.weights import set_weights
from rcn_tf.networks.precision import scaled_optimizer
from rcn_tf.settings.fields import plain
from rcn_tf.training import monitor
from rcn_tf.training.available_memory import available_to_replica
from rcn_tf.training.checkpoints import Checkpoints, newest_step
from rcn_tf.training.config import TrainingConfig
from rcn_tf.training.making import make_model
from rcn_tf.training.memory import choose_recompute
from rcn_tf.training.optimizers import check_factors, create_slots, make_optimizer
from rcn_tf.training.phases import learning_rate_of, phases_of
from rcn_tf.training.records import Records
from rcn_tf.training.run_folder import (
    check_data,
    check_folder,
    with_data_found,
    write_records,
)
from rcn_tf.training.run_lock import locked
from rcn_tf.training.step import make_agreement, make_train_step
from rcn_tf.training.strategies import has_other_workers, is_chief, make_strategy
from rcn_tf.training.validation import best_score, make_validation, score
from rcn_tf.volumes.preparation.network_input import DEFAULT_OPTIONS

logger = logging.getLogger(__name__)

# TensorFlow's messages when another worker is gone.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


class TrainingDivergedError(ValueError):
    """The loss or a weight is not finite; the message names the step and where."""


class WorkerLostError(ConnectionError):
    """Another worker of the job is gone; the message names the step to resume from."""


def train(
    config: TrainingConfig,
    folder: str | pathlib.Path,
    *,
    resume: bool = False,
    strategy: tf.distribute.Strategy | None = None,
    on_step: Callable[[int, Mapping[str, float]], Any] | None = None,
    on_log: Callable[[int, Mapping[str, float]], Any] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> int:
    """Trains a network and writes its model folder.

    Besides the model, the folder holds `best/` (the model that did best in validation),
    `training.json` and `environment.json` (config and software as used), `checkpoints/`, `logs/`
    (TensorBoard) and `metrics.jsonl`. The pairs and augmentation of a step depend on the seed
    and the step's number only, so a resumed run sees what an uninterrupted one would have seen,
    on whatever number of replicas. Early signs of trouble are logged as warnings. While it runs, no
    other process can train in the folder (`rcn_tf.training.run_lock`).

    Args:
        config: TrainingConfig. `deterministic` holds for the rest of the process.
        folder: folder of the run; all workers of a job share it, and only the chief writes.
        resume: continue from the newest checkpoint in `folder`. The data must have the same
            content as at the start of the run; they may have been moved.
        strategy: tf.distribute strategy, see `rcn_tf.training.strategies`.
        on_step: called after every step with (step, {term: batch mean}).
        on_log: called by the chief with (step, values) for every line of `metrics.jsonl` that
            holds means of the loss terms.
        should_stop: called after every step; True saves and returns early.

    Returns: number of steps that the model was trained for.

    Raises:
        TrainingDivergedError: the loss became NaN or infinite; the last checkpoint is kept.
        WorkerLostError: another worker of the job died; the last checkpoint is kept.
        FileNotFoundError, KeyError, ValueError: the data or config are wrong, or `folder` already
            holds a run, has none to resume, or was trained on other data; raised before any step.
        RunInUseError: another process trains in `folder`.
        OSError: something cannot be written.
    """
    folder = pathlib.Path(folder)
    config.check_complete()
    strategy = strategy or make_strategy("auto")
    with locked(folder) if is_chief(strategy) else contextlib.nullcontext() as lock:
        check_folder(folder, config, resume)
        if resume:
            config = with_data_found(config, folder)
        keras.utils.set_random_seed(config.seed)
        if config.deterministic:
            tf.config.experimental.enable_op_determinism()
        callbacks = (on_step or _ignore, on_log or _ignore, should_stop or _never)
        return _run(config, folder, strategy, resume, lock, callbacks)


def _run(config, folder, strategy, resume, lock, callbacks):
    """`train` in a folder that this process has locked."""
    try:
        run = _Run(config, folder, strategy, lock)
        if resume:
            run.compare_data()
            run.checkpoints.restore()
        elif config.data.initial_model:
            run.start_from(config.data.initial_model)
        return run.fit(*callbacks)
    except _LOST as error:
        if not has_other_workers(strategy):
            raise
        raise WorkerLostError(
            "another worker was lost, its own message says why; start all workers again with "
            f"--resume, from step {newest_step(folder / 'checkpoints')}."
        ) from error


class _Run:
    """State of a running training, so that the loop reads as a loop. Writes nothing when made."""

    def __init__(self, config, folder, strategy, lock):
        self.config = config
        self.folder = folder
        self.strategy = strategy
        self.lock = lock
        self.phases = phases_of(config)
        self.phase = None
        self.source = training_dataset(
            config.data.config,
            config.data.scheme,
            batch_size=config.batch_size,
            seed=config.seed,
            augment=config.augment,
            reference_flows=config.data.reference_flows,
            needs=frozenset().union(*(needs(phase.loss) for phase in self.phases)),
        )
        self.source.check_replicas(strategy)
        self.validation = make_validation(config, self.source.store)
        self.schedule = learning_rate_of(self.phases)
        self.warnings = monitor.at_the_start(config, self.source, self.validation)
        self.flat_loss = monitor.FlatLoss()
        original = config.network.get("init") == "original"
        self.folding = monitor.Folding(config.steps // 10 if original else 0, original=original)
        self.not_falling = monitor.NotFalling()
        self.is_chief = is_chief(strategy)
        self.agree = make_agreement(strategy)
        replicas = strategy.num_replicas_in_sync
        self.recompute = choose_recompute(
            config,
            self.source.volume_shape,
            config.batch_size // replicas,
            available_to_replica(strategy),
        )
        keras.utils.set_random_seed(config.seed)  # the memory estimate may have drawn numbers
        with strategy.scope():
            self._build()

    def _build(self):
        """Network, optimiser and their checkpoints."""
        config = self.config
        self.model = make_model(config, self.source.volume_shape)
        for phase in self.phases:
            check_stages(phase.loss, stages_of(self.model, **phase.options))
            phase.variables(self.model)
        check_factors(config.optimizer.factors, self.model.trainable_variables)
        settings = {**plain(config.optimizer), "learning_rate": self.schedule}
        self.optimizer = scaled_optimizer(make_optimizer(**settings), config.precision)
        create_slots(self.optimizer, self.model.trainable_variables)
        self.checkpoints = Checkpoints(
            self.folder / "checkpoints", self.model, self.optimizer, config.keep_checkpoints
        )

    def _enter(self, step):
        """Makes the step function of a step's phase, if that phase is new."""
        phase = next(phase for phase in self.phases if step < phase.end)
        if phase is self.phase:
            return
        self.phase = phase
        options = dict(phase.options)
        if self.recompute:
            options["recompute"] = True
        with self.strategy.scope():
            self.step_function = make_train_step(
                self.strategy,
                self.model,
                self.optimizer,
                weights=phase.loss,
                batch_size=self.config.batch_size,
                variables=phase.variables(self.model),
                step=self.checkpoints.step_variable,
                **options,
            )

    def start_from(self, folder):
        """Takes the weights of a model folder.

        Raises: FileNotFoundError, KeyError, ValueError: there is none, or its weights do not fit.
        """
        weights = load_model(folder, "float32").named_weights()
        try:
            set_weights(self.model.named_weights(), {k: v.numpy() for k, v in weights.items()})
        except (KeyError, ValueError) as error:
            raise type(error)(f"`data.initial_model` {folder}: {error.args[0]}") from error

    def compare_data(self):
        """Raises ValueError if a resumed run's data differ from those that it began with."""
        self.warnings.append(check_data(self.folder, self.config, self.source.identity))

    def fit(self, on_step, on_log, should_stop):
        step = self.checkpoints.step
        self.on_log = on_log
        if self.is_chief:
            self._open(step)
        if step < self.config.steps:
            for batch in self._batches(step):
                terms = self._take_step(batch, step)
                step += 1
                if self.is_chief:
                    self._after_step(step, terms, batch)
                on_step(step, terms)
                if step >= self.config.steps or self.agree(should_stop()):
                    break
        if self.is_chief:
            self._finish(step)
        self.agree(False)  # nobody leaves while the chief still writes
        return step

    def _batches(self, step):
        """The batches; errors of the reader are raised unchanged."""
        try:
            yield from self.source.distributed(self.strategy, step)
        except tf.errors.OpError:
            if self.source.failures:
                raise self.source.failures[0] from None
            raise

    def _open(self, step):
        """Writes the first files, once the input has passed all checks."""
        if step < self.config.steps:
            identity = self.source.identity
            write_records(self.folder, self.config, self.strategy, self.recompute, identity)
        self.checkpoints.remove_fragments()
        self.start = step
        self.saved = step if self.checkpoints.exist() else None
        self.best = -math.inf
        if step and self.validation:
            self.best = best_score(self.folder / "best", self.config, self.validation.identity)
        self.records = Records(self.folder, step)
        self.logged = (step, time.monotonic())
        if step < self.config.steps:
            for warning in self.warnings:
                self._warn(step, warning)

    def _take_step(self, batch, step):
        self._enter(step)
        terms = self.step_function(**batch)
        terms = {name: term.numpy() for name, term in terms.items()}
        problem = monitor.source_of_nan(terms, self.source.pair_names(step))
        if problem:
            raise TrainingDivergedError(
                f"step {step + 1}: {problem}; the last checkpoint is of step "
                f"{newest_step(self.checkpoints.folder)}. {monitor.WHY_NOT_FINITE}."
            )
        self.checkpoints.advance()
        return {name: float(term.mean()) for name, term in terms.items()}

    def _after_step(self, step, terms, batch):
        """Does what is due after a step by the config's intervals."""
        config = self.config
        self.records.add(terms)
        if step % config.log_every == 0:
            self._log(step)
        if step == config.log_every or step % config.images_every == 0:
            self._look(step, batch)
        if self.validation and step % config.validation.every == 0:
            self._validate(step)
        if step % config.checkpoint_every == 0:  # last: a kill before it repeats the others
            self._save(step)

    def _finish(self, step):
        ended = self.start < step == self.config.steps
        if step > self.logged[0]:  # steps since the last log line
            self._log(step)
        if self.validation and ended and step % self.config.validation.every:
            self._validate(step)
        if step != self.saved:
            self._save(step)
        else:  # a kill may have come between checkpoint and model
            self._save_model(self.folder, step)
        self.records.close()

    def _log(self, step):
        (last_step, last_time), now = self.logged, time.monotonic()
        values = self.records.log(
            step,
            pairs_per_second=(step - last_step) * self.config.batch_size / (now - last_time),
            learning_rate=float(self.schedule(step - 1)),
            **{f"{OF_MODEL}/{name}": v for name, v in self.model.logged_scalars().items()},
        )
        self.logged = step, now
        self.on_log(step, values)
        self._warn(step, self.flat_loss(values["total"]))
        if self.start == 0:
            self._warn(step, self.not_falling(step, values))

    def _look(self, step, batch):
        """Pictures of one pair, and whether its flow folds."""
        fixed, moving = (
            self.strategy.experimental_local_results(batch[key])[0][:1]
            for key in ("fixed", "moving")
        )
        output = self.model(fixed, moving, **self.phase.options)
        flow = output.flow
        self.records.pictures(step, fixed=fixed, moving=moving, warped=output.warped, flow=flow)
        self._warn(step, self.folding(step, folding_fraction(flow)[0]))

    def _validate(self, step):
        measures = self.validation(self.model)
        self.records.write(step, {f"validation/{name}": v for name, v in measures.items()})
        shown = "  ".join(f"{name} {value:.4f}" for name, value in measures.items())
        logger.info("step %d: %s %s", step, self.validation.title, shown)
        self._warn(step, self.folding(step, measures["folding_percent"] / 100))
        if score(measures) > self.best:
            facts = {"validation": measures, "validation_pairs": self.validation.identity}
            self._save_model(self.folder / "best", step, **facts)
            self.best = score(measures)

    def _warn(self, step, message):
        if message:
            self.records.warn(step, message)
            logger.warning("step %d: %s", step, message)

    def _save(self, step):
        self._check_weights(step)
        self.lock.check()
        self.checkpoints.save()
        self.saved = step
        self._save_model(self.folder, step)

    def _save_model(self, folder, step, **facts):
        self.lock.check()
        save_model(
            self.model,
            folder,
            preprocessing=DEFAULT_OPTIONS,
            training={"steps": step, **facts, "config": self.config.to_dict()},
        )

    def _check_weights(self, step):
        """Refuses to save weights that are not finite; a finite loss can have such a gradient."""
        for name, variable in self.model.named_weights().items():
            if not tf.reduce_all(tf.math.is_finite(variable)):
                raise TrainingDivergedError(
                    f"weight {name} is not finite at step {step}; the last checkpoint is of "
                    f"step {newest_step(self.checkpoints.folder)}."
                )


def _ignore(_step, _values):
    pass


def _never():
    return False
