"""Valid images are read under any name; other files are refused with their kind."""

import bz2
import gzip
import lzma
import os
import pathlib
import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.errors import InputWarning, one_line, warn
from rcn_tf.volumes.formats import opening
from rcn_tf.volumes.formats.image_writing import write_image
from rcn_tf.volumes.formats.images import read_image
from rcn_tf.volumes.formats.opening import under_right_name
from rcn_tf.volumes.formats.vector_images import read_displacement
from tests import dicom_files

nibabel = pytest.importorskip("nibabel")
LATIN = os.fsdecode(b"M\xfcller")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """{suffix: content} of one image in every format, and the image."""
    folder = tmp_path_factory.mktemp("formats")
    image = sitk.GetImageFromArray(np.arange(336, dtype=np.int16).reshape(6, 7, 8))
    image.SetSpacing([1.0, 2.0, 3.5])
    image.SetOrigin([4.0, -5.0, 6.0])
    image.SetDirection([-1, 0, 0, 0, 0, 1, 0, 1, 0])
    suffixes = (".nii", ".nii.gz", ".mha", ".nrrd", ".mnc")
    for suffix in suffixes:
        sitk.WriteImage(image, str(folder / f"scan{suffix}"))
    content = {suffix: (folder / f"scan{suffix}").read_bytes() for suffix in suffixes}
    ras = nibabel.load(folder / "scan.nii")
    mgh = nibabel.MGHImage(np.asarray(ras.dataobj), ras.affine).to_bytes()
    return {**content, ".mgh": mgh, ".mgz": gzip.compress(mgh)}, image


SOUND = [  # the content's format, its name
    (".nii", "scan.nii.gz"),
    (".nii.gz", "scan.nii"),
    (".nii.gz", "scan.NII"),
    (".nii.gz", "SCAN.NII.GZ"),
    (".nii.gz", "scan.nii.gz.1"),
    (".nii.gz", "scan.nii (1).gz"),
    (".nii.gz", "scan"),
    (".nii.gz", "scan.img.gz"),
    (".nii.gz", "scan.mha"),
    (".nii", "scan"),
    (".nii", "scan.img"),
    (".nii", "scan.dcm"),
    (".nii", "scan.mgz"),
    (".mha", "scan.mhd"),
    (".mha", "scan.nii"),
    (".mha", "scan.txt"),
    (".nrrd", "scan.nhdr"),
    (".nrrd", "scan.txt"),
    (".nrrd", "scan.nii.gz"),
    (".nrrd", "scan.mha"),
    (".mnc", "scan.nii"),
    (".mgh", "scan.mgz"),
    (".mgz", "scan.mgh"),
    (".mgz", "scan.nii.gz"),
    (".nii", f"{LATIN}.nii"),
    (".nii.gz", f"{LATIN}.nii.gz"),
    (".nii.gz", f"{LATIN}.nii"),
    (".mha", f"{LATIN}"),
    (".mgz", f"{LATIN}.mgz"),
    (".nii", "a\nb 'c' \"d\" 脑.nii"),
    (".nii.gz", "x" * 248 + ".nii.gz"),
]


def assert_same(found, expected):
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(expected))
    for name in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(found, name)(), getattr(expected, name)(), atol=1e-5)


@pytest.mark.parametrize(("kind", "name"), SOUND)
def test_sound_images_under_any_name(tmp_path, files, kind, name):
    contents, _ = files
    (tmp_path / name).write_bytes(contents[kind])
    (tmp_path / f"right{kind}").write_bytes(contents[kind])
    assert_same(read_image(tmp_path / name), read_image(tmp_path / f"right{kind}"))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("kind", [".nii.gz", ".mha", ".nrrd", ".mgh"])
def test_images_that_were_compressed_once_more(tmp_path, files, kind, compress):
    contents, _ = files
    (tmp_path / "scan.nii.gz").write_bytes(compress(contents[kind]))
    (tmp_path / f"right{kind}").write_bytes(contents[kind])
    assert_same(read_image(tmp_path / "scan.nii.gz"), read_image(tmp_path / f"right{kind}"))


