"""Makes the model that `rcn register` uses by default: study, training, float16 folder.

    python examples/make_default_model.py --data SCANS --work build/default

SCANS is a folder with brain/ as `data_prep.brain_study` describes it. The study is written to
WORK/study, the run to WORK/run (it is continued if it was interrupted), and the model to
rcn_tf/default_model. This takes about 50 minutes on two cores.
"""

import argparse
import pathlib
import sys

from data_prep import brain_study
from rcn_tf.commands.main import main as rcn
from rcn_tf.models.folder import DEFAULT_MODEL, load_with_config, save_model

CONFIG = pathlib.Path(__file__).parents[1] / "configs" / "brain_small.json"
RENDERINGS = ("--renderings", "48")
# see rcn_tf.registration.meant_for: the brain of an adult or a child, with its margin
MEANT_FOR = {
    "images": "skull-stripped T1 brains",
    "extent_mm": [[95, 175], [110, 195], [140, 220]],
    "hounsfield": False,
    "skull": False,
    "default": True,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    args = parser.parse_args()
    study, run = args.work / "study", args.work / "run"
    if not (study / "brain_study.json").exists():
        brain_study.main(["--data", str(args.data), "--out", str(study), *RENDERINGS])
    command = ["train", str(CONFIG), "--out", str(run)]
    command += ["--set", f"data.config={study / 'brain_study.json'}"]
    if (run / "checkpoints" / "checkpoint").exists():
        command.append("--resume")
    code = rcn(command)
    return code or ship(run)


def ship(run):
    """Copies a run's model to the package, at half the size and without the run's paths."""
    model, config = load_with_config(run)
    training = config["training"]
    training["config"]["data"]["config"] = pathlib.Path(training["config"]["data"]["config"]).name
    save_model(
        model,
        DEFAULT_MODEL,
        dtype="float16",
        # The model expects brains without skull, so a given mask removes what lies outside it.
        preprocessing={**config["preprocessing"], "apply_mask": True},
        meant_for=MEANT_FOR,
        training=training,
    )
    size = sum(path.stat().st_size for path in DEFAULT_MODEL.iterdir()) / 2**20
    print(f"{DEFAULT_MODEL}: {size:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
