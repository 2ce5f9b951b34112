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
from rich.table import Table

_WIDTH = 200  # columns of the presets' table, where the output is not a terminal


def add_arguments(parser):
    """Declares the arguments of `rcn train`."""
    parser.add_argument(
        "config",
        nargs="?",
        help="training config (JSON or YAML) or name of a preset; "
        "with --resume by default the run's own",
    )
    parser.add_argument("--out", type=pathlib.Path, help="folder of the run and of the model")
    parser.add_argument(
        "--data", metavar="CONFIG", help="dataset config, short for --set data.config=CONFIG"
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="short for --set seed=N --set deterministic=true: the same run again, slower",
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
    parser.add_argument("--presets", action="store_true", help="list the presets and exit")


def run(args):
    """Trains as the arguments say and returns the exit code."""
    if args.presets:
        return _print_presets()
    if args.out is None:
        raise ValueError("--out is missing: the folder of the run and of the model.")
    source, settings = _source(args), _settings(args)

    from rcn_tf.training.config import load_training_config
    from rcn_tf.training.loop import train

    config = load_training_config(source, settings)
    with _StopOnSignal() as stop, _Watcher(config) as watcher:
        steps = train(
            config, args.out, resume=args.resume, on_step=watcher, should_stop=stop.requested
        )
    if not watcher.steps_seen and steps >= config.steps:
        print(f"nothing to do: {args.out} already has {steps} steps")
        return 0
    if steps < config.steps:
        print(f"stopped and saved at step {steps}; continue with --resume", file=sys.stderr)
        return 130
    print(f"trained {steps} steps; model in {args.out}")
    return 0


def _source(args):
    """What is trained: the config or preset named, or with --resume the run's own config."""
    if args.config is not None:
        return args.config
    if args.resume:
        return args.out / "training.json"
    raise ValueError("name a training config or a preset (`rcn train --presets` lists them).")


def _settings(args):
    """All settings in the order in which they hold; --set has the last word."""
    short = [] if args.data is None else [f"data.config={args.data}"]
    if args.seed is not None:
        short += [f"seed={args.seed}", "deterministic=true"]
    return [*short, *args.settings]


def _print_presets():
    from rcn_tf.training.presets import PRESETS

    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    table = Table(box=None, pad_edge=False)
    for heading in ("preset", "what", "paper", "its scores"):
        table.add_column(heading, no_wrap=heading == "preset")
    for preset in PRESETS.values():
        scores = ", ".join(f"{name} {value:g}" for name, value in preset.scores.items())
        table.add_row(preset.name, preset.description, preset.paper, scores)
    console.print(table)
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
            total = self._config.steps
            self._bar = self._progress.add_task("training", total=total, terms="")
            self._start = time.monotonic()
        seconds = time.monotonic() - self._start  # without the first step, which compiles
        rate = self.steps_seen * self._config.batch_size / seconds if self.steps_seen else 0.0
        self.steps_seen += 1
        shown = f"{rate:.2f} pairs/s  {_summary(terms)}"
        self._progress.update(self._bar, completed=step, terms=shown)
        if not self._console.is_terminal and step % self._config.log_every == 0:
            print(f"step {step}/{self._config.steps}  {shown}", file=sys.stderr)


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
