"""The kernels as plain shared libraries without TensorFlow, called through ctypes.

They are for tests and benchmarks on machines with a compiler or a GPU but without TensorFlow, and
for runs under memory checkers. Registration does not use them.
"""

from __future__ import annotations

import ctypes
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from custom_ops import build, toolchain

PADDINGS = {"border": 0, "zeros": 1}
_COST_TYPES = {"float32": "float", "float64": "double", "uint16": "bfloat16"}
CUDA_TYPES = {"float32": 0, "float16": 1, "bfloat16": 2, "float64": 3}


class Geometry(ctypes.Structure):
    """`rcn::Geometry` of an image [B, D, H, W, C] and a flow [B, D', H', W', 3]."""

    _fields_ = [
        ("batch", ctypes.c_int64),
        ("image", ctypes.c_int64 * 3),
        ("output", ctypes.c_int64 * 3),
        ("channels", ctypes.c_int64),
    ]

    def __init__(self, image_shape: Sequence[int], flow_shape: Sequence[int]):
        super().__init__(
            image_shape[0], tuple(image_shape[1:4]), tuple(flow_shape[1:4]), image_shape[4]
        )


class NccCall(ctypes.Structure):
    """`rcn::NccCall` of images [B, D, H, W, C]."""

    _fields_ = [
        ("batch", ctypes.c_int64),
        ("shape", ctypes.c_int64 * 3),
        ("channels", ctypes.c_int64),
        ("window", ctypes.c_int64),
        ("squared", ctypes.c_int64),
        ("floor", ctypes.c_double),
    ]

    def __init__(
        self,
        shape: Sequence[int],
        window: int = 9,
        squared: bool = True,
        floor: float = 1e-5,
    ):
        super().__init__(shape[0], tuple(shape[1:4]), shape[4], window, squared, floor)


class CostCall(ctypes.Structure):
    """`rcn::CostCall` of features [B, D, H, W, C]; `planar` leaves the depth out."""

    _fields_ = [
        ("batch", ctypes.c_int64),
        ("shape", ctypes.c_int64 * 3),
        ("channels", ctypes.c_int64),
        ("radius", ctypes.c_int64 * 3),
        ("correlation", ctypes.c_int64),
        ("box", ctypes.c_int64),
    ]

    def __init__(
        self,
        shape: Sequence[int],
        radius: int,
        correlation: bool = False,
        box: bool = True,
        planar: bool = False,
    ):
        radii = (0 if planar else radius, radius, radius)
        super().__init__(shape[0], tuple(shape[1:4]), shape[4], radii, correlation, box)

    @property
    def offsets(self) -> int:
        """Number of costs of a voxel."""
        return int(np.prod([2 * radius + 1 for radius in self.radius]))


def build_host_library(path: str | pathlib.Path, flags: Sequence[str] = ()) -> None:
    """Builds the CPU kernels as a shared library; see `cc/host_checks.cc`.

    Raises: BuildError: if there is no C++ compiler or it fails.
    """
    compiler = toolchain.find_compiler()
    if compiler is None:
        raise toolchain.BuildError("the host library needs a C++ compiler")
    sources = [str(toolchain.SOURCES / name) for name in (*toolchain.KERNELS, "host_checks.cc")]
    kernel_flags = toolchain.kernel_flags(toolchain.tool_version(compiler))
    command = [compiler, *kernel_flags, *flags, *sources]
    build.run([*command, "-fvisibility=default", "-shared", "-pthread", "-o", str(path)])


def build_cuda_library(path: str | pathlib.Path, gpus: Sequence[int] | None = None) -> None:
    """Builds the CUDA kernels as a shared library; see `cc/warp_cuda.h`, `cc/local_ncc_cuda.h`.

    Args: gpus: compute capabilities, e.g. (90,). Default: all that nvcc knows.

    Raises: BuildError: if nvcc or a C++ compiler is missing or fails.
    """
    nvcc, compiler = toolchain.find_nvcc(), toolchain.find_compiler()
    if nvcc is None or compiler is None:
        raise toolchain.BuildError("the CUDA library needs nvcc and a C++ compiler")
    gpus = gpus or toolchain.known_gpus(nvcc)
    path = pathlib.Path(path)
    objects = [path.with_name(f"{path.stem}-{source}.o") for source in toolchain.CUDA]
    for source, kernels in zip(toolchain.CUDA, objects):
        command = toolchain.cuda_command(nvcc, compiler, gpus, source)
        build.run([*command, "-c", "-o", str(kernels)])
    # Linked in a step of its own: nvcc's threads, one per GPU, can disturb one another in linking.
    build.run([nvcc, "-ccbin", compiler, "-shared", *map(str, objects), "-o", str(path)])
    for kernels in objects:
        kernels.unlink()


