"""Build the native warp op, which is otherwise built at its first use.

The library is kept in a cache and rebuilt when TensorFlow, the compiler, its flags,
the processor or the sources change.
"""

from __future__ import annotations

import argparse
import logging
import time

from rcn_tf.quiet_tensorflow import load_tensorflow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `rcn build-ops`."""
    parser.add_argument(
        "--cuda",
        action=argparse.BooleanOptionalAction,
        help="build with or without the CUDA kernels (default: with them if TensorFlow sees a GPU "
        "and nvcc is found)",
    )
    parser.add_argument(
        "--verbose", action="store_true", help="show the compilers' commands and output"
    )


def run(args: argparse.Namespace) -> None:
    """Builds the library unless the cache holds it, and prints what it is for."""
    load_tensorflow()
    from custom_ops import build, toolchain

    if args.verbose:
        logging.basicConfig(format="%(message)s")
        logging.getLogger("custom_ops").setLevel(logging.INFO)
    start = time.perf_counter()
    try:
        plan = toolchain.plan(args.cuda)
        path = build.build(plan)
    except toolchain.BuildError as error:
        raise ImportError(f"the native warp op cannot be built: {error}") from error
    devices = "CPU"
    if plan.nvcc:
        devices += " and CUDA " + ", ".join(f"{gpu / 10:.1f}" for gpu in plan.gpus)
    print(f"native warp op for TensorFlow {plan.tensorflow}, {devices}: {path}")
    print(f"{plan.compiler_version}; {time.perf_counter() - start:.0f} s")
