"""How fast the affine stage of a cascade learns under different settings.

    python benchmarks/affine_stage.py --data mini/data/vtn_brain.json --out affine_stage
        [--only NAME ...] [--steps 1200] [--every 100]

Trains on scheme "1" of a dataset config and measures on the pairs of scheme "2". Settings whose
name begins with "alone" train the affine stage by itself, the row "Affine only" of RCN's Table 2;
"before" has it before a dense stage, with the similarity of the last image only, as RCN trains;
"each" with the similarity of each stage, as VTN trains ADDD. Every setting runs in a process of its
own and is not run again if its file is there. `--list` says what they are. Writes

    NAME.csv            over steps and processor seconds (user and system): mean Dice of the affine
                        and of the last stage, with every voxel's label from the nearest voxel;
                        correlation after the affine stage; mean loss since the line before
    references.csv      Dice of the same pairs, as they are and registered affinely by SimpleITK
    signal.csv          root mean square of the output of each layer of the encoder before training
    affine_stage.png    Dice of the affine stage over steps
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import pathlib
import subprocess
import sys
import time
from typing import Any

import numpy as np

REGULAR = {"determinant": 0.1, "orthogonality": 0.1}
LAST = {"affine": REGULAR, "dense": {"smoothness": 1.0}, "final": {"similarity": 1.0}}
EACH = {
    "affine": {"similarity": 1.0, **REGULAR},
    "dense": [{"similarity": 1.0, "smoothness": 1.0}],
}
FREE = {"dense": {"smoothness": 1.0}, "final": {"similarity": 1.0}}
HALVINGS = (0.4, 0.6, 0.8, 0.9)  # of the learning rate, fractions of the steps


@dataclasses.dataclass(frozen=True)
class Setting:
    """A training, by what differs from the others.

    dense: stages behind the affine one. size_free: whether the affine network's head takes means
    and first moments of the map at 1/16 of the size instead of a convolution that spans the last
    map. matrix_rate: factor on the learning rate of the layer that predicts A.
    """

    init: str = "steady"
    dense: int = 0
    loss: Any = dataclasses.field(default_factory=lambda: LAST)
    batch: int = 1
    rate: float = 1e-3
    halve_at: tuple = HALVINGS
    augment: bool = False
    channels: int = 4
    precision: str = "float32"
    size_free: bool = False
    matrix_rate: float = 1.0

    def config(self, steps: int) -> dict[str, Any]:
        """Training config, without data."""
        return {
            "network": {
                "n_cascades": self.dense,
                "channels": 4,
                "affine_channels": self.channels,
                "init": self.init,
            },
            "loss": self.loss,
            "optimizer": {"learning_rate": self.rate},
            "precision": self.precision,
            "steps": steps,
            "halve_at": sorted({round(steps * part) for part in self.halve_at}),
            "batch_size": self.batch,
            "augment": self.augment,
            "seed": 1,
        }


SETTINGS = {
    "alone, gentle": Setting("gentle"),
    "alone, steady": Setting(),
    "before, gentle": Setting("gentle", 1),
    "before, steady": Setting(dense=1),
    "alone, steady, A at a 32nd": Setting(matrix_rate=1 / 32),
    "alone, original": Setting("original"),
    "alone, steady, constant rate": Setting(halve_at=()),
    "alone, steady, 3e-4": Setting(rate=3e-4),
    "alone, steady, 3e-3": Setting(rate=3e-3),
    "alone, steady, size-free": Setting(size_free=True),
    "each, gentle": Setting("gentle", 1, EACH),
    "each, steady": Setting(dense=1, loss=EACH),
    "alone, steady, batch 4": Setting(batch=4),
    "alone, steady, 16 channels, 3e-4": Setting(channels=16, rate=3e-4),
    "alone, gentle, size-free": Setting("gentle", size_free=True),
    "alone, steady, augmented": Setting(augment=True),
    "alone, steady, no penalties": Setting(loss=FREE),
    "alone, steady, bfloat16": Setting(precision="bfloat16"),
    "alone, gentle, batch 4": Setting("gentle", batch=4),
    "alone, gentle, 1e-4": Setting("gentle", rate=1e-4),
    "before, original": Setting("original", 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, help="dataset config")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("affine_stage"))
    parser.add_argument("--only", nargs="+", choices=SETTINGS, metavar="NAME", default=SETTINGS)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--list", action="store_true", help="print the settings' names")
    parser.add_argument("--run", choices=SETTINGS, help=argparse.SUPPRESS)  # in this process
    args = parser.parse_args()
    if args.list:
        print("\n".join(SETTINGS))
        return
    if args.data is None:
        parser.error("--data must name a dataset config.")
    args.out.mkdir(parents=True, exist_ok=True)
    if args.run:
        rows = curve(SETTINGS[args.run], args.data, args.steps, args.every)
        write(args.out / f"{args.run}.csv", [{"setting": args.run, **row} for row in rows])
        return
    for name, made in (("references", references), ("signal", signals)):
        if not (args.out / f"{name}.csv").exists():
            write(args.out / f"{name}.csv", made(args.data))
    for name in args.only:
        if not (args.out / f"{name}.csv").exists():
            command = [sys.executable, __file__, "--run", name, "--data", str(args.data)]
            options = ["--out", args.out, "--steps", args.steps, "--every", args.every]
            subprocess.run([*command, *map(str, options)], check=True)
        draw(args.out)


def curve(setting: Setting, data: pathlib.Path, steps: int, every: int):
    """Trains, and yields a line of measurements before the first step and after every `every`."""
    import tensorflow as tf

    from rcn_tf.data.pipeline import training_dataset
    from rcn_tf.training.config import TrainingConfig
    from rcn_tf.training.optimizers import Halving, create_slots, make_optimizer
    from rcn_tf.training.step import make_train_step

    config = TrainingConfig.from_dict(setting.config(steps))
    tf.keras.utils.set_random_seed(config.seed)
    options = {"batch_size": config.batch_size, "seed": config.seed, "augment": config.augment}
    source = training_dataset(data, **options)
    model = made_model(setting, config, source.volume_shape)
    optimizer = make_optimizer(
        "adam",
        Halving(config.optimizer.learning_rate, config.halve_at),
        factors={"conv7_W": setting.matrix_rate} if setting.matrix_rate != 1 else None,
    )
    create_slots(optimizer, model.trainable_variables)
    strategy = tf.distribute.get_strategy()
    step_function = make_train_step(
        strategy, model, optimizer, weights=config.loss, batch_size=config.batch_size
    )
    measure = Measurement(data, model)
    losses: list[float] = []
    seconds, start = 0.0, time.process_time()
    for step, batch in enumerate(source.distributed(strategy, 0)):
        if step % every == 0:
            seconds += time.process_time() - start
            loss = np.mean(losses) if losses else np.nan
            row = {"step": step, "processor_s": seconds, **measure(), "loss": loss}
            print(row, flush=True)
            yield row
            losses, start = [], time.process_time()
        if step == steps:
            return
        losses.append(float(tf.reduce_mean(step_function(**batch)["total"])))


def made_model(setting: Setting, config: Any, shape: tuple):
    """The cascade of a setting."""
    from rcn_tf.training.making import make_model

    model = make_model(config, shape)
    if setting.size_free:
        import tensorflow as tf

        changed = size_free(model.affine)
        blank = tf.zeros((1, *shape, 1))
        changed(blank, blank)
        model.affine = changed
    return model


def size_free(network):
    """An affine network with the same encoder down to 1/16 of the size and another head."""
    import tensorflow as tf

    from rcn_tf.keras_api import keras
    from rcn_tf.networks.layers import GENTLE_SCALE, OriginalUniform

    class SizeFree(keras.Model):
        def __init__(self):
            super().__init__(name="affine_size_free")
            self.encoder = network.encoder[:6]
            scaled = OriginalUniform(GENTLE_SCALE)
            self.hidden = keras.layers.Dense(32, tf.nn.relu)
            self.last = keras.layers.Dense(12, use_bias=False, kernel_initializer=scaled)

        def call(self, fixed, moving):
            x = tf.concat([fixed, moving], axis=-1)
            for layer in self.encoder:
                x = layer(x)
            moments = [tf.reduce_mean(x, axis=(1, 2, 3))]
            for axis in (1, 2, 3):
                place = tf.linspace(-1.0, 1.0, x.shape[axis])
                place = tf.reshape(place, [-1 if k == axis else 1 for k in range(5)])
                moments.append(tf.reduce_mean(x * place, axis=(1, 2, 3)))
            numbers = self.last(self.hidden(tf.concat(moments, axis=-1)))
            return tf.reshape(numbers[:, :9], [-1, 3, 3]), numbers[:, 9:]

    return SizeFree()


class Measurement:
    """Mean Dice and correlation over the pairs of scheme "2"."""

    def __init__(self, data: pathlib.Path, model: Any):
        import tensorflow as tf

        self.pairs, self.structures = validation_pairs(data)
        self.register = tf.function(model)

    def __call__(self) -> dict[str, float]:
        import tensorflow as tf

        rows = []
        for fixed, moving in self.pairs:
            images = (scan.volume[None, ..., None] / np.float32(255) for scan in (fixed, moving))
            stages = self.register(*map(tf.constant, images)).stages
            warped = stages[0].warped.numpy().ravel()
            rows.append(
                {
                    "affine_dice": self._dice(fixed, moving, stages[0].total_flow),
                    "last_dice": self._dice(fixed, moving, stages[-1].total_flow),
                    "affine_correlation": np.corrcoef(fixed.volume.ravel(), warped)[0, 1],
                }
            )
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}

    def _dice(self, fixed, moving, flow):
        from rcn_tf import discrete_warps, metrics

        warped = discrete_warps.warp_nearest(moving.segmentation[None, ..., None], flow)
        return np.nanmean(metrics.dice(fixed.segmentation, warped[0, ..., 0], self.structures))


def validation_pairs(data: pathlib.Path):
    """([(fixed, moving) Scan], label ids) of scheme "2"."""
    from rcn_tf.data.dataset_config import load_dataset_config
    from rcn_tf.data.pairs import scheme_pairs
    from rcn_tf.data.scans import ScanStore

    config = load_dataset_config(data)
    with ScanStore(config) as store:
        pairs = [
            tuple(store.read(scan, annotations=True) for scan in pair)
            for group, _ in scheme_pairs(config, "2")
            for pair in group
        ]
    return pairs, list((config.structures or {}).values())


def references(data: pathlib.Path) -> list[dict[str, Any]]:
    """Mean Dice of the validation pairs without a network."""
    from eval.baselines import demons
    from rcn_tf.data.label_warp import warp_labels
    from rcn_tf.metrics import dice

    pairs, structures = validation_pairs(data)
    scores: dict[str, list] = {"identity": [], "SimpleITK affine": []}
    for fixed, moving in pairs:
        flow = demons.affine(fixed.volume, moving.volume)
        for name, labels in (
            ("identity", moving.segmentation),
            ("SimpleITK affine", warp_labels(moving.segmentation, flow)),
        ):
            scores[name].append(np.nanmean(dice(fixed.segmentation, labels, structures)))
    return [{"method": name, "dice": np.mean(values)} for name, values in scores.items()]


def signals(data: pathlib.Path) -> list[dict[str, Any]]:
    """Size of the signal in the affine encoder before training, and how much pairs differ."""
    import tensorflow as tf

    from rcn_tf.networks import AffineNetwork

    pairs, _ = validation_pairs(data)
    stacks = (np.stack(scans)[..., None] for scans in zip(*[[s.volume for s in p] for p in pairs]))
    images = tf.concat([np.float32(stack) / 255 for stack in stacks], axis=-1)
    rows = []
    for init in ("original", "steady"):  # a gentle start has the original's encoder
        tf.keras.utils.set_random_seed(1)
        x = images
        for layer in AffineNetwork(images.shape[1:4], channels=4, init=init).encoder:
            x = layer(x)
            values = {
                "init": init,
                "layer": layer.name,
                "rms": float(tf.norm(x)) / x.numpy().size ** 0.5,
            }
            rows.append({**values, "rms_between_pairs": float(np.std(x, axis=0).mean())})
    return rows


def draw(folder: pathlib.Path) -> None:
    """Draws all curves of a folder."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 6), layout="constrained")
    for name in SETTINGS:
        if (folder / f"{name}.csv").exists():
            rows = read(folder / f"{name}.csv")
            steps, dice = ([float(row[key]) for row in rows] for key in ("step", "affine_dice"))
            axes.plot(steps, dice, label=name)
    for row in read(folder / "references.csv"):
        axes.axhline(float(row["dice"]), color="grey", linestyle=":")
        axes.annotate(row["method"], (0, float(row["dice"])), color="grey")
    axes.set(xlabel="steps", ylabel="Dice after the affine stage")
    axes.legend(fontsize="small")
    figure.savefig(folder / "affine_stage.png", dpi=100)
    pyplot.close(figure)


def read(path: pathlib.Path) -> list[dict[str, str]]:
    """The lines of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: pathlib.Path, rows: Any) -> None:
    """Writes a CSV file when all of its lines are there."""
    rows = [
        {key: round(v, 5) if isinstance(v, float) else v for key, v in row.items()} for row in rows
    ]
    temporary = path.with_suffix(".part")
    with temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)


if __name__ == "__main__":
    main()
