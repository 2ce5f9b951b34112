"""Which trained models the tables need, where they are stored, and training of missing ones.

    MODELS/<study>/<preset>            trained on the study's scheme "1"
    MODELS/<study>/<preset>-<scheme>   trained on another scheme (part of the data)
    MODELS/<study>/<preset>+<variant>  trained with other settings than the preset's

A study is a dataset config, see `eval.tables`. Any model folder can be put there, also one that
was trained elsewhere.
"""

from __future__ import annotations

import dataclasses
import pathlib
import subprocess
import sys
from collections.abc import Iterable

from rcn_tf.files.json_files import read_json
from rcn_tf.presets import PRESETS


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """A model of a table's row.

    preset: of `rcn train`. study, scheme: the training data. variant, settings: name of a change of
    the preset's training, and the change.
    """

    preset: str
    study: str
    scheme: str = "1"
    variant: str = ""
    settings: tuple = ()

    @property
    def name(self) -> str:
        """ "study/preset" or "study/preset-scheme", also the folder below MODELS."""
        return f"{self.study}/{self.folder_name}"

    @property
    def folder_name(self) -> str:
        """The folder below the study's."""
        changed = f"{self.preset}+{self.variant}" if self.variant else self.preset
        return changed if self.scheme == "1" else f"{changed}-{self.scheme}"

    @property
    def supervised(self) -> bool:
        """Whether training needs reference flows."""
        loss = PRESETS[self.preset].values.get("loss", {})
        return bool(loss.get("final", {}).get("endpoint_error"))


def state(folder: str | pathlib.Path) -> str:
    """ "missing", "unfinished" or "trained".

    Raises: ValueError: the folder's `config.json` is damaged.
    """
    folder = pathlib.Path(folder)
    if not all((folder / name).exists() for name in ("config.json", "weights.h5")):
        return "unfinished" if (folder / "training.json").exists() else "missing"
    training = read_json(folder / "config.json").get("training")
    if not isinstance(training, dict):  # not made by `rcn train`
        return "trained"
    wanted = training.get("config", {}).get("steps", 0)
    return "trained" if training.get("steps", 0) >= wanted else "unfinished"


def train(
    spec: ModelSpec,
    models: pathlib.Path,
    data: pathlib.Path,
    settings: Iterable[str] = (),
    flows: pathlib.Path | None = None,
) -> int:
    """Trains a model, or resumes its training, in a process of its own, which frees its memory.

    Args:
        spec: ModelSpec. models, data: folders of models and dataset configs.
        settings: "key=value" as for `rcn train --set`; they hold over those of `spec`.
        flows: HDF5 file of reference flows for supervised presets.
    Returns: exit code of `rcn train`: 0, or 130 if it was stopped and saved.
    """
    folder = models / spec.name
    if (folder / "checkpoints" / "checkpoint").exists():
        arguments = ["--resume"]
    else:
        folder.parent.mkdir(parents=True, exist_ok=True)
        chosen = [f"data.scheme={spec.scheme}", *spec.settings, *settings]
        if flows is not None:
            chosen.append(f"data.reference_flows={flows}")
        arguments = [spec.preset, "--data", str(data / f"{spec.study}.json")]
        last = {setting.partition("=")[0]: setting for setting in chosen}
        arguments += [word for setting in last.values() for word in ("--set", setting)]
    command = [sys.executable, "-m", "rcn_tf.commands.main", "train", "--out", str(folder)]
    with subprocess.Popen([*command, *arguments]) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the process gets the signal too, and saves
            process.wait()
            raise
