"""Every number of `papers.yaml` stands in the papers' text, in a row of that name, in order."""

import os
import pathlib
import re

import pytest
import yaml

from rcn_tf.papers import PATH, Score, load_tables

ROOT = pathlib.Path(__file__).parents[1]
PAPERS = pathlib.Path(os.environ.get("RCN_PAPERS", ROOT.parent / "shared" / "papers"))
RAW = yaml.safe_load(PATH.read_text(encoding="utf-8"))
ROWS = [(name, label) for name, table in RAW.items() for label in table["rows"]]


def paper_lines(source):
    found = list(PAPERS.glob(f"{source.split(',')[0].lower()}_2019*.txt"))
    if not found:
        pytest.skip("the papers' text is not here (set RCN_PAPERS to its folder)")
    return found[0].read_text(encoding="utf-8").splitlines()


def numbers(text):
    """Cells of a printed row; citations, units and marks of the best taken out."""
    text = re.sub(r"\[[\d, ]+\]", "", text)
    text = re.sub(r"(?<=\d)(?: s\b|\?)", "", text).replace("N/A", "-")
    return re.findall(r"\d+(?:\.\d+)?(?: \(\d+\.\d+\))?|(?<= )-(?= )", text)


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "label"), ROWS)
def test_rows_are_printed(name, label):
    lines = paper_lines(RAW[name]["source"])
    wanted = [as_printed(cell) for cell in RAW[name]["rows"][label]]
    rests = [line[len(label) :] for line in lines if line.startswith(label)]
    rests = [re.sub(r"^\d(?= )", "", rest) for rest in rests]  # a footnote's mark
    assert wanted in [[as_printed(cell) for cell in numbers(rest)] for rest in rests]


def as_printed(cell):
    """Numbers compared as numbers: YAML reads 0.20 as 0.2."""
    return tuple(float(part) for part in re.findall(r"[\d.]+", str(cell)))


@pytest.mark.shared_data
@pytest.mark.parametrize("name", RAW)
def test_captions_are_printed(name):
    source = RAW[name]["source"]
    assert any(line.startswith(f"{source.split(', ')[1]}") for line in paper_lines(source))


@pytest.mark.parametrize("name", RAW)
def test_tables_are_complete(name):
    table = RAW[name]
    assert set(table) == {"source", "title", "columns", "rows"}
    assert all(len(cells) == len(table["columns"]) for cells in table["rows"].values())


def test_scores():
    tables = load_tables()
    row = tables["table2"].rows["10-cascade VTN"]
    assert row["SLIVER Dice"] == Score(0.953, 0.014)
    assert row["CPU seconds"] == Score(87, None)
    assert "GPU seconds" not in tables["table1"].rows["ANTs SyN"]
    assert tables["vtn6"].rows["VTN DD?"]["IoU"] == Score(0.9305)
    assert (tables["table5"].source, tables["vtn2"].source) == ("RCN, Table 5", "VTN, Table II")


def test_tables_cannot_be_changed():
    with pytest.raises(TypeError):
        load_tables()["table2"].rows["10-cascade VTN"]["SLIVER Dice"] = Score(1.0)
