"""`rcn evaluate` of an imported model on data in the original's form, by the original's formulas.

Packs, dataset config, folders and checkpoint are as the original has them; its evaluation is
worked out here with NumPy and SciPy from the model's flows.
"""

import itertools
import json

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from rcn_tf.commands.main import main
from rcn_tf.models.folder import load_with_config
from tests.original.checkpoints import ARGS, SHAPE, small_weights, write_checkpoint

CLASSES = {"left hippocampus": 21, "right hippocampus": 41, "brainstem": 182}
SUBSETS = {
    "sliver-val": ["sliver/liver_1", "sliver/liver_2", "sliver/liver_3"],
    "lits-val": ["4", "5"],
}
BRAIN_SUBSETS = {"lpba-val": ["lpba/S01", "lpba/S02", "lpba/S03", "lpba/S04"]}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The original's folder: `datasets/` with packs and configs, `weights/` with a checkpoint."""
    root = tmp_path_factory.mktemp("project")
    (root / "datasets").mkdir()
    rng = np.random.default_rng(5)
    write_pack(root / "datasets/sliver_val.h5", ["liver_1", "liver_2", "liver_3"], rng, liver)
    write_pack(root / "datasets/lits.h5", ["4", "5"], rng, liver)
    write_pack(root / "datasets/lpba_val.h5", ["S01", "S02", "S03", "S04"], rng, brain)
    common = {"image_size": list(SHAPE)}
    liver_config = {
        **common,
        "image_type": "liver",
        "files": {
            "sliver": {"path": "datasets/sliver_val.h5", "type": "hdf5"},
            "/": {"path": "datasets/lits.h5", "type": "hdf5"},
        },
        "schemes": {"1": {"lits-val": 1.0}, "2": {"sliver-val": 1.0}, "3": {"lits-val": 1.0}},
        "subsets": SUBSETS,
    }
    brain_config = {
        **common,
        "image_type": "brain",
        "files": {"lpba": {"path": "datasets/lpba_val.h5", "type": "hdf5"}},
        "schemes": {"1": {"lpba-val": 1.0}, "2": {"lpba-val": 1.0}},
        "subsets": BRAIN_SUBSETS,
        "atlas": "lpba/S01",
        "segmentation_class_value": CLASSES,
    }
    (root / "datasets/liver.json").write_text(json.dumps(liver_config))
    (root / "datasets/brain.json").write_text(json.dumps(brain_config))
    weights = small_weights()
    for kind in ("liver", "brain"):
        args = {**ARGS, "dataset": f"datasets/{kind}.json"}
        write_checkpoint(root / "weights" / kind, weights, args=args)
    return root


def write_pack(path, ids, rng, make):
    with h5py.File(path, "w") as file:
        for scan_id in ids:
            image = gaussian_filter(rng.standard_normal(SHAPE), 3)
            image = np.uint8(255 * (image - image.min()) / np.ptp(image))
            group = file.create_group(scan_id)
            group["volume"] = image
            group["segmentation"] = make(image)
            group["point"] = rng.uniform(4, np.array(SHAPE) - 5, (6, 3))


def liver(image):
    return np.uint8(255 * (image > 130))


def brain(image):
    edges = np.quantile(image, [0.4, 0.6, 0.75, 0.9])
    return np.array([0, *CLASSES.values(), 7], np.uint8)[np.digitize(image, edges)]


@pytest.fixture(scope="module", params=["liver", "brain"])
def study(request, project):
    """(kind of images, imported model, the original's pairs of the subset)."""
    kind = request.param
    folder = project / "models" / kind
    assert main(["import-original", str(project / "weights" / kind), "--out", str(folder)]) == 0
    if kind == "liver":
        pairs = list(itertools.permutations(SUBSETS["sliver-val"], 2))
    else:
        atlas, *others = BRAIN_SUBSETS["lpba-val"]
        pairs = [(atlas, other) for other in others]
    return kind, folder, pairs


