"""Training configs: frozen dataclasses with the RCN paper's settings (section 4.1) as defaults.

    network: {base: vtn, n_cascades: 3}
    optimizer: {learning_rate: 1e-4}
    steps: 100000
    halve_at: [60000, 80000]

Files are JSON or YAML; keys that are left out keep their default, and an unknown key is an error.
Presets are configs with a name: `rcn_tf.presets` has the papers' experiments.

    config = load_training_config("vtn_10_liver", ["data.config=liver.json", "batch_size=2"])
    config.network.n_cascades  # 10
    config.with_settings("steps=500").to_dict()
"""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Optional, Union

from rcn_tf.losses.objective import RCN_WEIGHTS, check_weights, needs
from rcn_tf.models import CASCADE, model_class, trust
from rcn_tf.presets import PRESETS
from rcn_tf.presets import names as preset_names
from rcn_tf.settings.arguments import Arguments, checked_arguments
from rcn_tf.settings.fields import build, check_keys, convert_fields, plain
from rcn_tf.settings.files import SUFFIXES, read_settings_file
from rcn_tf.settings.overrides import apply_settings
from rcn_tf.training.optimizers import check_optimizer
from rcn_tf.training.phases import phases_of, total_steps

_PATHS = ("data.config", "data.reference_flows", "data.initial_model")
_WHOLE = ("loss", "network", "options")  # a file's value replaces the whole default


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Data of a training. Paths in a file are relative to its folder."""

    config: Optional[str] = None  # dataset config (JSON)
    scheme: str = "1"
    reference_flows: Optional[str] = None  # HDF5, for the end-point error (supervised training)
    initial_model: Optional[str] = None  # model folder whose weights training starts from

    def __post_init__(self):
        convert_fields(self, "data.")


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Arguments of `rcn_tf.training.optimizers.make_optimizer`."""

    name: str = "adam"
    learning_rate: float = 1e-4
    clip_norm: Optional[float] = None  # limit on the gradient's global norm
    weight_decay: Optional[float] = None  # None: the optimiser's own default
    factors: Mapping = dataclasses.field(default_factory=dict)  # {layer: factor on its rate}

    def __post_init__(self):
        convert_fields(self, "optimizer.")
        for key in ("learning_rate", "clip_norm"):
            value = getattr(self, key)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"`optimizer.{key}` must be positive; got {value!r}.")
        check_optimizer(self.name, self.weight_decay, self.factors)


