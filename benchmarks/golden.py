"""Largest deviation from the original graph's numbers, per reference file.

    python benchmarks/golden.py

Deviations of flows are in voxels, of the warped image in grey levels of 255, of losses and gradient
norms relative. `tests/test_golden.py` holds the tolerances; this prints the actual deviations.
"""

import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from tests.test_golden import NAMES, Case  # noqa: E402

SUB4 = (slice(None, None, 4),) * 3


def main():
    print("| file | flows | warped | losses | gradient norms |")
    print("|---|---|---|---|---|")
    for name in NAMES:
        print(
            f"| {name} | " + " | ".join(f"{value:.1e}" for value in deviations(Case(name))) + " |"
        )


def deviations(case):
    """(flows, warped image, losses, gradient norms): the largest deviation of each."""
    golden, stages = case.golden, case.output.stages
    flows = [case.output.flow[0][SUB4] - golden["real_flow_sub4"]]
    flows += [stage.flow[0][SUB4] - golden[f"flow_{k}_sub4"] for k, stage in enumerate(stages)]
    warped = case.output.warped[0][SUB4] * 255 - golden["warped_moving_sub4"]
    losses = [
        abs(float(case.losses[ours][0]) / float(np.ravel(theirs)[0]) - 1)
        for ours, theirs in case.expected_losses().items()
    ]
    norms = np.array(case.norms) / list(case.gradient_norms.values()) - 1
    return (
        max(abs(f).numpy().max() for f in flows),
        abs(warped).numpy().max(),
        max(losses),
        abs(norms).max(),
    )


if __name__ == "__main__":
    main()
