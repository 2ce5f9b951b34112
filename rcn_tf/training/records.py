"""What a training run writes for people to watch: TensorBoard events and `metrics.jsonl`."""

import json
import pathlib

import numpy as np
import tensorflow as tf

from rcn_tf.files import replacing


class Records:
    """Averages of the loss terms since the last log line, and slices of the images.

    Args:
        folder: of the run; events go to `logs/`, lines to `metrics.jsonl`.
        step: at which the run starts or resumes; later lines, of steps that a kill has
            undone, are dropped.
    """

    def __init__(self, folder, step=0):
        folder = pathlib.Path(folder)
        self._writer = tf.summary.create_file_writer(str(folder / "logs"))
        self._lines = folder / "metrics.jsonl"
        self._window = []
        _drop_lines_after(self._lines, step)

    def add(self, terms):
        """Notes the terms of one step, a dict {name: mean over the batch}."""
        self._window.append(terms)

    def log(self, step, **extra):
        """Writes the window's means and `extra` (pairs/s, learning rate, …) at `step`."""
        names = self._window[0]
        values = {name: float(np.mean([terms[name] for terms in self._window])) for name in names}
        values.update(extra)
        self._window = []
        with self._lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        with self._writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self._writer.flush()

    def images(self, step, **volumes):
        """Writes the middle slice along each axis of volumes [B, D, H, W, 1] in [0, 1]."""
        with self._writer.as_default(step=step):
            for name, volume in volumes.items():
                for axis in range(3):
                    middle = tf.gather(volume[:1], volume.shape[axis + 1] // 2, axis=axis + 1)
                    tf.summary.image(f"{name}/axis_{axis}", tf.clip_by_value(middle, 0.0, 1.0))

    def close(self):
        self._writer.close()


def _drop_lines_after(path, step):
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        with replacing(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")
