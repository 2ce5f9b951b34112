"""DICOM series: order and position of slices, a clear choice, and no patient data."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from rcn_tf.errors import InputWarning
from rcn_tf.volumes.dicom import geometry as dicom_geometry
from rcn_tf.volumes.dicom.series import choose_series, list_series
from rcn_tf.volumes.formats.images import read_image
from tests.dicom_files import NAME, NUMBER, SECRET, write_series


@pytest.fixture
def scan(rng):
    """An oblique image with a different step along each axis, in Hounsfield units."""
    d, h, w = np.indices((7, 6, 5))
    image = sitk.GetImageFromArray((100 * d - 40 * h + 9 * w - 300).astype(np.int16))
    image.SetSpacing((0.7, 0.9, 2.5))
    image.SetOrigin((-31.0, 12.5, 80.0))
    c, s = np.cos(0.3), np.sin(0.3)
    image.SetDirection((c, 0, s, 0, 1, 0, -s, 0, c))
    return image


def test_a_series_is_read_as_it_was(tmp_path, scan):
    write_series(tmp_path / "ct", scan)
    image = read_image(tmp_path / "ct")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(scan))
    np.testing.assert_allclose(image.GetSpacing(), scan.GetSpacing(), atol=1e-4)
    np.testing.assert_allclose(image.GetOrigin(), scan.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(image.GetDirection(), scan.GetDirection(), atol=1e-6)


def test_headers_stay_behind(tmp_path, scan):
    write_series(tmp_path / "ct", scan)
    image = read_image(tmp_path / "ct")
    words = " ".join(image.GetMetaData(key) for key in image.GetMetaDataKeys())
    assert not any(secret in words for secret in (NAME, NUMBER, SECRET))
    assert NAME not in str(list_series(tmp_path / "ct")[0])


def test_one_of_several_series(tmp_path, scan):
    folder = tmp_path / "study"
    write_series(folder, scan[:, :, :1], description="scout")
    write_series(folder, scan, description="portal", uid="1.2.826.1")
    assert [len(series.files) for series in list_series(folder)] == [7, 1]
    assert choose_series(folder).description == "portal"  # the only one with several slices
    write_series(folder, scan + 1, description="arterial", uid="1.2.826.2", positions=range(6))
    with pytest.raises(ValueError, match=r"has 2 series; .* 1: CT portal \(7 .*2: CT arterial"):
        read_image(folder)
    for choice in (2, "2", "1.2.826.2"):
        assert read_image(folder, choice).GetSize() == (5, 6, 6)
    with pytest.raises(ValueError, match="has no single series 9"):
        read_image(folder, 9)
    with pytest.raises(ValueError, match="is a single slice"):
        read_image(folder, 3)


def test_listing_command(tmp_path, scan, capsys):
    from rcn_tf.commands.main import main

    write_series(tmp_path / "ct", scan)
    assert main(["prepare", "series", str(tmp_path / "ct")]) == 0
    assert "1: CT portal (7 slices, " in capsys.readouterr().out
    assert main(["prepare", "series", str(tmp_path / "gone")]) == 2


@pytest.mark.parametrize(
    ("slopes", "integer"), [([1, 0.25, 0.5, 0.25, 0.25, 0.25, 0.75], False), ([1] + [4] * 6, True)]
)
def test_slopes_of_single_slices(tmp_path, scan, slopes, integer):
    """Each PET slice has its own slope; the first must not decide the pixel type of all."""
    stored = sitk.GetArrayFromImage(scan).astype(np.int64) % 1000 + (64000 if integer else 0)
    values = sitk.GetImageFromArray(stored * np.reshape(slopes, (7, 1, 1)))
    values.CopyInformation(scan)
    write_series(tmp_path, values, intercept=0, slopes=slopes)
    image = sitk.GetArrayFromImage(read_image(tmp_path))
    np.testing.assert_array_equal(image, sitk.GetArrayFromImage(values))


def test_missing_slice(tmp_path, scan):
    write_series(tmp_path, scan, positions=[0, 1, 2, 4, 5, 6])
    with pytest.raises(ValueError, match=r"slices are missing .* \(2.5 to 5 mm; .* slice 3 of 6\)"):
        read_image(tmp_path)


def test_slices_on_one_another(tmp_path, scan):
    write_series(tmp_path, scan, uid="1.2.826.7")
    near = sitk.Image(scan)
    near.SetOrigin(scan.TransformContinuousIndexToPhysicalPoint((0, 0, 0.01)))
    write_series(tmp_path, near, uid="1.2.826.7", positions=[3], tag="b")
    with pytest.raises(ValueError, match="slices lie on one another"):
        read_image(tmp_path)


def test_tilted_gantry(tmp_path, scan):
    write_series(tmp_path, scan, tilt=0.2)
    with pytest.raises(ValueError, match=r"gantry was tilted by 11\.3 degrees"):
        read_image(tmp_path)


@pytest.mark.parametrize("value", [None, ["0", "0"], ["-1", "-1"], ["0.7"]])
def test_pixel_spacing_that_is_none(tmp_path, scan, value):
    write_series(tmp_path, scan)
    edit(next(iter(sorted(tmp_path.iterdir()))), PixelSpacing=value)
    with pytest.raises(ValueError, match="no pixel spacing of two positive numbers"):
        read_image(tmp_path)


def test_slices_that_differ(tmp_path, scan):
    write_series(tmp_path / "spacing", scan)
    edit(sorted((tmp_path / "spacing").iterdir())[2], PixelSpacing=["0.9", "0.8"])
    with pytest.raises(ValueError, match="same pixel spacing"):
        read_image(tmp_path / "spacing")
    write_series(tmp_path / "size", scan, uid="1.2.826.5", positions=range(5))
    write_series(tmp_path / "size", scan[:4], uid="1.2.826.5", positions=[5, 6])
    with pytest.raises(ValueError, match="same size"):
        read_image(tmp_path / "size")


def test_headers_that_claim_too_much(tmp_path, scan, monkeypatch):
    write_series(tmp_path, scan)
    monkeypatch.setattr(dicom_geometry, "physical_memory", lambda: 300)
    with pytest.raises(ValueError, match="GiB of memory by its headers"):
        read_image(tmp_path)


def test_uids_that_begin_alike(tmp_path, scan):
    for uid, count in (("1.2.826.1", 7), ("1.2.826.10", 6)):
        write_series(tmp_path, scan, uid=uid, positions=range(count), tag=uid)
    assert read_image(tmp_path, "1.2.826.1").GetSize()[2] == 7
    assert read_image(tmp_path, "1.2.826.10").GetSize()[2] == 6
    with pytest.raises(ValueError, match="no single series '1.2.826'"):
        read_image(tmp_path, "1.2.826")


def test_objects_that_refer_to_the_series(tmp_path, scan):
    """A contour object without pixels refers to the series on which it was drawn."""
    uid = write_series(tmp_path, scan)
    header = pydicom.dcmread(sorted(tmp_path.iterdir())[0])
    del header.PixelData
    reference = pydicom.Dataset()
    reference.SeriesInstanceUID = uid
    header.SeriesInstanceUID = "1.2.826.99"
    header.Modality = "RTSTRUCT"
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    header.ReferencedSeriesSequence = [reference]
    pydicom.dcmwrite(tmp_path / "contours", header)
    assert read_image(tmp_path).GetSize() == (5, 6, 7)


def edit(file, **changes):
    header = pydicom.dcmread(file)
    for name, value in changes.items():
        if value is None:
            delattr(header, name)
        else:
            setattr(header, name, value)
    pydicom.dcmwrite(file, header)


def test_folder_without_dicom(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ValueError, match="holds no DICOM files"):
        read_image(tmp_path)
    (tmp_path / "scan.NII.gz").write_text("nothing")
    with pytest.raises(ValueError, match="it holds scan.NII.gz: give that file itself"):
        read_image(tmp_path)


def test_folder_above_the_series(tmp_path, scan):
    write_series(tmp_path / "DICOM" / "S1", scan)
    with pytest.raises(ValueError, match=r"holds no DICOM files; its subfolder .*S1 has some"):
        read_image(tmp_path)
    write_series(tmp_path / "DICOM" / "S2", scan)
    with pytest.raises(ValueError, match=r"several of its subfolders .* such as .*S1$"):
        read_image(tmp_path)


def test_one_file_of_a_series(tmp_path, scan):
    """A file is recognised as DICOM by its content; the error asks for the rest of its series."""
    write_series(tmp_path / "ct", scan)
    (file, *rest) = sorted((tmp_path / "ct").iterdir())
    with pytest.raises(ValueError, match=r"single slice; others .*: give the folder .*ct$"):
        read_image(file)
    for other in rest:
        other.unlink()
    with pytest.raises(ValueError, match="is a single slice; expected a 3D image"):
        read_image(file)
    with pytest.raises(ValueError, match="is a single slice; expected a 3D image"):
        read_image(tmp_path / "ct")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("1.2.840.10008.5.1.4.1.1.481.3", "a DICOM image but a set of contours; give the series"),
        ("1.2.840.10008.5.1.4.1.1.88.33", "a DICOM image but a report; give the series"),
        ("1.2.840.10008.1.3.10", "a DICOM image but a DICOMDIR, .* give the folder"),
        ("1.2.840.10008.5.1.4.1.1.30", "a parametric map; convert it"),
        ("1.2.840.10008.5.1.4.1.1.2", "cannot read the header of"),
    ],
)
def test_files_without_an_image(tmp_path, scan, kind, message):
    write_series(tmp_path, scan, positions=[0], changes={"SOPClassUID": kind})
    (file,) = tmp_path.iterdir()
    edit(file, PixelData=None)
    with pytest.raises(ValueError, match=message):
        read_image(file)


def test_a_folder_without_a_volume(tmp_path, scan):
    for uid in ("1.2.826.1", "1.2.826.2"):
        write_series(tmp_path, scan, positions=[0], uid=uid)
    with pytest.raises(ValueError, match=r"has single slices only, .*: 1: CT portal \(1 slice, "):
        read_image(tmp_path)
    for file in tmp_path.iterdir():
        edit(file, PixelData=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.481.3")
    with pytest.raises(ValueError, match="a DICOM image but a set of contours; give the"):
        read_image(tmp_path)


def test_mosaics(tmp_path, scan):
    """Each picture of a mosaic shows many slices; its position is not that of a slice."""
    write_series(tmp_path, scan, changes={"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]})
    with pytest.raises(ValueError, match="is of mosaics, .* convert it first"):
        read_image(tmp_path)


@pytest.mark.parametrize("axes", ["RAI", "PIR", "IAL", "LIP", "ASR", "SRA"])
def test_any_orientation_of_the_slices(tmp_path, scan, axes):
    """Feet first, sagittal, coronal, and oblique between them: voxels lie where they did."""
    image = sitk.DICOMOrient(scan, axes)
    write_series(tmp_path, image)
    if np.linalg.det(np.reshape(image.GetDirection(), (3, 3))) < 0:
        image = image[:, :, ::-1]  # slices are put along their normal
    found = read_image(tmp_path)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(image))
    for corner in np.ndindex(2, 2, 2):
        index = [int(n - 1) * on for n, on in zip(image.GetSize(), corner)]
        points = [one.TransformIndexToPhysicalPoint(index) for one in (found, image)]
        np.testing.assert_allclose(*points, atol=1e-4)


@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_preamble(tmp_path, scan, implicit):
    write_series(tmp_path, scan)
    for file in sorted(tmp_path.iterdir()):
        bare = pydicom.Dataset(pydicom.dcmread(file))
        with file.open("wb") as stream:
            pydicom.dcmwrite(
                stream, bare, implicit_vr=implicit, little_endian=True, enforce_file_format=False
            )
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(read_image(tmp_path)), sitk.GetArrayFromImage(scan)
    )


def test_a_slice_without_position(tmp_path, scan):
    write_series(tmp_path, scan)
    edit(sorted(tmp_path.iterdir())[2], ImagePositionPatient=None)
    with pytest.raises(ValueError, match="no patient position or orientation; leave it out if"):
        read_image(tmp_path)


def test_shifted_slices(tmp_path, scan):
    """A slice whose corner is off the others' line; a lean of less than a degree only warns."""
    write_series(tmp_path / "one", scan)
    file = sorted((tmp_path / "one").iterdir())[2]
    position = pydicom.dcmread(file).ImagePositionPatient
    edit(file, ImagePositionPatient=[position[0], float(position[1]) + 2, position[2]])
    with pytest.raises(ValueError, match="shifted within their planes by up to 2 mm"):
        read_image(tmp_path / "one")
    thick = sitk.Image(scan)
    thick.SetSpacing((0.7, 0.9, 10))
    write_series(tmp_path / "lean", thick, tilt=0.01)
    with pytest.warns(InputWarning, match="lean by 0.57 degrees, .* lies 0.6 mm from its place"):
        read_image(tmp_path / "lean")