def test_a_little_file_that_unpacks_to_much(tmp_path, files, monkeypatch):
    monkeypatch.setattr(opening, "HARMLESS_BYTES", 1 << 20)
    content = gzip.compress(gzip.compress(files[0][".nii"] + bytes(1 << 28), 1), 9)
    (tmp_path / "scan.nii.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"scan.nii.gz unpacks to more than 0.\d+ GiB; unpack it"):
        read_image(tmp_path / "scan.nii.gz")


@pytest.mark.parametrize("stem", ["scan", LATIN])
def test_pairs_of_header_and_voxels(tmp_path, files, stem):
    _, image = files
    array = sitk.GetArrayFromImage(image)
    sitk.WriteImage(image, str(tmp_path / "scan.img"))
    expected = read_image(tmp_path / "scan.img")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(expected), array)
    for suffix in (".hdr", ".img"):
        content = (tmp_path / f"scan{suffix}").read_bytes()
        (tmp_path / f"{stem}2{suffix.upper()}").write_bytes(content)
        (tmp_path / f"{stem}3{suffix}.gz").write_bytes(gzip.compress(content))
        (tmp_path / f"{stem}4{suffix}").write_bytes(gzip.compress(content))
        (tmp_path / f"{stem}5{suffix}").write_bytes(content)
    for name in ("2.HDR", "2.IMG", "3.hdr.gz", "3.img.gz", "4.hdr", "4.img", "5.hdr", "5.img"):
        assert_same(read_image(tmp_path / f"{stem}{name}"), expected)


def test_voxels_may_begin_like_anything(tmp_path, files):
    """Zeros at the beginning of an .img file are voxels, not an interrupted download."""
    image = sitk.Image(files[1])
    for index, value in enumerate(b"%PDF-1.7"):
        image[index, 0, 0] = value
    image = sitk.Cast(image, sitk.sitkUInt8)
    for name in ("pdf", "zeros"):
        sitk.WriteImage(image if name == "pdf" else image * 0, str(tmp_path / f"{name}.img"))
    assert_same(read_image(tmp_path / "pdf.img"), image)
    assert not sitk.GetArrayFromImage(read_image(tmp_path / "zeros.img")).any()


@pytest.mark.parametrize(
    ("suffix", "key"), [(".mhd", "ElementDataFile ="), (".nhdr", "data file:")]
)
def test_headers_whose_voxels_have_names_that_are_not_utf8(tmp_path, files, suffix, key):
    _, image = files
    sitk.WriteImage(image, str(tmp_path / f"scan{suffix}"))
    header = (tmp_path / f"scan{suffix}").read_bytes()
    line = next(line for line in header.splitlines() if line.startswith(key.encode()))
    voxels = line[len(key) :].strip().decode()
    shutil.copy(tmp_path / voxels, tmp_path / LATIN)
    (tmp_path / f"{LATIN}{suffix}").write_bytes(header.replace(voxels.encode(), b"M\xfcller"))
    assert_same(read_image(tmp_path / f"{LATIN}{suffix}"), image)
    (tmp_path / "header.txt").write_bytes(header)
    assert_same(read_image(tmp_path / "header.txt"), image)
    (tmp_path / voxels).unlink()
    for name in (f"scan{suffix}", "header.txt"):
        with pytest.raises(ValueError, match=f"it is a header alone; put {voxels} beside it"):
            read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scan.hdr", "it is a header alone; put scan.img beside it"),
        ("scan.img", "it is the voxels of a pair alone; put scan.hdr beside it"),
        (
            "scan.nii",
            r"header of a NIfTI-1 pair \(.hdr, .img\) alone; call it .hdr and put the .img file",
        ),
    ],
)
def test_half_a_pair(tmp_path, files, name, message):
    sitk.WriteImage(files[1], str(tmp_path / "pair.img"))
    suffix = ".img" if name.endswith(".img") else ".hdr"
    shutil.copy(tmp_path / f"pair{suffix}", tmp_path / name)
    with pytest.raises(ValueError, match=message):
        read_image(tmp_path / name)


JUNK = {  # content: name, message
    b"<html>": ("scan.nii.gz", "is an HTML page, .*; open it in a browser"),
    b"version https://git-lfs.github.com/spec/v1\n": ("s.nii", "Git LFS pointer, .*git lfs pull"),
    b"PK\3\4....": ("scan.nii.gz", "is a ZIP archive; unpack it"),
    b"\x93NUMPY\1\0": ("scan.nii", "is a NumPy array; give the image volume itself, as NIfTI"),
    b"\x89PNG\r\n\x1a\n": ("scan.png", "is a PNG picture; give the image volume"),
    b"\x89HDF\r\n\x1a\n": ("pack.h5", "is an HDF5 file without an image in it"),
    b"x,y,z\n": ("scan.mgh", "text file that begins with 'x,y,z'; expected NIfTI"),
    b"\x17\x18" * 300: ("scan.mgz", "is of no known image format; expected NIfTI"),
    b"NRRD0004\n": ("scan.nii", "begins as an NRRD image does|cut off|header|NRRD"),
}


