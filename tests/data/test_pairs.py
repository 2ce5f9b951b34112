"""rcn_tf.data.pairs: which pairs are formed, and a training order that depends on the seed only."""

import collections
import dataclasses
import itertools
import pathlib

import pytest

from rcn_tf.data.dataset_config import DatasetConfig
from rcn_tf.data.identity import difference, training_identity
from rcn_tf.data.pairs import OrderedPairs, TrainingOrder, scheme_pairs, subset_pairs

CONFIG = DatasetConfig(
    path=pathlib.Path("config.json"),
    files={"/": pathlib.Path("pack.h5")},
    image_size=(8, 8, 8),
    image_type="liver",
    schemes={"1": {"abcd": 0.5, "efg": 0.25}},
    subsets={"abcd": tuple("abcd"), "efg": tuple("efg"), "a": ("a",)},
)


def test_all_ordered_pairs():
    pairs = subset_pairs(CONFIG, "abcd")
    assert len(pairs) == 12
    assert list(pairs) == list(itertools.permutations("abcd", 2))


def test_many_scans_cost_nothing():
    pairs = OrderedPairs(range(1025))
    assert len(pairs) == 1025 * 1024
    assert pairs[-1] == (1024, 1023)
    with pytest.raises(IndexError):
        pairs[1025 * 1024]


def test_brains_without_an_atlas_are_paired_with_each_other():
    config = dataclasses.replace(CONFIG, image_type="brain")
    assert len(subset_pairs(config, "abcd")) == 12


def test_adjacent_pairs():
    expected = [("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")]
    assert subset_pairs(dataclasses.replace(CONFIG, paired=True), "abcd") == expected
    with pytest.raises(ValueError, match="even number of scans; subset 'efg' has 3"):
        subset_pairs(dataclasses.replace(CONFIG, paired=("efg",)), "efg")


def test_atlas_is_the_fixed_image_and_never_paired_with_itself():
    config = dataclasses.replace(CONFIG, atlas="b")
    assert subset_pairs(config, "abcd") == [("b", "a"), ("b", "c"), ("b", "d")]


def test_one_scan_gives_no_pair():
    with pytest.raises(ValueError, match="subset 'a' has too few scans"):
        subset_pairs(CONFIG, "a")


