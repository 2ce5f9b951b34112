"""Checks the CUDA kernels and compares their speed with PyTorch; needs nvcc, a GPU and PyTorch.

    python benchmarks/warp_gpu.py [--sanitize] [--repeats 50]

It runs on a machine with a GPU, without TensorFlow. It builds the CUDA and the CPU kernels as
plain libraries and compares all their results (float32, float16, bfloat16, float64; both
paddings; sums by atomics and in fixed point; NaN, infinite and huge flows). It compares their
time with `torch.nn.functional.grid_sample` (border, align_corners) and a device copy, and with
--sanitize repeats the comparison under compute-sanitizer's memcheck and racecheck.
"""

import argparse
import ctypes
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from custom_ops import kernels_without_tensorflow as plain

TOLERANCES = {"float32": 2e-5, "float64": 1e-10, "float16": 4e-3, "bfloat16": 3e-2}


class Kernels:
    """The CUDA kernels on torch tensors, image [B, D, H, W, C]."""

    def __init__(self, path):
        self._library = plain.CudaLibrary(path)

    def warp(self, image, flow, padding="border", add_flow=False):
        out = torch.empty((*flow.shape[:4], image.shape[4]), dtype=image.dtype, device="cuda")
        call = self._call(image.shape, flow, padding, image.dtype)
        self._library.warp(*call, *pointers(image, flow, out), add_flow=add_flow, stream=stream())
        return out

    def flow_gradient(self, image, flow, upstream, padding="border", add_flow=False):
        out = torch.empty_like(flow)
        call = self._call(image.shape, flow, padding, image.dtype)
        arrays = pointers(image, flow, upstream, out)
        self._library.flow_gradient(*call, *arrays, add_flow=add_flow, stream=stream())
        return out

    def image_gradient(self, shape, flow, upstream, padding="border", deterministic=False):
        out = torch.empty(shape, dtype=upstream.dtype, device="cuda")
        geometry, padding, kind = self._call(shape, flow, padding, upstream.dtype)
        count = self._library.scratch_bytes(geometry, kind, deterministic)
        scratch = torch.empty(count, dtype=torch.uint8, device="cuda")
        arrays = pointers(flow, upstream, scratch, out)
        self._library.image_gradient(
            geometry, padding, kind, *arrays, deterministic=deterministic, stream=stream()
        )
        return out

    @staticmethod
    def _call(image_shape, flow, padding, dtype):
        return plain.Geometry(image_shape, flow.shape), padding, str(dtype)[len("torch.") :]


def pointers(*tensors):
    return [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]


