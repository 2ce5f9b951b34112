"""A preset: a training config with its paper, command, time and expected values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from rcn_tf.presets.papers import load_tables

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclasses.dataclass(frozen=True)
class Preset:
    """A training config by name.

    Attributes:
        name: as given to `rcn train`.
        description: what is trained, on what.
        values: the training config, as in a file.
        command: the command line that trains it.
        time: measured duration and machine; "" if it was not measured.
        paper: its table, such as "RCN, Table 2"; "" for a preset of this project.
        scores: {measure: mean that the table prints}, the values to expect; Dice and IoU in 0..1,
            landmark distances in the papers' units.
        network: name of the network without the images; the same for liver and brain.
        images: "liver", "brain", "lung", "knee_longitudinal", "knee_cross" or of a heart, the
            images of the scores; "" if they are none of these.
        series: common name of the networks that differ only in their number of cascades, such as
            "VTN"; "" for a network outside such a series.
        begins: name of the preset whose trained weights the training begins with; "" for none.
    """

    name: str
    description: str
    values: Mapping[str, Any]
    command: str
    time: str = ""
    paper: str = ""
    scores: Mapping[str, float] = dataclasses.field(default_factory=lambda: _NOTHING)
    network: str = ""
    images: str = ""
    series: str = ""
    begins: str = ""

    @property
    def n_cascades(self) -> int | None:
        """Number of cascades of the network; None if the model has no such argument."""
        return self.values.get("network", {}).get("n_cascades")


def from_paper(
    name: str,
    what: str,
    values: Mapping[str, Any],
    *,
    table: str,
    row: str,
    columns: Iterable[str],
    data: str,
    flows: bool = False,
    **attributes: str,
) -> Preset:
    """A preset whose expected values are a row of a paper's table.

    Args:
        name: of the preset.
        what: description of the network and the images.
        values: the training config without its description.
        table, row: where the scores stand in `papers.yaml`.
        columns: names of the preset's columns in the table; empty cells are left out.
        data: name of the dataset config in `configs/`.
        flows: whether the training needs reference flows.
        attributes: `network`, `images`, `series`, `begins` and `time` of the Preset.

    Raises: KeyError: `papers.yaml` has no such table or row.
    """
    printed = load_tables()[table].rows[row]
    paper = load_tables()[table].source
    described = {"description": f"{name}: {what} ({paper})", **values}
    command = f"rcn train {name} --data configs/{data}.json --out runs/{name}"
    if attributes.get("begins"):
        command += f" --set data.initial_model=runs/{attributes['begins']}"
    return Preset(
        name,
        what,
        MappingProxyType(described),
        command + (" --set data.reference_flows=flows.h5" if flows else ""),
        paper=paper,
        scores=MappingProxyType({c: printed[c].mean for c in columns if c in printed}),
        **attributes,
    )


def by_name(presets: Iterable[Preset]) -> dict[str, Preset]:
    """{name: Preset}, in the given order."""
    return {preset.name: preset for preset in presets}
