"""The kernels without TensorFlow: what CUDA threads do, and the CPU's under a memory checker."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from custom_ops import plain, toolchain

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def host_library(compiler, tmp_path_factory):
    path = tmp_path_factory.mktemp("host") / "libhost.so"
    plain.build_host_library(path, ["-O1"])  # compiles in a third of the time
    return path


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_cuda_threads_compute_what_the_cpu_does(host_library, rng, channels, padding, dtype):
    image = rng.standard_normal((2, 4, 1, 9, channels)).astype(dtype)
    flow = rng.normal(0, 3, (2, 3, 6, 70, 3)).astype(dtype)
    upstream = rng.standard_normal((2, 3, 6, 70, channels)).astype(dtype)
    cpu, voxel = (plain.HostLibrary(host_library, kernels) for kernels in ("cpu", "voxel"))
    tolerance = {"rtol": 1e-5, "atol": 1e-5}
    for add_flow in (False, True) if channels == 3 else (False,):
        np.testing.assert_allclose(
            voxel.warp(image, flow, padding, add_flow),
            cpu.warp(image, flow, padding, add_flow),
            **tolerance,
        )
        np.testing.assert_allclose(
            voxel.flow_gradient(image, flow, upstream, padding, add_flow),
            cpu.flow_gradient(image, flow, upstream, padding, add_flow),
            **tolerance,
        )
    np.testing.assert_allclose(
        voxel.image_gradient(image.shape, flow, upstream, padding),
        cpu.image_gradient(image.shape, flow, upstream, padding),
        **tolerance,
    )


@pytest.mark.parametrize("kernels", ["cpu", "voxel"])
def test_volumes_beyond_32_bit_indices(host_library, kernels):
    """2.2e9 voxels; the pages that are never touched take no memory."""
    size, flow = 1300, np.zeros((1, 1, 1, 3, 3), "float32")
    image = np.zeros((1, size, size, size, 1), "float32")
    image[0, -1, -1, -2:, 0] = 3.0, 5.0
    image[0, 0, 0, 0, 0] = 7.0
    flow[0, 0, 0, 1] = size, size, size - 2.75
    flow[0, 0, 0, 2] = size, size, size
    library = plain.HostLibrary(host_library, kernels)
    np.testing.assert_allclose(library.warp(image, flow).ravel(), [7.0, 3.5, 5.0])
    np.testing.assert_allclose(
        library.flow_gradient(image, flow, np.ones((1, 1, 1, 3, 1), "float32"))[0, 0, 0],
        [[-7.0, -7.0, -7.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0]],
    )


CHECKED = """
import sys, numpy as np
from custom_ops import plain
rng = np.random.default_rng(0)
for kernels in ("cpu", "voxel"):
    library = plain.HostLibrary(sys.argv[1], kernels, threads=3)
    for image_shape, grid in (((2, 5, 6, 7), (4, 3, 67)), ((1, 1, 1, 1), (2, 3, 4)),
                              ((1, 8, 1, 3), (1, 1, 130)), ((3, 2, 2, 2), (2, 2, 2))):
        for channels in (1, 2, 3):
            for dtype in ("float32", "float64"):
                image = rng.standard_normal((*image_shape, channels)).astype(dtype)
                flow = rng.normal(0, 4, (image_shape[0], *grid, 3)).astype(dtype)
                odd = (np.nan, np.inf, -np.inf, 3e38, -3e38, 2.0**31, 2.0**63, -(2.0**63))
                flow.reshape(-1)[: len(odd)] = odd
                upstream = rng.standard_normal((*flow.shape[:4], channels)).astype(dtype)
                for padding in ("border", "zeros"):
                    library.warp(image, flow, padding, add_flow=channels == 3)
                    library.flow_gradient(image, flow, upstream, padding)
                    library.image_gradient(image.shape, flow, upstream, padding)
print("checked")
"""


@pytest.mark.slow
def test_no_read_or_write_out_of_bounds(compiler, tmp_path):
    """AddressSanitizer watches every array, UndefinedBehaviorSanitizer the arithmetic."""
    runtime = subprocess.run(
        [compiler, "-print-file-name=libasan.so"], check=True, capture_output=True, text=True
    ).stdout.strip()
    if not Path(runtime).is_absolute():
        pytest.skip("the compiler has no AddressSanitizer")
    library = tmp_path / "libhost.so"
    sanitizers = "-fsanitize=address,undefined,float-cast-overflow"
    plain.build_host_library(library, [sanitizers, "-fno-sanitize-recover=all", "-O1", "-g"])
    done = subprocess.run(
        [sys.executable, "-c", CHECKED, str(library)],
        env={**os.environ, "LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "checked\n"


def test_plain_kernels_need_no_tensorflow():
    code = "import sys\nfrom custom_ops import plain\nassert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.slow
def test_cuda_library_compiles_for_every_gpu(compiler, tmp_path):
    nvcc = toolchain.find_nvcc()
    if nvcc is None:
        pytest.skip("there is no nvcc")
    gpus = toolchain.known_gpus(nvcc)
    assert gpus[0] == 75
    assert 90 in gpus
    plain.build_cuda_library(tmp_path / "libwarp.so", gpus)
    library = ctypes.CDLL(str(tmp_path / "libwarp.so"))
    library.rcn_cuda_scratch_bytes.restype = ctypes.c_int64
    geometry = plain.Geometry((2, 3, 4, 5, 3), (2, 3, 4, 5, 3))
    half = plain.CUDA_TYPES["float16"]
    assert library.rcn_cuda_scratch_bytes(ctypes.byref(geometry), half, 0) == 4 * 360
    assert library.rcn_cuda_scratch_bytes(ctypes.byref(geometry), half, 1) == 8 * 361
