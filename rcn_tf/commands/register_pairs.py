"""`rcn register --pairs`: many pairs in one process, with one overview of all.

The model and TensorFlow are loaded once, and only if a pair is left to be done. One line per pair
is printed while they run, and what failed at the end.
"""

import argparse
import pathlib
import shutil
import sys

from rcn_tf.commands.model_options import model_options
from rcn_tf.commands.optimisation_options import initial_checksum
from rcn_tf.commands.shown_warnings import noting_warnings, silencing_warnings
from rcn_tf.errors import printable
from rcn_tf.quiet_tensorflow import load_tensorflow
from rcn_tf.registration.outputs import LEARN2REG
from rcn_tf.registration.pair_record import model_files_checksum
from rcn_tf.registration.pair_runs import check_places, run_pairs
from rcn_tf.registration.pairs_file import FILES, read_pairs
from rcn_tf.registration.steps import Steps
from rcn_tf.wording import counted

NOT_ALL = 1
"""Exit code where some pairs failed, or only their start is written."""

_PER_RUN = ("pairs", "out", "subset", "command", "compress", "model", "trust_code", *FILES)
"""Arguments that are no settings of a pair, or are recorded in another way."""


def add_arguments(parser):
    """Declares the arguments of many pairs."""
    parser.add_argument(
        "--pairs",
        type=pathlib.Path,
        metavar="FILE",
        help="register many pairs, each into a folder of DIR: a table (.csv) with the columns "
        "fixed, moving and, if you like, fixed_labels, moving_labels, fixed_mask, moving_mask, "
        "name; or a dataset of Learn2Reg (.json). Finished pairs are skipped (docs/many_pairs.md)",
    )
    parser.add_argument(
        "--subset",
        metavar="NAME",
        help="which pairs of a dataset of Learn2Reg (default: registration_val)",
    )


def check_one_pair(args):
    """Raises: ValueError: neither two images nor --pairs are given, or both."""
    missing = [f"--{name}" for name in ("fixed", "moving") if getattr(args, name) is None]
    if missing:
        raise ValueError(f"{' and '.join(missing)} must be given, or --pairs for many pairs")
    if args.subset is not None:
        raise ValueError("--subset chooses pairs of a dataset; it goes with --pairs")


def run(args, check, register):
    """Registers the pairs that are not done yet.

    Args:
        args: of `rcn register`. check: function of the arguments of one pair that raises for
            faults. register: function of (arguments, Steps, warnings, load) of one pair.
    Returns: exit code, 0 or NOT_ALL.
    Raises: ValueError, FileNotFoundError: before any work.
    """
    _check(args)
    pairs = read_pairs(args.pairs, args.subset)
    check_places(pairs, args.out)
    names = _learn2reg_names(pairs, args)
    for pair in pairs:
        try:
            check(_of_pair(args, pair, args.out / pair.name))
        except (ValueError, OSError) as error:
            raise ValueError(f"{pair.where}: {error}") from error
    load_tensorflow()
    from rcn_tf.registration.pair_index import INDEX, SUMMARY, write_overview

    loaded = _Loaded(args)

    def register_one(pair, folder):
        with silencing_warnings(), noting_warnings() as noted:
            register(_of_pair(args, pair, folder), Steps(), noted, loaded)

    outcomes = []
    runs = run_pairs(
        pairs, args.out, register_one, _settings(args), write_overview, prepare=loaded.load
    )
    for outcome in runs:
        outcomes.append(outcome)
        _collect(outcome, args, names)
        _say(_line(outcome, len(outcomes), len(pairs)))
        for text in outcome.metrics.get("warnings", ()) if not outcome.skipped else ():
            _say(f"    {outcome.pair.name}: {text}")
    return _print_summary(outcomes, args, (INDEX, SUMMARY))


class _Loaded:
    """The model of a run, loaded once; called as `rcn_tf.commands.register.load_model` is."""

    def __init__(self, args):
        self._args, self._model = args, None

    def load(self):
        """Loads the model and checks that it has the options that are chosen."""
        from rcn_tf.commands.register import load_model

        _say(f"loading the model {self._args.model or 'that comes with rcn'} ...")
        self._model = load_model(self._args)
        model_options(self._model[0], self._args)

    def __call__(self, args):
        return self._model


