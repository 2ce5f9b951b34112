"""Figures show the numbers they are given."""

import json

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from eval.figures.distributions import boxplots_figure, jacobian_figure
from eval.figures.drawing import _deepest_stages
from eval.figures.examples import examples_figure, mapped_back, stages_figure
from eval.figures.sections import sections_figure
from eval.figures.trends import trends_figure
from eval.results import Row, TableResult
from eval.tables import TABLES, Task
from rcn_tf.data.packs import Scan
from rcn_tf.metrics import sample_flow
from rcn_tf.registration.report.figures import flow_colours, png
from tests.eval.study import TASK, scan, write_model

LIVER = Task("liver", "lits-val", "liver")


def pair(**scores):
    return {"fixed": "a", "moving": "b", **scores}


def result():
    rows = []
    for n in (1, 2, 3):
        many = pair(dice=0.5 + n / 10, **{"dice:7": 0.4 + n / 10, "dice:9": 0.6 + n / 10})
        marks = {
            "landmark_voxels": 6.0 - n,
            "landmark_voxels:1": 7.0 - n,
            "landmark_voxels:2": 5.0 - n,
        }
        single = pair(dice=0.9 + n / 100, **{"dice:mask": 0.9 + n / 100})
        rows.append(Row(f"{n}-cascade VTN", {}, {TASK: [{**many, **marks}], LIVER: [single]}))
    table = TABLES["table2"]
    columns = {name: table.columns[name] for name in ("LiTS Dice", "LPBA Dice")}
    return TableResult(table, columns, {}, rows, comparable=False)


def test_trends_have_the_panels_of_figure_5():
    figure = trends_figure(result(), "VTN")
    liver, landmarks, brain = figure.axes
    assert [axes.get_xscale() for axes in figure.axes] == ["log"] * 3
    np.testing.assert_allclose(liver.lines[0].get_ydata(), [0.91, 0.92, 0.93])
    np.testing.assert_allclose(landmarks.lines[0].get_ydata(), [5, 4, 3])
    np.testing.assert_allclose(brain.lines[0].get_ydata(), [0.6, 0.7, 0.8])
    scattered = [points.get_offsets()[:, 1] for points in brain.collections]
    np.testing.assert_allclose(scattered, [[0.5, 0.6, 0.7], [0.7, 0.8, 0.9]])
    assert [label.get_text() for label in brain.get_xticklabels()] == ["1", "2", "3"]


def test_a_missing_depth_leaves_a_gap():
    table = result()
    table.rows[1].pairs.pop(LIVER)
    liver = trends_figure(table, "VTN").axes[0]
    np.testing.assert_array_equal(np.isnan(liver.lines[0].get_ydata()), [False, True, False])


def test_trends_need_two_points():
    table = result()
    table.rows = table.rows[:1]
    assert trends_figure(table, "VTN") is None
    assert trends_figure(result(), "VoxelMorph") is None


def test_boxplots_sort_the_structures():
    axes = boxplots_figure(result(), TASK).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["9", "7"]
    assert boxplots_figure(result(), Task("brain", "other")) is None


def test_jacobian_names_the_folded_share():
    flow = np.zeros((6, 7, 8, 3), np.float32)
    folded = flow.copy()
    folded[..., 2] = -2 * np.arange(8)
    texts = jacobian_figure({"a": flow, "b": folded}).axes[0].get_legend().get_texts()
    assert [text.get_text() for text in texts] == ["a (0.000 % folded)", "b (100.000 % folded)"]


def test_flow_colours():
    """|x| takes red away, |y| green, |z| blue; vectors are (z, y, x)."""
    flow = np.array([[0, 0, 0], [0, 0, 2], [0, -2, 0], [1, 0, 0]], float)
    expected = [to_rgb("white"), to_rgb("cyan"), to_rgb("magenta"), (1, 1, 0.5)]
    np.testing.assert_allclose(flow_colours(flow, 2), expected)


def test_landmarks_are_brought_back():
    flow = np.zeros((20, 20, 20, 3), np.float32)
    flow[..., 0], flow[..., 2] = 1.5, np.linspace(0, 2, 20)[:, None, None]
    points = np.array([[8, 9, 10], [5, 12, 7]], float)
    back = mapped_back(points, flow)
    np.testing.assert_allclose(back + sample_flow(flow, back), points, atol=5e-3)  # voxels