class HostLibrary:
    """Calls the host library with NumPy arrays of float32 or float64.

    Args:
        path: made by `build_host_library`.
        kernels: "cpu" for the kernels of TensorFlow's CPU op, "voxel" for those of CUDA threads.
        threads: number of threads for "cpu".
    """

    def __init__(self, path: str | pathlib.Path, kernels: str = "cpu", threads: int = 1):
        self._library = ctypes.CDLL(str(path))
        self._kernels, self._threads = kernels, threads

    def warp(
        self, image: np.ndarray, flow: np.ndarray, padding: str = "border", add_flow: bool = False
    ) -> np.ndarray:
        """The warped image [B, D', H', W', C]."""
        out = np.empty((*flow.shape[:4], image.shape[4]), image.dtype)
        self._call("warp", image.shape, padding, [image, flow], add_flow, out)
        return out

    def flow_gradient(
        self,
        image: np.ndarray,
        flow: np.ndarray,
        upstream: np.ndarray,
        padding: str = "border",
        add_flow: bool = False,
    ) -> np.ndarray:
        """Gradient by the flow, [B, D', H', W', 3]."""
        out = np.empty_like(flow)
        self._call("flow_gradient", image.shape, padding, [image, flow, upstream], add_flow, out)
        return out

    def image_gradient(
        self,
        image_shape: Sequence[int],
        flow: np.ndarray,
        upstream: np.ndarray,
        padding: str = "border",
    ) -> np.ndarray:
        """Gradient by the image, [B, D, H, W, C]."""
        out = np.empty(image_shape, flow.dtype)
        self._call("image_gradient", image_shape, padding, [flow, upstream], None, out)
        return out

    def local_ncc(self, call, fixed, warped, mask=None):
        """Values [B], and the gradients by the warped and by the fixed image."""
        kind = {"float32": "float", "float64": "double"}[fixed.dtype.name]
        out = [np.empty(call.batch, fixed.dtype), np.empty_like(fixed), np.empty_like(fixed)]
        function = getattr(self._library, f"rcn_{self._kernels}_local_ncc_{kind}")
        function.restype = None
        function(ctypes.byref(call), 2, self._threads, *map(_pointer, [fixed, warped, mask, *out]))
        return out

    def cost_volume(self, call, fixed, moving):
        """Costs [B, D, H, W, offsets] of features in float32, float64 or, as uint16, bfloat16."""
        out = np.empty((*fixed.shape[:4], call.offsets), fixed.dtype)
        self._cost("cost_volume", call, fixed, moving, out)
        return out

    def cost_volume_gradient(self, call, fixed, moving, upstream):
        """Gradients by the fixed and by the moving features."""
        out = [np.empty_like(fixed), np.empty_like(moving)]
        self._cost("cost_volume_gradient", call, fixed, moving, upstream, *out)
        return out

    def _cost(self, name, call, *arrays):
        kind = _COST_TYPES[arrays[0].dtype.name]
        function = getattr(self._library, f"rcn_{self._kernels}_{name}_{kind}")
        function.restype = None
        function(ctypes.byref(call), self._threads, *map(_pointer, arrays))

    def _call(self, name, image_shape, padding, inputs, add_flow, out):
        kind = {"float32": "float", "float64": "double"}[out.dtype.name]
        flow = inputs[-1] if name == "warp" else inputs[-2]
        arrays = [np.ascontiguousarray(a, out.dtype) for a in inputs]
        arguments = [_pointer(a) for a in arrays]
        if add_flow is not None:
            arguments.append(int(add_flow))
        function = getattr(self._library, f"rcn_{self._kernels}_{name}_{kind}")
        function.restype = None
        function(
            ctypes.byref(Geometry(image_shape, flow.shape)),
            PADDINGS[padding],
            self._threads,
            *arguments,
            _pointer(out),
        )


def _pointer(array):
    return None if array is None else array.ctypes.data_as(ctypes.c_void_p)


