"""What a row of a table stands for: a trained network, or a method that needs no training."""

import dataclasses

from eval.models import ModelSpec
from rcn_tf.presets import PRESETS


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network.

    network: preset without its ending "_liver" or "_brain". n_repeats: shared-weight repeats of
    each dense stage. scheme: what it is trained on (`eval.models`). aligned: trained and tested on
    scans that ANTs has aligned.
    """

    network: str
    n_repeats: int = 1
    scheme: str = "1"
    aligned: bool = False

    def spec(self, study):
        """ModelSpec for a study."""
        image_type = "liver" if "liver" in study else "brain"
        preset = f"{self.network}_{image_type}"
        return ModelSpec(preset if preset in PRESETS else self.network, study, self.scheme)

    def capped(self, cascades):
        """The same with at most so many cascades (of presets BASE_N)."""
        base, _, number = self.network.rpartition("_")
        if not number.isdigit() or int(number) <= cascades:
            return self
        return dataclasses.replace(self, network=f"{base}_{cascades}")


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A method of `eval.baselines`; `run` is its module and function, none does nothing.

    version: counts up when the method's results change; older ones are then measured anew.
    """

    name: str
    run: str = ""
    version: int = 1
    aligned: bool = False

    def capped(self, cascades):
        """Itself: it has no cascades."""
        del cascades
        return self


IDENTITY = Baseline("identity")
LINEAR = Baseline("simpleitk_affine", "demons:affine")
DEMONS = Baseline("simpleitk_demons", "demons:demons")
ANTS = Baseline("ants_syn", "ants:syn", version=2)  # 2: with a seed
ELASTIX = Baseline("elastix_bspline", "elastix:bspline")
