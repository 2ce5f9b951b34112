"""rcn_tf.data.dataset_config: the original's layout, and one clear line per mistake."""

import json
import pathlib

import pytest

from data_prep.datasets import DATASETS
from data_prep.splits import split_subjects
from rcn_tf.data.dataset_config import load_dataset_config
from tests.data.packs_for_tests import SHAPE, dataset_config, write_original_pack

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"


def load(folder, config):
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return load_dataset_config(path)


def test_reads_all_keys(tmp_path):
    config = load(
        tmp_path,
        dataset_config(
            atlas="pack/d", image_type="brain", paired=True, segmentation_class_value={"liver": 255}
        ),
    )
    assert config.image_size == SHAPE
    assert config.files == {"pack": tmp_path / "pack.h5"}
    assert config.scheme(1) == config.scheme("1") == {"train": 1.0}
    assert config.subset("val") == ("pack/a", "pack/b")
    assert (config.atlas, config.paired, config.structures) == ("pack/d", True, {"liver": 255})


def test_one_number_is_a_cube(tmp_path):
    assert load(tmp_path, dataset_config(image_size=64)).image_size == (64, 64, 64)


def test_entry_without_alias_lies_in_the_root_file(tmp_path):
    files = {"/": {"path": "root.h5"}, "pack": {"path": "pack.h5"}}
    scans = {"train": ["hepaticvessel/1", "pack/a"], "val": ["plain"]}
    config = load(tmp_path, dataset_config(files=files, subsets=scans))
    assert config.locate("hepaticvessel/1") == ("/", "hepaticvessel/1")
    assert config.locate("pack/a") == ("pack", "a")
    assert config.locate("plain") == ("/", "plain")


def test_paths_of_the_original_start_above_the_configs_folder(tmp_path):
    """The original's datasets/brain.json says "datasets/adni.h5"."""
    folder = tmp_path / "datasets"
    folder.mkdir()
    write_original_pack(folder / "adni.h5", "a")
    files = {"pack": {"path": "datasets/adni.h5"}}
    assert load(folder, dataset_config(files=files)).files["pack"].samefile(folder / "adni.h5")


@pytest.mark.parametrize(
    "name", ["liver", "brain", "brain_s02", "brain_s03", "vtn_liver", "vtn_brain"]
)
def test_example_configs_load(name):
    config = load_dataset_config(CONFIGS / f"{name}.json")  # the packs are absent
    assert config.image_type in name
    assert config.image_size == (128, 128, 128)
    assert {"1", "2"} <= set(config.schemes)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_atlas_is_not_registered_to_itself(number):
    """RCN, Table 5: each of LPBA's first three scans is the atlas once; all others are moving."""
    name = "brain" if number == 1 else f"brain_s0{number}"
    config = load_dataset_config(CONFIGS / f"{name}.json")
    assert config.atlas == f"lpba/S0{number}"
    others = {f"lpba/S{k:02d}" for k in range(1, 41)} - {config.atlas}
    assert set(config.subset("lpba-val")) == others


