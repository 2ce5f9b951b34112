"""The numbers of VR-Net's tables are those of the paper's text, which has columns one by one."""

import collections
import re

import pytest

from rcn_tf.presets.papers import load_tables
from tests.presets.test_papers import PAPERS, RAW

BETWEEN = {  # table: its caption or heading in the text, and what follows it
    "vrnet1": ("TABLE I:", "TABLE II:"),
    "vrnet2": ("TABLE II:", "E. Comparison"),
    "vrnet3": ("TABLE III:", "TABLE IV:"),
    "vrnet4": ("TABLE IV: Comparison", "TABLE V: Comparison"),
    "vrnet5": ("TABLE V: Comparison", "Fig. 4:"),
    "vrnet6": ("TABLE VI:", "F. Discussion"),
}
_AS_PRINTED = ["LV Dice", "Myo Dice", "RV Dice", "Avg Dice"]
_HD = ["LV HD", "Myo HD", "RV HD", "Avg HD", "J<0 %", "grad J"]
ORDER = {  # columns in the order in which the text has them
    "vrnet3": [*_AS_PRINTED, *_HD],
    "vrnet4": [*_AS_PRINTED, *_HD],
    "vrnet5": [*_AS_PRINTED, "LV HD", "RV HD", "Avg HD", "J<0 %", "grad J", "Myo HD"],
    "vrnet6": ["2D CPU", "2D GPU", "3D CPU", "3D GPU"],
}
NUMBER = re.compile(r"(?<![\w.])(\d*\.\d+)(?:\((\d*\.\d+)\))?")


def printed(name):
    """Cells of a table in the order of the text, (mean, std), and its text."""
    found = list(PAPERS.glob("vrnet_*.txt"))
    if not found:
        pytest.skip("the papers' text is not here (set RCN_PAPERS to its folder)")
    text = found[0].read_text(encoding="utf-8")
    start = text.index(BETWEEN[name][0])
    text = text[start : text.index(BETWEEN[name][1], start)]
    if name == "vrnet6":  # whole lines: the text around it has times too
        return [(float(cell), None) for cell in re.findall(r"^\d+\.\d+$", text, re.M)], text
    cells = [(float(a), float(b)) for a, b in NUMBER.findall(text) if b]
    return cells, text


def columns(name):
    """{column: its cells, top down} of papers.yaml."""
    rows = load_tables()[name].rows.values()
    return {
        column: [(row[column].mean, row[column].std) for row in rows if column in row]
        for column in RAW[name]["columns"]
    }


def first_place(cells, column):
    """Where the first match of a column as a subsequence of the text's cells begins."""
    places, start = [], 0
    for cell in column:
        start = cells.index(cell, start) + 1
        places.append(start - 1)
    return places[0]


@pytest.mark.shared_data
@pytest.mark.parametrize("name", BETWEEN)
def test_every_cell_is_printed_and_no_other(name):
    cells, _ = printed(name)
    ours = [cell for column in columns(name).values() for cell in column]
    assert collections.Counter(ours) == collections.Counter(cells)


@pytest.mark.shared_data
@pytest.mark.parametrize("name", BETWEEN)
def test_columns_are_printed_top_down(name):
    cells, _ = printed(name)
    for column in columns(name).values():
        first_place(cells, column)  # raises where the order is another one


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ORDER)
def test_columns_have_their_names(name):
    cells, _ = printed(name)
    places = {column: first_place(cells, found) for column, found in columns(name).items()}
    assert sorted(places, key=places.get) == ORDER[name]


@pytest.mark.shared_data
@pytest.mark.parametrize("name", BETWEEN)
def test_rows_have_their_labels(name):
    _, text = printed(name)
    labels = [line.strip() for line in text.splitlines()]
    names = [re.sub(r"^([RU](?:,U)?-L[12](?:,2)?) ", r"\1 -", label) for label in RAW[name]["rows"]]
    found = [labels.index(name) for name in names]
    if name not in ("vrnet1",):
        assert found == sorted(found)


def test_table_1_pairs_dice_and_distance_of_a_row():
    rows = load_tables()["vrnet1"].rows
    assert (rows["R-L1 3×2"]["ACDC Dice"].mean, rows["R-L1 3×2"]["ACDC HD"].mean) == (0.873, 6.33)
    best = load_tables()["vrnet3"].rows["R-L2 6×1"]
    assert best["Avg Dice"] == rows["R-L2 6×1"]["UK Biobank Dice"]
    assert best["Avg HD"] == rows["R-L2 6×1"]["UK Biobank HD"]


@pytest.mark.parametrize("name", ["vrnet3", "vrnet4", "vrnet5"])
@pytest.mark.parametrize(("metric", "rounding"), [("Dice", 0.0011), ("HD", 0.011)])
def test_averages_are_those_of_the_structures(name, metric, rounding):
    """But one, which the paper misprints: VoxelMorph's HD on UK Biobank (11.02, printed 10.69)."""
    for label, row in load_tables()[name].rows.items():
        mean = sum(row[f"{part} {metric}"].mean for part in ("LV", "Myo", "RV")) / 3
        if (name, label, metric) == ("vrnet3", "VoxelMorph", "HD"):
            assert mean == pytest.approx(11.02, abs=rounding)
        else:
            assert row[f"Avg {metric}"].mean == pytest.approx(mean, abs=rounding)
