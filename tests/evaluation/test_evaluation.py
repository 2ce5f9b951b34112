"""Evaluation with a model whose flows are known, so that every number can be computed by hand."""

import json

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from custom_ops import warp
from rcn_tf.data.packs import Scan
from rcn_tf.evaluation import evaluate, read_results, summarise, to_frame, write_results
from rcn_tf.models.output import RegistrationOutput, StageOutput

SHAPE = (8, 10, 12)
SPACING_XYZ = (0.5, 2.0, 3.0)  # as packs store it; per array axis it is (3, 2, 0.5)


class StubModel:
    """Shifts the whole volume: stage k's total flow is `shifts[k]` everywhere."""

    def __init__(self, *shifts, affine=True):
        self.shifts, self.affine = shifts, affine
        self.calls = []

    def __call__(self, fixed, moving, n_repeats=1, training=False):
        self.calls.append((n_repeats, training))
        stages = []
        for k, shift in enumerate(self.shifts):
            flow = tf.zeros((1, *SHAPE, 3)) + tf.constant(shift, tf.float32)
            affine = self.affine and k == 0
            kind = "affine" if affine else "dense"
            name = "affine" if affine else f"dense_{k + 1 - self.affine}"
            stages.append(StageOutput(flow, flow, warp(moving, flow), name=name, kind=kind))
        return RegistrationOutput(stages[-1].total_flow, stages[-1].warped, tuple(stages))


def _scan(name, shift=0, *, labels=True, points=None, spacing=SPACING_XYZ):
    """A slab of label 1, one of label 5 and a ramp, moved by `shift` voxels along axis 1."""
    segmentation = np.zeros(SHAPE, np.uint8)
    segmentation[2:6, 2 + shift : 4 + shift, 3:9] = 1
    segmentation[2:6, 4 + shift : 6 + shift, 3:9] = 5
    volume = (20 * segmentation + 3 * np.arange(SHAPE[2])).astype(np.uint8)
    attributes = {} if spacing is None else {"spacing": np.array(spacing)}
    points = None if points is None else np.array(points, np.float32)
    return Scan(name, volume, segmentation if labels else None, points, attributes)


def _frame(model, pairs, **options):
    return to_frame([row for rows in evaluate(model, pairs, **options) for row in rows])


def _stage(frame, stage):
    return frame[frame.stage == stage].iloc[0]


def test_a_flow_that_undoes_the_shift():
    fixed = _scan("a", points=[[2, 3, 4], [-1, -1, -1], [5, 6, 7]])
    moving = _scan("b", shift=2, points=[[2, 5, 4], [2, 2, 2], [5, 8, 7]])
    frame = _frame(StubModel((0, 1, 0), (0, 2, 0)), [(fixed, moving)])
    assert list(frame.stage) == ["before", "affine", "dense_1"]
    assert set(frame.fixed) == {"a"}
    assert set(frame.moving) == {"b"}

    before = _stage(frame, "before")  # label 1 at rows 2, 3 against 4, 5: no overlap
    assert before["dice"] == 0
    assert before["landmark_voxels"] == pytest.approx(2)
    assert before["landmark_mm"] == pytest.approx(4)
    assert np.isnan(before["folding_percent"])

    half = _stage(frame, "affine")  # one of two rows of each structure overlaps
    assert half["dice:1"] == half["dice:5"] == half["dice"] == pytest.approx(0.5)
    assert half["jaccard:1"] == half["jaccard"] == pytest.approx(1 / 3)
    assert half["landmark_voxels"] == pytest.approx(1)
    assert half["landmark_mm"] == pytest.approx(2)

    final = _stage(frame, "dense_1")
    assert final["dice"] == final["jaccard"] == 1
    assert final["similarity"] == pytest.approx(1)
    assert final["landmark_voxels"] == pytest.approx(0, abs=1e-6)
    assert final["jacobian_std"] == pytest.approx(0, abs=1e-5)
    assert final["folding_percent"] == 0
    assert before["similarity"] < half["similarity"] < final["similarity"]


def test_every_landmark_has_a_column():
    fixed = _scan("a", points=[[2, 3, 4], [-1, -1, -1], [5, 6, 7]])
    moving = _scan("b", points=[[2, 5, 4], [2, 2, 2], [5, 7, 7]])
    before = _stage(_frame(StubModel((0, 0, 0)), [(fixed, moving)]), "before")
    assert (before["landmark_voxels:1"], before["landmark_voxels:3"]) == (2, 1)
    assert (before["landmark_mm:1"], before["landmark_mm:3"]) == (4, 2)
    assert "landmark_voxels:2" not in before


