"""`rcn apply` on 4D images, against nibabel's headers and the same frames one by one."""

import gzip
import shutil
import struct
import tracemalloc

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.commands.main import main
from rcn_tf.volumes.formats.frames import FrameSource, frame_count

SHAPE = (12, 14, 10)  # x, y, z
AFFINE = np.array([[-2, 0, 0, 11], [0, 2.5, 0, -15], [0, 0, 3, -14], [0, 0, 0, 1]], float)


def voxels(frames=3, dtype=np.int16):
    rng = np.random.default_rng(4)
    return (rng.uniform(0, 200, (*SHAPE, frames)) * (1 + np.arange(frames))).astype(dtype)


def save(path, array, units=("mm", "sec"), step=2.0, start=0.0, endian="<", **fields):
    header = nibabel.Nifti1Header(endianness=endian)
    image = nibabel.Nifti1Image(array, AFFINE, header)
    image.set_data_dtype(array.dtype)
    image.header.set_xyzt_units(*units)
    image.header["pixdim"][4] = step
    image.header["toffset"] = start
    for name, value in fields.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """A displacement field on a grid of its own."""
    rng = np.random.default_rng(6)
    vectors = sitk.GetImageFromArray(rng.normal(0, 20, (8, 9, 11, 3)), isVector=True)
    vectors = sitk.SmoothingRecursiveGaussian(vectors, 2.5)
    vectors.SetSpacing((2.5, 3, 3.5))
    vectors.SetOrigin((-14, -12, -13))
    path = tmp_path_factory.mktemp("frames") / "field.nii.gz"
    sitk.WriteImage(sitk.Cast(vectors, sitk.sitkVectorFloat32), str(path))
    return path


def apply(field, source, out, *options, what="--image"):
    command = ["apply", "--transform", field, what, source, "--out", out, *options]
    return main([str(part) for part in command])


def check_frames(field, out, array, tmp_path, *options, what="--image"):
    """Each frame is what the command makes of it alone."""
    found = sitk.ReadImage(str(out))
    assert found.GetSize()[3] == array.shape[3]
    for k in range(array.shape[3]):
        alone = save(tmp_path / "alone.nii.gz", array[..., k])
        assert apply(field, alone, tmp_path / "one.nii.gz", *options, what=what) == 0
        expected = sitk.ReadImage(str(tmp_path / "one.nii.gz"))
        frame = found[:, :, :, k]
        np.testing.assert_array_equal(
            sitk.GetArrayFromImage(frame), sitk.GetArrayFromImage(expected)
        )
        np.testing.assert_allclose(frame.GetOrigin(), expected.GetOrigin(), atol=1e-5)
        np.testing.assert_allclose(frame.GetDirection(), expected.GetDirection(), atol=1e-6)
        np.testing.assert_allclose(frame.GetSpacing(), expected.GetSpacing(), atol=1e-6)
        assert frame.GetPixelID() == expected.GetPixelID()


