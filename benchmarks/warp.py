"""Time of one trilinear warp: the native op compared with the Python backend and other libraries.

    python benchmarks/warp.py [--shapes 128,128,128 160,192,224] [--channels 1 3] [--repeats 9]
        [--threads 2] [--warm]

All run in float32 with batch 1, a smooth flow of a few voxels and coordinates clamped to the
border. Every round runs each contestant once, so that each finds the caches as the others left
them, as in a network; --warm runs each contestant's repeats in a row. Times are medians. "copy" is
a memory copy with as many threads, which reads and writes in total as many bytes as the warp (image
and flow in, result out): no warp can be faster. torch is `grid_sample` with border padding
and align_corners; its grid is made from the flow beforehand. SciPy's map_coordinates runs
on one thread; SimpleITK's resampling has no backward pass. Missing packages are left out.
"""

import argparse
import concurrent.futures
import functools
import importlib.util
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import SimpleITK as sitk
import tensorflow as tf
from scipy.ndimage import gaussian_filter, map_coordinates

import custom_ops


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=["128,128,128", "160,192,224"])
    parser.add_argument("--channels", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--warm", action="store_true")
    args = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(args.threads)
    caches = "warm" if args.warm else "cold"
    print(
        f"TensorFlow {tf.__version__}, {args.threads} threads, {caches} caches, "
        f"median of {args.repeats}\n"
    )
    print("| size | C | pass | contestant | ms | times native | times copy |")
    print("|---|---|---|---|---|---|---|")
    for text in args.shapes:
        shape = tuple(int(size) for size in text.split(","))
        for channels in args.channels:
            report(shape, channels, args)


def report(shape, channels, args):
    image, flow = inputs(shape, channels)
    copy = plain_copy(2 * image.nbytes + flow.nbytes, args.threads)
    for name, passes in contestants(image, flow, args.threads).items():
        times = medians({"copy": copy, **passes}, args.repeats, args.warm)
        for contestant, seconds in times.items():
            if contestant != "copy" or name == "forward":
                print(
                    f"| {' x '.join(map(str, shape))} | {channels} | {name} | {contestant} | "
                    f"{1e3 * seconds:.1f} | {seconds / times['native']:.1f} | "
                    f"{seconds / times['copy']:.1f} |",
                    flush=True,
                )


def inputs(shape, channels):
    """A random image and a flow of about three voxels that varies over eight."""
    rng = np.random.default_rng(0)
    image = rng.standard_normal((1, *shape, channels)).astype("float32")
    flow = gaussian_filter(rng.standard_normal((1, *shape, 3)), (0, 8, 8, 8, 0), mode="wrap")
    return image, (3 * flow / flow.std()).astype("float32")


def contestants(image, flow, threads):
    """{pass: {name: function}}."""
    forward = {
        "native": tensorflow_forward(image, flow, "native"),
        "python": tensorflow_forward(image, flow, "python"),
        "SciPy": functools.partial(scipy_forward, image, flow),
        "SimpleITK": simpleitk_forward(image, flow),
    }
    both = {
        "native": tensorflow_both(image, flow, "native"),
        "python": tensorflow_both(image, flow, "python"),
    }
    if importlib.util.find_spec("torch"):
        forward["torch"], both["torch"] = torch_passes(image, flow, threads)
    return {"forward": forward, "forward + backward": both}


def tensorflow_forward(image, flow, backend):
    image, flow = tf.constant(image), tf.constant(flow)
    warp = tf.function(lambda i, f: custom_ops.warp(i, f, backend=backend))
    return lambda: warp(image, flow)  # on the CPU a call returns when it is done


def tensorflow_both(image, flow, backend):
    image, flow = tf.constant(image), tf.constant(flow)
    upstream = tf.ones_like(image)

    @tf.function
    def gradients(image, flow):
        with tf.GradientTape() as tape:
            tape.watch([image, flow])
            out = custom_ops.warp(image, flow, backend=backend)
        return out, tape.gradient(out, [image, flow], upstream)

    return lambda: gradients(image, flow)


def torch_passes(image, flow, threads):
    import torch

    torch.set_num_threads(threads)
    shape = image.shape[1:4]
    position = flow + np.moveaxis(np.indices(shape), 0, -1)
    scaled = 2 * position / (np.array(shape) - 1) - 1
    grid = torch.from_numpy(scaled[..., ::-1].astype("float32").copy())  # x, y, z
    volume = torch.from_numpy(np.moveaxis(image, -1, 1).copy())  # [B, C, D, H, W]
    sample = functools.partial(
        torch.nn.functional.grid_sample, padding_mode="border", align_corners=True
    )

    def forward():
        with torch.no_grad():
            return sample(volume, grid)

    leaves = [volume.clone().requires_grad_(), grid.clone().requires_grad_()]
    upstream = torch.ones_like(volume)

    def both():
        return torch.autograd.grad(sample(*leaves), leaves, upstream)

    expected = custom_ops.warp(image, flow, backend="python").numpy()
    np.testing.assert_allclose(np.moveaxis(forward().numpy(), 1, -1), expected, atol=1e-2)
    return forward, both


def scipy_forward(image, flow):
    position = np.moveaxis(flow[0] + np.moveaxis(np.indices(flow.shape[1:4]), 0, -1), -1, 0)
    for c in range(image.shape[-1]):
        map_coordinates(image[0, ..., c], position, order=1, mode="nearest")


def simpleitk_forward(image, flow):
    several = image.shape[-1] > 1
    moving = sitk.GetImageFromArray(image[0] if several else image[0, ..., 0], isVector=several)
    field = sitk.GetImageFromArray(flow[0, ..., ::-1].astype("float64"), isVector=True)
    transform = sitk.DisplacementFieldTransform(field)
    return lambda: sitk.Resample(moving, transform, sitk.sitkLinear)


def plain_copy(traffic, threads):
    """Function that copies `traffic` / 2 bytes on so many threads."""
    source = np.ones(traffic // 2, np.uint8)
    target = np.empty_like(source)
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads)))
    return lambda: list(pool.map(lambda part: np.copyto(*part), parts))


def medians(functions, repeats, warm):
    """{name: seconds}; the first round is not counted."""
    names = [name for name in functions for _ in range(repeats + 1)]
    if not warm:
        names = list(functions) * (repeats + 1)
    times = {name: [] for name in functions}
    for previous, name in zip([None, *names], names):
        if name != previous:
            time.sleep(0.03)  # until the previous contestant's threads stop waiting for work
        start = time.perf_counter()
        functions[name]()
        times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


if __name__ == "__main__":
    main()