def test_the_organ_is_all_structures_together():
    """The lower structure takes the upper one's place, so the unions share one of three rows."""
    frame = _frame(StubModel((0, 0, 0)), [(_scan("a"), _scan("b", shift=2))])
    before = _stage(frame, "before")
    assert before["jaccard"] == 0
    assert before["organ_jaccard"] == pytest.approx(2 / 6)
    chosen = _frame(
        StubModel((0, 0, 0)), [(_scan("a"), _scan("b", shift=1))], structures={"lobe": 5}
    )
    assert _stage(chosen, "before")["organ_jaccard"] == pytest.approx(1 / 3)


def test_landmarks_of_aligned_scans_are_measured_in_the_original():
    """VTN, section V-B: the linear part of the alignment is undone before converting to mm."""
    moving = _scan("b", points=[[2, 4, 4]])
    moving.attributes["alignment"] = np.array([[0, 2.0, 0], [0, 0, 1], [1, 0, 0]])
    before = _stage(
        _frame(StubModel((0, 0, 0)), [(_scan("a", points=[[2, 3, 4]]), moving)]), "before"
    )
    assert before["landmark_voxels"] == pytest.approx(2)  # (0, 1, 0) -> (2, 0, 0)
    assert before["landmark_mm"] == pytest.approx(2 * 3)


def test_different_numbers_of_landmarks_are_refused():
    fixed, moving = _scan("a", points=[[2, 3, 4], [1, 1, 1]]), _scan("b", points=[[2, 4, 4]])
    with pytest.raises(ValueError, match="same landmarks; got 2 of 'a' and 1 of 'b'"):
        _frame(StubModel((0, 0, 0)), [(fixed, moving)])


def test_millimetres_use_the_moving_grid():
    fixed = _scan("a", points=[[2, 3, 4]], spacing=(9, 9, 9))
    moving = _scan("b", points=[[3, 3, 6]])
    frame = _frame(StubModel((0, 0, 0)), [(fixed, moving)])
    assert _stage(frame, "before")["landmark_mm"] == pytest.approx(np.hypot(3 * 1, 0.5 * 2))


def test_seconds_stand_in_the_last_stage_only():
    frame = _frame(StubModel((0, 0, 0), (0, 1, 0)), [(_scan("a"), _scan("b"))])
    assert frame.seconds.isna().tolist() == [True, True, False]
    assert frame.seconds.iloc[-1] > 0


def test_structures_may_be_chosen_and_named():
    frame = _frame(
        StubModel((0, 1, 0)), [(_scan("a"), _scan("b", shift=2))], structures={"lobe": 5, "none": 8}
    )
    affine = _stage(frame, "affine")
    assert affine["dice"] == affine["dice:lobe"] == pytest.approx(0.5)  # absent ones do not count
    assert "dice:1" not in frame
    assert "dice:none" not in frame


def test_masks_of_255_are_warped_linearly_and_thresholded():
    def liver(name, rows, value=255):
        segmentation = np.zeros(SHAPE, np.uint8)
        segmentation[:, rows] = value
        return Scan(name, segmentation + np.arange(12, dtype=np.uint8), segmentation)

    pair = [(liver("a", slice(2, 6)), liver("b", slice(4, 8)))]
    # Shifted by 1.6: rows 3 (0.6 of the mask) to 5 are in, row 6 with 0.4 of 255 = 102 is out.
    frame = _frame(StubModel((0, 1.6, 0)), pair, masks=True)
    affine = _stage(frame, "affine")
    assert affine["dice"] == affine["dice:mask"] == pytest.approx(1)
    # Shifted by 1.4, the mask runs over rows 3..6: rows 3, 4, 5 are shared.
    frame = _frame(StubModel((0, 1.4, 0)), pair, masks=True)
    assert _stage(frame, "affine")["dice"] == pytest.approx(6 / 8)
    # Label ids stay label ids, also with masks=True.
    pair = [(liver("a", slice(2, 6), 3), liver("b", slice(4, 8), 3))]
    frame = _frame(StubModel((0, 2, 0)), pair, masks=True)
    assert _stage(frame, "affine")["dice:3"] == 1


