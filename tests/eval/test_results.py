"""Statistics and files of a table whose scores are known."""

import csv

import numpy as np
import pytest
from scipy.stats import wilcoxon

from eval.results import Row, TableResult, significance
from eval.tables import TABLES, Measure, Task
from eval.writing import html_section, markdown, notes, write_table
from rcn_tf.presets.papers import Score
from tests.eval.study import TASK

BETTER = (0.72, 0.74, 0.70, 0.76, 0.73, 0.73)
WORSE = (0.70, 0.71, 0.66, 0.71, 0.67, 0.66)


def pairs(dice, **extra):
    return [
        {"fixed": "a", "moving": f"m{k}", "dice": d, "cpu_seconds": 2.0 + k * k, **extra}
        for k, d in enumerate(dice)
    ]


def result(comparable=True):
    table = TABLES["table2"]
    columns = {name: table.columns[name] for name in ("LPBA Dice", "CPU seconds")}
    rows = []
    for label, dice in (("Affine only", WORSE), ("1-cascade VTN", BETTER), ("2-cascade VTN", ())):
        printed = {k: v for k, v in table.paper.rows[label].items() if k in columns}
        rows.append(Row(label, printed, {TASK: pairs(dice)} if dice else {}, {TASK: 6}))
    rows[1].parameters = (2_686_995, 1_802_607)
    rows[2].notes.append("model models/brain/vtn_2_brain is missing")
    lacking = {"LiTS Dice": "liver.json is missing"}
    return TableResult(table, columns, lacking, rows, comparable)


def test_means_are_across_pairs_and_times_are_medians():
    row = result().rows[1]
    assert row.score("dice", TASK) == Score(np.mean(BETTER), pytest.approx(np.std(BETTER)))
    assert row.score("cpu_seconds", TASK) == Score(8.5)  # of 2, 3, 6, 11, 18, 27
    assert row.score("hd95_mm", TASK) is None


def test_missing_values_do_not_count():
    row = Row("x", {}, {TASK: [*pairs((0.5, 0.7)), {"fixed": "a", "moving": "z", "dice": None}]})
    assert row.score("dice", TASK).mean == pytest.approx(0.6)


def test_wilcoxon_is_paired_by_the_pairs_names():
    table = result()
    table.rows[0].pairs[TASK].reverse()
    p, number = significance(table, TASK)["1-cascade VTN", "Affine only"]
    assert number == 6
    assert p == wilcoxon(np.subtract(BETTER, WORSE)).pvalue == 0.03125  # the least of six pairs
    table.rows[0].pairs[TASK] = table.rows[0].pairs[TASK][:5]
    assert significance(table, TASK)["1-cascade VTN", "Affine only"] == (None, 5)


def test_few_pairs_have_no_p_value_and_the_reason_is_said():
    table = result()
    for row in table.rows[:2]:
        row.pairs[TASK] = row.pairs[TASK][:2]
    assert "| Affine only | - | 2 |" in markdown(table)
    assert (
        "brain lpba-val: no p-values for 2 pairs; the signed-rank test needs at least 6"
        in markdown(table)
    )


def test_equal_rows_do_not_differ():
    table = result()
    table.rows[0].pairs = table.rows[1].pairs
    assert significance(table, TASK)["1-cascade VTN", "Affine only"] == (1.0, 6)


def test_cells_show_paper_ours_and_difference():
    text = markdown(result())
    assert "| 1-cascade VTN | 0.686 (0.014) / 0.730 (0.018) (+0.044) |" in text
    assert "| 10 / 8.500 (-1.500) | 2,686,995 (1,802,607) |" in text
    assert "- LiTS Dice: liver.json is missing" in text
    assert "| 2-cascade VTN | 0.697 (0.014) / - |" in text
    assert "- 2-cascade VTN: model models/brain/vtn_2_brain is missing" in text
    assert "| Affine only | 0.0312 | 6 |" in text


def test_other_data_have_no_difference():
    text = markdown(result(comparable=False))
    assert "| 0.686 (0.014) / 0.730 (0.018) |" in text
    assert "not comparable" in text
    assert "LPBA Dice / mini study's Dice | CPU seconds |" in text
    assert "### All metrics, mini study in place of brain lpba-val" in text


def test_partial_rows_are_marked():
    table = result()
    table.rows[0].pairs[TASK] = table.rows[0].pairs[TASK][:2]
    assert "0.628 (0.017) / 0.705 (0.005)* (" in markdown(table)
    assert "Affine only: brain lpba-val has 2 of 6 pairs (marked *)" in notes(table)
    assert "| 2/6 |" in markdown(table)


def test_files(tmp_path):
    write_table(result(), tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [
        f"table2{end}" for end in (".csv", ".html", ".md", "_pairs.csv", "_wilcoxon.csv")
    ]
    with (tmp_path / "out" / "table2_pairs.csv").open() as file:
        scores = [(line["row"], line["moving"], line["dice"]) for line in csv.DictReader(file)]
    assert len(scores) == 12
    assert scores[7] == ("1-cascade VTN", "m1", "0.74")
    with (tmp_path / "out" / "table2.csv").open() as file:
        lines = {(line["row"], line["metric"]): line for line in csv.DictReader(file)}
    line = lines["1-cascade VTN", "dice"]
    assert (line["column"], line["paper_mean"], line["pairs"]) == ("LPBA Dice", "0.686", "6")
    assert float(line["difference"]) == pytest.approx(0.73 - 0.686)
    assert lines["2-cascade VTN", "dice"]["mean"] == ""
    with (tmp_path / "out" / "table2_wilcoxon.csv").open() as file:
        assert {float(line["p"]) for line in csv.DictReader(file)} == {0.03125}


def test_a_table_is_complete_when_all_cells_are():
    table = result()
    assert not table.is_complete()
    table.rows.pop()
    assert table.is_complete()
    table.rows[0].pairs[TASK][0]["dice"] = None
    assert table.is_complete()  # one pair has no Dice
    for pair in table.rows[0].pairs[TASK]:
        pair["dice"] = None
    assert not table.is_complete()


def test_columns_without_values_say_why():
    table = result()
    for row in table.rows:
        for pair in row.pairs.get(TASK, ()):
            pair.pop("dice")
    assert "LPBA Dice: the scans have no segmentations" in notes(table)


def test_times_may_come_from_any_task():
    table = result()
    liver = Task("liver", "sliver-val")
    table.columns["SLIVER Dice"] = Measure("dice", liver)
    table.columns = dict(sorted(table.columns.items(), reverse=True))
    assert table.tasks() == [liver, TASK]
    score, task = table.score(table.rows[1], "CPU seconds")
    assert (score.mean, task) == (8.5, TASK)


def test_threads_are_stated():
    table = result()
    for row, threads in zip(table.rows, (1, 2)):
        for pair in row.pairs[TASK]:
            pair["threads"] = threads
    assert notes(table)[-2:] == [
        "CPU seconds with threads: 1 (Affine only)",
        "CPU seconds with threads: 2 (1-cascade VTN)",
    ]


def test_html_escapes():
    table = result()
    table.rows[2].notes = ["<model> & co"]
    assert "&lt;model&gt; &amp; co" in html_section(table)
    assert html_section(table).count("<table>") == 3
