"""`rcn register --pairs` end to end with a network of known flow, and `--learn2reg`."""

import csv
import json

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import map_coordinates

import rcn_tf
from rcn_tf import RecursiveCascade
from rcn_tf.commands import register as register_command
from rcn_tf.commands.main import main
from rcn_tf.models.folder import save_model
from tests.registration.test_pair import write_pair

LABELS = "fixed_labels.nii.gz,moving_labels.nii.gz"
HEADER = "fixed,moving,fixed_labels,moving_labels,name\n"
OPTIONS = ("--refine", "0", "--force", "--no-inverse")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with two images, their labels and a model."""
    folder = tmp_path_factory.mktemp("pairs")
    write_pair(folder)
    network = RecursiveCascade("tests.known_networks:gentle_waves", 1, (32, 32, 32))
    save_model(network, folder / "model")
    (folder / "text.nii.gz").write_text("no image")
    return folder


@pytest.fixture(autouse=True)
def empty_reports(monkeypatch):
    """Drawing takes seconds and is tested elsewhere."""

    def write_report(views, metrics, facts, folder):
        for name in ("report.html", "overview.png"):
            (folder / name).touch()

    monkeypatch.setattr("rcn_tf.registration.report.figures.make_views", lambda result: None)
    monkeypatch.setattr("rcn_tf.registration.report.write_report", write_report)


def table(study, tmp_path, rows):
    """Writes a table beside links to the images."""
    for path in study.glob("*.nii.gz"):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "pairs.csv").write_text(HEADER + rows)
    return tmp_path / "pairs.csv"


def run(study, pairs, out, *more):
    arguments = ["--pairs", pairs, "--model", study / "model", "--out", out, *OPTIONS, *more]
    return main(["register", *map(str, arguments)])


def array(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_pairs_are_registered_as_single_ones_are(study, tmp_path, capsys):
    pairs = table(study, tmp_path, f"fixed.nii.gz,moving.nii.gz,{LABELS},one\n")
    with pairs.open("a") as file:
        file.write("fixed.nii.gz,text.nii.gz,,,broken\nmoving.nii.gz,fixed.nii.gz,,,\n")
    out = tmp_path / "out"
    assert run(study, pairs, out) == 1
    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert lines[1].startswith("rcn: [1/3] one: correlation ")
    assert " Dice " in lines[1] and lines[1].endswith(" s")
    assert any(line.startswith("rcn: [2/3] broken: failed: cannot read") for line in lines)
    assert "rcn: reading" not in shown.err
    assert "2 of 3 pairs in" in shown.out
    assert shown.out.count("failed: broken: cannot read") == 1

    single = tmp_path / "single"
    files = [f"--{name}={study / name.replace('-', '_')}.nii.gz" for name in ("fixed", "moving")]
    files += [
        f"--{name}={study / name.replace('-', '_')}.nii.gz"
        for name in ("fixed-labels", "moving-labels")
    ]
    command = ["register", *files, "--model", str(study / "model"), "--out", str(single), *OPTIONS]
    assert main(command) == 0
    names = {path.name for path in single.iterdir()}
    assert {path.name for path in (out / "one").iterdir()} == names | {"pair.json"}
    for name in ("warped.nii.gz", "displacement.nii.gz", "warped_labels.nii.gz"):
        np.testing.assert_array_equal(array(out / "one" / name), array(single / name))
    metrics = [json.loads((f / "metrics.json").read_text()) for f in (single, out / "one")]
    assert metrics[0]["dice"] == metrics[1]["dice"]
    assert metrics[0]["settings"] == metrics[1]["settings"]

    with (out / "summary.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["one", "broken", "fixed_to_moving"]
    dice = metrics[0]["dice"]["mean"]["after"]
    assert float(rows["one"]["dice_after"]) == pytest.approx(dice, rel=1e-5)

    # Once more: nothing is done, the model is not loaded, and what failed is tried again.
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*nii.gz")}
    assert run(study, pairs, out) == 1
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*nii.gz")} == before
    again = capsys.readouterr()
    assert again.err.count("skipped, since it is complete") == 2
    assert "2 of them from before" in again.out


def test_one_model_serves_all_and_none_if_nothing_is_left(study, tmp_path, monkeypatch):
    loaded, models = [], []
    load, written = register_command.load_model, json.dumps({"failed": False, "seconds": {}})

    def register(args, steps, noted, load):
        models.append(load(args))
        (args.out / "metrics.json").write_text(written)

    def load_model(args):
        loaded.append(args.model)
        return load(args)

    monkeypatch.setattr(register_command, "load_model", load_model)
    monkeypatch.setattr(register_command, "register", register)
    monkeypatch.setattr("rcn_tf.registration.pair_index.write_overview", lambda *_: None)
    pairs = table(
        study, tmp_path, "fixed.nii.gz,moving.nii.gz,,,a\nmoving.nii.gz,fixed.nii.gz,,,b\n"
    )
    for _ in range(2):
        assert run(study, pairs, tmp_path / "out") == 0
    assert loaded == [study / "model"]
    assert len(models) == 2 and models[0] is models[1]
    assert run(study, pairs, tmp_path / "out", "--option", "n_repeats=2") == 0
    assert len(loaded) == 2 and len(models) == 4  # of other settings


BEFORE_ANY_WORK = [
    ("fixed.nii.gz,none.nii.gz,,,a\n", [], "pairs.csv, line 2: no such file"),
    ("fixed.nii.gz,moving.nii.gz,,,../a\n", [], "line 2: the name '../a' cannot be"),
    ("fixed.nii.gz,moving.nii.gz,,,a\n", ["--fixed", "x"], "leave out --fixed"),
    ("fixed.nii.gz,moving.nii.gz,,,a\n", ["--moving-mask", "x"], "leave out --moving-mask"),
    ("fixed.nii.gz,moving.nii.gz,,,a\n", ["--subset", "x"], "which has no subset 'x'"),
    ("fixed.nii.gz,moving.nii.gz,,,a\n", ["--dicom"], "line 2: --dicom needs --moving to be"),
    ("fixed.nii.gz,moving.nii.gz,,,a\n", ["--option", "x=1"], "has no option 'x'"),
]


@pytest.mark.parametrize(("rows", "more", "message"), BEFORE_ANY_WORK)
def test_faults_are_found_before_any_work(study, tmp_path, capsys, rows, more, message):
    pairs = table(study, tmp_path, rows)
    assert run(study, pairs, tmp_path / "out", *more) == 2
    error = capsys.readouterr().err.splitlines()
    assert message in error[-1]
    assert error[-1].startswith("rcn register: error: ")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_options_without_a_network_are_refused_before_any_work(study, tmp_path, capsys):
    pairs = table(study, tmp_path, "fixed.nii.gz,moving.nii.gz,,,a\n")
    options = ["--out", str(tmp_path / "out"), "--transform-type", "affine", "--repeats", "2"]
    assert main(["register", "--pairs", str(pairs), *options]) == 2
    assert "--repeats: no network runs here" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_single_pair_needs_both_images(capsys):
    for words, message in (
        ("--fixed a --out b", "--moving must be given, or --pairs"),
        ("--out b", "--fixed and --moving must be given, or --pairs"),
        ("--fixed a --moving b --out c --subset d", "goes with --pairs"),
    ):
        assert main(["register", *words.split()]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_displacement_for_learn2reg(study, tmp_path, capsys):
    """The challenge's evaluation warps the moving labels to those that were written."""
    for name in ("imagesTr", "labelsTr"):
        (tmp_path / name).mkdir()
    kinds = {"T_0001_0000": "fixed", "T_0002_0000": "moving"}
    for file, role in kinds.items():
        (tmp_path / "imagesTr" / f"{file}.nii.gz").symlink_to(study / f"{role}.nii.gz")
        (tmp_path / "labelsTr" / f"{file}.nii.gz").symlink_to(study / f"{role}_labels.nii.gz")
    pair = {"fixed": "./imagesTr/T_0001_0000.nii.gz", "moving": "./imagesTr/T_0002_0000.nii.gz"}
    dataset = {"name": "T", "training": [], "registration_val": [pair]}
    (tmp_path / "T_dataset.json").write_text(json.dumps(dataset))
    out = tmp_path / "out"
    assert run(study, tmp_path / "T_dataset.json", out, "--learn2reg") == 0
    assert {path.name for path in (out / "learn2reg").iterdir()} == {"disp_0001_0002.nii.gz"}
    assert "the displacements for a submission" in capsys.readouterr().out

    disp_field = nibabel.load(out / "learn2reg" / "disp_0001_0002.nii.gz").get_fdata()
    D, H, W, _ = disp_field.shape
    assert nibabel.load(study / "fixed.nii.gz").shape == (D, H, W)
    identity = np.meshgrid(np.arange(D), np.arange(H), np.arange(W), indexing="ij")
    moving_seg = nibabel.load(study / "moving_labels.nii.gz").get_fdata()
    warped = map_coordinates(moving_seg, identity + disp_field.transpose(3, 0, 1, 2), order=0)
    written = array(out / "0001_0002" / "warped_labels.nii.gz").transpose(2, 1, 0)
    assert (warped == written).mean() > 0.97  # nearest against a vote of eight
    assert (warped > 0).mean() > 0.01

    # A changed form is another setting; and the single pair writes its own.
    assert run(study, tmp_path / "T_dataset.json", out, "--learn2reg", "npz") == 0
    packed = np.load(out / "learn2reg" / "disp_0001_0002.npz")["arr_0"]
    np.testing.assert_allclose(packed, disp_field, rtol=1e-3, atol=1e-3)


