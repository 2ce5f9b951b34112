"""Recursive cascade of registration networks (RCN, sections 3.1-3.3).

Stage k sees the fixed image and the moving image as warped so far, and predicts a small
flow; the total flow composes them all. The moving image itself is always warped once, by
the total flow, so that interpolation does not blur it stage by stage.
"""

import importlib

import tensorflow as tf

from custom_ops import compose, resolve_backend, warp
from rcn_tf import fields
from rcn_tf.choices import MIN_SIZE
from rcn_tf.keras_api import keras
from rcn_tf.models.inputs import check_whole, checked_pair, checked_volume_shape
from rcn_tf.models.output import RegistrationOutput, StageOutput
from rcn_tf.networks import BASES, AffineNetwork
from rcn_tf.networks.precision import layers_in

_INSTEAD = (
    "Keras' fit, evaluate and predict are not for registration models: call model(fixed, moving), "
    "train with `rcn train` (rcn_tf.training.loop.train), evaluate with `rcn evaluate`."
)


class RecursiveCascade(keras.Model):
    """An affine stage followed by `n_cascades` dense stages.

    Args:
        base: "vtn", "voxelmorph", another name in `rcn_tf.networks.BASES`, a factory
            `f(channels=, flow_multiplier=, init=, name=) -> network`, or such a factory's
            import path "package.module:name".
        n_cascades: number of dense stages, each with its own weights.
        volume_shape: (D, H, W), at least 32 per axis.
        channels: width of the dense networks (their first convolution).
        affine: False leaves the affine stage out (VTN's networks D, DD, DDD).
        affine_channels: width of the affine network.
        init: "gentle" starts every stage near the identity, "original" as the paper's
            code does, with large random flows.
        precision: of the convolutions, "float32", "bfloat16" or "float16"
            (`rcn_tf.networks.precision`); weights, images and flows are float32 in any case.

    Raises:
        ValueError: for an unknown base or init, a volume that is too small, or a cascade
            without any stage.
        ImportError: if `RCN_OPS` demands a warp backend that is not available.
    """

    def __init__(
        self,
        base="vtn",
        n_cascades=1,
        volume_shape=(128, 128, 128),
        channels=16,
        *,
        affine=True,
        affine_channels=16,
        init="gentle",
        precision="float32",
        name="recursive_cascade",
    ):
        super().__init__(name=name, dtype="float32")  # whatever Keras' global policy is
        resolve_backend()  # fails here rather than deep inside a training step
        self.volume_shape = checked_volume_shape(volume_shape, MIN_SIZE)
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
            "precision": precision,
        }
        self.affine = None
        with layers_in(precision):
            if affine:
                self.affine = AffineNetwork(self.volume_shape, channels=affine_channels, init=init)
            arguments = {"channels": channels, "init": init}
            try:
                self.dense = [
                    factory(flow_multiplier=1 / n_cascades, name=f"deform_stem_{k}", **arguments)
                    for k in range(n_cascades)
                ]
            except TypeError as error:
                raise ValueError(f"`base` {base!r} makes no networks: {error}.") from error
            blank = tf.zeros((1, *self.volume_shape, 1))
            for network in self.networks:  # creates the weights
                network(blank, blank)
        self.built = True

    @property
    def networks(self):
        """The stages' networks in order, the affine one first where there is one."""
        return ([self.affine] if self.affine is not None else []) + self.dense

    def __call__(
        self,
        fixed,
        moving,
        n_repeats=1,
        training=False,
        recompute=False,
        diffeomorphic=False,
    ):
        """Registers `moving` to `fixed`.

        Args:
            fixed, moving: [B, D, H, W, 1] float32 in [0, 1], of the model's volume shape.
            n_repeats: times that each dense stage is applied in place with the same
                weights (shared-weight cascading, RCN section 3.3).
            training: passed on to layers that behave differently in training; the
                papers' networks have none.
            recompute: keep no stage's activations for the backward pass, which computes
                them again: less memory, one more forward pass through the networks (gradient
                checkpointing; the networks must not be random).
            diffeomorphic: take each dense stage's prediction for a stationary velocity field
                and integrate it (scaling and squaring, `rcn_tf.fields.integrate`): the stages'
                flows, and so their composition, then hardly fold.

        Returns: RegistrationOutput; stages[0] is the affine one where there is one, and
            each repeat is a stage of its own.

        Raises: ValueError, TypeError: as `rcn_tf.models.inputs.checked_pair`; n_repeats below 1.
        """
        fixed, moving = checked_pair(fixed, moving, self.volume_shape)
        check_whole("n_repeats", n_repeats, 1)
        return super().__call__(
            fixed,
            moving,
            n_repeats=n_repeats,
            training=training,
            recompute=recompute,
            diffeomorphic=diffeomorphic,
        )

    def call(self, fixed, moving, n_repeats, training, recompute=False, diffeomorphic=False):
        """What `__call__` runs once the inputs are checked."""
        del training  # reaches the layers through Keras' call context
        stages = []
        if self.affine is not None:
            stages.append(self._affine_stage(fixed, moving, recompute))
        for network in self.dense:
            for _ in range(n_repeats):
                current = stages[-1].warped if stages else moving
                flow = _apply(network, fixed, current, recompute)
                flow = fields.integrate(flow) if diffeomorphic else flow
                stages.append(dense_stage(stages, flow, moving))
        return RegistrationOutput(stages[-1].total_flow, stages[-1].warped, tuple(stages))

    def get_config(self):
        """Arguments that make the same network again; JSON-serialisable.

        `base` is None for a factory that cannot be imported by name (a lambda, say).
        """
        return dict(self._config)

    def _affine_stage(self, fixed, moving, recompute):
        matrix, offset = _apply(self.affine, fixed, moving, recompute)
        flow = fields.affine_flow(matrix, offset, self.volume_shape)
        return StageOutput(flow, flow, warp(moving, flow), matrix, offset)

    def fit(self, *args, **kwargs):
        """Not offered: Keras' loop hands a model one input and knows no losses of its stages."""
        raise NotImplementedError(_INSTEAD)

    evaluate = predict = train_on_batch = test_on_batch = predict_on_batch = fit

    def save(self, *args, **kwargs):
        """Not offered: a file of Keras would not load again without the class's arguments."""
        raise NotImplementedError(
            "use rcn_tf.models.folder.save_model(model, folder), or `rcn export` for a SavedModel."
        )


