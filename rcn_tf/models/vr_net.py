"""VR-Net, the variational registration network (Jia et al., IEEE Trans. Med. Imaging, 2021).

The variational problem

    min over u of  (1/s) sum |moving(x + u) - fixed(x)|^s + lambda R(u)

is split in two (section III): a data step in closed form at every voxel, and a denoiser, for which
a U-Net stands. The network unrolls `n_warps` outer loops, each of which warps the moving image by
the flow so far, u_w, and linearises it there, and in each of them `n_iterations` cascades

    v = denoiser(u)             U-Net(u), or u + U-Net(u)
    u = data step(v; u_w)       with its own theta

after a first flow from a further U-Net of both images. This is the order of the authors' code; the
paper's algorithm has the denoiser last. Every u is the total flow: nothing is composed.

Unless `original` is set, theta is positive as theta = exp(a) of a trained number a; the paper does
not say how it keeps theta positive, and in the authors' code it is a plain number.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, Optional

import tensorflow as tf

from rcn_tf.models.inputs import check_choice, check_whole
from rcn_tf.models.model import RECOMPUTE, RegistrationModel
from rcn_tf.models.output import RegistrationOutput, unregistered
from rcn_tf.models.size_check import tensor_bytes
from rcn_tf.networks.light_unet import LightUNet
from rcn_tf.networks.precision import layers_in, resolved
from rcn_tf.networks.ronneberger import RonnebergerUNet
from rcn_tf.networks.variational import DATA_STEPS, SAMPLINGS, linearise, warping
from rcn_tf.networks.variational_cascade import VariationalCascade

UNETS = ("light", "ronneberger")
INITIALS = ("unet", "zeros", "noise")
RONNEBERGER_UNIT = 8
"""Channels of Ronneberger's first level per unit of `channels`: 8 units are its 64 channels."""

INITIAL_THETA = {"l1": 0.1, "l2": 0.01}
"""By data term, for images in [0, 1]; found on synthetic hearts (docs/vr_net.md)."""
ORIGINAL_THETA = 1.0
ORIGINAL_MULTIPLE = 16
"""The authors' U-Net takes sizes that are multiples of it."""

_FLOAT = 4  # bytes
# Upper bounds: weights of a light and of Ronneberger's U-Net per squared channel, maps per cascade.
_WEIGHTS_PER_CHANNEL, _MAPS = {"light": 20_000, "ronneberger": 500_000}, 12
_NOISE_SEED = (17, 8)


