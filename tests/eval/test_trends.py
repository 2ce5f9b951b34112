"""Trends and the record of trainings, on tables and runs whose numbers are known."""

import csv
import json

import pytest
from scipy.stats import wilcoxon

from eval.results import Row, TableResult
from eval.tables import TABLES
from eval.trainings import training_rows, write_trainings
from eval.trends import TRENDS, find_trends, write_trends
from rcn_tf.files.json_files import write_json
from rcn_tf.training.config import read_training_config
from rcn_tf.training.run_folder import CONFIG
from tests.eval.study import TASK

LOW = (0.60, 0.61, 0.62, 0.63, 0.64, 0.65, 0.66)
HIGH = (0.62, 0.62, 0.65, 0.62, 0.68, 0.70, 0.72)  # one pair is worse


def row(label, dice, **more):
    values = [
        {"fixed": "a", "moving": f"m{k}", "dice": d, "similarity": 1 - d, **more}
        for k, d in enumerate(dice)
    ]
    return Row(label, {}, {TASK: values}, {TASK: len(values)})


def result(name, *rows):
    table = TABLES[name]
    columns = {k: m for k, m in table.columns.items() if m.task == TASK}
    return TableResult(table, columns, {}, list(rows), comparable=False)


def test_every_trend_is_of_rows_that_the_tables_have():
    for comparisons in TRENDS.values():
        for one in comparisons:
            table = TABLES[one.table]
            assert {one.ahead, one.behind} <= {*table.rows, *table.extra}, one
            assert one.place < len(table.tasks())


def test_gain_sign_and_p_of_a_comparison():
    table = result("table2", row("2-cascade VTN", HIGH), row("1-cascade VTN", LOW))
    (found,) = find_trends([table])
    assert found.trend == "Dice rises with the number of VTN cascades"
    assert found.gain == pytest.approx(sum(HIGH) / 7 - sum(LOW) / 7)
    assert (found.won, found.pairs) == (6, 7)
    assert found.p == pytest.approx(wilcoxon(HIGH, LOW).pvalue)
    assert found.verdict == ("yes" if found.p < 0.05 else "yes, not significant")


def test_the_other_order_is_told():
    table = result("table2", row("2-cascade VTN", LOW[::-1]), row("1-cascade VTN", HIGH[::-1]))
    (found,) = find_trends([table])
    assert found.gain < 0
    assert found.verdict.startswith("no")


def test_less_is_better_of_a_jacobian():
    rows = [row("VTN ADDD + inv", LOW, jacobian_std=0.1), row("VTN ADDD", LOW, jacobian_std=0.2)]
    table = TABLES["vtn3"]
    (task,) = table.tasks()
    for one in rows:
        one.pairs = {task: one.pairs[TASK]}
    (found,) = find_trends([TableResult(table, dict(table.columns), {}, rows, False)])
    assert found.gain == pytest.approx(0.1)


def test_rows_of_reduced_tables_stand_for_the_papers():
    rows = (row("10-cascade VTN [here 5]", HIGH), row("ANTs SyN", LOW))
    (found,) = find_trends([result("table1", *rows)])
    assert found.trend == "the best network beats ANTs SyN"


def test_few_pairs_have_no_test_and_missing_rows_no_finding(tmp_path):
    table = result("table2", row("2-cascade VTN", HIGH[:5]), row("1-cascade VTN", LOW[:5]))
    table.rows.append(row("3-cascade VTN", ()))
    (found,) = find_trends([table])
    assert found.p is None
    assert found.verdict == "yes, too few pairs to test"
    write_trends([found], tmp_path)
    with (tmp_path / "trends.csv").open() as file:
        (line,) = csv.DictReader(file)
    assert (line["ahead"], line["p"], line["pairs"]) == ("2-cascade VTN", "", "5")
    assert "| +0.0180 | 4 of 5 | - |" in (tmp_path / "trends.md").read_text()


def write_run(folder, steps, lines):
    folder.mkdir(parents=True)
    settings = [f"steps={steps}", "halve_at=[]", "batch_size=2"]
    write_json(folder / CONFIG, read_training_config("vtn_1_brain", settings).to_dict())
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text + '{"step": 999, "va')


def test_trainings_have_cost_and_flatness(tmp_path):
    lines = []
    for step, dice in ((100, 0.5), (200, 0.6), (300, 0.65), (400, 0.652)):
        lines.append({"step": step, "total": 1.0, "pairs_per_second": 4.0})
        lines.append({"step": step, "validation/dice": dice})
    write_run(tmp_path / "models" / "brain" / "vtn_1_brain", 400, lines)
    write_run(tmp_path / "models" / "brain" / "vtn_2_brain", 400, lines[:4])
    elsewhere = tmp_path / "models" / "brain" / "vtn_3_brain"
    elsewhere.mkdir()
    (elsewhere / "metrics.jsonl").write_text("")
    whole, part = training_rows(tmp_path / "models")
    assert whole["model"] == "brain/vtn_1_brain"
    assert whole["minutes"] == pytest.approx(400 * 2 / 4 / 60)
    assert (whole["half"], whole["three_quarters"], whole["end"]) == (0.6, 0.65, 0.652)
    assert whole["gain_of_last_quarter"] == pytest.approx(0.002)
    assert whole["flat"] is True
    assert (part["steps"], part["half"], part["end"], part["flat"]) == (200, 0.6, None, None)
    write_trainings(tmp_path / "models", tmp_path)
    text = (tmp_path / "trainings.md").read_text()
    assert "| brain/vtn_1_brain | 400 | 2 | 3.3 | 0.6000, 0.6500, 0.6520 | yes |" in text
    assert "| brain/vtn_2_brain | 200 of 400 |" in text