@pytest.mark.parametrize("axes", [[0] * 6, [1, 0, 0, 1, 0, 0], [2, 0, 0, 0, 2, 0]])
def test_axes_that_are_none(tmp_path, scan, axes):
    write_series(tmp_path, scan, changes={"ImageOrientationPatient": axes})
    with pytest.raises(ValueError, match="is not two axes of length 1 at right angles"):
        read_image(tmp_path)


def test_rounded_axes(tmp_path, scan):
    """Headers hold rounded numbers; the image has the nearest rotation."""
    axes = [0.955, 0, -0.296, 0, 1, 0]
    write_series(tmp_path, scan, changes={"ImageOrientationPatient": axes})
    direction = np.reshape(read_image(tmp_path).GetDirection(), (3, 3))
    np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(direction, np.reshape(scan.GetDirection(), (3, 3)), atol=1e-3)


@pytest.mark.parametrize(
    ("signed", "stored", "padding"),
    [(True, -2000, "-3024"), (True, 63536, "-3024"), (False, 63536, "62512"), (False, 0, "-1024")],
)
def test_padding(tmp_path, scan, signed, stored, padding):
    """Padding in values of the image, stated as a signed or an unsigned number."""
    changes = {"PixelRepresentation": int(signed)}
    write_series(tmp_path, scan, changes=changes)
    for file in tmp_path.iterdir():
        header = pydicom.dcmread(file)
        header.add_new(0x00280120, "SS" if stored < 0 else "US", stored)
        header.save_as(file)
    image = read_image(tmp_path)
    assert image.GetMetaDataKeys() == ("PixelPaddingValue",)
    assert image.GetMetaData("PixelPaddingValue") == padding
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(scan))