def test_each_epoch_visits_every_pair_once_in_another_order():
    pairs = subset_pairs(CONFIG, "abcd")
    order = TrainingOrder([(pairs, 1.0)], seed=3)
    epochs = [[order[12 * epoch + k] for k in range(12)] for epoch in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == sorted(pairs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert all(fixed != moving for epoch in epochs for fixed, moving in epoch)


def test_order_is_a_function_of_seed_and_draw():
    groups = scheme_pairs(CONFIG, "1")
    forward = TrainingOrder(groups, seed=5)
    first = [forward[k] for k in range(2500)]
    backward = TrainingOrder(groups, seed=5)
    assert [backward[k] for k in reversed(range(2500))] == first[::-1]
    other = TrainingOrder(groups, seed=6)
    assert [other[k] for k in range(50)] != first[:50]


def test_subsets_get_their_shares():
    order = TrainingOrder(scheme_pairs(CONFIG, "1"), seed=0)
    draws = [order[k] for k in range(3000)]
    counts = collections.Counter("abcd" if fixed in "abcd" else "efg" for fixed, _ in draws)
    assert counts == {"abcd": 2001, "efg": 999}
    # Within a subset, too, every pair comes once before any pair is repeated.
    small = collections.Counter(pair for pair in draws if pair[0] in "efg")
    assert max(small.values()) - min(small.values()) <= 1


FRAMES = ("p/a_01_ED", "p/a_01_ES", "p/a_02_ED", "p/a_02_ES", "p/a_02_f03")


def frames(scans=FRAMES):
    return dataclasses.replace(CONFIG, fixed="ED", subsets={"train": tuple(scans)})


def test_frames_are_registered_to_the_fixed_one_of_their_slice():
    expected = [
        ("p/a_01_ED", "p/a_01_ES"),
        ("p/a_02_ED", "p/a_02_ES"),
        ("p/a_02_ED", "p/a_02_f03"),
    ]
    assert subset_pairs(frames(), "train") == expected
    backwards = subset_pairs(frames(FRAMES[::-1]), "train")  # names decide, not their order
    assert sorted(backwards) == sorted(expected)


def test_a_frame_without_its_partner_is_named():
    with pytest.raises(ValueError, match=r"'train' has 'p/a_01_ES' without 'p/a_01_ED'"):
        subset_pairs(frames(FRAMES[1:]), "train")
    with pytest.raises(ValueError, match=r"'p/a_01_ED' without another scan 'p/a_01_\.\.\.'"):
        subset_pairs(frames(FRAMES[:1]), "train")
    with pytest.raises(ValueError, match="'x' without '_ED'"):
        subset_pairs(frames(["x"]), "train")


def test_identity_tells_which_frame_is_fixed():
    """The order of the scans and their volumes are the same; the pairs are not."""
    config = dataclasses.replace(frames(), schemes={"1": {"train": 1.0}})
    checksums = dict.fromkeys(FRAMES, "0")
    found = [
        training_identity(dataclasses.replace(config, fixed=fixed), "1", checksums)
        for fixed in ("ED", "ES")
    ]
    assert found[0]["subsets"][0]["paired"] == [[0, 1], [2, 3], [2, 4]]
    assert (
        difference(*found) == "its scheme has other subsets, shares, pairs, atlas or order of scans"
    )


VISITS = ("t/1-L_V0", "t/1-L_V1", "t/1-R_V0", "t/2_V0", "t/2_V1", "t/2_V2", "t/3_V0")


def visits(pairing, **counts):
    return dataclasses.replace(
        CONFIG,
        pairing=pairing,
        subsets={"all": VISITS},
        pair_counts=counts,
        schemes={"1": {"all": 1}},
    )


def test_visits_of_a_subject_are_paired_in_both_directions():
    pairs = list(subset_pairs(visits("same_subject"), "all"))
    couples = {("t/1-L_V0", "t/1-L_V1"), ("t/2_V0", "t/2_V1"), ("t/2_V0", "t/2_V2"),
               ("t/2_V1", "t/2_V2")}  # fmt: skip
    assert set(pairs) == couples | {(b, a) for a, b in couples}
    assert pairs[1] == pairs[0][::-1]


def test_scans_of_two_subjects_are_paired():
    """Both knees of a patient are one subject's."""
    pairs = list(subset_pairs(visits("different_subjects"), "all"))
    assert len(pairs) == 2 * (3 * 3 + 3 * 1 + 3 * 1) == len(set(pairs))
    assert all(a.partition("_")[0][2] != b.partition("_")[0][2] for a, b in pairs)


@pytest.mark.parametrize(("pairing", "there"), [("same_subject", 4), ("different_subjects", 15)])
def test_a_number_of_pairs_is_drawn(pairing, there):
    every = set(subset_pairs(visits(pairing), "all"))
    drawn = list(subset_pairs(visits(pairing, all=3), "all"))
    assert len(set(drawn)) == 6
    assert set(drawn) < every
    assert drawn == list(subset_pairs(visits(pairing, all=3), "all"))
    assert all(b == a[::-1] for a, b in zip(drawn[::2], drawn[1::2]))
    assert set(subset_pairs(visits(pairing, all=there), "all")) == every


def test_a_scan_may_be_in_several_pairs():
    config = dataclasses.replace(CONFIG, paired=True, subsets={"x": ("a", "b", "b", "c")})
    assert list(subset_pairs(config, "x")) == [("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")]


def test_identity_tells_which_pairs_are_drawn():
    checksums = dict.fromkeys(VISITS, "0")
    found = [training_identity(visits("same_subject", all=n), "1", checksums) for n in (2, 3)]
    assert "other subsets, shares, pairs" in difference(*found)
