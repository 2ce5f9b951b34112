"""The tables have the papers' rows and columns, and their models are presets."""

import pytest

from eval.row_methods import ANTS, Baseline, Trained
from eval.tables import TABLES, Task, needed_models
from rcn_tf.presets import PRESETS
from rcn_tf.presets.papers import load_tables


def test_every_table_of_the_papers_is_there():
    own = ("rcn_training", "vrnet_cascades", "vrnet_data", "avsm_steps")
    assert tuple(TABLES) == (*load_tables(), *own)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_rows_and_columns_are_the_papers(table):
    assert tuple(table.rows) == tuple(table.paper.rows)
    assert tuple(table.columns) == table.paper.columns
    assert not set(table.extra) & set(table.rows)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_networks_are_presets(table):
    for method in table.rows.values():
        for task in table.tasks():
            if isinstance(method, Trained) and method.fits(task):
                assert method.spec(task).preset in PRESETS


def test_columns_know_their_pairs():
    columns = TABLES["table3"].columns
    assert columns["LiTS similarity"].task == Task("liver", "lits-val", "liver")
    assert columns["LPBA Dice"].metric == "dice"
    assert TABLES["table5"].columns["Atlas 3 Dice"].task.study == "brain_s03"
    assert TABLES["vtn5"].columns["IoU"].metric == "organ_jaccard"
    assert TABLES["table1"].columns["GPU seconds"].task is None


def test_shared_weights_share_the_model():
    rows = TABLES["table3"].rows
    assert rows["3×5"] == Trained("vtn_5", 3)
    names = [spec.name for spec in needed_models([TABLES["table3"]], is_liver)]
    assert names == [f"liver/vtn_{n}_liver" for n in (1, 2, 3, 5, 10)]


def test_models_of_a_study_have_folders_of_their_own():
    names = {spec.name for spec in needed_models(TABLES.values(), lambda task: True)}
    assert {"brain/vtn_10_brain", "brain_s02/vtn_10_brain", "brain_s03/vtn_10_brain"} <= names
    assert {"vtn_liver/vtn_addd", "vtn_liver/vtn_addd-lits", "liver/vtn_addd"} <= names
    assert "vtn_brain_aligned/vtn_dd_brain-adni+abide1" in names
    assert not any(name.startswith("vtn_brain/vtn_dd_") for name in names)


def test_no_data_no_models():
    assert needed_models(TABLES.values(), lambda task: False) == []


def is_liver(task):
    return task.study == "liver"


def test_reduced_tables_cap_the_cascades():
    reduced = TABLES["table1"].reduced(3)
    assert reduced.rows["2×10-cascade VTN [here 3]"] == Trained("vtn_3", 2)
    assert reduced.rows["ANTs SyN"] is ANTS
    assert len(reduced.rows) == len(TABLES["table1"].rows)
    numbers = [row.split("-")[0] for row in TABLES["table2"].reduced(3).rows]
    assert numbers == ["Affine only", "1", "2", "3", "1", "2", "3"]
    assert list(TABLES["table3"].reduced(3).rows)[-3:] == ["1×3", "2×3", "3×3"]


def test_capping_leaves_other_networks():
    for network in ("affine", "vm_x2", "vtn_addd", "vm2", "vtn_2"):
        assert Trained(network).capped(2) == Trained(network)
    assert Trained("voxelmorph_5", 3).capped(2) == Trained("voxelmorph_2", 3)
    assert Baseline("x").capped(1) == Baseline("x")


def test_the_papers_images_choose_the_preset_wherever_the_scans_lie():
    """In the mini study brains replace livers, but presets are those of the paper's experiment."""
    anywhere = Task("my own scans", "test", "liver")
    assert Trained("vtn_addd").spec(anywhere).preset == "vtn_addd"
    assert Trained("vtn_addd").spec(Task("liver of a brain", "test")).preset == "vtn_addd_brain"
    assert Trained("vtn_3").spec(anywhere.aligned()).name == "my own scans_aligned/vtn_3_liver"
    with pytest.raises(KeyError, match="no preset trains the network 'vtn_addd_supervised'"):
        Trained("vtn_addd_supervised").spec(Task("x", "y", "brain"))


def test_curves_are_rows_of_their_table():
    curves = TABLES["table2"].curves
    assert {base: list(curve) for base, curve in curves.items()} == {
        "VoxelMorph": [1, 2, 3, 4, 5],
        "VTN": list(range(1, 11)),
    }
    for curve in curves.values():
        for n, label in curve.items():
            assert TABLES["table2"].rows[label].n_cascades == n