@pytest.mark.parametrize("target", ["nii.gz", "nii", "mha", "nrrd"])
@pytest.mark.parametrize("source", ["nii.gz", "nii", "mha", "nrrd"])
def test_every_frame_moves(field, tmp_path, source, target, capsys):
    path = save(tmp_path / "in.nii", voxels())
    if source != "nii":
        image = sitk.ReadImage(str(path))
        path = tmp_path / f"in.{source}"
        sitk.WriteImage(image, str(path))
    assert frame_count(path) == 3
    out = tmp_path / f"out.{target}"
    assert apply(field, path, out) == 0
    assert "(11 x 9 x 8 x 3 frames)" in capsys.readouterr().out
    check_frames(field, out, voxels(), tmp_path)
    assert sitk.ReadImage(str(out)).GetSpacing()[3] == pytest.approx(2.0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_types(field, tmp_path, dtype):
    path = save(tmp_path / "in.nii.gz", voxels(2, dtype))
    assert apply(field, path, tmp_path / "out.nii.gz") == 0
    check_frames(field, tmp_path / "out.nii.gz", voxels(2, dtype), tmp_path)
    kind = nibabel.load(tmp_path / "out.nii.gz").get_data_dtype()
    assert kind == (np.float32 if dtype == np.float64 else dtype)


@pytest.mark.parametrize(
    ("units", "step", "start"),
    [("sec", 2.5, 0.0), ("msec", 720.0, 40.0), ("usec", 9.0, 0.0), ("unknown", 1.5, 0.0)],
)
def test_time_is_kept_in_its_unit(field, tmp_path, units, step, start):
    path = save(tmp_path / "in.nii.gz", voxels(), ("mm", units), step, start)
    assert apply(field, path, tmp_path / "out.nii.gz") == 0
    header = nibabel.load(tmp_path / "out.nii.gz").header
    assert header["pixdim"][4] == pytest.approx(step)
    assert header.get_xyzt_units() == ("mm", units)
    assert header["toffset"] == pytest.approx(start)
    assert header["dim"].tolist()[:5] == [4, 11, 9, 8, 3]
    expected = sitk.ReadImage(str(field))  # the result's grid, in RAS
    affine = nibabel.load(tmp_path / "out.nii.gz").affine
    np.testing.assert_allclose(affine[:3, 3], np.array(expected.GetOrigin()) * (-1, -1, 1))


def test_scaled_and_big_endian(field, tmp_path):
    """Values are slope * stored + intercept, whatever the byte order."""
    array = voxels(2)
    path = save(tmp_path / "in.nii", array, endian=">")
    content = bytearray(path.read_bytes())
    struct.pack_into(">2f", content, 112, 0.5, 10)  # scl_slope, scl_inter
    path.write_bytes(content)
    np.testing.assert_array_equal(nibabel.load(path).get_fdata(), array * 0.5 + 10)
    assert apply(field, path, tmp_path / "out.nii.gz") == 0
    check_frames(field, tmp_path / "out.nii.gz", (array * 0.5 + 10).astype(np.float32), tmp_path)


def test_labels(field, tmp_path):
    """Each frame has its own ids, and no id appears that its frame has not."""
    array = (voxels(3, np.int16) // 150).astype(np.uint8)
    array[..., 2] += 100
    path = save(tmp_path / "in.nii.gz", array)
    assert apply(field, path, tmp_path / "out.nii.gz", what="--labels") == 0
    check_frames(field, tmp_path / "out.nii.gz", array, tmp_path, what="--labels")
    found = np.asarray(nibabel.load(tmp_path / "out.nii.gz").dataobj)
    assert set(np.unique(found[..., 2])) <= set(np.unique(array[..., 2])) | {0}
    save(tmp_path / "bad.nii.gz", array + np.float32(0.5))
    assert apply(field, tmp_path / "bad.nii.gz", tmp_path / "o.nii.gz", what="--labels") == 2


def test_inverse_and_a_reference_of_four_dimensions(field, tmp_path):
    path = save(tmp_path / "in.nii.gz", voxels())
    options = ["--inverse", "--reference", path, "--field", tmp_path / "f.nii.gz"]
    assert apply(field, path, tmp_path / "out.nii.gz", *options) == 0
    check_frames(field, tmp_path / "out.nii.gz", voxels(), tmp_path, *options[:3])
    assert sitk.ReadImage(str(tmp_path / "f.nii.gz")).GetSize() == SHAPE


def test_one_frame_is_an_image(field, tmp_path):
    path = save(tmp_path / "in.nii.gz", voxels(1))
    assert frame_count(path) == 1
    assert apply(field, path, tmp_path / "out.nii.gz") == 0
    assert nibabel.load(tmp_path / "out.nii.gz").shape == (11, 9, 8)


def test_sound_files_under_another_name(field, tmp_path):
    path = save(tmp_path / "in.nii", voxels())
    assert apply(field, path, tmp_path / "expected.nii.gz") == 0
    shutil.copy(path, tmp_path / "plain.nii.gz")
    (tmp_path / "packed.nii").write_bytes(gzip.compress(path.read_bytes()))
    shutil.copy(path, str(tmp_path).encode() + b"/M\xfcller.nii")
    names = ["plain.nii.gz", "packed.nii", "M\udcfcller.nii"]
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "expected.nii.gz")))
    for name in names:
        assert apply(field, tmp_path / name, tmp_path / "out.nii.gz") == 0
        found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out.nii.gz")))
        np.testing.assert_array_equal(found, expected)


def cut(path):
    path.write_bytes(path.read_bytes()[:-900])


def cut_inside(path):
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-900]))


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def complex_values(path):
    save(path, voxels(2).astype(np.complex64))


def slices(path):
    save(path, voxels()[:, :, :1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "cut off or damaged"),
        (cut_inside, "its header says"),
        (flipped, "cannot read"),
        (complex_values, "per voxel"),
        (slices, "a single slice"),
    ],
)
def test_faults_are_one_line_and_leave_nothing(field, tmp_path, capfd, damage, message):
    path = save(tmp_path / "in.nii.gz", voxels())
    damage(path)
    before = sorted(tmp_path.iterdir())
    assert apply(field, path, tmp_path / "out.nii.gz") == 2
    error = capfd.readouterr().err
    assert message in error and str(path) in error
    assert len(error.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_that_unpacks_without_end(field, tmp_path, monkeypatch, capsys):
    """No more is unpacked than the header announces, and nothing where it would not fit."""
    path = save(tmp_path / "in.nii", voxels())
    bomb = tmp_path / "bomb.nii.gz"
    bomb.write_bytes(gzip.compress(path.read_bytes() + bytes(64 << 20)))
    with FrameSource(bomb) as frames:
        assert len(frames) == 3
        copy = frames._reader.GetFileName()
        assert sitk.ReadImage(copy).GetSize() == (*SHAPE, 3)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert apply(field, bomb, tmp_path / "out.nii.gz") == 2
    assert "TMPDIR names another folder" in capsys.readouterr().err


def test_memory_does_not_grow_with_the_frames(field, tmp_path):
    """NumPy's and Python's: 24 frames need no more than four."""
    peaks = []
    for count in (4, 24):
        large = np.tile(voxels(count, np.float32), (4, 4, 4, 1))
        path = save(tmp_path / "in.nii.gz", large)
        tracemalloc.start()
        assert apply(field, path, tmp_path / "out.nii.gz") == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 3 * large[..., 0].nbytes
