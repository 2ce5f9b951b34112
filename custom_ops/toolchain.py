"""Compilers on this machine, and how they are called to build the native ops.

A `Plan` holds everything that a build depends on: versions, flags, processor and sources. Its
`name` is the build's folder in the cache, so a change of any of them causes a new build.
TensorFlow is imported only to plan a build for it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence

SOURCES = pathlib.Path(__file__).parent / "cc"
KERNELS = (
    "warp_cpu.cc",
    "image_gradient_cpu.cc",
    "differences_cpu.cc",
    "cost_volume_cpu.cc",
    "cost_volume_gradient_cpu.cc",
    "local_ncc_cpu.cc",
    "smoothing_cpu.cc",
    "resampling_cpu.cc",
    "inversion_cpu.cc",
    "turned_cells_cpu.cc",
)  # without TensorFlow's headers
GLUE = (
    "ops.cc",
    "op_kernels.cc",
    "cost_volume_op.cc",
    "local_ncc_op.cc",
    "smoothing_op.cc",
    "resampling_op.cc",
)
CUDA = ("warp_cuda.cu", "cost_volume_cuda.cu", "local_ncc_cuda.cu")
OLDEST_GPU = 75

_COMMON = ("-std=c++17", "-fPIC", "-fvisibility=hidden")
# Without contraction, a*b+c rounds the same in vector and scalar code and on every processor.
_KERNEL_FLAGS = ("-O3", "-ffp-contract=off", "-fno-trapping-math", "-fno-math-errno")
_GLUE_FLAGS = ("-O2",)


class BuildError(RuntimeError):
    """The native ops cannot be built here; the message says why in one line."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that one build depends on.

    Attributes:
        compiler, compiler_version: C++ compiler and the line with its version.
        nvcc, nvcc_version: the same for CUDA; None builds for the CPU alone.
        gpus: compute capabilities, e.g. (75, 90).
        tensorflow: its version.
        compile_flags, link_flags: flags that TensorFlow requires for its extensions.
        processor: digest of the CPU's features, on which `native` code relies.
        sources: digest of the sources.
    """

    compiler: str
    compiler_version: str
    nvcc: str | None
    nvcc_version: str | None
    gpus: tuple
    tensorflow: str
    compile_flags: tuple
    link_flags: tuple
    processor: str
    sources: str

    @property
    def name(self) -> str:
        """Folder name: TensorFlow's version, the devices and a digest of the whole plan."""
        flags = [*kernel_flags(self.compiler_version), *_GLUE_FLAGS]
        content = json.dumps([dataclasses.asdict(self), flags], sort_keys=True)
        kind = "cuda" if self.nvcc else "cpu"
        return f"tf{self.tensorflow}-{kind}-{_digest(content.encode())}"

    def compile_commands(self, folder: pathlib.Path) -> tuple[list[list[str]], list[str]]:
        """One command (list of strings) per object file, and the objects they make."""
        headers = [flag for flag in self.compile_flags if not flag.startswith("-std=")]
        commands = []
        for source in KERNELS:
            flags = kernel_flags(self.compiler_version)
            commands.append([self.compiler, *flags, "-c", str(SOURCES / source)])
        for source in GLUE:
            if self.nvcc:  # drives the C++ compiler, as it knows CUDA's include folders
                flags = ("-x", "c++", "-std=c++17", "-DRCN_CUDA", "-DGOOGLE_CUDA=1")
                passed = ",".join(("-fPIC", "-fvisibility=hidden"))
                start = [self.nvcc, "-ccbin", self.compiler, *flags, f"-Xcompiler={passed}"]
            else:
                start = [self.compiler, *_COMMON]
            commands.append([*start, *_GLUE_FLAGS, *headers, "-c", str(SOURCES / source)])
        if self.nvcc:
            for source in CUDA:
                commands.append([*cuda_command(self.nvcc, self.compiler, self.gpus, source), "-c"])
        objects = [str(folder / f"{k}.o") for k in range(len(commands))]
        return [[*c, "-o", o] for c, o in zip(commands, objects)], objects

    def link_command(self, objects: Sequence[str], library: pathlib.Path) -> list[str]:
        """Command that links the object files to a shared library."""
        driver = [self.nvcc, "-ccbin", self.compiler] if self.nvcc else [self.compiler]
        return [*driver, "-shared", *objects, *self.link_flags, "-o", str(library)]


