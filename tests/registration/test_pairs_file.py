"""Files of pairs: read rightly, or one line with the number of the line and the way out."""

import pathlib

import pytest

from rcn_tf.registration.pairs_file import Pair, as_pairs, read_pairs


@pytest.fixture
def folder(tmp_path):
    """A folder with four images, a label map and a table to be written."""
    (tmp_path / "sub").mkdir()
    for name in ("a.nii.gz", "b.nii.gz", "sub/c d.nii.gz", "a,b;c.nii.gz", "seg.nii.gz"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def pairs_of(folder, text):
    path = folder / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    return read_pairs(path)


def test_columns_in_any_order_and_spelling(folder):
    found = pairs_of(
        folder,
        "Moving labels;NAME;fixed;Moving\n"
        'seg.nii.gz;one;a.nii.gz;"sub/c d.nii.gz"\n'
        "\n"
        ";;a,b;c.nii.gz;b.nii.gz\n".replace("a,b;c.nii.gz", '"a,b;c.nii.gz"'),
    )
    first, second = found
    assert first.name == "one"
    assert first.files() == {
        "fixed": folder / "a.nii.gz",
        "moving": folder / "sub" / "c d.nii.gz",
        "moving_labels": folder / "seg.nii.gz",
    }
    assert second.fixed == folder / "a,b;c.nii.gz"
    assert second.name == "b_to_a,b;c"
    assert second.where == f"{folder / 'pairs.csv'}, line 4"


def test_relative_paths_start_at_the_table(folder, monkeypatch):
    monkeypatch.chdir(folder / "sub")
    (pair,) = pairs_of(folder, f"fixed,moving\n{folder / 'a.nii.gz'},b.nii.gz\n")
    assert pair.fixed == folder / "a.nii.gz"
    assert pair.moving == folder / "b.nii.gz"


FAULTS = [
    ("", "is empty"),
    ("fixed\na.nii.gz\n", "line 1: must name the columns fixed and moving; moving is missing"),
    ("a.nii.gz,b.nii.gz\n", "line 1: there is no column 'a.nii.gz'; there are fixed, moving"),
    ("fixd,moving\na,b\n", "line 1: there is no column 'fixd'; did you mean fixed?"),
    ("fixed,moving,moving_label\na,b,c\n", "did you mean moving_labels?"),
    ("fixed,fixed,moving\na,b,c\n", "line 1: the column fixed is there twice"),
    ("fixed,moving\n", "names columns, but no pair"),
    ("fixed,moving\n\na.nii.gz,\n", "line 3: moving is empty"),
    ("fixed,moving\na.nii.gz,none.nii.gz\n", "line 2: no such file:"),
    ("fixed,moving\na.nii.gz,b.nii.gz,x\n", "line 2 has 3 cells"),
    (
        "fixed,moving\na.nii.gz,b.nii.gz\na.nii.gz,b.nii.gz\n",
        "line 3: the name 'b_to_a' is that of line 2 too; give each pair a name",
    ),
    ("fixed,moving,name\na.nii.gz,b.nii.gz,P\nb.nii.gz,a.nii.gz,p\n", "line 3: the name 'p'"),
    ("fixed,moving,name\na.nii.gz,b.nii.gz,../x\n", "line 2: the name '../x' cannot be"),
    ("fixed,moving,name\na.nii.gz,b.nii.gz,..\n", "line 2: the name '..' cannot be"),
    ("fixed,moving,name\na.nii.gz,b.nii.gz,/etc/x\n", "line 2: the name '/etc/x' cannot be"),
    ("fixed,moving,name\na.nii.gz,b.nii.gz,x\\y\n", "cannot be that of a folder"),
    ("fixed,moving,name\na.nii.gz,b.nii.gz," + 201 * "x" + "\n", "cannot be that of a folder"),
    ("fixed,moving,name\na.nii.gz,b.nii.gz,index.html\n", "kept for a file of the whole run"),
    ("fixed,moving,fixed_labels\na.nii.gz,b.nii.gz,seg.nii.gz\n", "line 2: fixed_labels need"),
]


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_faults_name_the_line_and_the_way_out(folder, text, message):
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        pairs_of(folder, text)
    assert message in str(caught.value)
    assert "pairs.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_has_no_subsets(folder):
    (folder / "p.csv").write_text("fixed,moving\na.nii.gz,b.nii.gz\n")
    with pytest.raises(ValueError, match="no subset 'registration_val'"):
        read_pairs(folder / "p.csv", "registration_val")


def test_pairs_of_dictionaries(folder):
    a, b = folder / "a.nii.gz", folder / "b.nii.gz"
    given = [{"fixed": a, "moving": str(b), "name": None}, Pair("x", a, b)]
    first, second = as_pairs(given)
    assert (first.name, first.moving, first.where) == ("b_to_a", b, "pair 1")
    assert (second.name, second.where) == ("x", "pair 2")
    with pytest.raises(ValueError, match="pair 1: there is no column 'labels'"):
        as_pairs([{"fixed": a, "moving": b, "labels": a}])
    with pytest.raises(FileNotFoundError, match="pair 1: no such file: .*none .moving"):
        as_pairs([{"fixed": a, "moving": pathlib.Path("none")}])
    with pytest.raises(ValueError, match="no pairs"):
        as_pairs([])
