"""Imports a checkpoint of the original project as a model folder.

The folder's `config.json` has a section `original`: the checkpoint's name, step and checksums, and
`args.json` as it was.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.models.cascade import RecursiveCascade
from rcn_tf.models.folder import save_model
from rcn_tf.models.weights import load_reference_weights
from rcn_tf.original import architecture as networks
from rcn_tf.original.arguments import read_arguments
from rcn_tf.original.checkpoint import (
    find_checkpoint,
    listed,
    read_shapes,
    read_values,
    split_names,
)
from rcn_tf.volumes.preparation.network_input import DEFAULT_OPTIONS
from rcn_tf.wording import counted

VOLUME_SHAPE = (128, 128, 128)
"""Default of the original's networks."""


@dataclasses.dataclass(frozen=True)
class ImportedModel:
    """An imported model.

    folder: the model folder; prefix: the checkpoint's; step: of training, or None; network: the
    cascade's config; parameters: number of weights; n_repeats: in training, also for evaluation;
    dataset: path of the dataset config that was found, or None; notes: sentences about what was
    assumed or left out.
    """

    folder: pathlib.Path
    prefix: pathlib.Path
    step: int | None
    network: dict
    parameters: int
    n_repeats: int
    dataset: pathlib.Path | None
    notes: tuple[str, ...]


def import_checkpoint(
    path: str | pathlib.Path,
    out: str | pathlib.Path | None = None,
    *,
    volume_shape: Sequence[int] | None = None,
    data: str | pathlib.Path | None = None,
    force: bool = False,
) -> ImportedModel:
    """Imports a checkpoint; nothing is written unless all of it is sound.

    Args:
        path: as of `rcn_tf.original.checkpoint.find_checkpoint`.
        out: model folder; by default beside the checkpoint's folder, "-rcn" added to its name.
        volume_shape: (D, H, W) of the network's volumes; by default `image_size` of `data`, of
            the dataset config that `args.json` names where it can be read, or `VOLUME_SHAPE`.
        data: dataset config (JSON).
        force: replace the model in `out`.

    Returns: ImportedModel.
    Raises: FileNotFoundError, KeyError, ValueError: naming the file and the fault.
    """
    checkpoint = find_checkpoint(path)
    out = _default_folder(checkpoint) if out is None else pathlib.Path(out)
    _check_free(out, force)
    arguments = read_arguments(checkpoint.folder)
    variables = read_shapes(checkpoint)
    names, ignored = split_names(variables)
    weights = {name: variables[name] for name in names}
    architecture = networks.infer_architecture(
        {name: shape for name, (shape, _) in weights.items()}, checkpoint.prefix
    )
    networks.check_arguments(architecture, arguments, checkpoint.prefix)
    config, notes = _dataset(data, arguments.dataset, checkpoint.folder)
    shape, origin = _volume_shape(volume_shape, config)
    architecture.check_volume(shape, origin)
    base = architecture.base or arguments.base or "vtn"
    model = _network(checkpoint, weights, architecture, base, shape)
    save_model(
        model,
        out,
        preprocessing=_preprocessing(config),
        original={
            "checkpoint": checkpoint.prefix.name,
            "step": checkpoint.step,
            "sha256": checkpoint.checksums(),
            "args": arguments.raw,
        },
    )
    notes = [
        checkpoint.note,
        *arguments.notes,
        *notes,
        f"volume shape: {origin}",
        (out / "saved_model").exists()
        and "saved_model/ is an export of the previous model: export again",
        *(
            f"ignored {counted(len(group), 'variable')} {what} ({listed(group)})"
            for what, group in ignored.items()
        ),
    ]
    return ImportedModel(
        folder=out,
        prefix=checkpoint.prefix,
        step=checkpoint.step,
        network=model.get_config(),
        parameters=model.count_params(),
        n_repeats=arguments.n_repeats,
        dataset=config and config.path,
        notes=tuple(filter(None, notes)),
    )


def _network(checkpoint, weights, architecture, base, shape):
    """The network with the checkpoint's weights. Args: weights: {name: (shape, tf.DType)}."""
    floats = [name for name, (_, dtype) in weights.items() if dtype.is_floating]
    values = read_values(checkpoint, floats)
    model = RecursiveCascade(
        base=base,
        n_cascades=architecture.n_cascades,
        volume_shape=shape,
        channels=architecture.channels,
        affine_channels=architecture.affine_channels,
        init="original",
    )
    wanted = {name: variable.shape for name, variable in model.reference_weights().items()}
    networks.check_weights(wanted, weights, checkpoint.prefix)
    load_reference_weights(model, values)
    return model


def _default_folder(checkpoint):
    folder = checkpoint.folder.resolve()
    return folder.with_name(f"{folder.name}-rcn")


def _check_free(out, force):
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file, not a folder for a model.")
    if (out / "training.json").exists():
        raise ValueError(f"{out} holds a training run: choose another folder.")
    holds_model = any((out / name).exists() for name in ("config.json", "weights.h5"))
    if holds_model and not force:
        raise ValueError(f"{out} already holds a model: choose another folder, or --force.")


def _dataset(named, typed, folder):
    """(DatasetConfig or None, notes): the given one, else the one that `args.json` names.

    The original's path is relative to its working folder, usually two folders above its
    checkpoints, and may be a path on another machine.
    """
    if named is not None:
        return load_dataset_config(named), []
    if not typed:
        return None, []
    folder = folder.resolve()
    candidates = [start / typed for start in (pathlib.Path(), folder, *list(folder.parents)[:2])]
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        return None, [f"the dataset config {typed} of args.json was not found"]
    try:
        return load_dataset_config(path), []
    except (OSError, KeyError, ValueError) as error:
        return None, [f"dataset config not used: {error.args[0]}"]


def _volume_shape(given, config):
    """((D, H, W), its source in words)."""
    if given is not None:
        return tuple(given), "as given"
    if config is not None:
        return config.image_size, f"`image_size` of {config.path}"
    return VOLUME_SHAPE, "the original's default"


def _preprocessing(config):
    """Options of `rcn register`: the original's brain images were skull-stripped."""
    is_brain = config is not None and config.image_type == "brain"
    return {**DEFAULT_OPTIONS, "apply_mask": is_brain}