def dense_stage(stages, flow, moving):
    """The stage that a further flow makes after the given ones.

    Args:
        stages: list of StageOutput, may be empty.
        flow: [B, D, H, W, 3] float32, voxels.
        moving: [B, D, H, W, 1] float32.
    Returns: StageOutput; its total flow composes all flows, the moving image is warped by it once.
    """
    total = _total_flow(stages, flow)
    return StageOutput(flow, total, warp(moving, total))


def _apply(network, fixed, moving, recompute):
    """What a network predicts, in float32 whatever it computes in."""
    predicted = (tf.recompute_grad(network) if recompute else network)(fixed, moving)
    return tf.nest.map_structure(lambda tensor: tf.cast(tensor, tf.float32), predicted)


def _total_flow(stages, flow):
    """Composition with what came before; exact, without sampling, after an affine stage."""
    if not stages:
        return flow
    previous = stages[-1]
    if previous.matrix is not None:
        linear = previous.matrix + tf.eye(3)
        return tf.einsum("bij,bdhwj->bdhwi", linear, flow) + previous.flow
    return compose(previous.total_flow, flow)


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
    """ "package.module:name" of a factory, or None where that does not lead back to it."""
    path = f"{getattr(factory, '__module__', '')}:{getattr(factory, '__qualname__', '')}"
    try:
        return path if _imported(path) is factory else None
    except ValueError:
        return None
