"""Names that are not UTF-8, and messages that contain them."""

import os
import warnings

import pytest

from rcn_tf.errors import ESCAPES, naming, one_line, printable
from rcn_tf.files.plain_names import (
    is_plain,
    plain_folder,
    plain_name,
    plain_output_folder,
    plain_suffix,
)

LATIN = os.fsdecode(b"M\xfcller")


def test_which_names_are_plain():
    assert is_plain("/data/Müller €.nii")
    assert not is_plain(LATIN)
    assert not is_plain(f"/data/{LATIN}/scan.nii")


def test_plain_names_are_themselves(tmp_path):
    with plain_name(tmp_path / "scan.nii") as name:
        assert name == tmp_path / "scan.nii"


@pytest.mark.parametrize("parts", [(LATIN, "scan.nii.gz"), (f"{LATIN}.nii.gz",), (LATIN, LATIN)])
def test_a_file_is_read_and_written_through_a_plain_name(tmp_path, parts):
    path = tmp_path.joinpath(*parts)
    path.parent.mkdir(exist_ok=True)
    path.write_text("there")
    with plain_name(path) as name:
        assert str(name).isascii()
        assert name.suffix == path.suffix
        assert name.read_text() == "there"
    assert not name.exists()
    path.unlink()
    with plain_name(path) as name:
        name.write_text("written")
    assert path.read_text() == "written"


def test_a_folder_with_plain_names_in_it(tmp_path):
    folder = tmp_path / LATIN
    folder.mkdir()
    for number, name in enumerate((LATIN, f"{LATIN}.dcm", "a.dcm")):
        (folder / name).write_text(str(number))
    with plain_folder(folder) as links:
        assert all(str(path).isascii() for path in links.iterdir())
        assert sorted(path.read_text() for path in links.iterdir()) == ["0", "1", "2"]
    (tmp_path / "plain").mkdir()
    with plain_folder(tmp_path / "plain") as links:
        assert links == tmp_path / "plain"


def test_errors_name_the_original(tmp_path):
    path = tmp_path / LATIN / "scan.nii"
    path.parent.mkdir()
    with pytest.raises(ValueError, match="cannot") as caught, plain_name(path) as name:
        raise ValueError(f"cannot read {name}")
    assert str(caught.value) == f"cannot read {path}"


def test_an_output_folder_is_made_only_for_what_is_written(tmp_path):
    path = tmp_path / LATIN / "run"
    with plain_output_folder(path) as folder:
        (folder / "weights").write_text("x")
    assert (path / "weights").read_text() == "x"
    with pytest.raises(ValueError, match="wrong"), plain_output_folder(tmp_path / f"{LATIN}2"):
        raise ValueError("wrong")
    assert not (tmp_path / f"{LATIN}2").exists()


def test_suffixes_of_plain_letters():
    for name, suffix in {
        "scan.nii.gz": ".nii.gz",
        "scan": "",
        f"{LATIN}.MHA": ".MHA",
        "a.b (1).gz": ".gz",
        f"scan.{LATIN}": "",
    }.items():
        assert plain_suffix(name) == suffix


def test_what_is_printed():
    assert printable(f"{LATIN} Müller\n\x1b[1m") == "M\\xfcller Müller\\x0a\\x1b[1m"
    assert f"{LATIN} é".encode("ascii", ESCAPES) == b"M\\xfcller \\xe9"
    assert "\u20ac".encode("latin-1", ESCAPES) == b"\\u20ac"
    assert one_line(ValueError(f"no\n {LATIN}")) == "no M\\xfcller"
    error = PermissionError(13, "Permission denied", "/data/scan.nii")
    assert one_line(error) == "/data/scan.nii: Permission denied"
    assert one_line(FileNotFoundError("no such file: x")) == "no such file: x"


def test_naming_keeps_types_and_other_texts():
    with pytest.raises(KeyError) as caught, naming("real", instead_of="/tmp/stand-in"):
        raise KeyError("/tmp/stand-in has no scan", 3)
    assert caught.value.args == ("real has no scan", 3)
    with warnings.catch_warnings(), naming("a", instead_of="a"):
        warnings.simplefilter("error")
