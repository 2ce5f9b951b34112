"""How fast the affine stage of a cascade learns under different settings.

    python benchmarks/affine_stage.py --data mini/data/vtn_brain.json --out affine_stage
        [--only NAME ...] [--steps 1200] [--every 100]

Trains the affine stage of RCN and VTN, alone or before dense stages, on scheme "1" of a dataset
config and measures it on the pairs of scheme "2": Dice of the affine stage and of the last one,
each with every voxel of the moving label map moved to the nearest voxel. Every setting runs in a
process of its own and changes the first one, `base`, in what `SETTINGS` says. Writes

    NAME.csv             a setting's Dice, correlation and loss over steps and processor seconds
    affine_stage.csv     all of them
    affine_stage.png     Dice of the affine stage over steps
    signal_NAME.csv      with `--signal`: size of every layer's output before training

Settings whose file is there are not run again. `references.csv` holds Dice of the same pairs
unregistered and after SimpleITK's affine registration.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

BASE: dict[str, Any] = {
    "network": {"base": "vtn", "n_cascades": 0, "channels": 4, "affine_channels": 4},
    "loss": {
        "affine": {"determinant": 0.1, "orthogonality": 0.1},
        "final": {"similarity": 1.0},
    },
    "optimizer": {"learning_rate": 1e-3},
    "halve_at": [],
    "batch_size": 1,
    "augment": False,
    "seed": 1,
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """A change of `BASE`.

    what: in words. changes: settings as of `rcn train --set`. prepare: changes the model before
    its training.
    """

    what: str
    changes: tuple = ()
    prepare: Callable[[Any], None] | None = None


def plain_encoder(model: Any) -> None:
    """The encoder's weights as the original draws them, under the gentle last layer."""
    from rcn_tf.networks.layers import OriginalUniform

    for layer in model.affine.encoder:
        layer.kernel.assign(OriginalUniform()(layer.kernel.shape))


def small_gain(gain):
    def prepare(model: Any) -> None:
        for layer in model.affine.encoder:
            layer.kernel.assign(gain * layer.kernel)

    return prepare


