"""Devices that a training runs on: one device, all GPUs of a machine, or many machines.

    "one"          the first GPU, or the CPU
    "mirrored"     all GPUs of this machine (without any, all its logical CPU devices)
    "multiworker"  all workers that TF_CONFIG or SLURM names, each with the GPUs it sees
    "auto"         multiworker where these name several workers, else mirrored where this
                   machine has several GPUs, else one

Every worker is started with the same command. The first one, the chief, writes all files; the
folder of the run must be one that every worker sees, since all resume from its checkpoint.
"""

from __future__ import annotations

import json
import os

import tensorflow as tf

CHOICES = ("auto", "one", "mirrored", "multiworker")
_MANY = 1024  # tasks that a SLURM node may run


def make_strategy(name: str = "auto") -> tf.distribute.Strategy:
    """The tf.distribute strategy of a name.

    "multiworker" must be made before TensorFlow computes anything in this process.

    Raises: ValueError: the name is unknown, or the environment does not name the workers.
    """
    if name not in CHOICES:
        raise ValueError(f"`strategy` must be one of {CHOICES}; got {name!r}.")
    workers = _workers_named()
    gpus = tf.config.list_physical_devices("GPU")
    if name == "auto":
        name = "multiworker" if workers > 1 else "mirrored" if len(gpus) > 1 else "one"
    if name == "one":
        return tf.distribute.OneDeviceStrategy("/gpu:0" if gpus else "/cpu:0")
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    if not workers:
        raise ValueError(
            "the strategy 'multiworker' needs the workers' addresses: set TF_CONFIG, or start "
            "with srun under SLURM."
        )
    return tf.distribute.MultiWorkerMirroredStrategy(_resolver())


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the run's files."""
    if not has_other_workers(strategy):
        return True
    resolver = strategy.cluster_resolver
    workers = resolver.cluster_spec().as_dict()
    return resolver.task_type == "chief" or ("chief" not in workers and not resolver.task_id)


def has_other_workers(strategy: tf.distribute.Strategy) -> bool:
    """Whether the job has workers besides this process."""
    resolver = strategy.cluster_resolver
    return resolver is not None and bool(resolver.cluster_spec())


def _workers_named():
    """Number of workers that the environment names."""
    if os.environ.get("TF_CONFIG"):
        return sum(map(len, _cluster().values()))
    if os.environ.get("SLURM_STEP_NUM_TASKS"):  # set by srun, also for a single task
        return int(os.environ["SLURM_STEP_NUM_TASKS"])
    return 0


def _cluster():
    """Addresses of TF_CONFIG's "chief" and "worker" tasks, of which this process is one."""
    try:
        config = json.loads(os.environ["TF_CONFIG"])
        cluster, task = config["cluster"], config["task"]
        known = set(cluster) <= {"chief", "worker"}
        lists = all(isinstance(addresses, list) for addresses in cluster.values())
        index = task["index"]
        if known and lists and type(index) is int and 0 <= index < len(cluster[task["type"]]):
            return cluster
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(
        "TF_CONFIG must be JSON like "
        '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, '
        '"task": {"type": "worker", "index": 0}}, with tasks "chief" and "worker" only.'
    )


def _resolver():
    """Addresses of all workers and which of them this process is; the GPUs are those it sees."""
    if os.environ.get("TF_CONFIG"):
        return tf.distribute.cluster_resolver.TFConfigClusterResolver()
    try:
        # Its own sharing out of GPUs fails on nodes without any, and srun does it already.
        slurm = tf.distribute.cluster_resolver.SlurmClusterResolver(
            gpus_per_node=_MANY, gpus_per_task=1, auto_set_gpu=False
        )
        cluster = slurm.cluster_spec()
    except RuntimeError as error:
        raise ValueError(f"the SLURM environment is not complete: {error}") from error
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        cluster,
        task_type=slurm.task_type,
        task_id=slurm.task_id,
        num_accelerators={"GPU": len(tf.config.list_physical_devices("GPU"))},
        rpc_layer="grpc",
    )