class VRNet(RegistrationModel):
    """A first flow, then `n_warps` x `n_iterations` cascades of a denoiser and a data step.

    Args:
        volume_shape: (D, H, W) or (H, W), at least 32 per axis.
        n_warps: outer loops, each of which warps and linearises the moving image anew.
        n_iterations: cascades of each outer loop; every cascade has its own weights and theta.
        data_term: "l1" or "l2", of the data step.
        residual: True for the denoiser u + U-Net(u) (the paper's R-), False for U-Net(u) (U-).
        channels: width of the U-Nets, whose first level has so many channels ("light"), or 8 times
            as many ("ronneberger"). The default is the published width of the latter; that of the
            former is not published, and 8 is the default of the network from which it was taken.
        initial: the first flow: "unet" predicts it from both images; "zeros"; or "noise", a fixed
            draw of normal displacements with a standard deviation of one voxel, which is the same
            in every call.
        sampling: of the warping layer (`rcn_tf.networks.variational.sampled_flow`). The output is
            warped exactly, as in every model.
        original: True for the authors' network: theta is unconstrained and starts at 1, sizes are
            multiples of 16, and planes have Ronneberger's U-Net.
        unet: "light", the U-Net of the authors' 3D code in any rank, or for planes "ronneberger";
            by default "ronneberger" for planes with `original`, else "light".
        initial_theta: at the start of the training, positive; by default 1 with `original`, else
            0.01 for "l2" and 0.1 for "l1". Data steps of "l2" move voxels where the squared
            gradient of the image, about 1e-3 for images in [0, 1], is not small against theta;
            those of "l1" by at most the gradient over theta.
        precision: number format of the convolutions, "float32", "bfloat16", "float16" or "auto"
            (`rcn_tf.networks.precision`).

    Raises:
        ValueError: a choice is unknown, a number out of range, or the sizes do not fit.
        ImportError: if `RCN_OPS` demands a warp backend that is not available.
    """

    CALL_OPTIONS = {"recompute": RECOMPUTE}
    REPEATED = "n_warps"

    def __init__(
        self,
        volume_shape: tuple[int, ...],
        *,
        n_warps: int = 2,
        n_iterations: int = 1,
        data_term: Literal["l1", "l2"] = "l2",
        residual: bool = True,
        channels: int = 8,
        initial: Literal["unet", "zeros", "noise"] = "unet",
        sampling: Literal["exact", "align_corners_false", "align_corners_true"] = "exact",
        original: bool = False,
        unet: Optional[Literal["light", "ronneberger"]] = None,
        initial_theta: Optional[float] = None,
        precision: str = "float32",
        name: str = "vr_net",
    ):
        super().__init__(volume_shape, name=name)
        for key, value in (
            ("n_warps", n_warps),
            ("n_iterations", n_iterations),
            ("channels", channels),
        ):
            check_whole(key, value, 1)
        check_choice("data_term", data_term, tuple(DATA_STEPS))
        check_choice("initial", initial, INITIALS)
        check_choice("sampling", sampling, SAMPLINGS)
        if unet is None:
            unet = "ronneberger" if original and self.rank == 2 else "light"
        check_choice("unet", unet, UNETS)
        if initial_theta is None:
            initial_theta = ORIGINAL_THETA if original else INITIAL_THETA[data_term]
        if not 0 < initial_theta < math.inf:
            raise ValueError(f"`initial_theta` must be a positive number; got {initial_theta!r}.")
        if unet == "ronneberger" and self.rank != 2:
            raise ValueError("`unet` 'ronneberger' is for planes (H, W); volumes take 'light'.")
        if original and any(size % ORIGINAL_MULTIPLE for size in self.volume_shape):
            raise ValueError(
                f"with `original` the sizes of `volume_shape` must be multiples of "
                f"{ORIGINAL_MULTIPLE}; got {self.volume_shape}. Without it any size is taken."
            )
        self._config: dict[str, Any] = {
            "volume_shape": self.volume_shape,
            "n_warps": n_warps,
            "n_iterations": n_iterations,
            "data_term": data_term,
            "residual": residual,
            "channels": channels,
            "initial": initial,
            "sampling": sampling,
            "original": original,
            "unet": unet,
            "initial_theta": float(initial_theta),
            "precision": resolved(precision),
        }
        with layers_in(precision):
            self.initial = None
            if initial == "unet":
                self.initial = self._unet(2, "initial")
            self.cascades = [
                VariationalCascade(
                    self._unet(self.rank, f"denoiser_{k}"),
                    data_term=data_term,
                    residual=residual,
                    initial_theta=initial_theta,
                    positive=not original,
                    name=f"cascade_{k}",
                )
                for k in range(n_warps * n_iterations)
            ]
            self._build()

    def register(  # type: ignore[override]  # its options by name
        self, fixed: tf.Tensor, moving: tf.Tensor, recompute: bool
    ) -> RegistrationOutput:
        """The unrolled minimisation, once the inputs are checked.

        Returns: RegistrationOutput with the stages "initial", "warp_1/iteration_1", ..., all of
            kind "dense", whose flows are total flows. Those of the cascades have the denoised flow
            v as "denoised" in `extras`.
        """
        flow = self._initial_flow(fixed, moving, recompute)
        out = unregistered(moving).then(flow, name="initial", update="replace")
        for name, cascade in self._named_cascades():
            if name.endswith("/iteration_1"):
                warped = warping(moving, flow, self._config["sampling"])
                data = linearise(warped, fixed, flow)
            run = tf.recompute_grad(cascade) if recompute else cascade
            denoised, flow = run(*data, flow)
            out = out.then(flow, name=name, update="replace", extras={"denoised": denoised})
        return out

    def _build(self):
        """Creates the weights, whose shapes do not depend on the volume's size, on a small one."""
        small = (1, *[ORIGINAL_MULTIPLE] * self.rank)
        if self.initial is not None:
            self.initial(tf.zeros((*small, 2)))
        for cascade in self.cascades:
            cascade.denoiser(tf.zeros((*small, self.rank)))
        self.built = True

    def _initial_flow(self, fixed, moving, recompute):
        shape = (*self.volume_shape, self.rank)
        if self.initial is not None:
            run = tf.recompute_grad(self.initial) if recompute else self.initial
            return run(tf.concat([moving, fixed], axis=-1))
        if self._config["initial"] == "zeros":
            flow = tf.zeros((1, *shape))
        else:
            flow = tf.random.stateless_normal((1, *shape), _NOISE_SEED, alg="philox")
        return tf.repeat(flow, tf.shape(fixed)[0], axis=0)

    def _named_cascades(self):
        """(name of its stage, layer) of every cascade."""
        iterations = self._config["n_iterations"]
        for number, cascade in enumerate(self.cascades):
            warp, iteration = divmod(number, iterations)
            yield f"warp_{warp + 1}/iteration_{iteration + 1}", cascade

    def _unet(self, inputs, name):
        channels = self._config["channels"]
        if self._config["unet"] == "ronneberger":
            return RonnebergerUNet(inputs, RONNEBERGER_UNIT * channels, name=name)
        return LightUNet(inputs, channels, rank=self.rank, name=name)

    @property
    def parts(self) -> dict[str, tuple[tf.Variable, ...]]:
        """ "initial", if it is a U-Net; the denoisers "warp_1_iteration_1", ...; and "theta"."""
        parts = {} if self.initial is None else {"initial": tuple(self.initial.variables)}
        for name, cascade in self._named_cascades():
            parts[name.replace("/", "_")] = tuple(cascade.denoiser.variables)
        return {**parts, "theta": tuple(cascade.raw_theta for cascade in self.cascades)}

    def thetas(self) -> dict[str, float]:
        """theta of every cascade, by the name of its stage."""
        return {name: float(cascade.theta()[0]) for name, cascade in self._named_cascades()}

    def logged_scalars(self) -> dict[str, float]:
        """theta of every cascade, "theta/warp_1/iteration_1"."""
        return {f"theta/{name}": theta for name, theta in self.thetas().items()}

    def reference_weights(self) -> dict[str, Any]:
        """Weights under the names of the authors' code, "vrnet/cnn_blocks.0.ec1.0.weight", ...

        theta is "vrnet/ic_blocks.0.param", [1]. Where theta is exp(a), assigning to it sets a.

        Raises: ValueError: the model has Ronneberger's U-Nets or no initial one, for which there is
            no code.
        """
        if self._config["unet"] != "light" or self.initial is None:
            raise ValueError(
                "the authors' code has only networks with `unet` 'light' and `initial` 'unet'."
            )
        blocks = {"init_block": self.initial}
        found = {}
        for number, cascade in enumerate(self.cascades):
            blocks[f"cnn_blocks.{number}"] = cascade.denoiser
            found[f"vrnet/ic_blocks.{number}.param"] = cascade.reference_theta()
        for block, unet in blocks.items():
            for name, variable in unet.reference_weights().items():
                found[f"vrnet/{block}.{name}"] = variable
        return found

    @classmethod
    def rough_bytes(cls, network: Mapping[str, Any]) -> int:
        """Upper bound of the memory, by the sizes of the U-Nets."""
        shape, channels = network.get("volume_shape", ()), network.get("channels", 8)
        unets = 1 + network.get("n_warps", 2) * network.get("n_iterations", 1)
        planar = len(shape) == 2 and network.get("unet") != "light"
        weights = _WEIGHTS_PER_CHANNEL["ronneberger" if planar else "light"] * channels**2
        return _FLOAT * (unets * (weights + _MAPS * math.prod(shape)) + channels * math.prod(shape))

    @classmethod
    def traced_bytes(cls, network: Mapping[str, Any]) -> int:
        """As `RegistrationModel`, but one cascade is traced and multiplied by their number."""
        cascades = network.get("n_warps", 2) * network.get("n_iterations", 1)
        with tf.Graph().as_default() as graph:
            model = cls(**{**network, "n_warps": 1, "n_iterations": 1})
            blank = tf.zeros((1, *model.volume_shape, 1))
            model(blank, blank)
            sizes = [tensor_bytes(tensor) for op in graph.get_operations() for tensor in op.outputs]
        initial = [] if model.initial is None else model.initial.variables
        weights = sum(map(tensor_bytes, initial))
        weights += cascades * sum(map(tensor_bytes, model.cascades[0].variables))
        maps = 3 * model.rank + 1  # flow, total flow, denoised flow and image of a stage
        flows = (1 + cascades) * maps * _FLOAT * math.prod(model.volume_shape)
        return weights + flows + 2 * max(sizes)

    def get_config(self) -> dict[str, Any]:
        """Arguments that make the same network again, JSON-serialisable."""
        return dict(self._config)
