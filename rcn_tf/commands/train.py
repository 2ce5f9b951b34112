"""Train a registration network on packs of scans."""

import pathlib
import signal
import sys
import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def add_arguments(parser):
    parser.add_argument("config", type=pathlib.Path, help="training config (JSON)")
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, help="folder of the run and of the model"
    )
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a setting, e.g. --set network.n_cascades=3 (repeatable)",
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")


def run(args):
    from rcn_tf.training.config import load_training_config
    from rcn_tf.training.loop import train

    config = load_training_config(args.config, args.settings)
    with _StopOnSignal() as stop, _Watcher(config) as watcher:
        steps = train(
            config, args.out, resume=args.resume, on_step=watcher, should_stop=stop.requested
        )
    if not watcher.steps_seen and steps >= config["steps"]:
        print(f"nothing to do: {args.out} already has {steps} steps")
        return 0
    if steps < config["steps"]:
        print(f"stopped and saved at step {steps}; continue with --resume", file=sys.stderr)
        return 130
    print(f"trained {steps} steps; model in {args.out}")
    return 0


class _Watcher:
    """Shows the training: a bar on a terminal, else a line whenever `log_every` steps are done."""

    def __init__(self, config):
        self.steps_seen = 0
        self._config = config
        self._console = Console(stderr=True)
        self._progress = _progress(self._console)
        self._bar = None
        self._start = None

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._progress.stop()

    def __call__(self, step, terms):
        if self._bar is None:  # nothing is drawn over an error that comes before any step
            self._progress.start()
            total = self._config["steps"]
            self._bar = self._progress.add_task("training", total=total, terms="")
            self._start = time.monotonic()
        seconds = time.monotonic() - self._start  # without the first step, which compiles
        rate = self.steps_seen * self._config["batch_size"] / seconds if self.steps_seen else 0.0
        self.steps_seen += 1
        shown = f"{rate:.2f} pairs/s  {_summary(terms)}"
        self._progress.update(self._bar, completed=step, terms=shown)
        if not self._console.is_terminal and step % self._config["log_every"] == 0:
            print(f"step {step}/{self._config['steps']}  {shown}", file=sys.stderr)


def _summary(terms):
    """Loss terms in one line, each summed over the stages."""
    sums = {}
    for name, value in terms.items():
        short = name.split("/")[-1]
        sums[short] = sums.get(short, 0.0) + value
    total = sums.pop("total")
    return f"loss {total:.4f}  " + "  ".join(f"{name} {value:.4f}" for name, value in sums.items())


def _progress(console):
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[terms]}"),
        console=console,
        disable=not console.is_terminal,
    )


class _StopOnSignal:
    """Ctrl-C or SIGTERM asks for a stop after the current step; a second one interrupts."""

    def __init__(self):
        self._stop = False
        self._previous = {}

    def requested(self):
        return self._stop

    def __enter__(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exc_info):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number, frame):
        if self._stop:
            raise KeyboardInterrupt
        self._stop = True
