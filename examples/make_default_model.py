"""Makes the model that `rcn register` uses by default: studies, training, float16 folder.

    python examples/make_default_model.py --data BRAINS --work build/default
    python benchmarks/default_model.py --data BRAINS --out build/dice \\
        --model present=rcn_tf/default_model --model new=build/default/model

BRAINS is a folder as `data_prep.brain_study` and `data_prep.default_study` describe it. The first
part trains on T1 images alone, by similarity (WORK/first); the second goes on from there with more
subjects, contrasts and heads, by Dice and similarity (WORK/second). The model that does best in
validation is written to WORK/model. An interrupted call is continued by the same call. `--first`
takes the result of an earlier first part; `--ship` replaces rcn_tf/default_model. The first part
takes about 50 minutes on two idle cores.
"""

import argparse
import pathlib
import sys

from data_prep import brain_study, default_study
from rcn_tf.commands.main import main as rcn
from rcn_tf.models.folder import DEFAULT_MODEL, load_with_config, save_model

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
# see rcn_tf.registration.meant_for: from a child's brain to a head, with its margin
MEANT_FOR = {
    "images": "MR images of brains or heads",
    "extent_mm": [[95, 200], [110, 260], [140, 290]],
    "hounsfield": False,
    "default": True,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--first", type=pathlib.Path, help="model to start the second part from")
    parser.add_argument("--ship", action="store_true", help="replace the package's model")
    args = parser.parse_args()
    if args.first is None:
        args.first = args.work / "first"
        study = args.work / "brain_study" / "brain_study.json"
        make(study, brain_study, args.data, "--renderings", "48")
        train("brain_small.json", study, args.first)
    study = args.work / "default_study" / "default_study.json"
    make(study, default_study, args.data)
    start = f"data.initial_model={args.first}"
    train("default_model.json", study, args.work / "second", "--set", start)
    for folder in (args.work / "model", *([DEFAULT_MODEL] if args.ship else [])):
        write_model(args.work / "second" / "best", folder)


def make(study, module, data, *options):
    """Builds a study, if that has not been done."""
    if not study.exists():
        done(module.main(["--data", str(data), "--out", str(study.parent), *options]))


def train(config, study, run, *options):
    """Trains, or goes on with it."""
    command = ["train", str(CONFIGS / config), "--out", str(run), *options]
    command += ["--set", f"data.config={study}"]
    if (run / "checkpoints" / "checkpoint").exists():
        command.append("--resume")
    done(rcn(command))


def done(code):
    """Ends the script with the exit code of a part that failed."""
    if code:
        sys.exit(code)


def write_model(run, folder):
    """Writes a run's model at half the size and without the run's paths."""
    model, config = load_with_config(run)
    training = config["training"]
    data = training["config"]["data"]
    for key in ("config", "initial_model"):
        data[key] = pathlib.Path(data[key]).name
    save_model(
        model,
        folder,
        dtype="float16",
        # A given mask removes what lies outside it, as skull stripping does.
        preprocessing={**config["preprocessing"], "apply_mask": True},
        meant_for=MEANT_FOR,
        training=training,
    )
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    print(f"{folder}: {size:.1f} MB, validation {training['validation']}")


if __name__ == "__main__":
    main()
