"""The memory available for training: the machine's, the container's or the GPU's."""

from __future__ import annotations

import pathlib
import subprocess

import tensorflow as tf

from rcn_tf.files.memory import physical_memory

_MEMINFO = pathlib.Path("/proc/meminfo")
_OWN_GROUPS = pathlib.Path("/proc/self/cgroup")
_GROUPS = pathlib.Path("/sys/fs/cgroup")
_NVIDIA_SMI = ("nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits")


def available_memory() -> int | None:
    """Bytes that a replica may use, or None if that is not known.

    With GPUs it is the whole memory of the smallest one. Otherwise it is the machine's free memory
    or, if that is less, what the limits of the process' control groups (containers) leave.
    """
    if tf.config.list_physical_devices("GPU"):
        return _gpu_memory()
    return min([physical_memory(), *_free_memory(), *_left_by_groups()])


def available_to_replica(strategy: tf.distribute.Strategy) -> int | None:
    """Available bytes for one replica of a tf.distribute strategy; on CPUs replicas share them."""
    available = available_memory()
    if available is None or tf.config.list_physical_devices("GPU"):
        return available
    resolver = strategy.cluster_resolver
    addresses = resolver.cluster_spec().as_dict().values() if resolver else []
    workers = max(1, sum(map(len, addresses)))
    return available // (strategy.num_replicas_in_sync // workers)


def _gpu_memory():
    try:
        done = subprocess.run(_NVIDIA_SMI, capture_output=True, text=True, check=True, timeout=30)
        return min(int(line) * 2**20 for line in done.stdout.splitlines() if line.strip())
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _free_memory():
    """[bytes] that Linux can hand out without swapping; [] elsewhere."""
    try:
        lines = _MEMINFO.read_text().splitlines()
    except OSError:
        return []
    return [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]


def _left_by_groups():
    """Limit less usage of every control group around this process that has a limit."""
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        return []
    left = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2
            names, root = ("memory.max", "memory.current", "inactive_file"), _GROUPS
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            root = _GROUPS / "memory"
        else:
            continue
        group = pathlib.PurePosixPath(path.lstrip("/"))
        left += [_left_by_group(root / part, *names) for part in (group, *group.parents)]
    return [value for value in left if value is not None]


def _left_by_group(folder, limit_name, usage_name, cache_name):
    """Bytes left, cached files counted as free; None where there is no limit or no group."""
    try:
        limit = int((folder / limit_name).read_text())  # version 2 says "max" for none
        usage = int((folder / usage_name).read_text())
        statistics = (folder / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return None
    cached = [int(line.split()[1]) for line in statistics if line.split()[0] == cache_name]
    return max(limit - usage + sum(cached), 0)