def plan(cuda: bool | None = None) -> Plan:
    """Plan for this machine.

    Args: cuda: True demands the CUDA kernels, False leaves them out, None builds them if there
        are a GPU and nvcc.

    Raises: BuildError: if a compiler or TensorFlow's headers are missing.
    """
    import tensorflow as tf

    if os.name == "nt":
        raise BuildError("building on Windows is not supported; use WSL 2")
    compiler = find_compiler()
    if compiler is None:
        raise BuildError("no C++ compiler was found (g++, clang++ or the one that CXX names)")
    include = pathlib.Path(tf.sysconfig.get_include()) / "tensorflow/core/framework/op.h"
    if not include.exists():
        raise BuildError(f"TensorFlow's headers are missing: {include}")
    nvcc = find_nvcc() if cuda is not False else None
    if cuda and nvcc is None:
        raise BuildError("no nvcc was found (on PATH, in CUDA_HOME or as NVCC)")
    if cuda is None and not visible_gpus():
        nvcc = None
    return Plan(
        compiler=compiler,
        compiler_version=tool_version(compiler),
        nvcc=nvcc,
        nvcc_version=tool_version(nvcc) if nvcc else None,
        gpus=gpus_to_build_for(nvcc) if nvcc else (),
        tensorflow=tf.__version__,
        compile_flags=tuple(tf.sysconfig.get_compile_flags()),
        link_flags=tuple(tf.sysconfig.get_link_flags()),
        processor=_processor(),
        sources=_digest(b"".join(p.read_bytes() for p in sorted(SOURCES.iterdir()))),
    )


def find_compiler() -> str | None:
    """Path of the C++ compiler: `CXX`, else c++, g++ or clang++; None if none is found."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    return next(filter(None, map(shutil.which, names)), None)


def find_nvcc() -> str | None:
    """Path of nvcc: `NVCC`, else on PATH or in CUDA_HOME; None if none is found."""
    if os.environ.get("NVCC"):
        return shutil.which(os.environ["NVCC"])
    homes = [os.environ.get("CUDA_HOME"), "/usr/local/cuda"]
    places = [f"{home}/bin/nvcc" for home in homes if home]
    return next(filter(None, map(shutil.which, ["nvcc", *places])), None)


def kernel_flags(compiler_version: str) -> tuple[str, ...]:
    """Flags of the CPU kernels, which use all instructions of this machine's processor."""
    flags = (*_COMMON, *_KERNEL_FLAGS, *_native_flags())
    gcc = re.search(r"\b(\d+)\.\d+\.\d+", compiler_version)
    if gcc and int(gcc[1]) >= 11 and "clang" not in compiler_version:
        # GCC's analysis of what a function writes is wrong: 12.2 with -O2 drops the stores of
        # `Targets` in image_gradient_cpu.cc, and with them the gradient.
        flags += ("-fno-ipa-modref",)
    return flags


def cuda_command(nvcc: str, compiler: str, gpus: Sequence[int], source: str) -> list[str]:
    """nvcc's command for one of the CUDA sources, without its output."""
    code = [f"-gencode=arch=compute_{gpu},code=sm_{gpu}" for gpu in gpus]
    code.append(f"-gencode=arch=compute_{gpus[-1]},code=compute_{gpus[-1]}")  # for newer GPUs
    flags = ["-std=c++17", "-O3", "--threads=0", "-Xcompiler=-fPIC"]
    return [nvcc, "-ccbin", compiler, *flags, *code, str(SOURCES / source)]


def gpus_to_build_for(nvcc: str) -> tuple[int, ...]:
    """Compute capabilities of the GPUs here; without a GPU, all from 7.5 that nvcc knows."""
    return visible_gpus() or known_gpus(nvcc)


def known_gpus(nvcc: str) -> tuple[int, ...]:
    """Compute capabilities from 7.5 on for which this nvcc compiles, ascending."""
    listing = _run([nvcc, "--list-gpu-code"])
    known = {int(number) for number in re.findall(r"^sm_(\d+)$", listing, re.MULTILINE)}
    return tuple(sorted(number for number in known if number >= OLDEST_GPU))


@functools.lru_cache(maxsize=1)
def visible_gpus() -> tuple[int, ...]:
    """Compute capabilities of the GPUs that TensorFlow sees, e.g. (90,)."""
    import tensorflow as tf

    found = set()
    for device in tf.config.list_physical_devices("GPU"):
        capability = tf.config.experimental.get_device_details(device).get("compute_capability")
        if capability:
            found.add(10 * capability[0] + capability[1])
    return tuple(sorted(found))


def tool_version(tool: str) -> str:
    """The line with a compiler's version."""
    lines = _run([tool, "--version"]).strip().splitlines()
    return " ".join(line for line in lines if "elease" in line) or lines[0]


def _run(command):
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise BuildError(f"`{' '.join(command)}` failed: {error}") from error


def _native_flags():
    """Flags that make the compiler use all instructions of this machine's processor."""
    if platform.machine() in ("arm64", "aarch64"):
        return ("-mcpu=native",)
    if platform.machine() in ("x86_64", "AMD64"):
        return ("-march=native", "-mprefer-vector-width=512")
    return ()


def _processor():
    """Digest of the processor's features; without /proc, of its name."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    features = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    content = features[1] if features else platform.processor()
    return f"{platform.machine()}-{_digest(content.encode())}"


def _digest(content):
    return hashlib.sha256(content).hexdigest()[:16]
