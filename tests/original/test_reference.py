"""Checkpoints of the reference weights, imported by the command, give the original's numbers."""

import pytest

from rcn_tf.commands.main import main
from rcn_tf.models.folder import load_with_config
from tests import test_golden
from tests.original.checkpoints import ARGS, write_checkpoint

CASES = [
    ("VoxelMorph_n1_r1_64_s41", ()),
    pytest.param("VTN_n2_r2_64_s31", ("--repeats 2",), marks=pytest.mark.nightly),
    pytest.param("VTN_n1_r1_128_s51", (), marks=pytest.mark.nightly),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "hints"), CASES)
def test_golden_numbers_through_the_command(name, hints, tmp_path, capsys):
    base, cascades, repeats, size, _ = name.split("_")
    options = {"base_network": base, "n_cascades": int(cascades[1:]), "rep": int(repeats[1:])}
    weights = test_golden.reference_weights(name)
    folder = write_checkpoint(tmp_path / "weights", weights, args={**ARGS, **options})
    del weights
    shape = [] if size == "128" else ["--volume-shape", *[size] * 3]
    assert main(["import-original", str(folder), *shape]) == 0
    printed = capsys.readouterr().out
    for hint in (*hints, "100000", f"of {base.lower()}, 16 channels"):
        assert hint in printed

    model, config = load_with_config(tmp_path / "weights-rcn")
    assert config["original"]["args"]["base_network"] == base
    case = test_golden.Case(name, model)
    test_golden.test_flows_and_warped_image(case)
    test_golden.test_losses(case)
    test_golden.test_metrics(case)
