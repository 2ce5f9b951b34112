"""One row per registration model: how to make a small one, and its expected properties."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Optional

from rcn_tf.models.avsm import AVSM
from rcn_tf.models.cascade import RecursiveCascade
from rcn_tf.models.rwcnet import RWCNet
from rcn_tf.models.vr_net import VRNet
from tests.contract.small_models import PlanarShift, ThreeAffineSteps


@dataclasses.dataclass(frozen=True)
class Descriptor:
    """A model and its expected properties.

    Attributes:
        cls: RegistrationModel.
        arguments: of a small model whose `volume_shape` is not a cube.
        parameters: exact number of its weights.
        stages: (name, kind) of its stages.
        options: call options other than the defaults, and the stages that they give.
        planar: arguments for planes, if the model takes both volumes and planes.
        loss: objective that has a gradient for all weights.
        brief: arguments that make the model of its longest tests smaller.
        heavy: "slow" or "nightly", the mark of its longest tests if tracing takes seconds, or "".
    """

    cls: type
    arguments: Mapping[str, Any]
    parameters: int
    stages: tuple
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    option_stages: tuple = ()
    planar: Optional[Mapping[str, Any]] = None
    loss: Optional[Mapping] = None
    brief: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    heavy: str = ""

    @property
    def name(self):
        shape = "x".join(map(str, self.arguments["volume_shape"]))
        return f"{self.cls.__name__}-{self.arguments.get('base', '')}{shape}"


SMALL = {"channels": 1, "affine_channels": 1}
CASCADE_STAGES = (("affine", "affine"), ("dense_1", "dense"), ("dense_2", "dense"))
REPEATED = (
    ("affine", "affine"),
    ("dense_1/repeat_1", "dense"),
    ("dense_1/repeat_2", "dense"),
    ("dense_2/repeat_1", "dense"),
    ("dense_2/repeat_2", "dense"),
)

VR_NET_STAGES = (("initial", "dense"), ("warp_1/iteration_1", "dense"))
VR_NET_LOSS = {"final": {"mae": 1.0, "central_gradient": 0.1}}
WHOLE = ({"resolution": 0.5, "patch": 0.5, "iterations": 2, "radius": 1},)
PATCHES = ({"resolution": 0.5, "patch": 0.25, "iterations": 2, "radius": 1},)

DESCRIPTORS = (
    Descriptor(
        RecursiveCascade,
        {"base": "voxelmorph", "n_cascades": 2, "volume_shape": (32, 34, 36), **SMALL},
        parameters=58_439,
        stages=CASCADE_STAGES,
        options={"n_repeats": 2, "diffeomorphic": True},
        option_stages=REPEATED,
        planar={"base": "voxelmorph", "n_cascades": 2, "volume_shape": (33, 40), **SMALL},
        brief={"n_cascades": 1},
        heavy="slow",
    ),
    Descriptor(
        RecursiveCascade,
        {"base": "vtn", "n_cascades": 2, "volume_shape": (34, 32, 36), **SMALL},
        parameters=305_691,
        stages=CASCADE_STAGES,
        options={"n_repeats": 2},
        option_stages=REPEATED,
        planar={"base": "vtn", "n_cascades": 2, "volume_shape": (40, 35), **SMALL},
        heavy="nightly",
    ),
    Descriptor(
        VRNet,
        {
            "volume_shape": (40, 35),
            "n_warps": 1,
            "data_term": "l1",
            "initial": "noise",
            "channels": 3,
        },
        parameters=53_793 + 1,
        stages=VR_NET_STAGES,
        loss=VR_NET_LOSS,
        heavy="slow",
    ),
    Descriptor(
        VRNet,
        {"volume_shape": (33, 32, 36), "n_warps": 1, "channels": 2},
        parameters=71_256 + 71_310 + 1,
        stages=VR_NET_STAGES,
        loss=VR_NET_LOSS,
        heavy="slow",
    ),
    Descriptor(
        AVSM,
        {"volume_shape": (32, 34, 36), "channels": 2, "n_affine_steps": 2, "n_velocity_steps": 1},
        parameters=96_143,
        stages=(("affine_1", "affine"), ("affine_2", "affine"), ("velocity_1", "velocity")),
        options={"n_affine_steps": 1, "n_velocity_steps": 2, "time_steps": 12},
        option_stages=(
            ("affine_1", "affine"),
            ("velocity_1", "velocity"),
            ("velocity_2", "velocity"),
        ),
        planar={
            "volume_shape": (33, 40),
            "channels": 4,
            "n_affine_steps": 2,
            "n_velocity_steps": 1,
        },
        loss={
            "affine": {"deviation": {"weight": 0.01, "total": True}},
            "velocity": {"momentum_energy": 1.0, "similarity": 1.0},
        },
        heavy="nightly",
    ),
    Descriptor(
        RWCNet,
        {"volume_shape": (32, 36, 40), "stages": WHOLE, "features": 4, "hidden": 8},
        parameters=2_421_988,
        stages=(("stage_1", "dense"),),
        options={"n_stages": 1},
        option_stages=(("stage_1", "dense"),),
        planar={
            "volume_shape": (33, 40),
            "stages": PATCHES,
            "features": 4,
            "hidden": 8,
            "correlation": False,
        },
        loss={"final": {"mse": 10.0, "absolute_gradient": 0.1}},
        heavy="nightly",
    ),
    Descriptor(
        PlanarShift,
        {"volume_shape": (16, 20), "channels": 2},
        parameters=(9 * 2 * 2 + 2) + (9 * 2 * 2 + 2) + 4,
        stages=(("first", "dense"), ("second_1", "shift")),
        options={"times": 3},
        option_stages=(
            ("first", "dense"),
            ("second_1", "shift"),
            ("second_2", "shift"),
            ("second_3", "shift"),
        ),
        loss={"final": {"mse": 1.0}},
    ),
    Descriptor(
        ThreeAffineSteps,
        {"volume_shape": (16, 20, 18)},
        parameters=(27 * 2 * 3 + 3) + 3 * 9 + 3 * 3,
        stages=(
            ("affine", "affine"),
            ("affine_2", "affine"),
            ("affine_3", "affine"),
            ("update", "dense"),
        ),
        planar={"volume_shape": (16, 20)},
        loss={"final": {"mse": 1.0}, "affine": {"deviation": 0.01}},
        heavy="slow",
    ),
)