@pytest.mark.parametrize("annotated", [True, False])
def test_examples_have_a_row_per_method(annotated):
    fixed, moving = (
        Scan(name, *(scan(shift) if annotated else scan(shift)[:1]))
        for name, shift in (("a", (0, 0, 0)), ("b", (1, 2, 3)))
    )
    exact = np.zeros((*fixed.volume.shape, 3), np.float32) + np.float32([1, 2, 3])
    figure = examples_figure(fixed, moving, {"none": 0 * exact, "exact": exact})
    panels = np.array(figure.axes).reshape(4, -1)
    assert panels.shape[1] == (5 if annotated else 3)
    assert [axes.get_ylabel() for axes in panels[:, 0]] == ["fixed", "moving", "none", "exact"]
    if annotated:
        assert panels[3, 3].get_xlabel() == "Dice 1.000"
        assert panels[3, 4].get_xlabel() == "0.00 voxels"
        assert panels[2, 4].get_xlabel() == "3.74 voxels"
    assert png(figure).startswith(b"\x89PNG")


def annotated_pair():
    return (Scan(name, *scan(shift)) for name, shift in (("a", (0, 0, 0)), ("b", (1, 2, 3))))


def test_sections_are_at_the_landmarks_heights():
    fixed, moving = annotated_pair()
    exact = np.zeros((*fixed.volume.shape, 3), np.float32) + np.float32([1, 2, 3])
    figure = sections_figure(fixed, moving, {"none": 0 * exact, "exact": exact})
    panels = np.array(figure.axes).reshape(4, 4)  # two landmarks, an image and a mask of each
    assert [axes.get_title() for axes in panels[0]] == ["L1", "", "L2", ""]
    for column, height in ((0, 13), (2, 18)):
        for row in (0, 3):  # the exact flow brings the fixed image back
            picture = panels[row, column].images[0].get_array()[:-4, :-4]
            np.testing.assert_allclose(picture, fixed.volume[height, :-4, :-4], atol=1e-3)
    gold, red = (line.get_xydata()[0] for line in panels[2, 0].lines)
    np.testing.assert_allclose(gold, [12, 14])
    np.testing.assert_allclose(red, [15, 16], atol=5e-3)
    gold, red = (line.get_xydata()[0] for line in panels[3, 3].lines)
    np.testing.assert_allclose(gold, red, atol=5e-3)
    assert [axes.get_xlabel() for axes in panels[3, :2]] == ["0.00 voxels", "IoU 1.0000"]
    assert panels[2, 0].get_xlabel() == "3.74 voxels"
    overlay = panels[2, 1].images[0].get_array()
    only_fixed, only_moved = overlay[10, 8], overlay[19, 18]
    np.testing.assert_allclose(only_fixed, [1, 1, 1])
    np.testing.assert_allclose(only_moved, [0.55, 0, 0])


def test_sections_take_three_of_many_landmarks():
    fixed, moving = (Scan(s.id, s.volume, s.segmentation, None) for s in annotated_pair())
    assert sections_figure(fixed, moving, {}) is None
    points = np.array([[20, 5, 5], [4, 5, 5], [11, 5, 5], [12, 5, 5], [-1, -1, -1]], float)
    fixed, moving = (Scan(s.id, s.volume, s.segmentation, points) for s in (fixed, moving))
    titles = [axes.get_title() for axes in sections_figure(fixed, moving, {}).axes[:6:2]]
    assert titles[0] == "L2"
    assert titles[2] == "L1"
    assert titles[1] in {"L3", "L4"}


def test_stages():
    fixed, moving = (Scan(name, *scan((0, 0, 0))) for name in "ab")
    flow = np.zeros((*fixed.volume.shape, 3), np.float32)
    stages = [(name, flow, flow, fixed.volume) for name in ("affine", "dense_1")]
    figure = stages_figure(fixed, moving, stages)
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert titles == ["moving", "affine", "dense_1", "fixed"]


@pytest.mark.slow
def test_stages_are_of_trained_models(tmp_path):
    for n in (1, 2):
        write_model(tmp_path / "brain" / f"vtn_{n}_brain", n_cascades=n)
    path = tmp_path / "brain" / "vtn_2_brain" / "config.json"
    unfinished = {"training": {"steps": 3, "config": {"steps": 9}}}
    path.write_text(json.dumps({**json.loads(path.read_text()), **unfinished}))
    fixed, moving = annotated_pair()
    stages = _deepest_stages(TABLES["table2"], TASK, tmp_path, fixed, moving)
    assert [name for name, *_ in stages] == ["affine", "dense_1"]