def valid_taps(size, stride):
    """Mean number of a 3-tap kernel's taps that lie within an axis, 'same'-padded."""
    out = -(-size // stride)
    before = max((out - 1) * stride + 3 - size, 0) // 2
    taps = [sum(0 <= k * stride - before + t < size for t in range(3)) for k in range(out)]
    return sum(taps) / out


def he_encoder(model: Any) -> None:
    import math

    shape = tuple(model.volume_shape)
    for layer in model.affine.encoder:
        stride = layer.strides[0]
        share = math.prod(valid_taps(n, stride) / 3 for n in shape)
        layer.kernel.assign(layer.kernel * math.sqrt(2 / 1.01 / share))
        shape = tuple(-(-n // stride) for n in shape)


def he_dense(model: Any) -> None:
    import math

    import numpy as np

    rng = np.random.default_rng(0)

    def draw(layer, var):
        lim = math.sqrt(3 * var)
        layer.kernel.assign(rng.uniform(-lim, lim, layer.kernel.shape).astype("f4"))

    he_encoder(model)
    for net in model.dense:
        shape = tuple(model.volume_shape)
        for level in net.encoder:
            for layer in level:
                stride = layer.strides[0]
                share = math.prod(valid_taps(n, stride) / 3 for n in shape)
                k = layer.kernel.shape
                draw(layer, 2 / 1.01 / (27 * k[3] * share))
                shape = tuple(-(-n // stride) for n in shape)
        for key, layer in net.predictions.items():
            n = model.volume_shape[0] // 2 ** int(key)
            share = (valid_taps(n, 1) / 3) ** 3
            draw(layer, 1 / (27 * layer.kernel.shape[3] * share))
        for layer in net.upsampled_flows.values():
            draw(layer, 1 / (8 * layer.kernel.shape[4]))
        for layer in net.upsampled_features.values():
            draw(layer, 2 / 1.01 / (8 * layer.kernel.shape[4]))


_DENSE = 'loss={"affine": {"determinant": 0.1, "orthogonality": 0.1}, "dense": {"smoothness": 1.0}, "final": {"similarity": 1.0}}'
_EACH = 'loss={"affine": {"similarity": 1.0, "determinant": 0.1, "orthogonality": 0.1}, "dense": [{"similarity": 1.0, "smoothness": 1.0}]}'

SETTINGS: dict[str, Setting] = {
    "base": Setting("alone, gentle start, one pair, 1e-3"),
    "he": Setting("encoder scaled", prepare=he_encoder),
    "he_3e-4": Setting("encoder scaled, 3e-4", ("optimizer.learning_rate=3e-4",), he_encoder),
    "he_3e-3": Setting("encoder scaled, 3e-3", ("optimizer.learning_rate=3e-3",), he_encoder),
    "he_batch4": Setting("encoder scaled, batch 4", ("batch_size=4",), he_encoder),
    "batch4": Setting("batch 4", ("batch_size=4",)),
    "original": Setting("original start", ("network.init=original",)),
    "he_16": Setting("encoder scaled, 16 channels", ("network.affine_channels=16",), he_encoder),
    "he_decay": Setting("encoder scaled, halving", ("halve_at=[400,600,800,900]",), he_encoder),
    "he_16_batch4": Setting(
        "encoder scaled, 16 channels", ("network.affine_channels=16", "batch_size=4"), he_encoder
    ),
    "paper": Setting("with a dense stage", ("network.n_cascades=1", _DENSE)),
    "paper_he": Setting("with a dense stage", ("network.n_cascades=1", _DENSE), he_encoder),
    "paper_he_all": Setting("with a dense stage", ("network.n_cascades=1", _DENSE), he_dense),
    "each": Setting("with a dense stage", ("network.n_cascades=1", _EACH)),
    "each_he": Setting("with a dense stage", ("network.n_cascades=1", _EACH), he_encoder),
    "each_he_all": Setting("with a dense stage", ("network.n_cascades=1", _EACH), he_dense),
    "3e-4": Setting("3e-4", ("optimizer.learning_rate=3e-4",)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        run(args.run, args.data, args.out, args.steps, args.every)
        return
    for name in args.only:
        if not (args.out / f"{name}.csv").exists():
            command = [sys.executable, __file__, "--run", name, "--data", args.data]
            command += ["--out", str(args.out), "--steps", str(args.steps)]
            subprocess.run([*command, "--every", str(args.every)], check=True)


def run(name, data, out, steps, every):
    import numpy as np
    import tensorflow as tf

    from rcn_tf import discrete_warps, metrics
    from rcn_tf.data.pairs import scheme_pairs
    from rcn_tf.data.pipeline import training_dataset
    from rcn_tf.training.config import TrainingConfig
    from rcn_tf.training.making import make_model
    from rcn_tf.training.optimizers import Halving, create_slots, make_optimizer
    from rcn_tf.training.step import make_train_step

    setting = SETTINGS[name]
    config = TrainingConfig.from_dict(BASE).with_settings(*setting.changes)
    tf.keras.utils.set_random_seed(config.seed)
    source = training_dataset(
        data, "1", batch_size=config.batch_size, seed=config.seed, augment=config.augment
    )
    model = make_model(config, source.volume_shape)
    if setting.prepare:
        setting.prepare(model)
    rate = Halving(config.optimizer.learning_rate, config.halve_at)
    optimizer = make_optimizer("adam", rate)
    create_slots(optimizer, model.trainable_variables)
    strategy = tf.distribute.get_strategy()
    step_function = make_train_step(
        strategy, model, optimizer, weights=config.loss, batch_size=config.batch_size
    )
    from rcn_tf.data.dataset_config import load_dataset_config
    from rcn_tf.data.scans import ScanStore

    dataset = load_dataset_config(data)
    store = ScanStore(dataset)
    val = [p for pairs, _ in scheme_pairs(dataset, "2") for p in pairs]
    labels = list(dataset.structures.values())
    call = tf.function(model)

    def measure():
        rows = []
        for pair in val:
            a, b = (store.read(s, annotations=True) for s in pair)
            f, m = (tf.constant(s.volume[None, ..., None] / 255.0, tf.float32) for s in (a, b))
            o = call(f, m)
            seg = tf.constant(b.segmentation[None, ..., None])
            d = []
            for stage in (o.stages[0], o.stages[-1]):
                w = discrete_warps.warp_nearest(seg, stage.total_flow).numpy()[0, ..., 0]
                d.append(np.nanmean(metrics.dice(a.segmentation, w, labels)))
            x, y = f.numpy().ravel(), o.stages[0].warped.numpy().ravel()
            rows.append((*d, np.corrcoef(x, y)[0, 1]))
        return np.mean(rows, 0)

    out.mkdir(parents=True, exist_ok=True)
    rows, losses = [], []
    spent = 0.0
    start = time.process_time()
    for step, batch in enumerate(source.distributed(strategy, 0)):
        if step % every == 0:
            spent += time.process_time() - start
            dice, last, r = measure()
            rows.append(
                {"setting": name, "step": step, "affine_dice": round(dice, 4), "last_dice": round(last, 4),
                 "affine_correlation": round(float(r), 4), "loss": round(float(np.mean(losses or [np.nan])), 4),
                 "processor_s": round(spent, 1)}
            )
            print(rows[-1], flush=True)
            losses = []
            start = time.process_time()
        if step >= steps:
            break
        terms = step_function(**batch)
        losses.append(float(tf.reduce_mean(terms["total"])))
    with open(out / f"{name}.csv", "w") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
