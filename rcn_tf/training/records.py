"""The records of a training run for people to watch: TensorBoard events and `metrics.jsonl`."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from custom_ops import warp
from rcn_tf import fields
from rcn_tf.files.whole_files import replacing

_GRID_SPACING = 8  # voxels between the lines of the deformed grid


class Records:
    """Averages of the loss terms since the last log line, and pictures.

    Args:
        folder: of the run; events go to `logs/`, lines to `metrics.jsonl`.
        step: step at which the run starts or resumes; lines of later steps, which were lost when
            the run was killed, are dropped.
    """

    def __init__(self, folder: str | pathlib.Path, step: int = 0):
        folder = pathlib.Path(folder)
        self._writer = tf.summary.create_file_writer(str(folder / "logs"))
        self._lines = folder / "metrics.jsonl"
        self._window: list[Mapping[str, float]] = []
        _drop_lines_after(self._lines, step)

    def add(self, terms: Mapping[str, float]) -> None:
        """Notes the terms of one step, a dict {name: mean over the batch}."""
        self._window.append(terms)

    def log(self, step: int, **extra: float) -> dict[str, float]:
        """Writes the window's means and `extra` (pairs/s, learning rate, …) at `step`.

        A term that only some of the steps have is averaged over those.

        Returns: dict with the line's values other than the step.
        """
        values_of: dict[str, list[float]] = {}  # the steps of two phases have different terms
        for terms in self._window:
            for name, value in terms.items():
                values_of.setdefault(name, []).append(value)
        means = {name: float(np.mean(values)) for name, values in values_of.items()}
        self._window = []
        values = {**means, **extra}
        self.write(step, values)
        return values

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One line of numbers, and the same to TensorBoard."""
        self._append({"step": step, **values})
        with self._writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self._writer.flush()

    def warn(self, step: int, message: str) -> None:
        """One line with a warning."""
        self._append({"step": step, "warning": message})

    def pictures(
        self, step: int, *, fixed: tf.Tensor, moving: tf.Tensor, warped: tf.Tensor, flow: tf.Tensor
    ) -> None:
        """Slices of the images, the grid as the flow deforms it, and its Jacobian's histogram.

        Args: images [B, *spatial, 1] in [0, 1]; flow [B, *spatial, R]; the first sample is shown.
        """
        flow = flow[:1]
        grid = warp(_grid(flow.shape[1:-1]), flow)
        volumes = {"fixed": fixed, "moving": moving, "warped": warped}
        with self._writer.as_default(step=step):
            for channel in range(grid.shape[-1]):
                shown = {**volumes, "grid": grid[..., channel : channel + 1]}
                for name, volume in shown.items():
                    middle, title = volume[:1], name
                    if len(volume.shape) == 5:
                        size, axis = volume.shape[channel + 1], channel + 1
                        middle = tf.gather(middle, size // 2, axis=axis)
                        title = f"{name}/axis_{channel}"
                    tf.summary.image(title, tf.clip_by_value(middle, 0.0, 1.0))
            tf.summary.histogram("jacobian_determinant", fields.jacobian_determinant(flow))

    def close(self) -> None:
        """Writes pending events."""
        self._writer.close()

    def _append(self, line):
        with self._lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _grid(shape):
    """Grid lines: [1, D, H, W, 3], channel k for slices across axis k, or [1, H, W, 1]."""
    on_line = [index % _GRID_SPACING == 0 for index in np.indices(shape, sparse=True)]
    if len(shape) == 2:
        lines = [on_line[0] | on_line[1]]
    else:
        d, h, w = on_line
        lines = np.broadcast_arrays(h | w, d | w, d | h)
    return tf.constant(np.stack(lines, axis=-1)[None].astype(np.float32))


def _drop_lines_after(path, step):
    if path.exists():
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and _step_of(line) <= step]
        with replacing(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")


def _step_of(line):
    """Step of a line; infinity for a damaged line, so that it is dropped."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")
