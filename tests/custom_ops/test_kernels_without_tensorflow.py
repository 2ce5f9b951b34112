"""The kernels without TensorFlow: a CUDA thread's code, and the CPU's with a memory checker."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from custom_ops import kernels_without_tensorflow as plain
from custom_ops import toolchain

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


@pytest.fixture(scope="module")
def cuda_on_host(compiler, tmp_path_factory):
    """The CUDA sources, launches included, compiled for the host; 16-bit types hold floats."""
    folder = tmp_path_factory.mktemp("cuda")
    header = (toolchain.SOURCES / "cuda_launch.h").read_text()
    launch = "kernel<<<blocks_for(units), kThreads, 0, stream>>>("
    assert header.count(launch) == header.count("<<<") - 1  # the other is in a comment
    (folder / "cuda_launch.h").write_text(header.replace(launch, "emulate(kernel)("))
    for source in toolchain.CUDA:
        text = (toolchain.SOURCES / source).read_text()
        assert "<<<" not in text
        (folder / source).with_suffix(".cc").write_text(text)
    headers = [f"-I{Path(__file__).parent / 'cuda_on_host'}", f"-I{toolchain.SOURCES}"]
    command = [compiler, "-std=c++17", "-O1", "-fPIC", "-shared", *headers]
    files = [str(Path(source).with_suffix(".cc")) for source in toolchain.CUDA]
    subprocess.run([*command, *files, "-o", "libcuda.so"], cwd=folder, check=True)
    return plain.CudaLibrary(folder / "libcuda.so")


def pointer(array):
    return None if array is None else array.ctypes.data_as(ctypes.c_void_p)


def image_gradient(library, kind, shape, flow, upstream, padding, deterministic):
    geometry = plain.Geometry(shape, flow.shape)
    scratch = np.empty(library.scratch_bytes(geometry, kind, deterministic), "uint8")
    gradient = np.full(shape, 7, upstream.dtype)  # previous content must not matter
    arrays = map(pointer, (flow, upstream, scratch, gradient))
    library.image_gradient(geometry, padding, kind, *arrays, deterministic=deterministic)
    return gradient


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_cuda_source_computes_what_the_cpu_does(
    cuda_on_host, host_library, rng, channels, padding, kind
):
    dtype = "float64" if kind == "float64" else "float32"
    image = rng.standard_normal((2, 7, 5, 13, channels)).astype(dtype)
    flow = rng.normal(0, 3, (2, 4, 6, 21, 3)).astype(dtype)
    upstream = rng.standard_normal((2, 4, 6, 21, channels)).astype(dtype)
    host, geometry = plain.HostLibrary(host_library), plain.Geometry(image.shape, flow.shape)
    call, add = (geometry, padding, kind), channels == 3
    out, by_flow = np.empty_like(upstream), np.empty_like(flow)
    cuda_on_host.warp(*call, *map(pointer, (image, flow, out)), add_flow=add)
    np.testing.assert_allclose(out, host.warp(image, flow, padding, add), atol=1e-6)
    arrays = map(pointer, (image, flow, upstream, by_flow))
    cuda_on_host.flow_gradient(*call, *arrays, add_flow=add)
    np.testing.assert_allclose(
        by_flow, host.flow_gradient(image, flow, upstream, padding, add), atol=1e-5
    )
    expected = host.image_gradient(image.shape, flow, upstream, padding)
    for deterministic in (False, True):
        by_image = image_gradient(
            cuda_on_host, kind, image.shape, flow, upstream, padding, deterministic
        )
        np.testing.assert_allclose(by_image, expected, atol=5e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("shape", "window"), [((2, 7, 5, 13, 2), 5), ((1, 2, 20, 3, 1), 9)])
def test_cuda_source_of_the_local_ncc_computes_what_the_cpu_does(
    cuda_on_host, host_library, rng, shape, window, masked, dtype
):
    fixed, warped = 50 + rng.random((2, *shape)).astype(dtype)
    mask = (rng.random((*shape[:4], 1)) - 0.3).astype(dtype) if masked else None
    for squared in (True, False):
        call = plain.NccCall(shape, window, squared)
        values, *slopes = plain.HostLibrary(host_library).local_ncc(call, fixed, warped, mask)
        out = [np.full_like(array, 7) for array in (values, *slopes)]
        scratch = np.empty(cuda_on_host.local_ncc_scratch_bytes(call, dtype), "uint8")
        arrays = map(pointer, (fixed, warped, mask, scratch, *out))
        cuda_on_host.local_ncc(call, dtype, *arrays)
        tolerance = 1e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(out[0], values, rtol=tolerance)
        for ours, reference in zip(out[1:], slopes):
            scale = abs(reference).max()
            np.testing.assert_allclose(ours / scale, reference / scale, atol=20 * tolerance)


COST_SHAPES = [((2, 4, 5, 19, 3), 1, False), ((1, 1, 7, 18, 17), 2, True)]


def features_and_upstream(rng, shape, radius, planar, dtype):
    call = plain.CostCall(shape, radius, planar=planar)
    fixed, moving = rng.standard_normal((2, *shape)).astype(dtype)
    return fixed, moving, rng.standard_normal((*shape[:4], call.offsets)).astype(dtype)


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize(("shape", "radius", "planar"), COST_SHAPES, ids=["3d", "2d"])
def test_cuda_source_of_the_cost_volume_computes_what_the_cpu_does(
    cuda_on_host, host_library, rng, shape, radius, planar, kind
):
    dtype = "float64" if kind == "float64" else "float32"
    arrays = features_and_upstream(rng, shape, radius, planar, dtype)
    host, tolerance = plain.HostLibrary(host_library), 1e-12 if dtype == "float64" else 1e-4
    for correlation, box in ((False, True), (True, True), (False, False), (True, False)):
        call = plain.CostCall(shape, radius, correlation, box, planar)
        scratch = [
            np.empty(cuda_on_host.cost_volume_scratch_bytes(call, kind, k), "uint8") for k in (0, 1)
        ]
        costs = np.full_like(arrays[2], 7)
        slopes = [np.full_like(arrays[0], 7) for _ in range(2)]
        pointers = [*map(pointer, (*arrays[:2], scratch[0], costs))]
        cuda_on_host.cost_volume(call, kind, *pointers)
        np.testing.assert_allclose(costs, host.cost_volume(call, *arrays[:2]), atol=tolerance)
        pointers = [*map(pointer, (*arrays, scratch[1], *slopes))]
        cuda_on_host.cost_volume_gradient(call, kind, *pointers)
        for ours, wanted in zip(slopes, host.cost_volume_gradient(call, *arrays)):
            np.testing.assert_allclose(ours, wanted, atol=tolerance)


def test_threads_do_not_change_the_cost_volume(host_library, rng):
    shape = (2, 21, 30, 20, 5)
    arrays = features_and_upstream(rng, shape, 1, False, "float32")
    call, results = plain.CostCall(shape, 1), []
    for threads in (1, 2, 7):
        library = plain.HostLibrary(host_library, threads=threads)
        costs = library.cost_volume(call, *arrays[:2])
        results.append([costs, *library.cost_volume_gradient(call, *arrays)])
    for other in results[1:]:
        for ours, wanted in zip(other, results[0]):
            np.testing.assert_array_equal(ours, wanted)


def test_fixed_point_sums_of_what_is_not_finite_or_zero(cuda_on_host, rng):
    flow = rng.normal(0, 1, (1, 3, 4, 5, 3)).astype("float32")
    upstream = np.ones((1, 3, 4, 5, 1), "float32")

    def gradient(flow, upstream):
        return image_gradient(
            cuda_on_host, "float32", upstream.shape, flow, upstream, "border", True
        )

    assert (gradient(flow, 0 * upstream) == 0).all()
    for value in (np.nan, np.inf):
        broken = upstream.copy()
        broken[0, 1, 2, 3] = value
        assert np.isnan(gradient(flow, broken)).all()
    flow[0, 1, 1, 1, 1] = np.nan
    assert np.isnan(gradient(flow, upstream)).all()


@pytest.mark.parametrize("kernels", ["cpu", "voxel"])
def test_volumes_beyond_32_bit_indices(host_library, kernels):
    """The volume has 2.2e9 voxels; pages that are never touched take no memory."""
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
from custom_ops import kernels_without_tensorflow as plain
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
library = plain.HostLibrary(sys.argv[1], threads=3)
for shape in ((2, 5, 6, 7, 2), (1, 1, 1, 1, 1), (1, 37, 3, 2, 1), (1, 2, 90, 600, 1)):
    for dtype in ("float32", "float64"):
        fixed, warped = rng.random((2, *shape)).astype(dtype)
        for window in (1, 5, 9, 99):
            for mask in (None, rng.random((*shape[:4], 1)).astype(dtype)):
                library.local_ncc(plain.NccCall(shape, window), fixed, warped, mask)
for shape, radius, planar in (((2, 5, 6, 7, 2), 2, False), ((1, 1, 1, 1, 1), 1, False),
                              ((1, 1, 9, 40, 17), 3, True), ((1, 18, 3, 16, 3), 1, False)):
    for dtype in ("float32", "float64", "uint16"):
        for correlation, box in ((False, True), (True, False)):
            call = plain.CostCall(shape, radius, correlation, box, planar)
            fixed, moving = (1000 * rng.random((2, *shape))).astype(dtype)
            costs = library.cost_volume(call, fixed, moving)
            library.cost_volume_gradient(call, fixed, moving, costs)
print("checked")
"""


@pytest.mark.nightly
def test_no_read_or_write_out_of_bounds(compiler, tmp_path):
    """AddressSanitizer checks every array, UndefinedBehaviorSanitizer the arithmetic."""
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
    code = "import sys\nfrom custom_ops import kernels_without_tensorflow\n"
    code += "assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.nightly
def test_cuda_library_compiles_for_every_gpu(compiler, tmp_path):
    nvcc = toolchain.find_nvcc()
    if nvcc is None:
        pytest.skip("there is no nvcc")
    gpus = toolchain.known_gpus(nvcc)
    assert gpus[0] == 75
    assert 90 in gpus
    plain.build_cuda_library(tmp_path / "libwarp.so", gpus)
    library = plain.CudaLibrary(tmp_path / "libwarp.so")  # loads without a GPU
    geometry = plain.Geometry((2, 3, 4, 5, 3), (2, 3, 4, 5, 3))
    assert library.scratch_bytes(geometry, "float16", False) == 4 * 360
    assert library.scratch_bytes(geometry, "float16", True) == 8 * 361