def test_from_python(study, tmp_path):
    pairs = table(study, tmp_path, f"fixed.nii.gz,moving.nii.gz,{LABELS},one\n")
    options = {"refine_steps": 0, "force": True, "inverse": False}
    runs = rcn_tf.register_pairs(pairs, tmp_path / "out", study / "model", **options)
    assert not (tmp_path / "out").exists()  # it starts when it is asked for the first outcome
    (outcome,) = runs
    assert outcome.ok and not outcome.skipped
    assert outcome.metrics["dice"]["mean"]["after"] > 0
    assert rcn_tf.load_result(outcome.folder).warped.GetSize() == (
        sitk.ReadImage(str(study / "fixed.nii.gz")).GetSize()
    )
    model = rcn_tf.load_model(study / "model")
    given = [{"fixed": study / "fixed.nii.gz", "moving": study / "moving.nii.gz", "name": "x"}]
    for skipped in (False, True):
        (outcome,) = rcn_tf.register_pairs(given, tmp_path / "more", model, **options)
        assert outcome.ok and outcome.skipped == skipped
    with pytest.raises(ValueError, match="fixed_mask: every pair names its own"):
        rcn_tf.register_pairs(given, tmp_path / "more", fixed_mask=None)
    with pytest.raises(FileNotFoundError, match="no such file"):
        rcn_tf.register_pairs(tmp_path / "none.csv", tmp_path / "more")
