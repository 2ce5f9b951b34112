"""Image files with false headers: sizes, spacings, geometry, offsets of the voxels."""

import pickle
import struct

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.volumes.formats.detached_headers import companions
from rcn_tf.volumes.formats.images import read_image

META = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = 0 0 0
ElementSpacing = {spacing}
DimSize = {size}
ElementType = MET_FLOAT
ElementDataFile = {file}
"""


@pytest.fixture
def nifti(tmp_path):
    """Writes a NIfTI file with some bytes of its header replaced."""
    image = sitk.GetImageFromArray(np.arange(720, dtype=np.float32).reshape(8, 9, 10))
    sitk.WriteImage(image, str(tmp_path / "sound.nii"))
    sound = (tmp_path / "sound.nii").read_bytes()

    def write(offset, layout, *values):
        content = bytearray(sound)
        struct.pack_into(layout, content, offset, *values)
        (tmp_path / "bad.nii").write_bytes(content)
        return tmp_path / "bad.nii"

    return write


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((42, "<3h", 32000, 32000, 32000), r"needs 1\.22e\+05 GiB of memory by its header"),
        ((42, "<3h", -10, 9, 8), "begins as a NIfTI-1 image does, but its header is damaged"),
        ((108, "<f", 1e9), "it holds 3232 bytes, its header says"),
        ((280, "<12f", *[float("nan")] * 12), "no finite origin and direction"),
    ],
)
def test_nifti_header(nifti, change, message, capfd):
    with pytest.raises(ValueError, match=message):
        read_image(nifti(*change))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"size": "100000 100000 10000"}, r"needs 3\.73e\+05 GiB"),
        ({"size": "10 9 -8"}, "cannot read|needs"),
        ({"size": "10 9 800"}, "cut off or damaged"),
        ({"spacing": "-1 2 3"}, r"has the spacing \(-1.0, 2.0, 3.0\)"),
        ({"spacing": "0 2 3"}, "spacing"),
        ({"spacing": "nan 2 3"}, "spacing"),
    ],
)
def test_metaimage_header(tmp_path, header, message, capfd):
    values = {"size": "10 9 8", "spacing": "1 2 3", "file": "LOCAL", **header}
    (tmp_path / "bad.mha").write_bytes(META.format(**values).encode() + bytes(4 * 720))
    with pytest.raises(ValueError, match=message):
        read_image(tmp_path / "bad.mha")


NRRD = "NRRD0004\ntype: float\ndimension: 3\nsizes: 10 9 8\n{key}: {file}\n"


@pytest.mark.parametrize("name", ["../voxels.raw", "/etc/hostname", "deeper/../../voxels.raw"])
@pytest.mark.parametrize(
    "kind", ["mhd", "mha", "mhd :", "nhdr", "nrrd", "nhdr datafile", "nrrd commented"]
)
@pytest.mark.parametrize("listed", [False, True])
def test_voxels_from_elsewhere(tmp_path, name, kind, listed):
    (tmp_path / "voxels.raw").write_bytes(bytes(4 * 720))
    folder = tmp_path / "folder"
    folder.mkdir()
    suffix, _, key = kind.partition(" ")
    file = f"LIST\n{name}" if listed else name
    text = META.format(size="10 9 8", spacing="1 2 3", file=file)
    if key == ":":
        text = text.replace("File =", "File :")
    if suffix in ("nhdr", "nrrd"):
        text = NRRD.format(key="datafile" if key == "datafile" else "data file", file=file)
    if key == "commented":
        text = text.replace("type:", "# hidden\n" * 10_000 + "type:")
    (folder / f"header.{suffix}").write_text(text)
    with pytest.raises(ValueError, match="outside its folder"):
        read_image(folder / f"header.{suffix}")


def test_patterns_of_slices_are_refused(tmp_path):
    (tmp_path / "a.mhd").write_text(
        META.format(size="1 1 2", spacing="1 1 1", file="s%d.raw 0 1 1")
    )
    with pytest.raises(ValueError, match=r"names its voxels by a pattern, 's%d\.raw 0 1 1'"):
        read_image(tmp_path / "a.mhd")


def test_files_of_an_image(tmp_path):
    for name in ("a.raw", "b.img", "b.hdr", "c.img.gz", "c.hdr.gz"):
        (tmp_path / name).write_bytes(bytes(8))
    (tmp_path / "a.mhd").write_text(META.format(size="1 1 2", spacing="1 1 1", file="a.raw"))
    assert companions(tmp_path / "a.mhd") == [tmp_path / "a.raw"]
    assert companions(tmp_path / "b.img") == [tmp_path / "b.hdr"]
    assert companions(tmp_path / "c.img.gz") == [tmp_path / "c.hdr.gz"]
    assert companions(tmp_path / "a.raw") == []


@pytest.mark.parametrize("opened", ["a.img", "a.hdr"])
def test_analyze_that_was_cut_off(tmp_path, opened):
    nibabel = pytest.importorskip("nibabel")
    array = np.arange(1, 721, dtype=np.int16).reshape(10, 9, 8)
    nibabel.AnalyzeImage(array, np.diag([1.0, 2, 3, 1])).to_filename(tmp_path / "a.img")
    image = read_image(tmp_path / opened, orientation="LAS")
    assert sitk.GetArrayFromImage(image)[7, 8, 9] == 720
    (tmp_path / "a.img").write_bytes((tmp_path / "a.img").read_bytes()[:500])
    with pytest.raises(ValueError, match="it holds 500 bytes, its header says 1440"):
        read_image(tmp_path / opened, orientation="LAS")


def test_voxels_from_the_same_folder(tmp_path):
    np.arange(720, dtype=np.float32).tofile(tmp_path / "voxels.raw")
    text = META.format(size="10 9 8", spacing="1 2 3", file="voxels.raw")
    (tmp_path / "image.mhd").write_text(text)
    assert sitk.GetArrayFromImage(read_image(tmp_path / "image.mhd"))[7, 8, 9] == 719


@pytest.mark.parametrize("name", ["array.npy", "array.npz", "array.pkl"])
def test_pickles_are_not_opened(tmp_path, name):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=f"cannot read .*{name} as an image"):
        read_image(tmp_path / name)
