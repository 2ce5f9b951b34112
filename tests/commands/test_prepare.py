"""`rcn prepare`: datasets, check, qc and synth from the command line."""

import json
import re
import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from data_prep.contact_sheet import COLUMNS
from data_prep.dataset_pack import whole_pairs
from data_prep.scan_files import content_hash
from rcn_tf.commands.main import main
from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.packs import PackReader
from rcn_tf.data.pairs import subset_pairs
from rcn_tf.data.scans import ScanStore
from tests.data_prep.phantoms import LIVER, abdomen, small_abdomen

SHAPE = ("--shape", "16", "18", "20", "--workers", "1")


@pytest.fixture(scope="module")
def download(tmp_path_factory):
    """A SLIVER07 download of three scans; one has another name in the landmarks' folder."""
    folder = tmp_path_factory.mktemp("sliver")
    for number, liver_hu in ((1, 55), (2, 110), (10, 60)):
        image, labels = abdomen(liver_hu, seed=number)
        sitk.WriteImage(image, str(folder / f"liver-orig{number:03d}.mhd"))
        sitk.WriteImage(labels == 1, str(folder / f"liver-seg{number:03d}.mhd"))
    (folder / "landmarks").mkdir()
    (folder / "landmarks" / "2.csv").write_text("x,y,z\n{},{},{}\n".format(*LIVER[0]))
    return folder


def run(*words):
    return main(["prepare", *map(str, words)])


def test_one_command_makes_what_training_reads(download, tmp_path, capsys):
    assert run("sliver", "--data", download, "--out", tmp_path / "packs", *SHAPE) == 0
    printed = capsys.readouterr().out
    assert "3 scans of SLIVER07 found; the paper has 20" in printed
    assert "scans/minute (" in printed
    config = load_dataset_config(tmp_path / "packs" / "sliver.json")
    assert config.subset("sliver") == ("sliver/1", "sliver/2", "sliver/10")
    assert (config.image_type, config.image_size) == ("liver", (16, 18, 20))
    assert len(subset_pairs(config, "sliver")) == 6
    with ScanStore(config) as store:
        store.check(config.subset("sliver"))
        assert set(np.unique(store.read("sliver/1").segmentation)) == {0, 255}
        assert (store.read("sliver/2").points[1:] == -1).all()
    assert run("check", tmp_path / "packs" / "sliver.json", "--checksums") == 1
    assert "not complete" in capsys.readouterr().out


def test_options_of_livers(download, tmp_path, capsys):
    box = ("--box", "10", "-150", "0", "-90", "50", "-40", "100")
    options = ("--only", "1", "10", *box, "--match-histogram", "2", "--margin", "5")
    mask = ("--mask", "1", download / "liver-seg001.mhd")
    assert run("sliver", "--data", download, "--out", tmp_path, *SHAPE, *options, *mask) == 0
    with PackReader(tmp_path / "sliver.h5") as reader:
        assert reader.ids() == ["1", "10"]
        found = {scan: reader.read(scan).attributes["note"] for scan in reader.ids()}
    assert found == {"1": "box: given mask", "10": "box: given box"}
    for wrong, message in (
        (("--only", "7"), "has no scan '7'; the first is '1'"),
        (("--box", "1", "a", "0", "0", "0", "0", "0"), "--box 1: six numbers are needed"),
        (("--width", "0"), "--width must be positive"),
        (("--margin", "nan"), "--margin not negative"),
        (("--mask", "1", "nowhere.nii"), "no such file: nowhere.nii"),
        (("--workers", "0"), "--workers must be at least 1"),
        (("--orientation", "XYZ"), "an orientation is three letters"),
        (("--match-histogram", "7"), "sliver has no scan '7'"),
        (("--only", "1", "--mask", "2", "gone.nii"), "no such file: gone.nii"),
    ):
        capsys.readouterr()
        out = tmp_path / "other"
        shape = SHAPE[:4] if "--workers" in wrong else SHAPE
        assert run("sliver", "--data", download, "--out", out, *shape, *wrong) == 2
        assert message in capsys.readouterr().err


def test_boxes_from_a_file(download, tmp_path, capsys):
    folder = tmp_path / "data"
    shutil.copytree(download, folder)
    words = ("sliver", "--data", folder, "--out", tmp_path, *SHAPE, "--only", "1")
    (folder / "boxes.csv").write_text("id, x0,x1,y0,y1,z0,z1\n1,-150,0,-90,50,-40,100\n")
    assert run(*words) == 0
    assert "1: box: given box" in capsys.readouterr().out
    for text, message in (
        ("id,x0\n", "boxes.csv lacks the columns x1, y0"),
        ("id,x0,x1,y0,y1,z0,z1\n1,a,0,0,0,0,0\n", "boxes.csv, line 2: six numbers"),
        ("id,x0,x1,y0,y1,z0,z1\n1,5,0,0,1,0,1\n", "boxes.csv, line 2: a box is x0 < x1"),
        ("id,x0,x1,y0,y1,z0,z1\n1,0,inf,0,1,0,1\n", "boxes.csv, line 2: a box is x0 < x1"),
        ("id,x0,x1,y0,y1,z0,z1\n9,0,1,0,1,0,1\n", "has no scan '9'"),
    ):
        (folder / "boxes.csv").write_text(text)
        assert run(*words) == 2
        assert message in capsys.readouterr().err


