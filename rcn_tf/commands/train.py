"""Train a registration network on packs of scans."""

import pathlib
import signal
import sys

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
    stop = _StopOnSignal()
    with _progress() as progress, stop:
        bar = progress.add_task("starting", total=config["steps"], terms="")
        first = None

        def on_step(step, terms):
            nonlocal first
            first = step if first is None else first
            elapsed = progress.tasks[bar].elapsed or 0.0
            pairs = (step - first) * config["batch_size"] / elapsed if elapsed else 0.0
            shown = f"{pairs:.2f} pairs/s  {_summary(terms)}"
            progress.update(bar, completed=step, description="training", terms=shown)

        steps = train(
            config, args.out, resume=args.resume, on_step=on_step, should_stop=stop.requested
        )
    if steps < config["steps"]:
        print(f"stopped and saved at step {steps}; continue with --resume", file=sys.stderr)
        return 130
    print(f"trained {steps} steps; model in {args.out}")
    return 0


def _summary(terms):
    """Loss terms in one line, each summed over the stages."""
    sums = {}
    for name, value in terms.items():
        short = name.split("/")[-1]
        sums[short] = sums.get(short, 0.0) + value
    total = sums.pop("total")
    return f"loss {total:.4f}  " + "  ".join(f"{name} {value:.4f}" for name, value in sums.items())


def _progress():
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[terms]}"),
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
