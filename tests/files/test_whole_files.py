"""Files and folders that are replaced as a whole."""

import pytest

from rcn_tf.files.whole_files import replacing, replacing_folder


def content(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_names_that_differ_in_case_do_not_share_a_temporary_file(tmp_path):
    with replacing(tmp_path / "Out.NII.GZ") as upper, replacing(tmp_path / "out.nii.gz") as lower:
        upper.write_text("upper")
        lower.write_text("lower")
        assert upper.name.endswith(".nii.gz")
    assert content(tmp_path) == {"Out.NII.GZ": "upper", "out.nii.gz": "lower"}


def test_folder_takes_its_place_when_complete(tmp_path):
    for text in ("first", "second"):
        with replacing_folder(tmp_path / "out") as folder:
            (folder / f"{text}.txt").write_text(text)
        assert content(tmp_path / "out") == {f"{text}.txt": text}
        assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_error_leaves_what_was_there(tmp_path):
    def fail():
        with replacing_folder(tmp_path / "out") as folder:
            (folder / "half").write_text("x")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert not list(tmp_path.iterdir())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "earlier").write_text("y")
    with pytest.raises(OSError, match="disk full"):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert content(tmp_path / "out") == {"earlier": "y"}


def test_the_older_folder_returns_if_the_last_step_fails(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "earlier").write_text("y")
    with pytest.raises(FileNotFoundError), replacing_folder(tmp_path / "out") as folder:
        folder.rmdir()  # so that it cannot be renamed
    assert content(tmp_path / "out") == {"earlier": "y"}
