"""Pairs per second of the input pipeline, storage choices of packs, and time spent waiting.

    rcn prepare synth --labels A.nii.gz B.nii.gz --number 25 --contrast t1 \
        --out work/study.h5 --config work/study.json
    python benchmarks/pipeline.py --config work/study.json [--passes 3] [--cascades 3]

1. The same scans with other chunks and compression: bytes, and milliseconds to read a volume
   with plain h5py, cold (the system's page cache is dropped) and warm.
2. The tf.data pipeline: pairs of float32 volumes per second, batch 1, with and without the
   B-spline augmentation; cold (page cache dropped, no scan cached) and warm (scans in memory).
3. Steps of a VTN training fed by the pipeline: fraction of the time spent waiting for a batch,
   and the whole step compared with one that gets the same batch each time.

Numbers are medians over the passes; RCN_OPS chooses the warp of the augmentation.
"""

import argparse
import os
import pathlib
import statistics
import tempfile
import time

import h5py
import numpy as np

from rcn_tf.data.dataset_config import load_dataset_config

LAYOUTS = {  # name: options of create_dataset for a volume's shape
    "one chunk, gzip 2 (ours)": lambda shape: {
        "chunks": shape, "compression": "gzip", "compression_opts": 2,
    },
    "one chunk, gzip 9": lambda shape: {
        "chunks": shape, "compression": "gzip", "compression_opts": 9,
    },
    "one chunk, lzf": lambda shape: {"chunks": shape, "compression": "lzf"},
    "h5py's own chunks, gzip 2": lambda shape: {
        "chunks": True, "compression": "gzip", "compression_opts": 2,
    },
    "slices, gzip 2": lambda shape: {
        "chunks": (1, *shape[1:]), "compression": "gzip", "compression_opts": 2,
    },
    "contiguous, none": lambda shape: {},
}  # fmt: skip


def main():
    args = parse()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    config = load_dataset_config(args.config)
    print(f"{len(scan_ids(config))} scans of {config.image_size}, {os.cpu_count()} cores\n")
    print("| layout | MB | write ms/scan | read ms/scan, cold | warm |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=args.config.parent) as folder:
        for name, options in LAYOUTS.items():
            print(layout_row(config, pathlib.Path(folder), name, options, args.passes), flush=True)
    print("\n| reader | pairs/s, cold | warm |\n|---|---|---|", flush=True)
    readers = {"plain h5py, uint8": lambda cached: plain_pairs(config)}
    for augment in (False, True):
        name = "augmented" if augment else "not augmented"
        readers[f"pipeline, {name}"] = lambda cached, augment=augment: pipeline_pairs(
            args.config, augment, cached
        )
    for name, reader in readers.items():
        cold, warm = (pairs_per_second(reader, config, args, warm=warm) for warm in (False, True))
        print(f"| {name} | {cold:.1f} | {warm:.1f} |", flush=True)
    if args.cascades:
        waiting(args, config)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=pathlib.Path, required=True, help="dataset config")
    parser.add_argument("--scheme", default="1")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=50, help="pairs per pass")
    parser.add_argument("--cascades", type=int, default=3, help="of the training; 0: none")
    parser.add_argument("--steps", type=int, default=20)
    return parser.parse_args()


def scan_ids(config):
    return [scan for scans in config.subsets.values() for scan in scans]


def drop_page_cache(*files):
    """Drops these files from the system's page cache, so that they are read from the disk."""
    for file in files:
        with pathlib.Path(file).open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def layout_row(config, folder, name, options, passes):
    """Writes all volumes in a layout and reads them back."""
    path = folder / "layout.h5"
    volumes = list(plain_volumes(config))
    start = time.perf_counter()
    with h5py.File(path, "w") as file:
        for number, volume in enumerate(volumes):
            file.create_dataset(f"{number}/volume", data=volume, **options(volume.shape))
    written = (time.perf_counter() - start) / len(volumes)
    seconds = {"cold": [], "warm": []}
    for _ in range(passes):
        drop_page_cache(path)
        for state in seconds:
            start = time.perf_counter()
            with h5py.File(path, "r") as file:
                for number in range(len(volumes)):
                    file[f"{number}/volume"][...]
            seconds[state].append((time.perf_counter() - start) / len(volumes))
    cold, warm = (1e3 * statistics.median(seconds[state]) for state in ("cold", "warm"))
    size = path.stat().st_size / 1e6
    return f"| {name} | {size:.1f} | {1e3 * written:.1f} | {cold:.1f} | {warm:.1f} |"