def test_list_and_hashed_names(download, tmp_path, capsys):
    assert run("sliver", "--data", download, "--out", tmp_path, "--list") == 0
    assert "liver-seg010.mhd" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert run("sliver", "--data", download, "--out", tmp_path, *SHAPE, "--hash-ids") == 0
    with PackReader(tmp_path / "sliver.h5") as reader:
        assert all(re.fullmatch("[0-9a-f]{12}", scan_id) for scan_id in reader.ids())
    words = ("--data", download, "--out", tmp_path, "--only", "1", "--hash-ids")
    assert run("sliver", *words) == 2
    assert "--only and --hash-ids do not go together" in capsys.readouterr().err


def test_pairs_need_both(tmp_path, capsys):
    names = {"a": "a_0", "b": "a_1", "c": "b_1", "d": "c_x_0", "e": "c_x_1"}
    assert whole_pairs(names) == ["a", "b", "d", "e"]
    for seed, name in enumerate(("2017_02_pregas", "2017_02_aftergas", "2017_03_pregas")):
        image, labels = abdomen(seed=seed)
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
        sitk.WriteImage(labels == 1, str(tmp_path / f"{name}_seg.nii.gz"))
    (tmp_path / "2017_03_aftergas.nii.gz").write_bytes(b"damaged")
    assert run("lspig", "--data", tmp_path, "--out", tmp_path, *SHAPE) == 1
    assert "for want of the other one of the pair: 2017_03_pregas" in capsys.readouterr().out
    config = load_dataset_config(tmp_path / "lspig.json")
    assert len(subset_pairs(config, "lspig")) == 2
    shutil.copy(tmp_path / "2017_02_pregas.nii.gz", tmp_path / "2017_04_pregas.nii.gz")
    hashed = (*SHAPE, "--hash-ids")
    assert run("lspig", "--data", tmp_path, "--out", tmp_path / "hashed", *hashed) == 1
    assert "1 file is not used, another has its id" in capsys.readouterr().out
    config = load_dataset_config(tmp_path / "hashed" / "lspig.json")
    assert len(subset_pairs(config, "lspig")) == 2
    assert "2017" not in str(config.subset("lspig"))
    alone = ("--only", "2017_02_pregas")
    assert run("lspig", "--data", tmp_path, "--out", tmp_path / "alone", *SHAPE, *alone) == 2
    assert "no pair is whole" in capsys.readouterr().err


def test_atlas_of_lpba(tmp_path, capsys):
    grid = np.indices((20, 22, 24))
    for number in (1, 2, 3):
        brain = sum(((g - 11) / (8 + number / 2)) ** 2 for g in grid) < 1
        array = np.where(brain, 50 + 3 * grid[2], 0).astype(np.uint8)
        labels = np.where(brain, np.where(grid[2] < 12, 21, 99), 0).astype(np.uint8)
        for kind, values in (("skullstripped", array), ("structure.label", labels)):
            path = tmp_path / f"S{number:02d}.delineation.{kind}.nii.gz"
            sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    for atlas, expected in (
        ((), "lpba/S01"),
        (("--atlas", "S02"), "lpba/S02"),
        (
            ("--atlas", "none"),
            None,
        ),
    ):
        assert run("lpba", "--data", tmp_path, "--out", tmp_path, *SHAPE, *atlas) == 0
        config = load_dataset_config(tmp_path / "lpba.json")
        assert config.atlas == expected
    assert config.structures == {"21": 21}  # 99 is not one of the 56 structures
    assert run("lpba", "--data", tmp_path, "--out", tmp_path, *SHAPE, "--atlas", "S09") == 2
    assert "lpba has no scan 'S09'" in capsys.readouterr().err
    assert run("lpba", "--data", tmp_path, "--out", tmp_path, *SHAPE, "--only", "S03") == 0
    config = load_dataset_config(tmp_path / "lpba.json")
    assert (config.atlas, len(config.subset("lpba"))) == ("lpba/S01", 3)
    out = tmp_path / "hashed"
    assert run("lpba", "--data", tmp_path, "--out", out, *SHAPE, "--hash-ids") == 0
    assert (
        load_dataset_config(out / "lpba.json").atlas
        == "lpba/" + content_hash(tmp_path / "S01.delineation.skullstripped.nii.gz")[:12]
    )