def test_missing_config(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
        load_dataset_config(tmp_path / "nowhere.json")


@pytest.mark.parametrize("key", ["files", "image_size", "image_type", "schemes", "subsets"])
def test_missing_key(tmp_path, key):
    with pytest.raises(KeyError, match=rf"config\.json: key `{key}` is missing"):
        load(tmp_path, dataset_config(**{key: None}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": [64] * 4}, r"`image_size` must be .* got \[64, 64, 64, 64\]"),
        ({"image_size": 64.5}, r"`image_size` must be a whole number or a list; got 64.5"),
        ({"image_size": "64"}, r"`image_size` must be a whole number or a list; got '64'"),
        (
            {"image_type": "ankle"},
            r"`image_type` must be 'liver' or 'brain' or 'lung' or 'heart' or 'knee'; got",
        ),
        ({"files": []}, r"`files` must be an object"),
        ({"files": {"pack": "pack.h5"}}, r"`files\.pack` must be an object"),
        ({"files": {"pack": {}}}, r"`files\.pack\.path` must be a string; got None"),
        ({"schemes": {"1": {"train": 1.5}}}, r"`schemes\.1\.train` must lie in \(0, 1\]; got 1.5"),
        ({"schemes": {"1": {"train": "1"}}}, r"`schemes\.1\.train` must lie in \(0, 1\]"),
        ({"schemes": {"1": {"train": 0}}}, r"must lie in \(0, 1\]; got 0"),
        ({"schemes": {"1": {}}}, r"`schemes\.1` is empty"),
        ({"subsets": {"train": [], "val": ["pack/a"]}}, r"subset 'train' is empty"),
        ({"subsets": {"train": "pack/a", "val": ["pack/a"]}}, r"`subsets\.train` must be a list"),
        ({"subsets": {"train": [3], "val": ["pack/a"]}}, r"each entry` must be a string; got 3"),
        ({"subsets": {"train": ["pack/a"] * 2, "val": ["pack/a"]}}, r"lists 'pack/a' twice"),
        ({"paired": 1}, r"`paired` must be true or false or a list; got 1"),
        ({"paired": [1]}, r"`paired, each entry` must be a string; got 1"),
        ({"expected": []}, r"`expected` must be an object; got \[\]"),
        ({"atlas": 7}, r"`atlas` must be a string"),
        (
            {"paired": ["val"], "subsets": {"train": ["pack/a"], "val": ["pack/a", "pack/b"] * 2}},
            r"`subsets\.val` lists 'pack/a and pack/b' twice",
        ),
        (
            {"paired": ["val"], "subsets": {"train": ["pack/a"], "val": ["pack/a"] * 2}},
            r"`subsets\.val` pairs 'pack/a' with itself",
        ),
        ({"pairing": "twins"}, r"`pairing` must be 'same_subject' or 'different_subjects'; got"),
        ({"pairing": "same_subject", "paired": True}, r"`pairing` names the pairs, so it excludes"),
        ({"pair_counts": {"train": 3}}, r"`pair_counts` needs `pairing`"),
        (
            {"pairing": "same_subject", "pair_counts": {"train": 0}},
            r"`pair_counts\.train` must be a positive integer; got 0",
        ),
        ({"segmentation_class_value": {"liver": 0}}, r"value\.liver` must be a positive integer"),
        ({"subset": {}}, r"unknown key 'subset'; did you mean 'subsets'"),
    ],
)
def test_wrong_values(tmp_path, changes, message):
    with pytest.raises(ValueError, match=rf"config\.json: .*{message}"):
        load(tmp_path, dataset_config(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schemes": {"1": {"tain": 1}}}, r"scheme '1' names no known subset: 'tain'"),
        ({"subsets": {"train": ["pak/a"], "val": ["pack/a"]}}, r"scan 'pak/a' names no file"),
        ({"atlas": "pak/a"}, r"scan 'pak/a' names no file"),
    ],
)
def test_names_that_lead_nowhere(tmp_path, changes, message):
    with pytest.raises(KeyError, match=message):
        load(tmp_path, dataset_config(**changes))


def test_unknown_subset_and_scheme(tmp_path):
    config = load(tmp_path, dataset_config())
    with pytest.raises(KeyError, match=r"no subset 'test'; known: train, val"):
        config.subset("test")
    with pytest.raises(KeyError, match=r"no scheme '3'; known: 1, 2"):
        config.scheme("3")


FRAMES = ["pack/a_ED", "pack/a_ES", "pack/b_ED", "pack/b_ES", "pack/b_f1"]


@pytest.mark.parametrize(
    ("excluded", "kept"),
    [
        ("pack/a_ES", ["pack/b_ED", "pack/b_ES", "pack/b_f1"]),  # its ED has nothing left
        ("pack/b_ED", ["pack/a_ED", "pack/a_ES"]),
        ("pack/b_f1", FRAMES[:4]),
    ],
)
def test_frames_without_a_partner_are_left_out_with_it(tmp_path, excluded, kept):
    subsets = {"train": FRAMES, "val": FRAMES}
    config = load(tmp_path, dataset_config(subsets=subsets, fixed="ED", exclude=[excluded]))
    assert list(config.subset("train")) == kept


@pytest.mark.parametrize("other", [{"atlas": "pack/a_ED"}, {"paired": True}])
def test_fixed_frames_exclude_other_pairings(tmp_path, other):
    with pytest.raises(ValueError, match="`fixed` names the pairs, so it excludes"):
        load(tmp_path, dataset_config(fixed="ED", **other))


@pytest.mark.parametrize(
    ("name", "size"),
    [("acdc", (128, 128)), ("ukbb", (128, 128)), ("cardiac3d", (96, 128, 128))],
)
def test_configs_of_hearts_load(name, size):
    config = load_dataset_config(CONFIGS / f"{name}.json")  # the packs are absent
    assert (config.image_type, config.image_size, config.fixed) == ("heart", size, "ED")
    assert set(config.unavailable) == {"train", "validation", "test"}


def test_acdc_is_split_as_its_command_does():
    raw = json.loads((CONFIGS / "acdc.json").read_text())["subsets"]
    names = [f"patient{k:03d}" for k in range(1, 101)]
    parts = split_subjects(names, DATASETS["acdc"].split)
    assert [len(raw[name]) for name in parts] == [40, 10, 50]
    for name, patients in parts.items():
        assert raw[name] == [f"acdc/{patient}_*" for patient in sorted(patients)]
