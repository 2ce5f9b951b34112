"""Every number of `papers.yaml` is in the paper's text, in that table, row and column."""

import os
import pathlib
import re
import unicodedata

import pytest
import yaml

from rcn_tf.presets.papers import PATH, Score, load_tables

ROOT = pathlib.Path(__file__).parents[2]
PAPERS = pathlib.Path(os.environ.get("RCN_PAPERS", ROOT.parent / "shared" / "papers"))
RAW = yaml.load(PATH.read_text(encoding="utf-8"), yaml.BaseLoader)
LINED = [
    name for name in RAW if not name.startswith(("vrnet", "avsm"))
]  # whose text has a row per line
ROWS = [(name, label) for name in LINED for label in RAW[name]["rows"]]


HEADER = re.compile("Experiment |Method|Architecture|Cascade |Network|Training Dataset")
NAMES = {  # names of columns, as printed
    "Dice": "Dice",
    "LPBA Dice": "Avg. Dice",
    "landmarks": "Lm. Dist.",
    "similarity": "Similarity",
    "IoU": "Seg. IoU",
    "Jacobian std": "Std. Jacobian",
    "folding %": "Folding (%)",
}
TIMES = {"RCN": ("GPU", "CPU"), "VTN": ("Time", "Time (w/o GPU)")}


def table_lines(name):
    """The lines of a table in the paper's text: from its header to its caption."""
    source = RAW[name]["source"]
    found = list(PAPERS.glob(f"{source.split(',')[0].lower()}_*.txt"))
    if not found:
        pytest.skip("the papers' text is not here (set RCN_PAPERS to its folder)")
    lines = [line.lstrip() for line in found[0].read_text(encoding="utf-8").splitlines()]
    caption = re.compile(rf"{source.split(', ')[1]}[.:] ")
    end = max(k for k, line in enumerate(lines) if caption.match(line))
    if source.startswith("RWCNet"):  # captions stand above the tables
        end = next(k for k in range(end + 2, len(lines)) if re.match("Table|The impact", lines[k]))
    start = max(k for k, line in enumerate(lines[:end]) if HEADER.match(line))
    return lines[start:end]


def printed_name(column, paper):
    """Heading of a column below the name of its dataset, if it has one."""
    times = dict(zip(("GPU seconds", "CPU seconds"), TIMES[paper]))
    return {**NAMES, **times}.get(column) or NAMES[column.partition(" ")[2]]


def numbers(text):
    """Cells of a printed row without citations, units and marks of the best."""
    text = re.sub(r"\[[\d, ]+\]", "", text)
    text = re.sub(r"(?<=\d)(?: s\b|\?)", "", text).replace("N/A", "-")
    return re.findall(r"\d+(?:\.\d+)?(?: \(\d+\.\d+\))?|(?<= )-(?= )", text)


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "label"), ROWS)
def test_rows_are_printed(name, label):
    """Compares cell by cell; a digit right after the label is a footnote's mark."""
    rests = [line[len(label) :] for line in table_lines(name) if line.startswith(label)]
    rows = [numbers(re.sub(r"^\d(?= )", "", rest)) for rest in rests]
    assert [cell.removesuffix(" %") for cell in RAW[name]["rows"][label]] in rows


@pytest.mark.shared_data
@pytest.mark.parametrize("name", LINED)
def test_columns_are_printed(name):
    columns, paper = RAW[name]["columns"], RAW[name]["source"][:3]
    first, second = table_lines(name)[:2]
    if paper == "RWC":
        heads = [c.replace("TRE", "TRE (mm)").replace("Dice", "Dice (%)") for c in columns]
        assert re.sub(" [↑↓]", "", first) == f"Experiment {' '.join(heads)}"
    elif name == "table5":
        assert second.split() == [
            column.replace("Atlas ", "Atlas").split()[0] for column in columns
        ]
    elif paper == "VTN":
        assert first.endswith(" ".join(printed_name(column, paper) for column in columns))
    else:
        assert second == " ".join(printed_name(column, paper) for column in columns)
        datasets = dict.fromkeys(column.split()[0] for column in columns if "seconds" not in column)
        assert first.split()[1 : len(datasets) + 1] == list(datasets)


def avsm_text(first, last):
    """The paper's text of a table, ligatures undone, as one line of words."""
    (path, *_) = [*PAPERS.glob("avsm_*.txt"), None]
    if path is None:
        pytest.skip("the papers' text is not here (set RCN_PAPERS to its folder)")
    text = unicodedata.normalize("NFKC", path.read_text(encoding="utf-8"))
    return " ".join(re.search(f"{first}.*?{last}", text, re.S)[0].split())


@pytest.mark.shared_data
def test_avsms_first_table_is_printed():
    """The text has the cells of a block of rows in runs; a row's own order is kept."""
    text = avsm_text("Method\n\nLongitudinal", "Table 1")
    text = re.sub(r"\( ", "(", text)
    for label, cells in RAW["avsm1"]["rows"].items():
        assert label in text
        dice = [cell.removesuffix(" %") for cell in cells if cell.endswith("%")]
        folds = [
            f"{number} [{size}]" for number, size in zip(cells[1::3], cells[2::3]) if size != "-"
        ]
        for printed in (*dice, *folds, cells[-1]):
            assert printed in text, (label, printed)


@pytest.mark.shared_data
def test_avsms_second_table_is_printed():
    """Its columns are runs of eight numbers: method I has none."""
    text = avsm_text("Method Af-Reg", "Table 2")
    rows = [cells for cells in RAW["avsm2"]["rows"].values() if cells[0] != "-"]
    for cells in zip(*rows):
        assert " ".join(cell.removesuffix(" %") for cell in cells) in text
    labels = [label.partition(":")[0] for label in RAW["avsm2"]["rows"]]
    assert " ".join(labels[:-1]) in text
    for label in RAW["avsm2"]["rows"]:
        assert label.partition("+ ")[2] in text


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
    assert tables["avsm1"].rows["SyN"]["cross Dice"] == Score(0.6571, 0.1501)
    assert "GPU seconds" not in tables["table1"].rows["ANTs SyN"]
    assert tables["vtn6"].rows["VTN DD?"]["IoU"] == Score(0.9305)
    assert (tables["table5"].source, tables["vtn2"].source) == ("RCN, Table 5", "VTN, Table II")


def test_tables_cannot_be_changed():
    with pytest.raises(TypeError):
        load_tables()["table2"].rows["10-cascade VTN"]["SLIVER Dice"] = Score(1.0)