def test_check_names_what_is_missing(download, tmp_path, capsys):
    run("sliver", "--data", download, "--out", tmp_path, *SHAPE)
    config = json.loads((tmp_path / "sliver.json").read_text())
    config["subsets"] = {"sliver": ["sliver/{1..3}"], "other": ["gone/*"]}
    config["files"]["gone"] = {"path": "gone.h5"}
    config["expected"] = {"sliver": 3}
    config["exclude"] = ["sliver/2"]
    config["atlas"] = "sliver/11"
    (tmp_path / "study.json").write_text(json.dumps(config))
    capsys.readouterr()
    assert run("check", tmp_path / "study.json") == 1
    printed = capsys.readouterr().out
    for text in ("missing from sliver: sliver/3", "excluded: sliver/2", "gone.h5 does not exist"):
        assert text in printed
    assert "atlas: " in printed
    config.update(subsets={"sliver": ["sliver/*"]}, schemes={"1": {"sliver": 1.0}})
    config.update(exclude=[], atlas="sliver/1")
    del config["files"]["gone"]
    (tmp_path / "study.json").write_text(json.dumps(config))
    assert run("check", tmp_path / "study.json", "--checksums") == 0
    assert capsys.readouterr().out.rstrip().endswith("complete")
    assert run("check", tmp_path / "nothing.json") == 2


def test_a_persons_work_is_kept(download, tmp_path, capsys):
    words = ("sliver", "--data", download, "--out", tmp_path, *SHAPE)
    assert run(*words) == 0
    path = tmp_path / "sliver.json"
    config = {**json.loads(path.read_text()), "exclude": "qc/exclude.txt"}
    path.write_text(json.dumps(config))
    (tmp_path / "qc").mkdir()
    (tmp_path / "qc" / "exclude.txt").write_text("sliver/2\n")
    (tmp_path / "qc" / "contact_sheet_mine.png").write_bytes(b"mine")
    assert run("qc", path, "--out", tmp_path / "qc") == 0
    assert run(*words) == 0
    assert load_dataset_config(path).subset("sliver") == ("sliver/1", "sliver/10")
    assert (tmp_path / "qc" / "contact_sheet_mine.png").read_bytes() == b"mine"
    assert run("check", path) == 1  # 20 are expected
    path.write_text(json.dumps({**config, "expected": {"sliver": 3}}))
    assert run("check", path) == 0


def test_sheets_of_what_can_be_read(download, tmp_path, capsys):
    run("sliver", "--data", download, "--out", tmp_path, *SHAPE)
    config = json.loads((tmp_path / "sliver.json").read_text())
    config["subsets"] = {"sliver": ["sliver/{1..3}"], "[/x]": ["gone/*"]}
    config["files"]["gone"] = {"path": "gone.h5"}
    (tmp_path / "study.json").write_text(json.dumps(config))
    capsys.readouterr()
    assert run("qc", tmp_path / "study.json", "--out", tmp_path / "qc") == 1
    printed = capsys.readouterr().out
    assert "sliver/3: unreadable: Pack" in printed
    assert "subset [/x] is not shown" in printed
    assert run("check", tmp_path / "study.json") == 1
    assert "[/x]: Pack" in capsys.readouterr().out


def test_contact_sheets(download, tmp_path, capsys):
    run("sliver", "--data", download, "--out", tmp_path, *SHAPE, "--margin", "0")
    capsys.readouterr()
    assert run("qc", tmp_path / "sliver.json", "--out", tmp_path / "qc") == 0
    printed = capsys.readouterr().out
    assert "3 scans, " in printed
    page = (tmp_path / "qc" / "contact_sheet.html").read_text()
    assert page.count("<figure") == 3
    assert page.count("data:image/png;base64,") == 3
    assert "http" not in page
    sheet = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "qc" / "contact_sheet_01.png")))
    assert sheet.shape[1] == 360 * COLUMNS
    assert sheet[..., :3].std() > 10
    assert (tmp_path / "qc" / "flagged.txt").read_text().startswith("# Flagged scans")


@pytest.mark.parametrize("source", ["labels", "ct"])
def test_synthetic_studies(tmp_path, capsys, source):
    image, labels = small_abdomen()
    sitk.WriteImage(labels, str(tmp_path / "map.nii.gz"))
    sitk.WriteImage(image, str(tmp_path / "ct.nii.gz"))
    options = ("--structures", "all") if source == "labels" else (
        "--ct", tmp_path / "ct.nii.gz", "--liver-label", "1",
    )  # fmt: skip
    out = ("--out", tmp_path / "s.h5", "--config", tmp_path / "s.json")
    words = ("synth", "--labels", tmp_path / "map.nii.gz", *options, "--number", "2", *SHAPE)
    assert run(*words, *out) == 0
    config = load_dataset_config(tmp_path / "s.json")
    assert config.subset("synthetic") == ("s/map_000", "s/map_001")
    ids = (1, 2, 3) if source == "labels" else (255,)
    assert tuple(config.structures.values()) == ids
    assert run(*words, *out, "--seed", "-1") == 2
    assert "--seed not negative" in capsys.readouterr().err
    wrong = ("--liver-label", "1") if source == "labels" else ("--contrast", "t1")
    assert run(*words, *out, *wrong) == 2
    assert "--liver-label goes with --ct" in capsys.readouterr().err