def plain_volumes(config):
    for scan in scan_ids(config):
        alias, key = config.locate(scan)
        with h5py.File(config.files[alias], "r") as file:
            yield file[key]["volume"][...]


def plain_pairs(config):
    """Both volumes of each pair, directly from the pack, endlessly."""
    rng = np.random.default_rng(0)
    scans = scan_ids(config)
    files = {alias: h5py.File(path, "r") for alias, path in config.files.items()}
    while True:
        pair = rng.choice(len(scans), 2, replace=False)
        located = [config.locate(scans[k]) for k in pair]
        yield [files[alias][key]["volume"][...] for alias, key in located]


def pipeline_pairs(config, augment, cached):
    """Batches of one pair from the training pipeline, endlessly."""
    from rcn_tf.data.dataset_config import load_dataset_config
    from rcn_tf.data.pipeline import training_dataset
    from rcn_tf.data.scans import ScanStore

    store = ScanStore(load_dataset_config(config), 2 << 30 if cached else 0, annotations=False)
    data = training_dataset(config, batch_size=1, augment=augment, store=store)
    return iter(data.batches())


def pairs_per_second(reader, config, args, *, warm):
    """Median over passes. The first pairs, which trace and fill queues, are not counted.

    A warm pass continues with the pairs of the previous one; a cold pass starts anew, with no
    part of the packs in memory.
    """
    rates, pairs = [], reader(cached=warm)
    for _ in range(args.passes):
        if not warm:
            pairs = reader(cached=False)
        for _ in range(5):
            next(pairs)
        if not warm:
            drop_page_cache(*config.files.values())
        begin = time.perf_counter()
        for _ in range(args.pairs):
            next(pairs)
        rates.append(args.pairs / (time.perf_counter() - begin))
    return statistics.median(rates)


def waiting(args, config):
    """Trains for some steps and prints which fraction of the time was spent waiting for data."""
    import tensorflow as tf

    import rcn_tf
    from rcn_tf.keras_api import keras
    from rcn_tf.losses.objective import RCN_WEIGHTS
    from rcn_tf.training.step import make_train_step

    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        model = rcn_tf.RecursiveCascade("vtn", args.cascades, config.image_size)
        optimizer = keras.optimizers.Adam(1e-4)
    step = make_train_step(strategy, model, optimizer, weights=RCN_WEIGHTS, batch_size=1)
    batches = pipeline_pairs(args.config, augment=True, cached=True)
    fixed_batch = next(batches)
    timed_step(step, fixed_batch)
    fed, waited, same = [], [], []
    for _ in range(args.steps):
        start = time.perf_counter()
        batch = next(batches)
        waited.append(time.perf_counter() - start)
        fed.append(waited[-1] + timed_step(step, batch))
    for _ in range(args.steps):
        same.append(timed_step(step, fixed_batch))
    print(f"\nVTN, {args.cascades} cascades, batch 1, {args.steps} steps, augmented")
    print(f"waiting for data: {sum(waited) / sum(fed):.2%} of the training time")
    fed, same = statistics.median(fed), statistics.median(same)
    print(
        f"step: {fed:.2f} s with the pipeline, {same:.2f} s with the same batch ({fed / same:.3f})"
    )


def timed_step(step, batch):
    import tensorflow as tf

    start = time.perf_counter()
    result = step(batch["fixed"], batch["moving"])
    tf.nest.map_structure(lambda value: value.numpy(), result)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
