"""The warnings about a result's numbers: each is given for its reason and for no other."""

import pytest

from rcn_tf.registration import pair_warnings
from rcn_tf.registration.pair_warnings import about_the_orientation, about_the_result
from tests.scans_for_tests import textured

GOOD = {
    "correlation": {"before": 0.8, "initial": 0.85, "after": 0.9},
    "agreement": {"before": 0.5, "initial": 0.6, "after": 0.9},
    "fallback": False,
    "folding_percent": 0.2,
    "dice": {"structures": {3: {"before": 0.0, "initial": 0.1, "after": 0.2}}},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"folding_percent": 1.5}, "1.5 % of the volume folds"),
        (
            {"correlation": {"before": None, "initial": 0.95, "after": 0.9}},
            "the correlation did not rise (0.950 before, 0.900 after)",
        ),
        (
            {"correlation": {"before": 0.95, "initial": 0.9, "after": 0.9}, "fallback": True},
            None,
        ),
        ({"correlation": {"before": None, "initial": 0.5, "after": None}}, "image is constant"),
        ({"agreement": {"after": 0.2}}, "(agreement 0.20, as for unrelated images)"),
        (
            {"dice": {"structures": {3: {"before": 0.0, "initial": 0.0, "after": 0.0}}}},
            "1 of 1 structure never overlaps",
        ),
    ],
)
def test_one_reason_one_sentence(change, message):
    found = about_the_result({**GOOD, **change})
    assert len(found) == (message is not None)
    if message:
        assert message in found[0]


def test_no_better_orientation_no_sentence():
    assert about_the_orientation(textured(), textured(), None) == []


def test_a_search_over_offsets_does_not_vouch_for_itself():
    candidates = {"boxes": 0.2, "affine": 0.35, "cost_volume": 0.6}
    record = {"written": "optimised", "candidates": candidates, "start": "cost_volume"}
    assert pair_warnings._undeformed({"optimisation": record}) == 0.35
    record["start"] = "affine"
    assert pair_warnings._undeformed({"optimisation": record}) == 0.35