@pytest.fixture(scope="module")
def expected(project, study):
    """The original's measures, a row per pair, from the flows of the imported model."""
    kind, folder, pairs = study
    model, _ = load_with_config(folder)
    scans = read_packs(project / "datasets")
    rows = []
    for names in pairs:
        fixed, moving = (scans[name.split("/")[-1]] for name in names)
        images = [np.float32(scan["volume"][None, ..., None]) / 255 for scan in (fixed, moving)]
        flow = np.float64(model(*images).flow[0])
        segmentations = fixed["segmentation"], moving["segmentation"]
        row = {
            "dice": (mask_dice if kind == "liver" else mean_class_dice)(*segmentations, flow),
            "landmark_voxels": landmark_error(fixed["point"], moving["point"], flow),
            "jacobian_std": jacobian_std(flow),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def read_packs(folder):
    scans = {}
    for path in folder.glob("*.h5"):
        with h5py.File(path) as file:
            for key, group in file.items():
                scans[key] = {name: group[name][...] for name in group}
    return scans


def mask_dice(fixed, moving, flow):
    place = np.indices(SHAPE) + np.moveaxis(flow, -1, 0)
    warped = map_coordinates(moving.astype(float), place, order=1, mode="nearest")
    a, b = fixed > 128, warped > 128
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def mean_class_dice(fixed, moving, flow):
    def mask(segmentation, value):
        return np.where(np.abs(segmentation - float(value)) < 0.5, 255.0, 0.0)

    return np.mean([mask_dice(mask(fixed, v), mask(moving, v), flow) for v in CLASSES.values()])


def landmark_error(fixed, moving, flow):
    moved = [map_coordinates(flow[..., k], fixed.T, order=1) for k in range(3)]
    return np.linalg.norm(fixed + np.transpose(moved) - moving, axis=1).mean()


def jacobian_std(flow):
    inner = tuple(slice(n - 1) for n in SHAPE)
    columns = [np.diff(flow, axis=k)[inner] for k in range(3)]
    return np.linalg.det(np.stack(columns, axis=-1) + np.eye(3)).std()


def evaluate(project, study, out, *options):
    """(Last stage's rows of pairs.csv, last stage of summary.json) of `rcn evaluate`."""
    kind, folder, _ = study
    data = project / "datasets" / f"{kind}.json"
    command = ["evaluate", folder, "--data", data, "--out", out, *options]
    assert main([str(word) for word in command]) == 0
    (results,) = out.iterdir()
    frame = pd.read_csv(results / "pairs.csv")
    summary = json.loads((results / "summary.json").read_text())["stages"][-1]
    return frame[frame.stage == summary["stage"]].reset_index(drop=True), summary


@pytest.mark.slow
def test_the_originals_measures(project, study, expected, tmp_path):
    kind, _, pairs = study
    subset = "sliver-val" if kind == "liver" else "lpba-val"
    found, summary = evaluate(
        project, study, tmp_path / "out", "--subset", subset, "--overlap", "original"
    )
    assert list(zip(found.fixed, found.moving)) == pairs
    for measure, tolerance in (("dice", 1e-4), ("landmark_voxels", 1e-4), ("jacobian_std", 1e-3)):
        np.testing.assert_allclose(found[measure], expected[measure], rtol=tolerance)
        statistics = summary[measure]
        assert statistics["n"] == len(pairs)
        assert statistics["mean"] == pytest.approx(expected[measure].mean(), rel=tolerance)
        assert statistics["std"] == pytest.approx(expected[measure].std(ddof=0), rel=10 * tolerance)


@pytest.mark.slow
def test_by_default_voxels_belong_to_the_strongest_label(project, study, expected, tmp_path):
    kind, _, _ = study
    found, _ = evaluate(project, study, tmp_path / "out", "--scheme", "2")
    if kind == "liver":  # one mask: no other label competes
        np.testing.assert_allclose(found.dice, expected.dice, rtol=1e-4)
    else:
        difference = (found.dice - expected.dice).abs()
        assert 1e-4 < difference.max() < 0.01


@pytest.mark.parametrize("study", ["liver"], indirect=True)
def test_pairs_of_scans_that_belong_together(project, study, tmp_path):
    found, _ = evaluate(project, study, tmp_path / "out", "--subset", "lits-val", "--paired")
    assert list(zip(found.fixed.astype(str), found.moving.astype(str))) == [("4", "5"), ("5", "4")]
