"""Train a registration network on packs of scans."""

import logging
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

from rcn_tf.commands.options import add_settings
from rcn_tf.files import resident_memory
from rcn_tf.plain_names import plain_output_folder
from rcn_tf.quiet_tensorflow import load_tensorflow
from rcn_tf.wording import counted

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
    add_settings(parser, "override a setting, e.g. --set network.n_cascades=3 (repeatable)")
    parser.add_argument(
        "--strategy",
        choices=("auto", "one", "mirrored", "multiworker"),
        default="auto",
        help="one device, all GPUs of this machine, or all workers that TF_CONFIG or SLURM "
        "names; by default as many as there are",
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

    load_tensorflow()
    from rcn_tf.training.config import load_training_config
    from rcn_tf.training.loop import train
    from rcn_tf.training.strategies import is_chief, make_strategy

    config = load_training_config(source, settings)
    strategy = make_strategy(args.strategy)
    shown = _Watcher(config, shows=is_chief(strategy))
    with _StopOnSignal() as stop, plain_output_folder(args.out) as out, shown as watcher:
        steps = train(
            config,
            out,
            resume=args.resume,
            strategy=strategy,
            on_step=watcher,
            should_stop=stop.requested,
        )
    if not watcher.steps_seen and steps >= config.steps:
        print(f"nothing to do: {args.out} already has {counted(steps, 'step')}")
        return 0
    if steps < config.steps:
        print(f"stopped and saved at step {steps}; continue with --resume", file=sys.stderr)
        return 130
    print(f"trained {counted(steps, 'step')}; model in {args.out}")
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
    """Shows the training: a bar on a terminal, else a line whenever `log_every` steps are done.

    What the training logs (warnings, validation) is printed above the bar. Workers that are not
    the chief show nothing.
    """

    def __init__(self, config, shows=True):
        self.steps_seen = 0
        self._config = config
        self._shows = shows
        self._console = Console(stderr=True, highlight=False)
        self._progress = _progress(self._console)
        self._logging = _LogAbove(self._console)
        self._logger = logging.getLogger("rcn_tf")
        self._bar = None
        self._start = None

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

    def __call__(self, step, terms):
        if self._bar is None:  # nothing is drawn over an error that comes before any step
            self._start = time.monotonic()
            self._bar = self._progress.add_task("training", total=self._config.steps, terms="")
            if self._shows:
                self._progress.start()
        seconds = time.monotonic() - self._start  # without the first step, which compiles
        rate = self.steps_seen * self._config.batch_size / seconds if self.steps_seen else 0.0
        self.steps_seen += 1
        shown = f"{rate:.2f} pairs/s  {_summary(terms)}  {_memory()}"
        self._progress.update(self._bar, completed=step, terms=shown)
        lines = self._shows and not self._console.is_terminal
        if lines and step % self._config.log_every == 0:
            print(f"step {step}/{self._config.steps}  {shown}", file=sys.stderr)


class _LogAbove(logging.Handler):
    """Prints log records through a rich console, so that they do not tear its bar."""

    def __init__(self, console):
        super().__init__()
        self._console = console

    def emit(self, record):
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        self._console.print(prefix + record.getMessage(), markup=False, soft_wrap=True)


def _memory():
    """Memory that this process holds, on the GPU where there is one."""
    import tensorflow as tf

    if tf.config.list_logical_devices("GPU"):
        used = tf.config.experimental.get_memory_info("GPU:0")["current"]
    else:
        used = resident_memory()
    return f"{used / 2**30:.1f} GiB"


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