@pytest.mark.parametrize("content", JUNK, ids=[name for name, _ in JUNK.values()])
def test_junk_is_named_once_and_without_a_library_s_words(tmp_path, content, capfd):
    name, message = JUNK[content]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^cannot read {path} as an image: .*{message}") as caught:
        read_image(path)
    text = one_line(caught.value)
    assert text.count(name) == 1
    assert not any(word in text for word in ("ITK", "0x", "sitk", "rcn-", "ImageIO"))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_how_much_is_there_of_a_file_that_was_cut_off(tmp_path, rng, part):
    array = rng.integers(0, 1000, (40, 50, 60)).astype(np.int16)
    write_image(sitk.GetImageFromArray(array), tmp_path / "scan.nii.gz")
    content = (tmp_path / "scan.nii.gz").read_bytes()
    (tmp_path / "scan.nii.gz").write_bytes(content[: int(part * len(content))])
    with pytest.raises(
        ValueError, match=r"cut off or damaged, .* \(\d+ % of it is there\)"
    ) as caught:
        read_image(tmp_path / "scan.nii.gz")
    percent = int(str(caught.value).partition("(")[2].partition(" %")[0])
    assert percent == pytest.approx(100 * part, abs=10)


def test_bytes_behind_the_end_of_gzip_do_no_harm(tmp_path, files):
    contents, image = files
    (tmp_path / "scan.nii.gz").write_bytes(contents[".nii.gz"] + b"appended by a mail program")
    assert_same(read_image(tmp_path / "scan.nii.gz"), image)


def test_a_damaged_byte_is_found(tmp_path, files):
    content = bytearray(files[0][".nii.gz"])
    content[-6] ^= 1  # of the checksum
    (tmp_path / "scan.nii.gz").write_bytes(content)
    with pytest.raises(ValueError, match="cut off or damaged"):
        read_image(tmp_path / "scan.nii.gz")


def test_displacements_under_any_name(tmp_path, rng):
    field = sitk.GetImageFromArray(rng.normal(size=(4, 5, 6, 3)).astype(np.float32), isVector=True)
    write_image(field, tmp_path / "field.nii.gz")
    for name in ("field.nii", f"{LATIN}.nii.gz", "1Warp"):
        shutil.copy(tmp_path / "field.nii.gz", tmp_path / name)
        assert_same(read_displacement(tmp_path / name), field)


def test_warnings_and_errors_name_the_user_s_file(tmp_path, files):
    path = tmp_path / "scan.nii"
    path.write_bytes(files[0][".nii.gz"])
    with pytest.warns(InputWarning, match=f"^{path} is odd$"), under_right_name(path) as file:
        assert file.name.endswith(".nii.gz")
        warn(f"{file} is odd")
    with pytest.raises(ValueError, match=f"^{path} is worse$"), under_right_name(path) as file:
        raise ValueError(f"{file} is worse")


def test_dicom_files_whose_names_are_not_utf8(tmp_path):
    image = sitk.GetImageFromArray(np.arange(480, dtype=np.int16).reshape(6, 8, 10))
    dicom_files.write_series(tmp_path / "plain", image)
    folder = tmp_path / LATIN
    folder.mkdir()
    for number, file in enumerate(sorted((tmp_path / "plain").iterdir())):
        name = os.fsdecode(b"\xe4%d" % (9 - number))  # another order, no suffix
        shutil.copy(file, folder / name)
    assert_same(read_image(folder), read_image(tmp_path / "plain"))
    (folder / os.fsdecode(b"\xe49")).unlink()
    (folder / os.fsdecode(b"\xe47")).unlink()
    with pytest.raises(ValueError, match="missing or unevenly spaced") as caught:
        read_image(folder)
    assert str(caught.value).startswith(str(folder))


def test_images_are_written_under_names_that_are_not_utf8(tmp_path, files):
    _, image = files
    folder = tmp_path / LATIN
    folder.mkdir()
    for suffix in (".nii.gz", ".nii", ".mha", ".nrrd"):
        path = folder / f"{LATIN}{suffix}"
        write_image(image, path)
        plain = pathlib.Path(shutil.copy(path, tmp_path / f"plain{suffix}"))
        assert_same(sitk.ReadImage(str(plain)), image)
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_2_is_named(tmp_path, suffix):
    image = nibabel.Nifti2Image(np.zeros((3, 4, 5), np.int16), np.eye(4))
    image.to_filename(tmp_path / f"scan{suffix}")
    with pytest.raises(ValueError, match="a NIfTI-2 image, which is not read; save it as NIfTI-1"):
        read_image(tmp_path / f"scan{suffix}")