def stream():
    return ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sanitize", action="store_true")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--libraries", help=argparse.SUPPRESS)  # internal: only compare
    args = parser.parse_args()
    if args.libraries:
        compare(*load(pathlib.Path(args.libraries)))
        return
    print(f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        major, minor = torch.cuda.get_device_capability()
        plain.build_host_library(f"{folder}/libhost.so")
        plain.build_cuda_library(f"{folder}/libwarp.so", (10 * major + minor,))
        cuda, host = load(pathlib.Path(folder))
        compare(cuda, host)
        measure(cuda, args.repeats)
        if args.sanitize:
            sanitize(folder)


def load(folder):
    return Kernels(folder / "libwarp.so"), plain.HostLibrary(folder / "libhost.so")


def compare(cuda, host):
    """Compares every result of the CUDA kernels with the CPU's; raises if they differ."""
    rng = np.random.default_rng(0)
    worst = {}
    for dtype in TOLERANCES:
        for channels in (1, 2, 3):
            for padding in plain.PADDINGS:
                for name, ours, reference in results(cuda, host, rng, dtype, channels, padding):
                    reference = torch.tensor(reference).to(ours.dtype).double().numpy()
                    ours = ours.double().cpu().numpy()
                    finite = np.isfinite(reference)
                    np.testing.assert_array_equal(ours[~finite], reference[~finite], name)
                    ours, reference = ours[finite], reference[finite]
                    scale = np.median(abs(reference)) + 1  # the values themselves are about 1
                    error = (abs(ours - reference) / np.maximum(abs(reference), scale)).max()
                    assert error <= TOLERANCES[dtype], (name, dtype, channels, padding, error)
                    worst[name, dtype] = max(error, worst.get((name, dtype), 0))
    print("\n| result | type | largest deviation from the CPU's |\n|---|---|---|")
    for (name, dtype), error in worst.items():
        print(f"| {name} | {dtype} | {error:.1e} |")


def results(cuda, host, rng, dtype, channels, padding):
    """(name, CUDA tensor, CPU array) of every kernel for one random problem."""
    real = "float64" if dtype == "float64" else "float32"
    shape, grid = (2, 17, 9, 33), (2, 12, 20, 41)
    kind = getattr(torch, dtype)
    flow = rng.normal(0, 4, (*grid, 3)).astype(real)
    odd = flow.copy()
    odd.reshape(-1)[:6] = (np.nan, np.inf, -np.inf, 1e30, -3e38, 2.0**31)
    image, upstream = (
        torch.tensor(rng.standard_normal((*s, channels)), dtype=kind) for s in (shape, grid)
    )
    on_host = [t.to(getattr(torch, real)).numpy() for t in (image, upstream)]
    image, upstream = image.cuda(), upstream.cuda()
    on_device = torch.tensor(flow).cuda()
    add = channels == 3
    yield (
        "warp",
        cuda.warp(image, torch.tensor(odd).cuda(), padding, add),
        host.warp(on_host[0], odd, padding, add),
    )
    yield (
        "flow gradient",
        cuda.flow_gradient(image, on_device, upstream, padding, add),
        host.flow_gradient(on_host[0], flow, on_host[1], padding, add),
    )
    reference = host.image_gradient(image.shape, flow, on_host[1], padding)
    for deterministic in (False, True):
        gradient = cuda.image_gradient(image.shape, on_device, upstream, padding, deterministic)
        if deterministic:
            again = cuda.image_gradient(image.shape, on_device, upstream, padding, True)
            assert torch.equal(gradient, again)
        yield f"image gradient{', fixed point' * deterministic}", gradient, reference


def measure(cuda, repeats):
    print(
        "\n| size | C | type | copy ms | warp ms | of roofline | torch ms | both ms | torch both "
        "ms | ratio |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for shape in ((128, 128, 128), (160, 192, 224)):
        for channels in (1, 3):
            for kind in (torch.float32, torch.float16):
                measure_one(cuda, shape, channels, kind, repeats)


def measure_one(cuda, shape, channels, kind, repeats):
    image = torch.randn((1, *shape, channels), device="cuda").to(kind)
    noise = torch.randn((1, 3, *(size // 8 for size in shape)), device="cuda")
    flow = 3 * torch.nn.functional.interpolate(noise, shape, mode="trilinear")
    flow = flow.permute(0, 2, 3, 4, 1).contiguous()
    upstream = torch.randn_like(image)
    volume = image.permute(0, 4, 1, 2, 3).contiguous()
    axes = [torch.arange(n, device="cuda", dtype=torch.float32) for n in shape]
    position = flow + torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    grid = (2 * position / (torch.tensor(shape, device="cuda") - 1) - 1).flip(-1).to(kind)

    def sample(volume, grid):
        return torch.nn.functional.grid_sample(
            volume, grid, padding_mode="border", align_corners=True
        )

    leaves = [volume.clone().requires_grad_(), grid.clone().requires_grad_()]
    sent = upstream.permute(0, 4, 1, 2, 3).contiguous()

    def both():
        cuda.warp(image, flow)
        cuda.flow_gradient(image, flow, upstream)
        cuda.image_gradient(image.shape, flow, upstream)

    traffic = 2 * image.nbytes + flow.nbytes
    source = torch.empty(traffic // 2, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copy = milliseconds(lambda: target.copy_(source), repeats)
    warp = milliseconds(lambda: cuda.warp(image, flow), repeats)
    with torch.no_grad():
        theirs = milliseconds(lambda: sample(volume, grid), repeats)
    ours = milliseconds(both, repeats)
    theirs_both = milliseconds(lambda: torch.autograd.grad(sample(*leaves), leaves, sent), repeats)
    print(
        f"| {' x '.join(map(str, shape))} | {channels} | {str(kind)[6:]} | {copy:.3f} | {warp:.3f} "
        f"| {copy / warp:.0%} | {theirs:.3f} | {ours:.3f} | {theirs_both:.3f} "
        f"| {theirs_both / ours:.1f} |"
    )


def milliseconds(function, repeats):
    """Median on the GPU's clock, with the second-level cache overwritten before each run."""
    flush = torch.empty(256 * 2**20, dtype=torch.uint8, device="cuda")
    times = []
    for _ in range(repeats + 3):
        flush.zero_()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        function()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times[3:])


def sanitize(folder):
    """Repeats the comparison under compute-sanitizer; raises if that finds an error."""
    tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    for check in ("memcheck", "racecheck"):
        command = [tool, "--tool", check, "--error-exitcode", "9", sys.executable, __file__]
        subprocess.run([*command, "--libraries", folder], check=True, stdout=subprocess.DEVNULL)
        print(f"compute-sanitizer {check}: no error")


if __name__ == "__main__":
    main()
