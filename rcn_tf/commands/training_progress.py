"""How a running training is shown: a bar on a terminal, else a line for every line of the log.

The bar, the step, the total and the time left always fit. What follows them, the least important
last, is cut off on a narrow terminal. The numbers of a line, and those beside the bar, are those of
`metrics.jsonl` for that step: means over the steps since the previous line. The model's own numbers
are left out.
"""

from __future__ import annotations

import datetime
import logging
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from rcn_tf.choices import OF_MODEL
from rcn_tf.files.memory import resident_memory

if TYPE_CHECKING:
    from rcn_tf.training.config import TrainingConfig


class TrainingProgress:
    """Shows a training; its log records (warnings, validation) are printed above the bar.

    Use it as a context manager around the training and as its `on_step`; `log` is its `on_log`.

    Args:
        config: TrainingConfig.
        shows: False for workers that are not the chief, who show nothing.
        console: rich Console to write to; by default standard error.
    """

    def __init__(self, config: TrainingConfig, shows: bool = True, console: Console | None = None):
        self.steps_seen = 0
        self._config = config
        self._shows = shows
        self._console = console or Console(stderr=True, highlight=False)
        self._progress = _progress(self._console)
        self._logging = _LogAbove(self._console)
        self._logger = logging.getLogger("rcn_tf")
        self._bar = None
        self._start = 0.0
        self._logged = ""

    def __enter__(self):
        self._level = self._logger.level
        if self._shows:
            self._logger.addHandler(self._logging)
            self._logger.setLevel(logging.INFO)
        return self

    def __exit__(self, *exc_info):
        self._progress.stop()
        self._logger.removeHandler(self._logging)
        self._logger.setLevel(self._level)

    def __call__(self, step: int, terms: Mapping[str, float]) -> None:
        """Counts a step. Args: terms: {name: value} of this step."""
        if self._bar is None:  # an error before the first step is shown without a bar
            self._start = time.monotonic()
            self._bar = self._progress.add_task("", total=self._config.steps, left="", terms="")
            if self._shows:
                self._progress.start()
        self.steps_seen += 1
        shown = self._logged or f"loss {terms['total']:.4f}"
        self._progress.update(self._bar, completed=step, left=self._left(step), terms=shown)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Shows a line of `metrics.jsonl`. Args: values: its entries without the step."""
        self._logged = _summary(values)
        if self._shows and not self._console.is_terminal:
            total = self._config.steps
            line = f"step {step}/{total}  {self._left(step)}  {self._logged}  {_memory()}"
            print(line, file=sys.stderr, flush=True)

    def _left(self, step):
        """Time left in words, estimated without the first step, which compiles."""
        if self.steps_seen < 2:
            return "time left unknown"
        per_step = (time.monotonic() - self._start) / (self.steps_seen - 1)
        seconds = round(per_step * max(self._config.steps - step, 0))
        return f"{datetime.timedelta(seconds=seconds)} left"


class _LogAbove(logging.Handler):
    """Prints log records through a rich console, so that they do not tear its bar."""

    def __init__(self, console):
        super().__init__()
        self._console = console

    def emit(self, record):
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        self._console.print(prefix + record.getMessage(), markup=False, soft_wrap=True)


def _progress(console):
    whole = {"no_wrap": True}
    return Progress(
        BarColumn(bar_width=20, table_column=Column(min_width=20, **whole)),
        TextColumn("step {task.completed:.0f}/{task.total:.0f}", table_column=Column(**whole)),
        TextColumn("{task.fields[left]}", table_column=Column(**whole)),
        TextColumn(
            "{task.fields[terms]}",
            markup=False,
            table_column=Column(overflow="ellipsis", ratio=1, **whole),
        ),
        console=console,
        expand=True,
        disable=not console.is_terminal,
    )


def _memory():
    """Memory that this process uses, on the GPU if there is one."""
    import tensorflow as tf

    if tf.config.list_logical_devices("GPU"):
        used = tf.config.experimental.get_memory_info("GPU:0")["current"]
    else:
        used = resident_memory()
    return f"{used / 2**30:.1f} GiB"


def _summary(values):
    """A line's values in words: the loss, the speed, then the terms summed over the stages."""
    values = dict(values)
    total, rate = values.pop("total"), values.pop("pairs_per_second")
    values.pop("learning_rate")
    sums = {}
    for name, value in values.items():
        if name.startswith(f"{OF_MODEL}/"):
            continue
        short = name.split("/")[-1]
        sums[short] = sums.get(short, 0.0) + value
    terms = "  ".join(f"{name} {value:.4f}" for name, value in sums.items())
    return f"loss {total:.4f}  {rate:.2f} pairs/s  {terms}"
