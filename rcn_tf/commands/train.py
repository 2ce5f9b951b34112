"""Train a registration network on packs of scans."""

from __future__ import annotations

import argparse
import pathlib
import signal
import sys

from rich.console import Console
from rich.table import Table

from rcn_tf.commands.options import add_settings, add_trust
from rcn_tf.commands.training_progress import TrainingProgress
from rcn_tf.files.plain_names import plain_output_folder
from rcn_tf.quiet_tensorflow import load_tensorflow
from rcn_tf.wording import counted

_WIDTH = 200  # columns of the presets' table, if the output is not a terminal
_ABOUT_PRESETS = (
    "All but `quick` train as published: 100000 steps (vm2: 5000; vrnet: 20000 to 50000), "
    "starting with large random flows as in the papers (not vrnet), which takes hours to weeks on "
    "a GPU."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `rcn train`."""
    parser.add_argument(
        "config",
        nargs="?",
        help="training config (JSON or YAML) or name of a preset "
        "(default with --resume: the run's own config)",
    )
    parser.add_argument("--out", type=pathlib.Path, help="folder of the run and of the model")
    parser.add_argument(
        "--data", metavar="CONFIG", help="dataset config; short for --set data.config=CONFIG"
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="short for --set seed=N --set deterministic=true: a repeatable but slower run",
    )
    add_settings(parser, "override a setting, e.g. --set network.n_cascades=3 (repeatable)")
    parser.add_argument(
        "--strategy",
        choices=("auto", "one", "mirrored", "multiworker"),
        default="auto",
        help="use one device, all GPUs of this machine, or all workers that TF_CONFIG or SLURM "
        "names (default: all that are available)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in --out with its own data, even if both have been moved",
    )
    add_trust(parser)
    parser.add_argument("--presets", action="store_true", help="list the presets and exit")


def run(args: argparse.Namespace) -> int:
    """Trains as the arguments say and returns the exit code."""
    if args.presets:
        return _print_presets()
    if args.out is None:
        raise ValueError("--out is missing; it names the folder of the run and of the model.")
    source, settings = _source(args), _settings(args)

    load_tensorflow()
    from rcn_tf.training.config import load_training_config
    from rcn_tf.training.loop import train
    from rcn_tf.training.run_folder import CONFIG
    from rcn_tf.training.strategies import is_chief, make_strategy

    config = load_training_config(source, settings)
    if source == args.out / CONFIG:
        _check_code(args, config)
    strategy = make_strategy(args.strategy)
    shown = TrainingProgress(config, shows=is_chief(strategy))
    with _StopOnSignal() as stop, plain_output_folder(args.out) as out, shown as progress:
        steps = train(
            config,
            out,
            resume=args.resume,
            strategy=strategy,
            on_step=progress,
            on_log=progress.log,
            should_stop=stop.requested,
        )
    if not progress.steps_seen and steps >= config.steps:
        print(f"nothing to do: {args.out} already has {counted(steps, 'step')}")
        return 0
    if steps < config.steps:
        print(f"stopped and saved at step {steps}; continue with --resume", file=sys.stderr)
        return 130
    print(f"trained {counted(steps, 'step')}; model in {args.out}")
    return 0


def _source(args):
    """The config or preset that is named, or with --resume the run's own config."""
    if args.config is not None:
        return args.config
    if args.resume:
        return args.out / "training.json"
    raise ValueError("name a training config or a preset (`rcn train --presets` lists them).")


def _check_code(args, config):
    """Refuses to import a module that only the run's folder names, unless this account made it.

    Raises: ValueError: as `rcn_tf.models.trust.check_import`.
    """
    from rcn_tf.files.json_files import read_json
    from rcn_tf.models import trust
    from rcn_tf.training.run_folder import CONFIG, ENVIRONMENT

    code = trust.code_of({"model": config.model, "network": dict(config.network)})
    path = args.out / ENVIRONMENT
    named = any(setting.startswith(("network.", "model=")) for setting in args.settings)
    record = read_json(path) if path.is_file() else {}
    trust.check_import(code, record, args.trust_code or named, args.out / CONFIG)


def _settings(args):
    """All settings in the order in which they are applied; --set overrides the others."""
    short = [] if args.data is None else [f"data.config={args.data}"]
    if args.seed is not None:
        short += [f"seed={args.seed}", "deterministic=true"]
    return [*short, *args.settings]


def _print_presets():
    from rcn_tf.presets import PRESETS

    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    table = Table(box=None, pad_edge=False)
    table.caption, table.caption_justify = _ABOUT_PRESETS, "left"
    for heading in ("preset", "what", "paper", "its scores"):
        table.add_column(heading, no_wrap=heading == "preset")
    for preset in PRESETS.values():
        scores = ", ".join(f"{name} {value:g}" for name, value in preset.scores.items())
        table.add_row(preset.name, preset.description, preset.paper, scores)
    console.print(table)
    return 0


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
