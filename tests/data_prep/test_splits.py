"""data_prep.splits: whole subjects, the same choice everywhere, and errors."""

import pytest

from data_prep.splits import choose_held_out, parse_hold_out

SUBJECTS = {f"s{k}_{session}": f"s{k}" for k in range(6) for session in "ab"}


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("3", 3),
        ("0.25", 0.25),
        ("a,b", ("a", "b")),
        (" a , b,", ("a", "b")),
        ("7,", ("7",)),
        ("007", ("007",)),
        ("0001_0001", ("0001_0001",)),
        ("12e45", ("12e45",)),
    ],
)
def test_what_is_asked_for(text, asked):
    assert parse_hold_out(text) == asked


@pytest.mark.parametrize("text", ["0", "-2", "0.0", "1.0", "1.5", "nan", "inf", "", ","])
def test_what_cannot_be_asked_for(text):
    with pytest.raises(ValueError, match="--hold-out"):
        parse_hold_out(text)


@pytest.mark.parametrize(("asked", "count"), [(1, 1), (2, 2), (0.5, 3), (0.01, 1), (4, 4)])
def test_whole_subjects_whatever_the_order(asked, count):
    held = choose_held_out(asked, SUBJECTS)
    assert len(held) == 2 * count
    assert len({SUBJECTS[scan] for scan in held}) == count
    turned = dict(reversed(SUBJECTS.items()))
    assert set(choose_held_out(asked, turned)) == set(held)
    assert held == [scan for scan in SUBJECTS if scan in held]


def test_more_subjects_leave_the_choice_as_it_was_but_for_the_new_ones():
    more = {**SUBJECTS, **{f"new{k}": f"new{k}" for k in range(3)}}
    before, after = (set(choose_held_out(2, one)) for one in (SUBJECTS, more))
    assert after - before <= {"new0", "new1", "new2"}


@pytest.mark.parametrize("name", ["s3", "s3_a", "s3_b"])
def test_a_named_scan_brings_its_subject(name):
    assert choose_held_out((name,), SUBJECTS) == ["s3_a", "s3_b"]


def test_the_atlas_and_its_subject_stay():
    for asked in (5, 0.99):
        held = choose_held_out(min(asked, 4) if asked == 5 else asked, SUBJECTS, "s0_a")
        assert not {"s0_a", "s0_b"} & set(held)


@pytest.mark.parametrize(
    ("asked", "subjects", "atlas", "error", "message"),
    [
        (6, SUBJECTS, None, ValueError, "6 would leave nothing to train on: 12 scans of 6 subj"),
        (60, {**SUBJECTS, "60": "60"}, None, ValueError, "the scan that is called 60 is `60,`"),
        (60, SUBJECTS, None, ValueError, "nothing to train on"),
        (6, SUBJECTS, "s0_a", ValueError, "nothing to train on: .* one of them the atlas"),
        (("s0_a",), SUBJECTS, "s0_a", ValueError, "the atlas 's0_a' is part of every pair"),
        (("s0_b",), SUBJECTS, "s0_a", ValueError, "and 's0_b' is of the same subject"),
        (("s3_c",), SUBJECTS, None, KeyError, "no scan 's3_c'; near it: s3_b, s3_a, s3"),
        (1, {"x": "x"}, None, ValueError, "nothing to train on: 1 scan of 1 subject in all"),
        (2, {"x": "x", "y": "y", "z": "z"}, None, ValueError, "leave 1 scan .* gives no pair"),
        (0.5, {"x_1": "x", "x_2": "x"}, None, ValueError, "all 2 scans are of one subject, 'x'"),
        (("x", "y"), {"x": "x", "y": "y"}, None, ValueError, "x,y would leave nothing"),
    ],
)
def test_impossible_splits(asked, subjects, atlas, error, message):
    with pytest.raises(error, match=message):
        choose_held_out(asked, subjects, atlas)