def test_surface_distances_in_millimetres():
    pair = [(_scan("a"), _scan("b", shift=2))]
    frame = _frame(StubModel((0, 2, 0)), pair, surfaces=True)
    assert _stage(frame, "before")["hd95_mm"] == pytest.approx(4)
    assert _stage(frame, "before")["outer_hausdorff_mm"] == pytest.approx(4)
    assert 0 < _stage(frame, "before")["surface_mm"] <= 4
    assert _stage(frame, "affine")["hd95_mm"] == 0
    assert "hd95_mm" not in _frame(StubModel((0, 2, 0)), pair)


def test_repeats_reach_the_model_and_the_names():
    model = StubModel((0, 0, 0), (0, 1, 0), (0, 2, 0), affine=False)
    assert list(_frame(model, [(_scan("a"), _scan("b"))]).stage[1:]) == [
        "dense_1",
        "dense_2",
        "dense_3",
    ]
    model = StubModel(*[(0, 0, 0)] * 5)
    _frame(model, [(_scan("a"), _scan("b"))], n_repeats=2)
    assert model.calls == [(2, False)]  # traced once


def test_images_alone():
    pair = [(_scan("a", labels=False, spacing=None), _scan("b", labels=False))]
    frame = _frame(StubModel((0, 0, 0)), pair, surfaces=True)
    assert set(frame.columns) == {
        *("fixed", "moving", "stage"),
        *("similarity", "jacobian_std", "jacobian_gradient"),
        *("folding_percent", "folded_volume_percent", "seconds"),
        *("folds", "fold_size", "product_folds", "product_fold_size"),
    }


def test_folding_of_a_mirrored_axis():
    def mirror(fixed, moving, **_):
        flow = tf.reshape(-2 * tf.range(12, dtype=tf.float32), (1, 1, 1, 12, 1))
        flow = tf.broadcast_to(flow * tf.constant([0.0, 0, 1]), (1, *SHAPE, 3))
        stage = StageOutput(flow, flow, warp(moving, flow))
        return RegistrationOutput(flow, stage.warped, (stage,))

    frame = _frame(mirror, [(_scan("a"), _scan("b"))])
    assert _stage(frame, "dense_1")["folding_percent"] == 100
    assert _stage(frame, "dense_1")["folded_volume_percent"] == pytest.approx(100)


def test_pairs_that_do_not_fit():
    small = Scan("b", np.zeros((8, 10, 11), np.uint8))
    with pytest.raises(ValueError, match=r"'a' \(8, 10, 12\) and 'b' \(8, 10, 11\)"):
        next(evaluate(StubModel((0, 0, 0)), [(_scan("a"), small)]))
    pair = _scan("a", points=[[1, 1, 1]]), _scan("b", points=[[1, 1, 1], [2, 2, 2]])
    with pytest.raises(ValueError, match="got 1 of 'a' and 2 of 'b'"):
        next(evaluate(StubModel((0, 0, 0)), [pair]))


def test_mean_and_std_are_those_of_pairs():
    pairs = [(_scan("a"), _scan("b", shift=shift)) for shift in (0, 1, 2)]
    summary = summarise(_frame(StubModel((0, 0, 0)), pairs))
    assert [entry["stage"] for entry in summary] == ["before", "affine"]
    dice = summary[0]["dice"]  # 1, 1/2 and 0
    assert dice == {"mean": pytest.approx(0.5), "std": pytest.approx(np.sqrt(1 / 6)), "n": 3}
    jaccard = summary[0]["structures"]["5"]["jaccard"]  # 1, 1/3 and 0
    assert jaccard["mean"] == pytest.approx(4 / 9)
    assert jaccard["std"] == pytest.approx(np.std([1, 1 / 3, 0]))
    assert "seconds" not in summary[0]
    assert summary[1]["seconds"]["n"] == 3


def test_missing_values_do_not_count_in_the_summary():
    rows = [
        {"fixed": "a", "moving": "b", "stage": "before", "dice": 0.2, "similarity": 0.1},
        {"fixed": "a", "moving": "c", "stage": "before", "dice": np.nan, "similarity": 0.3},
    ]
    summary = summarise(to_frame(rows))[0]
    assert summary["dice"] == {"mean": 0.2, "std": 0.0, "n": 1}
    assert summary["similarity"]["n"] == 2


def test_structures_are_in_numerical_order():
    row = {"fixed": "a", "moving": "b", "stage": "before", "dice:10": 1, "dice:9": 1, "dice": 1}
    assert list(to_frame([row]).columns[3:]) == ["dice", "dice:9", "dice:10"]


