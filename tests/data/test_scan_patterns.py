"""Ranges, wildcards and exclude lists of dataset configs."""

import json
import pathlib

import numpy as np
import pytest

from data_prep.packs import PackWriter
from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.pairs import subset_pairs
from rcn_tf.data.scan_patterns import expand_ranges
from rcn_tf.data.scans import ScanStore
from rcn_tf.files.natural_order import natural_order

VOLUME = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.fixture
def write_config(tmp_path):
    """Writes two packs and a config with the given subsets and other keys; returns its path."""
    for name, ids in (("root", ("vessel/2", "vessel/10", "liver/1")), ("lits", ("0", "1", "2"))):
        with PackWriter(tmp_path / f"{name}.h5") as pack:
            for scan_id in ids:
                pack.add(scan_id, VOLUME)

    def write(subsets, **others):
        config = {
            "files": {"/": {"path": "root.h5"}, "lits": {"path": "lits.h5"}},
            "image_size": [2, 3, 4],
            "image_type": "liver",
            "schemes": {"1": {next(iter(subsets)): 1.0}},
            "subsets": subsets,
            **others,
        }
        (tmp_path / "config.json").write_text(json.dumps(config))
        return tmp_path / "config.json"

    return write


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ("a/1", ["a/1"]),
        ("a/{8..11}", ["a/8", "a/9", "a/10", "a/11"]),
        ("S{08..10}", ["S08", "S09", "S10"]),
        ("{1..2}_{0..1}", ["1_0", "1_1", "2_0", "2_1"]),
    ],
)
def test_ranges(entry, names):
    assert expand_ranges(entry) == names


def test_empty_range():
    with pytest.raises(ValueError, match=r"Range 3..1 of 'a/\{3..1\}' is empty"):
        expand_ranges("a/{3..1}")


def test_natural_order():
    names = ["b-10", "b-9", "a", "b-9a", "10", "9"]
    assert sorted(names, key=natural_order) == ["9", "10", "a", "b-9", "b-9a", "b-10"]


def test_patterns_in_subsets(write_config):
    config = load_dataset_config(
        write_config({"train": ["vessel/*", "liver/1"], "test": ["lits/{0..2}"], "all": ["*"]})
    )
    assert config.subset("train") == ("vessel/2", "vessel/10", "liver/1")
    assert config.subset("test") == ("lits/0", "lits/1", "lits/2")
    assert config.subset("all") == ("liver/1", "vessel/2", "vessel/10")


def test_ranges_need_no_pack_and_name_what_is_missing(write_config, tmp_path):
    path = write_config({"test": ["lits/{0..5}"]})
    (tmp_path / "lits.h5").unlink()
    assert len(load_dataset_config(path).subset("test")) == 6


def test_exclude_in_the_config_and_in_a_file(write_config, tmp_path):
    subsets = {"test": ["lits/{0..2}"], "all": ["lits/*", "vessel/2"]}
    config = load_dataset_config(write_config(subsets, exclude=["lits/{0..1}"]))
    assert config.subset("test") == ("lits/2",)
    assert config.subset("all") == ("lits/2", "vessel/2")
    assert config.excluded == ("lits/0", "lits/1")
    (tmp_path / "out.txt").write_text("# looked at by hand\n\nlits/1  # dark\n vessel/*\n")
    config = load_dataset_config(write_config(subsets, exclude="out.txt"))
    assert config.subset("all") == ("lits/0", "lits/2")


@pytest.mark.parametrize(
    ("subsets", "others", "message"),
    [
        ({"a": ["lits/1", "lits/{0..2}"]}, {}, "`subsets.a` lists 'lits/1' twice"),
        ({"a": ["lits/1"]}, {"exclude": ["lits/2"]}, "`exclude` must name scans .* got 'lits/2'"),
        ({"a": ["lits/{0..99999}{0..99999}"]}, {}, "stands for more than 1000000 scans"),
        ({"a": ["lits/{2..1}"]}, {}, "`subsets.a`: Range 2..1 of .* is empty"),
        ({"a": ["lits/*"]}, {"paired": ["a"]}, "subset 'a' is paired, so it must list its scans"),
        (
            {"a": ["lits/../1"]},
            {},
            r"config\.json: `subsets.a`: A scan id must be .* got 'lits/../1'",
        ),
        ({"a": ["/etc/passwd"]}, {}, "`subsets.a`: A scan id must be"),
        ({"a": ["lits/1"]}, {"exclude": ["..\\x"]}, "`exclude`: A scan id must be"),
        ({"a": ["lits/1"]}, {"exclude": 5}, "`exclude` must be a string or a list"),
        ({"a": ["lits/1"]}, {"expected": {"a": 0}}, "`expected.a` must be a positive integer"),
    ],
)
def test_bad_patterns(write_config, subsets, others, message):
    with pytest.raises(ValueError, match=message):
        load_dataset_config(write_config(subsets, **others))


@pytest.mark.parametrize(
    ("entries", "others", "message"),
    [
        (["lits/9*"], {}, r"Pattern 'lits/9\*' matches no scan in .*lits\.h5"),
        (["lits/1", "lits/*"], {}, "`subsets.a` lists 'lits/1' twice"),
        (["lits/1"], {"exclude": ["lits/*"]}, "subset 'a' is empty"),
    ],
)
def test_bad_contents(write_config, entries, others, message):
    with pytest.raises(ValueError, match=message):
        load_dataset_config(write_config({"a": entries}, **others)).subset("a")