def _check(args):
    given = [f"--{name.replace('_', '-')}" for name in FILES if getattr(args, name) is not None]
    if given:
        raise ValueError(f"--pairs names the images of every pair; leave out {', '.join(given)}")


def _of_pair(args, pair, folder):
    """The arguments of a single pair."""
    files = {role: getattr(pair, role) for role in FILES}
    return argparse.Namespace(**{**vars(args), **files, "out": folder, "pairs": None})


def _settings(args):
    """What the results depend on besides the pair's files."""
    from rcn_tf import __version__

    chosen = {name: value for name, value in vars(args).items() if name not in _PER_RUN}
    if args.initial is not None:
        chosen["initial"] = initial_checksum(args)
    return {**chosen, "model": model_files_checksum(args.model), "rcn_tf": __version__}


def _learn2reg_names(pairs, args):
    """{pair's name: name of its displacement in a submission}; {} where none are written."""
    from rcn_tf.volumes.learn2reg.dataset import case_name
    from rcn_tf.volumes.learn2reg.displacement import file_name

    if not args.learn2reg:
        return {}
    names, seen = {}, {}
    for pair in pairs:
        case = case_name(pair.fixed, pair.moving) or pair.name
        name = file_name(f"disp_{case}", args.learn2reg)
        if name in seen:
            raise ValueError(
                f"{pair.where}: its displacement for Learn2Reg would be {name}, as that of "
                f"{seen[name]}; run them into different folders"
            )
        seen[name] = pair.where
        names[pair.name] = name
    return names


def _collect(outcome, args, names):
    """Puts a pair's displacement into the folder of the submission."""
    from rcn_tf.files.whole_files import replacing
    from rcn_tf.volumes.learn2reg.displacement import file_name

    if not names or not outcome.metrics:
        return
    source = outcome.folder / file_name(LEARN2REG, args.learn2reg)
    folder = args.out / LEARN2REG
    folder.mkdir(exist_ok=True)
    target = folder / names[outcome.pair.name]
    if target.exists() and outcome.skipped and target.stat().st_size == source.stat().st_size:
        return
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def _line(outcome, number, total):
    """The line of one pair."""
    name = f"[{number}/{total}] {outcome.pair.name}:"
    if outcome.error:
        return f"{name} failed: {outcome.error}"
    metrics, parts = outcome.metrics, []
    changes = {
        "correlation": metrics.get("correlation"),
        "Dice": metrics.get("dice", {}).get("mean"),
    }
    for title, stages in changes.items():
        if stages and None not in (stages.get("before"), stages.get("after")):
            parts.append(f"{title} {stages['before']:.3f} to {stages['after']:.3f}")
    if not outcome.ok:
        parts.append("fitted worse than its start, which is written")
    if outcome.skipped:
        parts.append("skipped, since it is complete and nothing has changed")
    else:
        parts.append(f"{outcome.seconds:.1f} s")
    return f"{name} {', '.join(parts)}"


def _print_summary(outcomes, args, files):
    skipped = sum(outcome.skipped for outcome in outcomes)
    failed = [outcome for outcome in outcomes if outcome.error]
    worse = [outcome for outcome in outcomes if not outcome.ok and not outcome.error]
    done = len(outcomes) - len(failed)
    print(
        f"{done} of {counted(len(outcomes), 'pair')} in {args.out}, {skipped} of them from before"
    )
    for outcome in worse:
        print(f"only the start is written: {outcome.pair.name} (see its report)")
    for outcome in failed:
        print(f"failed: {outcome.pair.name}: {outcome.error}")
    for name in files:
        print(f"written: {args.out / name}")
    if args.learn2reg and done:
        print(f"written: {args.out / LEARN2REG}, the displacements for a submission")
    return NOT_ALL if failed or worse else 0


def _say(text):
    print(f"rcn: {printable(text)}", file=sys.stderr, flush=True)
