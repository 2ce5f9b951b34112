"""Recursive cascade of registration networks (RCN, sections 3.1-3.3).

Stage k sees the fixed image and the moving image as warped so far, and predicts a small
flow; the total flow composes them all. The moving image itself is always warped once, by
the total flow, so that interpolation does not blur it stage by stage.
"""

import importlib
import math
from collections.abc import Mapping
from typing import Any, Callable, Union

import tensorflow as tf

from rcn_tf import fields
from rcn_tf.models.inputs import check_whole
from rcn_tf.models.model import RECOMPUTE, CallOption, RegistrationModel
from rcn_tf.models.output import RegistrationOutput, unregistered
from rcn_tf.models.size_check import tensor_bytes
from rcn_tf.models.weights import original_names
from rcn_tf.networks import BASES, AffineNetwork
from rcn_tf.networks.precision import layers_in, resolved

_FLOAT = 4  # bytes
# Upper bounds for this package's networks: weights per squared channel, maps at full size.
_WEIGHTS_PER_CHANNEL, _MAPS = 600_000, 8


class RecursiveCascade(RegistrationModel):
    """An affine stage followed by `n_cascades` dense stages.

    Args:
        base: "vtn", "voxelmorph", another name in `rcn_tf.networks.BASES`, a factory
            `f(channels=, flow_multiplier=, init=, name=) -> network`, or such a factory's
            import path "package.module:name"; in 2D it is also called with `rank=2`.
        n_cascades: number of dense stages, each with its own weights.
        volume_shape: (D, H, W) or (H, W), at least 32 per axis.
        channels: width of the dense networks (their first convolution).
        affine: False leaves the affine stage out (VTN's networks D, DD, DDD).
        affine_channels: width of the affine network.
        init: "gentle" starts every stage near the identity; "steady" too, and its hidden layers
            keep a signal's size, so that the affine stage and coarse levels learn sooner;
            "original" starts with large random flows, as the paper's code does.
        precision: number format of the convolutions, "float32", "bfloat16", "float16", or "auto"
            for the faster one here (`rcn_tf.networks.precision`); weights, images and flows are
            always float32.

    Raises:
        ValueError: for an unknown base or init, a volume that is too small, or a cascade
            without any stage.
        ImportError: if `RCN_OPS` demands a warp backend that is not available.
    """

    CALL_OPTIONS = {
        "n_repeats": CallOption(
            1, "times that each dense stage is applied, with the same weights", 1, "repeats"
        ),
        "diffeomorphic": CallOption(
            False, "integrate each dense stage's flow as a velocity", flag="diffeomorphic"
        ),
        "recompute": RECOMPUTE,
    }
    TRAINING_DEFAULTS = {"n_cascades": 10}
    REPEATED = "n_cascades"

    def __init__(
        self,
        base: Union[str, Callable] = "vtn",
        n_cascades: int = 1,
        volume_shape: tuple[int, ...] = (128, 128, 128),
        channels: int = 16,
        *,
        affine: bool = True,
        affine_channels: int = 16,
        init: str = "gentle",
        precision: str = "float32",
        name: str = "recursive_cascade",
    ):
        super().__init__(volume_shape, name=name)
        check_whole("n_cascades", n_cascades, 0)
        check_whole("channels", channels, 1)
        check_whole("affine_channels", affine_channels, 1)
        if n_cascades == 0 and not affine:
            raise ValueError(
                f"a cascade needs at least one stage; got n_cascades={n_cascades}, affine={affine}."
            )
        factory = _factory(base)
        self._config = {
            "base": base if isinstance(base, str) else _import_path(base),
            "n_cascades": n_cascades,
            "volume_shape": self.volume_shape,
            "channels": channels,
            "affine": affine,
            "affine_channels": affine_channels,
            "init": init,
            "precision": resolved(precision),
        }
        self.affine = None
        with layers_in(precision):
            if affine:
                self.affine = AffineNetwork(self.volume_shape, channels=affine_channels, init=init)
            arguments = {"channels": channels, "init": init}
            if self.rank == 2:
                arguments["rank"] = 2
            try:
                self.dense = [
                    factory(flow_multiplier=1 / n_cascades, name=f"deform_stem_{k}", **arguments)
                    for k in range(n_cascades)
                ]
            except TypeError as error:
                raise ValueError(f"`base` {base!r} cannot make networks: {error}.") from error
            blank = tf.zeros((1, *self.volume_shape, 1))
            for network in self.networks:  # creates the weights
                network(blank, blank)
        self.built = True

    @property
    def networks(self) -> list:
        """The stages' networks in order of application."""
        return ([self.affine] if self.affine is not None else []) + self.dense

    def __call__(  # type: ignore[override]  # its options by name and by place
        self,
        fixed: tf.Tensor,
        moving: tf.Tensor,
        n_repeats: int = 1,
        training: bool = False,
        recompute: bool = False,
        diffeomorphic: bool = False,
        **unknown: Any,
    ) -> RegistrationOutput:
        """Registers `moving` to `fixed`.

        Args:
            fixed, moving: [B, *volume_shape, 1] float32 in [0, 1].
            n_repeats: times that each dense stage is applied in place with the same
                weights (shared-weight cascading, RCN section 3.3).
            training: passed on to layers that behave differently in training; the papers'
                networks have no such layers.
            recompute: compute activations again in the backward pass instead of keeping them
                (gradient checkpointing). This saves memory, costs one more forward pass and is
                wrong for networks with random layers.
            diffeomorphic: treat each dense stage's prediction as a stationary velocity field and
                integrate it (scaling and squaring, `rcn_tf.fields.integrate`), so that the stages'
                flows, and hence their composition, hardly fold.

        Returns: RegistrationOutput with the stages "affine" (if the model has it), "dense_1",
            "dense_2", ...; with repeats "dense_1/repeat_1", "dense_1/repeat_2", ...

        Raises: ValueError, TypeError: as `RegistrationModel`.
        """
        return super().__call__(
            fixed,
            moving,
            training=training,
            n_repeats=n_repeats,
            recompute=recompute,
            diffeomorphic=diffeomorphic,
            **unknown,  # the base class refuses them by name
        )

    def register(  # type: ignore[override]  # its options by name
        self,
        fixed: tf.Tensor,
        moving: tf.Tensor,
        n_repeats: int,
        diffeomorphic: bool,
        recompute: bool,
    ) -> RegistrationOutput:
        """The cascade, once the inputs are checked."""
        out = unregistered(moving)
        if self.affine is not None:
            out = out.then_affine(*_apply(self.affine, fixed, moving, recompute), name="affine")
        for number, network in enumerate(self.dense, start=1):
            for repeat in range(1, n_repeats + 1):
                flow = _apply(network, fixed, out.warped, recompute)
                flow = fields.integrate(flow) if diffeomorphic else flow
                suffix = f"/repeat_{repeat}" if n_repeats > 1 else ""
                out = out.then(flow, name=f"dense_{number}{suffix}")
        return out

    @property
    def parts(self) -> dict[str, tuple[tf.Variable, ...]]:
        """ "affine", if the model has it, and "dense_1", "dense_2", ..."""
        parts = {} if self.affine is None else {"affine": tuple(self.affine.variables)}
        for number, network in enumerate(self.dense, start=1):
            parts[f"dense_{number}"] = tuple(network.variables)
        return parts

    def named_weights(self) -> dict[str, tf.Variable]:
        """All weights under the names of the original's TensorFlow 1 graph (`models.weights`)."""
        return original_names(self.networks)

    def reference_weights(self) -> dict[str, tf.Variable]:
        """The same as `named_weights`."""
        return self.named_weights()

    @classmethod
    def rough_bytes(cls, network: Mapping[str, Any]) -> int:
        """Upper bound of a cascade's memory, by the sizes of this package's networks."""
        shape = network.get("volume_shape", (128, 128, 128))
        channels, cascades = network.get("channels", 16), network.get("n_cascades", 1)
        squares = cascades * channels**2 + network.get("affine_channels", 16) ** 2
        maps = _MAPS * (1 + cascades) + channels
        return _FLOAT * (_WEIGHTS_PER_CHANNEL * squares + maps * math.prod(shape))

    @classmethod
    def traced_bytes(cls, network: Mapping[str, Any]) -> int:
        """As `RegistrationModel`, but one cascade is traced and multiplied by their number."""
        cascades = network.get("n_cascades", 1)
        with tf.Graph().as_default() as graph:
            model = cls(**{**network, "n_cascades": min(1, cascades)})
            sizes = [tensor_bytes(tensor) for op in graph.get_operations() for tensor in op.outputs]
        affine = [] if model.affine is None else model.affine.weights
        weights = sum(map(tensor_bytes, affine)) + sum(
            cascades * tensor_bytes(weight) for stage in model.dense for weight in stage.weights
        )
        flows = _FLOAT * math.prod(model.volume_shape) * 7 * (cascades + len(affine[:1]))
        return weights + flows + 2 * max(sizes)

    def get_config(self) -> dict[str, Any]:
        """Arguments that make the same network again, JSON-serialisable.

        `base` is None for a factory that cannot be imported by name, such as a lambda.
        """
        return dict(self._config)


def _apply(network, fixed, moving, recompute):
    """The network's prediction, converted to float32."""
    predicted = (tf.recompute_grad(network) if recompute else network)(fixed, moving)
    return tf.nest.map_structure(lambda tensor: tf.cast(tensor, tf.float32), predicted)


def _factory(base):
    if callable(base):
        return base
    if not isinstance(base, str) or (base not in BASES and ":" not in base):
        raise ValueError(
            f"`base` must be one of {tuple(BASES)}, a factory or 'package.module:factory'; "
            f"got {base!r}."
        )
    return BASES[base] if base in BASES else _imported(base)


def _imported(path):
    module, _, name = path.partition(":")
    try:
        factory = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"`base` {path!r} cannot be imported: {error}.") from error
    if not callable(factory):
        raise ValueError(f"`base` {path!r} is not a factory of networks.")
    return factory


def _import_path(factory):
    """ "package.module:name" of a factory, or None if it cannot be imported by that name."""
    path = f"{getattr(factory, '__module__', '')}:{getattr(factory, '__qualname__', '')}"
    try:
        return path if _imported(path) is factory else None
    except ValueError:
        return None