def test_unknown_names(write_config, tmp_path):
    with pytest.raises(KeyError, match="`expected` names no known subset: 'b'"):
        load_dataset_config(write_config({"a": ["lits/1"]}, expected={"b": 3}))
    with pytest.raises(FileNotFoundError, match=r"Exclude list .*gone\.txt does not exist"):
        load_dataset_config(write_config({"a": ["lits/1"]}, exclude="gone.txt"))


def test_alias_that_leads_elsewhere(write_config, tmp_path):
    path = write_config({"a": ["lits/1"]})
    raw = json.loads(path.read_text())
    raw["files"]["../lits"] = {"path": "lits.h5"}
    path.write_text(json.dumps(raw))
    with pytest.raises(ValueError, match="`files`: A scan id must be printable names"):
        load_dataset_config(path)


def test_pairs_are_excluded_together(write_config):
    subsets = {"a": ["lits/{0..3}"], "b": ["lits/{0..3}"]}
    for paired, expected in ((True, 2), (["a"], 2), (False, 3)):
        config = load_dataset_config(write_config(subsets, paired=paired, exclude=["lits/2"]))
        assert len(config.subset("a")) == expected
        assert config.is_paired("a") is bool(paired)
        assert config.is_paired("b") is (paired is True)
    with pytest.raises(KeyError, match="`paired` names no known subset: 'c'"):
        load_dataset_config(write_config(subsets, paired=["c"]))
    with pytest.raises(ValueError, match="`paired` must be true or false or a list; got 'a'"):
        load_dataset_config(write_config(subsets, paired="a"))


def test_pairs_that_only_the_reader_knows_of(write_config):
    subsets = {"a": ["lits/{0..3}"], "b": ["vessel/*"]}
    config = load_dataset_config(write_config(subsets, exclude=["lits/1"]), paired=["a"])
    assert len(config.subset("b")) == 2
    assert subset_pairs(config, "a") == [("lits/2", "lits/3"), ("lits/3", "lits/2")]
    with pytest.raises(ValueError, match="must list its scans"):
        load_dataset_config(write_config({"a": ["lits/*"]}), paired=["a"])
    with pytest.raises(ValueError, match="with an atlas"):
        load_dataset_config(write_config(subsets, atlas="lits/0"), paired=["a"])


def test_a_mistyped_exclude_beside_a_missing_pack(write_config, tmp_path):
    path = write_config({"a": ["lits/{0..2}"], "b": ["vessel/*"]}, exclude=["lits/9"])
    (tmp_path / "root.h5").unlink()
    with pytest.raises(ValueError, match="`exclude` must name scans .* got 'lits/9'"):
        load_dataset_config(path)
    path = write_config({"a": ["lits/{0..2}"], "b": ["vessel/*"]}, exclude=["vessel/9"])
    assert len(load_dataset_config(path).subset("a")) == 3


def test_the_papers_studies(tmp_path):
    """The configs that come with the project, over packs of the expected ids."""
    root = pathlib.Path(__file__).parents[2]
    (tmp_path / "configs").mkdir()
    (tmp_path / "datasets").mkdir()
    for pack, ids in (
        ("msd", ["liver/131", "hepaticvessel/1", "pancreas/2"]),
        ("bfh", ["x"]),
        ("adni", ["1"]),
        ("abide", ["NYU-1"]),
        ("adhd", ["KKI-1"]),
    ):
        with PackWriter(tmp_path / "datasets" / f"{pack}.h5") as writer:
            for scan_id in ids:
                writer.add(scan_id, VOLUME)
    for name, train in (("liver", 4), ("brain", 3)):
        path = tmp_path / "configs" / f"{name}.json"
        path.write_bytes((root / "configs" / f"{name}.json").read_bytes())
        config = load_dataset_config(path)
        assert len(config.subset("train")) == train
    assert len(config.structures) == 56
    assert config.subset("lpba-val")[-1] == "lpba/S40"
    assert config.expected == {"train": 66 + 1287 + 949, "lpba-val": 39}
    liver = load_dataset_config(tmp_path / "configs" / "liver.json")
    assert len(subset_pairs(liver, "lspig-val")) == 34
    assert len(subset_pairs(liver, "sliver-val")) == 380
    assert len(subset_pairs(liver, "lits-val")) == 131 * 130


def test_ids_of_the_originals_packs_are_no_patterns(write_config, tmp_path):
    """The original's datasets/liver.json and brain.json contain such ids."""
    ids = ["13472546_180(1)", "00490534_from_12680to_13004", "GU_1-28741", "2017_02_aftergas"]
    with PackWriter(tmp_path / "youyi.h5") as pack:
        for scan_id in ids:
            pack.add(scan_id, VOLUME)
    path = write_config({"a": [f"youyi/{scan_id}" for scan_id in ids]})
    raw = json.loads(path.read_text())
    raw["files"]["youyi"] = {"type": "HDF5", "path": "youyi.h5"}
    path.write_text(json.dumps(raw))
    config = load_dataset_config(path)
    with ScanStore(config) as store:
        store.check(config.subset("a"))


def test_a_missing_pack_concerns_its_subsets_only(write_config, tmp_path):
    path = write_config({"a": ["lits/*"], "b": ["vessel/7*"], "c": ["vessel/*"]})
    (tmp_path / "lits.h5").unlink()
    config = load_dataset_config(path)
    assert config.subset("c") == ("vessel/2", "vessel/10")
    with pytest.raises(FileNotFoundError, match=r"lits\.h5 does not exist"):
        config.subset("a")
    with pytest.raises(ValueError, match="matches no scan"):
        config.subset("b")
    with pytest.raises(KeyError, match="no subset 'd'; known: c, a, b"):
        config.subset("d")