@dataclasses.dataclass(frozen=True)
class ValidationConfig:
    """Measuring on held-out pairs while training."""

    every: int = 5000  # steps
    scheme: Optional[str] = None  # None: "2" where the dataset config has it, else no validation
    pairs: int = 20  # number of pairs, evenly spread over the scheme's

    def __post_init__(self):
        convert_fields(self, "validation.")
        _require_positive(self, ("every", "pairs"), "validation.")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """All settings of a training run; one that exists is consistent.

    Raises: ValueError: a value of the wrong type, out of range, or at odds with another.
    """

    description: str = ""  # what the run reproduces, for people
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: str = CASCADE  # of rcn_tf.models.MODELS, or "package.module:Class"
    network: Mapping = dataclasses.field(default_factory=dict)  # arguments of the model
    n_repeats: int = 1  # shared-weight repeats during training, the cascades' call option
    options: Mapping = dataclasses.field(default_factory=dict)  # further call options
    recompute: Union[bool, Literal["auto"]] = "auto"  # gradient checkpointing
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    loss: Mapping = dataclasses.field(
        default_factory=lambda: RCN_WEIGHTS
    )  # rcn_tf.losses.objective
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    steps: int = 100_000
    halve_at: tuple[int, ...] = (60_000, 80_000)  # steps after which the learning rate halves
    batch_size: int = 4
    augment: bool = True
    seed: int = 0
    deterministic: bool = False  # TensorFlow's deterministic ops, slower
    log_every: int = 100
    images_every: int = 5000
    checkpoint_every: int = 1000
    keep_checkpoints: int = 3
    validation: ValidationConfig = dataclasses.field(default_factory=ValidationConfig)
    phases: tuple = ()  # rcn_tf.training.phases; none: one phase of the settings above

    def __post_init__(self):
        convert_fields(self)
        object.__setattr__(self, "network", checked_network(self.model, self.network))
        if "n_repeats" in self.options:
            raise ValueError("`options.n_repeats`: set `n_repeats` itself.")
        _require_positive(self, ("n_repeats", "steps", "batch_size", "log_every", "images_every"))
        _require_positive(self, ("checkpoint_every", "keep_checkpoints"))
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"`seed` must lie in 0 .. 2**32 - 1; got {self.seed}.")
        _check_halvings(self.halve_at)
        check_weights(self.loss)
        object.__setattr__(self, "steps", total_steps(self.phases, self.steps, TrainingConfig))
        if self.data.reference_flows and self.augment:
            raise ValueError(
                "`data.reference_flows` needs `augment` false: the flows do not follow the "
                "augmentation."
            )

    @property
    def call_options(self) -> dict[str, Any]:
        """{name: value} of the model's call options in training that are not the default."""
        repeats = {"n_repeats": self.n_repeats} if self.n_repeats != 1 else {}
        return {**self.options, **repeats}

    def __reduce__(self):
        """Copies and pickles through `to_dict`, as read-only mappings cannot be pickled."""
        return TrainingConfig.from_dict, (self.to_dict(),)

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], where: str = "training config"
    ) -> "TrainingConfig":
        """Config from nested mappings; keys that are left out keep their default.

        Args: values: as `to_dict` returns them, or a part of them. where: the source, for errors.
        Raises: ValueError: a key is unknown, or a value is wrong.
        """
        try:
            return build(cls, values)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, all keys; `from_dict` of it equals the config."""
        return plain(self)

    def with_settings(self, *settings: str) -> "TrainingConfig":
        """Copy with "key.subkey=value" strings applied, see `config_settings`."""
        values = apply_settings(TrainingConfig, self.to_dict(), settings, _PATHS)
        return self.from_dict(values, "--set")

    def check_complete(self, where: str = "training config") -> None:
        """Raises ValueError if a file that training needs is not named."""
        if not self.data.config:
            raise ValueError(f"{where}: `data.config` must name a dataset config (--data).")
        flows_needed = any("reference_flow" in needs(phase.loss) for phase in phases_of(self))
        if flows_needed and not self.data.reference_flows:
            raise ValueError(
                f"{where}: `endpoint_error` needs reference flows: name their file in "
                "`data.reference_flows`."
            )


def checked_network(
    model: str, network: Mapping[str, Any], trusted: bool = False
) -> Mapping[str, Any]:
    """Arguments of a model, all of them, `volume_shape` and `precision` left out.

    Those of a model of one's own stay as they are given: its module may only be imported once
    that is known to be allowed (`rcn_tf.models.trust`), which `trusted` says.

    Raises: ValueError: there is no such model, or no such argument, or one of another type.
    """
    if trust.is_foreign(model) and not trusted:
        return Arguments(network)
    made = model_class(model)
    return checked_arguments(
        made,
        network,
        "network.",
        leave_out=("volume_shape", "precision"),
        defaults=made.TRAINING_DEFAULTS,
    )


def load_training_config(
    source: Union[str, pathlib.Path], settings: Sequence[str] = ()
) -> TrainingConfig:
    """Reads a training config as `read_training_config`, and checks that it is complete.

    Raises: FileNotFoundError, ValueError: as there, or a file that training needs is not named.
    """
    config = read_training_config(source, settings)
    config.check_complete(str(source))
    return config


def read_training_config(
    source: Union[str, pathlib.Path], settings: Sequence[str] = ()
) -> TrainingConfig:
    """A training config from a file or a preset, with settings applied; it may name no data.

    Args:
        source: path of a .json, .yaml or .yml file, or the name of a preset.
        settings: "key.subkey=value" strings, see `config_settings`. Paths in them are relative
            to the working directory, those in the file to its folder.

    Returns: TrainingConfig with absolute paths.

    Raises: FileNotFoundError, ValueError: naming the file or preset and the key.
    """
    where = str(source)
    given = _read(source)
    try:
        check_keys(TrainingConfig, given)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    values = TrainingConfig().to_dict()
    for key, value in given.items():
        group = isinstance(values[key], dict) and key not in _WHOLE
        values[key] = {**values[key], **value} if group else value
    values = apply_settings(TrainingConfig, values, settings, _PATHS)
    return TrainingConfig.from_dict(values, where)


def _read(source):
    """A source's mapping; paths in a file are made absolute from its folder."""
    if str(source) in PRESETS:
        return PRESETS[str(source)].values
    path = pathlib.Path(source)
    if not path.exists():
        raise FileNotFoundError(_missing(path))
    values = read_settings_file(path)
    for group, key in (name.split(".") for name in _PATHS):
        section = values.get(group)
        if isinstance(section, dict) and isinstance(section.get(key), str) and section[key]:
            section[key] = str((path.parent / section[key]).resolve())
    return values


def _missing(path):
    """Message about a source that does not exist, with presets of a similar name."""
    if path.suffix in SUFFIXES:
        near = " or ".join(map(repr, preset_names.nearest_presets(path.stem)))
        return f"{path} does not exist" + (f"; did you mean the preset {near}?" if near else ".")
    hint = preset_names.hint(path.name)
    return f"{path} is neither a training config nor a preset; {hint}"


def _require_positive(section, keys, prefix=""):
    for key in keys:
        if getattr(section, key) < 1:
            value = getattr(section, key)
            raise ValueError(f"`{prefix}{key}` must be a positive integer; got {value!r}.")


def _check_halvings(halve_at):
    whole = all(type(step) is int and step > 0 for step in halve_at)
    if not whole or list(halve_at) != sorted(set(halve_at)):
        raise ValueError(f"`halve_at` must be increasing step numbers; got {list(halve_at)!r}.")
