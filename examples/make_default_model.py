"""Makes the model that `rcn register` uses by default: study, training, float16 folder.

    python examples/make_default_model.py --data BRAINS --work build/default
    python benchmarks/default_model.py --data BRAINS --model build/default/model

BRAINS is a folder as `data_prep.default_study` describes it. The study is written to WORK/study,
the run to WORK/run, and the model that did best in validation to WORK/model. An interrupted call is
continued by the same call. With `--ship` the model also replaces rcn_tf/default_model.
"""

import argparse
import pathlib
import sys

from data_prep import default_study
from rcn_tf.commands.main import main as rcn
from rcn_tf.models.folder import DEFAULT_MODEL, load_with_config, save_model

CONFIG = pathlib.Path(__file__).parents[1] / "configs" / "default_model.json"
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
    parser.add_argument("--ship", action="store_true", help="replace the package's model")
    args = parser.parse_args()
    study, run = args.work / "study", args.work / "run"
    if not (study / "default_study.json").exists():
        code = default_study.main(["--data", str(args.data), "--out", str(study)])
        if code:
            return code
    command = ["train", str(CONFIG), "--out", str(run)]
    command += ["--set", f"data.config={study / 'default_study.json'}"]
    if (run / "checkpoints" / "checkpoint").exists():
        command.append("--resume")
    code = rcn(command)
    if code:
        return code
    write_model(run / "best", args.work / "model")
    if args.ship:
        write_model(run / "best", DEFAULT_MODEL)
    return 0


def write_model(run, folder):
    """Writes a run's model at half the size and without the run's paths."""
    model, config = load_with_config(run)
    training = config["training"]
    training["config"]["data"]["config"] = pathlib.Path(training["config"]["data"]["config"]).name
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
    sys.exit(main())
