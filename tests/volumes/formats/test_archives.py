"""ZIP archives of DICOM files: read like folders, removed afterwards, and never trusted."""

import os
import pathlib
import stat
import struct
import tempfile
import zipfile

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.commands.main import main
from rcn_tf.volumes.formats import archives
from rcn_tf.volumes.formats.archives import unpacked
from rcn_tf.volumes.formats.images import read_image
from tests.dicom_files import write_series


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory, monkeypatch):
    """The folder for temporary files, which must be empty in the end."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def scan():
    d, h, w = np.indices((6, 5, 4))
    image = sitk.GetImageFromArray((100 * d - 40 * h + 9 * w - 300).astype(np.int16))
    image.SetSpacing((0.7, 0.9, 2.5))
    return image


def packed(path, members, compression=zipfile.ZIP_DEFLATED):
    """An archive of {name: file or bytes}."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(
                name, content if isinstance(content, (bytes, str)) else content.read_bytes()
            )
    return path


@pytest.fixture
def study(tmp_path, scan):
    """An export like those of hospitals: numbered folders, with one series spread over two."""
    write_series(tmp_path / "a", scan, description="portal", uid="1.2.826.1")
    write_series(tmp_path / "b", scan[:, :, :5] + 7, description="arterial", uid="1.2.826.2")
    members = {"DICOM/": b"", "README.TXT": b"burnt on a CD", "__MACOSX/._x": b"\0"}
    for number, file in enumerate(sorted((tmp_path / "a").iterdir())):
        members[f"DICOM/S0001/D{number // 4}/IM{number:04d}"] = file
    for number, file in enumerate(sorted((tmp_path / "b").iterdir())):
        members[f"DICOM/S0002/IM{number:04d}"] = file
    return packed(tmp_path / "study.ZIP", members)


def test_series_of_an_archive(study, scan):
    image = read_image(study, "1.2.826.1")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(scan))
    np.testing.assert_allclose(image.GetSpacing(), scan.GetSpacing(), atol=1e-4)
    assert read_image(study, 2).GetSize() == (4, 5, 5)
    message = r"study.ZIP has 2 series; .*: 1: CT portal \(6 slices.*2: CT arterial \(5 slices"
    with pytest.raises(ValueError, match=message):
        read_image(study)


def test_listing(study, capsys):
    assert main(["prepare", "series", str(study)]) == 0
    assert capsys.readouterr().out.startswith("1: CT portal (6 slices, 1.2.826.1)\n2: CT art")
    assert main(["prepare", "series", str(study.with_name("a.nii"))]) == 2


def test_the_folder_is_private(study):
    with unpacked(study) as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert all(file.parent == folder for file in folder.rglob("*"))
        assert len(list(folder.iterdir())) == 13
    assert not folder.exists()


def test_names_that_become_the_same(tmp_path):
    members = {"a/b": b"1", "a_b": b"2", "A/B": b"3", "...": b"4", "x" * 300: b"5", "ü/\n": b"6"}
    with unpacked(packed(tmp_path / "a.zip", members)) as folder:
        assert sorted(file.read_bytes() for file in folder.iterdir()) == [
            b"1",
            b"2",
            b"3",
            b"4",
            b"5",
            b"6",
        ]


def test_damaged_slice_is_named(tmp_path, study):
    with zipfile.ZipFile(study) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["DICOM/S0002/IM0002"] = members["DICOM/S0002/IM0002"][:-40]
    packed(study, members)
    with pytest.raises(ValueError, match="study.ZIP/DICOM_S0002_IM0002 belongs to series"):
        read_image(study, "1.2.826.2")


@pytest.mark.parametrize(
    "name", ["../out", "a/../../out", "/etc/out", "\\out", "C:/out", "a\\..\\..\\out"]
)
def test_names_that_lead_out(tmp_path, name):
    with pytest.raises(ValueError, match="a.zip has a file .*, which leads out of the archive"):
        read_image(packed(tmp_path / "a.zip", {"fine": b"x", name: b"out"}))
    assert not list(tmp_path.rglob("out"))


def test_links(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/hostname")
    with pytest.raises(ValueError, match="a.zip has a link, 'link'"):
        read_image(tmp_path / "a.zip")


def test_encrypted(tmp_path):
    path = packed(tmp_path / "a.zip", {"IM1": b"x" * 100})
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + offset] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.zip is encrypted"):
        read_image(path)


def test_bombs(tmp_path, monkeypatch):
    path = packed(tmp_path / "a.zip", {str(n): bytes(1 << 20) for n in range(8)})
    monkeypatch.setattr(archives, "HARMLESS_BYTES", 1 << 20)
    with pytest.raises(ValueError, match=r"a\.zip unpacks to \d{3,4} times its size"):
        read_image(path)
    monkeypatch.setattr(archives, "physical_memory", lambda: 1 << 22)
    with pytest.raises(ValueError, match=r"unpacks to 0\.00781 GiB; .* has 0\.00391 GiB"):
        read_image(path)
    monkeypatch.setattr(archives, "MAX_MEMBERS", 7)
    with pytest.raises(ValueError, match="has 8 files; at most 7"):
        read_image(path)


def test_a_member_larger_than_it_says(tmp_path):
    path = packed(tmp_path / "a.zip", {"IM1": bytes(1 << 20)})
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.index(b"PK\1\2") + 24, 10)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot unpack .*a\.zip: it is damaged"):
        read_image(path)


def test_unknown_compression(tmp_path):
    path = packed(tmp_path / "a.zip", {"IM1": b"x" * 100})
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        content[content.index(mark) + offset] = 9
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.zip is compressed in a rare way; unpack"):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot unpack .*a.zip: it is damaged"),
        ({}, "a.zip holds no DICOM files; expected an image"),
        ({"notes.txt": b"nothing"}, "a.zip holds no DICOM files"),
        ({"s/scan.nii.gz": b"x"}, "holds no DICOM files; it holds s_scan.nii.gz: give that file"),
    ],
)
def test_archives_without_a_series(tmp_path, content, message):
    path = tmp_path / "a.zip"
    path.write_bytes(b"PK, but no archive") if content is None else packed(path, content)
    with pytest.raises(ValueError, match=message):
        read_image(path)


def test_archives_with_damaged_bytes(study, rng):
    """Whatever the damage, the result is the image or one error that names the archive."""
    sound = study.read_bytes()
    path = study.with_name("damaged.zip")
    for _ in range(60):
        content = bytearray(sound)
        tail = len(content) - 2500  # mostly in the list of members
        for place in rng.integers(tail, len(content), rng.integers(1, 4)):
            content[place] = rng.integers(256)
        path.write_bytes(content[: rng.integers(tail, len(content) + 1)] if _ % 5 == 0 else content)
        try:
            assert read_image(path, "1.2.826.1").GetSize() == (4, 5, 6)
        except ValueError as error:
            assert "damaged.zip" in str(error)  # noqa: PT017 - both outcomes are right
            assert str(pathlib.Path(tempfile.gettempdir())) + os.sep not in str(error)