def test_padding_range_and_slopes(tmp_path, scan):
    """Padding of floating-point values; it is not stated if it differs between slices."""
    values = sitk.Cast(scan, sitk.sitkFloat64) * 0.5
    for name, slopes in (("one", [0.5] * 7), ("many", [0.5, 0.25] * 3 + [0.5])):
        changes = {"PixelPaddingValue": 10, "PixelPaddingRangeLimit": 20}
        write_series(tmp_path / name, values, slopes=slopes, changes=changes)
    image = read_image(tmp_path / "one")
    assert float(image.GetMetaData("PixelPaddingValue")) == 0.5 * 10 - 1024
    assert float(image.GetMetaData("PixelPaddingRangeLimit")) == 0.5 * 20 - 1024
    assert read_image(tmp_path / "many").GetMetaDataKeys() == ()


@pytest.mark.parametrize("index", [0, 3, 6])
def test_damaged_file(tmp_path, scan, index):
    write_series(tmp_path, scan)
    (file,) = tmp_path.glob(f"{(index * 7919) % 10007:05d}_*")
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ValueError, match=f"{file.name} belongs to series .* but cannot be read"):
        read_image(tmp_path)


@pytest.mark.parametrize("implicit", [False, True])
def test_pixels_that_are_not_all_there(tmp_path, scan, implicit):
    """The file is well formed, but GDCM would fill missing pixels with arbitrary memory."""
    write_series(tmp_path, scan)
    file = sorted(tmp_path.glob("*"))[3]
    data = pydicom.dcmread(file)
    data.PixelData = data.PixelData[:40]
    if implicit:
        data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        data.save_as(file, implicit_vr=True, little_endian=True)
    else:
        data.save_as(file)
    with pytest.raises(ValueError, match=f"{file.name} is cut off or damaged: it holds 40 bytes"):
        read_image(tmp_path)
