"""Trains RCN's best rows on the mini study and exports them as SavedModels.

    python examples/export_mini_models.py --data BRAINS --work build/large --out build/exported

BRAINS is a folder as `eval.mini_study` describes it. The networks of RCN's Table 1 are trained in
the study's large form and measured (`python -m eval table1 --mini=large --train`). Then the deepest
VTN and VoxelMorph cascades, with the repeats of the table's last rows, and VTN's ADDD are exported.
An interrupted call is continued by the same call. The large form takes days on two cores; `--form
quick` takes the quick one.
"""

import argparse
import pathlib
import sys

from eval.command import main as evaluate
from eval.models import state
from rcn_tf.commands.main import main as rcn

BEST = {"vtn_5_brain": 2, "voxelmorph_5_brain": 3, "vtn_addd_brain": 1}
"""{preset: repeats of each dense stage}: RCN's best rows, with the study's five cascades."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--form", choices=("quick", "large"), default="large")
    args = parser.parse_args()
    options = [f"--mini={args.form}", "--train", "--data", str(args.data), "--out", str(args.work)]
    code = evaluate(["table1", *options, "--limit-baselines", "1", "--no-figures"])
    if code not in (0, 1):  # 1: a classical method was not measured on all pairs
        sys.exit(code)
    args.out.mkdir(parents=True, exist_ok=True)
    for preset, repeats in BEST.items():
        folder = args.work / "models" / "brain" / preset
        if state(folder) != "trained":
            sys.exit(f"{folder} is {state(folder)}; the same call goes on with it.")
        out = ["--out", str(args.out / f"{preset}-r{repeats}"), "--force"]
        code = rcn(["export", str(folder), *out, "--repeats", str(repeats)])
        if code:
            sys.exit(code)


if __name__ == "__main__":
    main()