def test_results_on_disk(tmp_path):
    frame = _frame(StubModel((0, 1, 0)), [(_scan("a"), _scan("b", shift=2))])
    write_results(tmp_path / "new" / "folder", frame, {"stages": summarise(frame)})
    folder = tmp_path / "new" / "folder"
    assert sorted(path.name for path in folder.iterdir()) == ["pairs.csv", "summary.json"]
    pd.testing.assert_frame_equal(pd.read_csv(folder / "pairs.csv"), frame)
    stages = json.loads((folder / "summary.json").read_text())["stages"]
    assert stages[1]["dice"]["mean"] == pytest.approx(0.5)


def test_earlier_results_are_read_under_todays_names(tmp_path):
    """Version 0.1 called dense stages "cascade 1" and "cascade 1.2"."""
    old = ["before", "affine", "cascade 1", "cascade 12", "cascade 2.10", "refined"]
    now = ["before", "affine", "dense_1", "dense_12", "dense_2/repeat_10", "refined"]
    frame = pd.DataFrame({"fixed": "a", "moving": "b", "stage": old, "dice": np.arange(6) / 10})
    summary = {"pairs": 1, "stages": [{"stage": name, "dice": {"mean": 0.5}} for name in old]}
    write_results(tmp_path, frame, summary)
    read, facts = read_results(tmp_path)
    pd.testing.assert_frame_equal(read, frame.assign(stage=now))
    assert facts == {"pairs": 1, "stages": [{"stage": n, "dice": {"mean": 0.5}} for n in now]}
    write_results(tmp_path, read, facts)
    pd.testing.assert_frame_equal(read_results(tmp_path)[0], read)


class Broken:
    """A model that returns the output it is given."""

    def __init__(self, output):
        self.output = output

    def __call__(self, fixed, moving, training=False):
        return self.output


def _stages(*flows, name="dense_1"):
    image = tf.zeros((1, *SHAPE, 1))
    stages = tuple(StageOutput(flow, flow, image, name=name) for flow in flows)
    return RegistrationOutput(flows[-1], image, stages) if flows else stages


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (tf.zeros((1, *SHAPE, 3)), "must return a RegistrationOutput"),
        (
            _stages(tf.zeros((1, *SHAPE, 2))),
            r"the total flow must have shape \[B, 8, 10, 12, 3\]; got \(1, 8, 10, 12, 2\)",
        ),
        (_stages(*[tf.zeros((1, *SHAPE, 3))] * 2), "two stages the name 'dense_1'"),
        (_stages(tf.fill((1, *SHAPE, 3), np.nan)), "'dense_1' holds NaN or infinity"),
    ],
)
def test_outputs_that_break_the_contract(output, message):
    with pytest.raises(ValueError, match=f"a <- b: model Broken.*{message}") as caught:
        _frame(Broken(output), [(_scan("a"), _scan("b"))])
    assert "\n" not in str(caught.value)


def test_overlap_as_the_original_counts_it():
    """A voxel between three labels may have no majority; then it belongs to none of them."""
    segmentation = np.full(SHAPE, 9, np.uint8)
    segmentation[:, 4:, :6], segmentation[:, 4:, 6:] = 1, 5
    moving = Scan("b", segmentation + np.arange(12, dtype=np.uint8), segmentation)
    warped = np.full(SHAPE, 9, np.uint8)
    warped[:, 3:, :6], warped[:, 3:, 6:] = 1, 5
    warped[:, 3, 5] = 0  # 0.4 of 9, 0.6 x 0.55 of 1 and 0.6 x 0.45 of 5
    pair = [(Scan("a", moving.volume, warped), moving)]
    model = StubModel((0, 0.6, 0.45))
    original = _stage(_frame(model, pair, overlap="original"), "affine")
    assert [original[f"dice:{label}"] for label in (1, 5, 9)] == [1, 1, 1]
    assert original["organ_jaccard"] == pytest.approx(1 - 1 / 120)  # as one mask it is all there
    argmax = _stage(_frame(model, pair), "affine")  # it is 9, the strongest
    nines = 8 * 3 * 12
    assert argmax["dice:9"] == pytest.approx(2 * nines / (2 * nines + 8))
    assert argmax["dice:1"] == argmax["dice:5"] == 1
    with pytest.raises(ValueError, match="`overlap` must be one of"):
        _frame(model, pair, overlap="half")


def test_overlap_as_the_original_counts_it_without_any_structure():
    empty = np.zeros(SHAPE, np.uint8)
    pair = [(Scan("a", _scan("a").volume, empty), Scan("b", _scan("b").volume, empty))]
    assert "dice" not in _frame(StubModel((0, 1, 0)), pair, overlap="original")