class CudaLibrary:
    """Calls the CUDA library with pointers to device memory.

    Args: path: made by `build_cuda_library`.

    In its methods `kind` is the type of image and result: "float32", "float16", "bfloat16" or
    "float64". Pointers are ctypes.c_void_p. Calls return when the work is queued.

    Raises: RuntimeError: if CUDA reports an error.
    """

    def __init__(self, path: str | pathlib.Path):
        self._library = ctypes.CDLL(str(path))
        self._library.rcn_cuda_scratch_bytes.restype = ctypes.c_int64
        self._library.rcn_cuda_local_ncc_scratch_bytes.restype = ctypes.c_int64
        self._library.rcn_cuda_cost_volume_scratch_bytes.restype = ctypes.c_int64
        self._library.rcn_cuda_error.restype = ctypes.c_char_p

    def warp(
        self,
        geometry: Geometry,
        padding: str,
        kind: str,
        image: Any,
        flow: Any,
        out: Any,
        *,
        add_flow: bool = False,
        stream: Any = None,
    ) -> None:
        """Writes [B, D', H', W', C] to `out`."""
        pointers = (image, flow, int(add_flow), out)
        self._call("rcn_cuda_warp", geometry, padding, kind, *pointers, stream)

    def flow_gradient(
        self,
        geometry: Geometry,
        padding: str,
        kind: str,
        image: Any,
        flow: Any,
        upstream: Any,
        out: Any,
        *,
        add_flow: bool = False,
        stream: Any = None,
    ) -> None:
        """Writes [B, D', H', W', 3] to `out`."""
        pointers = (image, flow, upstream, int(add_flow), out)
        self._call("rcn_cuda_warp_flow_gradient", geometry, padding, kind, *pointers, stream)

    def image_gradient(
        self,
        geometry: Geometry,
        padding: str,
        kind: str,
        flow: Any,
        upstream: Any,
        scratch: Any,
        out: Any,
        *,
        deterministic: bool = False,
        stream: Any = None,
    ) -> None:
        """Writes [B, D, H, W, C] to `out`; `scratch` has `scratch_bytes` bytes."""
        pointers = (flow, upstream, int(deterministic), scratch, out)
        self._call("rcn_cuda_warp_image_gradient", geometry, padding, kind, *pointers, stream)

    def scratch_bytes(self, geometry: Geometry, kind: str, deterministic: bool) -> int:
        """Bytes of device memory that `image_gradient` needs."""
        return self._library.rcn_cuda_scratch_bytes(
            ctypes.byref(geometry), CUDA_TYPES[kind], int(deterministic)
        )

    def local_ncc(self, call, kind, fixed, warped, mask, scratch, *out, stream=None):
        """Writes [values, gradient by the warped image, by the fixed one] to `out`.

        `mask` may be None; `scratch` has `local_ncc_scratch_bytes` bytes.
        """
        pointers = (fixed, warped, mask, scratch, *out)
        self._check(
            "rcn_cuda_local_ncc", ctypes.byref(call), 2, CUDA_TYPES[kind], *pointers, stream
        )

    def local_ncc_scratch_bytes(self, call, kind):
        """Bytes of device memory that `local_ncc` needs."""
        return self._library.rcn_cuda_local_ncc_scratch_bytes(ctypes.byref(call), CUDA_TYPES[kind])

    def cost_volume(self, call, kind, fixed, moving, scratch, out, stream=None):
        """Writes costs [B, D, H, W, offsets] to `out`."""
        pointers = (fixed, moving, scratch, out, stream)
        self._check("rcn_cuda_cost_volume", ctypes.byref(call), CUDA_TYPES[kind], *pointers)

    def cost_volume_gradient(self, call, kind, fixed, moving, upstream, scratch, *out, stream=None):
        """Writes the gradients by the fixed and by the moving features to `out`."""
        pointers = (fixed, moving, upstream, scratch, *out, stream)
        name = "rcn_cuda_cost_volume_gradient"
        self._check(name, ctypes.byref(call), CUDA_TYPES[kind], *pointers)

    def cost_volume_scratch_bytes(self, call, kind, gradient):
        """Bytes of device memory that the cost volume, or its gradient, needs."""
        return self._library.rcn_cuda_cost_volume_scratch_bytes(
            ctypes.byref(call), CUDA_TYPES[kind], int(gradient)
        )

    def _call(self, name, geometry, padding, kind, *arguments):
        chosen = (PADDINGS[padding], CUDA_TYPES[kind])
        self._check(name, ctypes.byref(geometry), *chosen, *arguments)

    def _check(self, name, *arguments):
        code = getattr(self._library, name)(*arguments)
        if code:
            raise RuntimeError(f"{name}: {self._library.rcn_cuda_error(code).decode()}")
