"""What a row of a table stands for: a trained network, a method without training, or none."""

from __future__ import annotations

import dataclasses
import functools
from typing import Union

from eval.models import ModelSpec
from rcn_tf.presets import PRESETS, Preset


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network.

    network: `Preset.network`, the same for liver and brain. n_repeats: shared-weight repeats of
    each dense stage. scheme: training data (`eval.models`). aligned: whether it is trained and
    tested on scans that ANTs has aligned. images: of the tasks that have the row; () for all.
    variant, settings: name of a change of the preset's training, and the change ("key=value").
    options: further call options, (name, value) each.
    """

    network: str
    n_repeats: int = 1
    scheme: str = "1"
    aligned: bool = False
    images: tuple = ()
    variant: str = ""
    settings: tuple = ()
    options: tuple = ()

    @property
    def call_options(self) -> dict[str, int]:
        """{name: value} of the model's call options that are not its defaults."""
        repeats = {"n_repeats": self.n_repeats} if self.n_repeats != 1 else {}
        return {**repeats, **dict(self.options)}

    @property
    def options_name(self) -> str:
        """What the call options add to the name of the method's results; "" without any."""
        parts = ["r" if name == "n_repeats" else f"{name}=" for name in self.call_options]
        return "".join(f"-{part}{value}" for part, value in zip(parts, self.call_options.values()))

    def fits(self, task) -> bool:
        """Whether a task (`eval.tables.Task`) has the row."""
        return not self.images or task.images in self.images

    def preset(self, images: str) -> Preset:
        """The preset for images, such as "liver". Raises: KeyError: there is none."""
        found = _presets().get((self.network, images))
        if found is None:
            raise KeyError(f"no preset trains the network {self.network!r} on {images!r}.")
        return found

    def spec(self, task) -> ModelSpec:
        """The model for the pairs of a task (`eval.tables.Task`)."""
        preset = self.preset(task.images).name
        return ModelSpec(preset, task.study, self.scheme, self.variant, self.settings)

    @property
    def series(self) -> str:
        """`Preset.series` of the network."""
        return self._any_preset().series

    @property
    def n_cascades(self) -> int | None:
        """`Preset.n_cascades` of the network."""
        return self._any_preset().n_cascades

    def capped(self, cascades: int) -> Trained:
        """The same with at most `cascades` cascades, if the network belongs to a series."""
        if self.n_cascades is None or not self.series or self.n_cascades <= cascades:
            return self
        networks = {p.n_cascades: p.network for p in PRESETS.values() if p.series == self.series}
        return dataclasses.replace(self, network=networks[cascades])

    def _any_preset(self):
        found = [preset for preset in PRESETS.values() if preset.network == self.network]
        if not found:
            raise KeyError(f"no preset trains the network {self.network!r}.")
        return found[0]


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A method of `eval.baselines`. run: "module:function"; without it nothing is done.

    version: is increased when the method's results change, so that they are measured anew.
    images: of the tasks that have the row; () for all.
    """

    name: str
    run: str = ""
    version: int = 1
    aligned: bool = False
    images: tuple = ()

    def fits(self, task) -> bool:
        """Whether a task (`eval.tables.Task`) has the row."""
        return not self.images or task.images in self.images

    def capped(self, cascades: int) -> Baseline:
        """Returns itself, as it has no cascades."""
        del cascades
        return self


@dataclasses.dataclass(frozen=True)
class Unavailable:
    """A row of the paper that nothing here can make. reason: one sentence."""

    reason: str
    aligned: bool = False

    def fits(self, task) -> bool:
        """True: the row is in the table, empty."""
        del task
        return True

    def capped(self, cascades: int) -> Unavailable:
        """Returns itself."""
        del cascades
        return self


Method = Union[Trained, Baseline, Unavailable]


@functools.cache
def _presets():
    return {(preset.network, preset.images): preset for preset in PRESETS.values()}


IDENTITY = Baseline("identity")
LINEAR = Baseline("simpleitk_affine", "demons:affine")
DEMONS = Baseline("simpleitk_demons", "demons:demons")
ANTS = Baseline("ants_syn", "ants:syn", version=2)  # 2: with a seed
ELASTIX = Baseline("elastix_bspline", "elastix:bspline")
CONVEXADAM = Baseline("convexadam", "convexadam:convexadam")
FFD = Baseline("simpleitk_ffd", "bspline:ffd")

CLASSICAL_EXTRAS = {
    "identity": IDENTITY,
    "SimpleITK affine": LINEAR,
    "SimpleITK demons": DEMONS,
}
"""Rows that the papers do not have."""
