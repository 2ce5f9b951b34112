"""Multi-frame DICOM files: each frame at its place with its own values, or a clear error.

Places are computed here from what was written (PS3.3, C.7.6.2.1.1), values by hand; a series of
single slices of the same image is the second oracle.
"""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from rcn_tf.errors import InputWarning
from rcn_tf.volumes.dicom.series import is_dicom, list_series
from rcn_tf.volumes.formats.images import read_image
from tests.dicom_files import NAME, NUMBER, SECRET, write_series
from tests.dicom_multiframe import (
    DOSE,
    ENHANCED_MR,
    NUCLEAR,
    SECONDARY,
    SEGMENTATION,
    ULTRASOUND,
    assert_same,
    item,
    multiframe,
    oblique_scan,
    place,
    plain,
    rescaled,
    write,
)


@pytest.fixture
def scan():
    return oblique_scan()


ORDERS = {
    "upwards": [0, 1, 2, 3, 4, 5, 6],
    "downwards": [6, 5, 4, 3, 2, 1, 0],
    "interleaved": [0, 2, 4, 6, 1, 3, 5],
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ["scan.dcm", "IM0001", "scan.nii.gz"])
def test_frames_lie_where_they_say(tmp_path, scan, order, name):
    path = write(tmp_path / name, multiframe(scan, ORDERS[order]))
    assert is_dicom(path)
    assert_same(read_image(path), scan)


@pytest.mark.parametrize("axes", ["LPS", "RAI", "PIR", "LSA", "ASR"])
def test_any_orientation(tmp_path, scan, axes):
    """Axial from below or above, sagittal or coronal, each like the series of the same slices."""
    image = sitk.DICOMOrient(scan, axes)
    right_handed = np.linalg.det(np.reshape(image.GetDirection(), (3, 3))) > 0
    expected = image if right_handed else image[:, :, ::-1]
    assert_same(read_image(write(tmp_path / "scan.dcm", multiframe(image))), expected)
    write_series(tmp_path / "series", image, intercept=0)
    assert_same(read_image(tmp_path / "series"), expected)


def test_pixels_of_the_rows_and_the_columns(tmp_path, scan):
    """PixelSpacing is first between rows, then columns: voxel (4, 0, 0) is 2.8 mm along the row."""
    image = read_image(write(tmp_path / "scan.dcm", multiframe(scan)))
    corner, turn = np.array((-31.0, 12.5, 80.0)), np.reshape(scan.GetDirection(), (3, 3))
    for index in ((4, 0, 0), (0, 5, 0), (0, 0, 6)):
        expected = corner + turn @ (np.array(index) * (0.7, 0.9, 2.5))
        found = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_nothing_of_the_patient_stays(tmp_path, scan):
    image = read_image(write(tmp_path / "scan.dcm", multiframe(scan)))
    assert image.GetMetaDataKeys() == ()
    words = str(list_series(tmp_path)[0])
    assert not any(secret in words for secret in (NAME, NUMBER, SECRET))


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([0, 1, 2, 4, 5, 6], r"slices are missing .* \(2.5 to 5 mm; .* behind slice 3 of 6\)"),
        ([3] * 7, "all 7 slices lie in the same place, like one slice over time"),
        ([0, 1, 2, 2, 3, 4, 5, 6], "slices lie on one another and nothing .* tells the volumes"),
    ],
)
def test_gaps_and_doubles(tmp_path, scan, order, message):
    path = write(tmp_path / "scan.dcm", multiframe(scan, order))
    with pytest.raises(ValueError, match=f"{path.name}: {message}"):
        read_image(path)


def test_a_tilted_gantry(tmp_path, scan):
    data = multiframe(scan)
    for number, group in enumerate(data.PerFrameFunctionalGroupsSequence):
        position = group.PlanePositionSequence[0].ImagePositionPatient
        position[1] = float(position[1]) + 0.5 * number
    with pytest.raises(ValueError, match=r"gantry was tilted by 11\.3 degrees"):
        read_image(write(tmp_path / "scan.dcm", data))


def test_another_distance_in_the_header(tmp_path, scan):
    """Every second frame was left out: the positions are right, and the header shows the gap."""
    path = write(tmp_path / "scan.dcm", multiframe(scan, [0, 2, 4, 6]))
    with pytest.warns(InputWarning, match="5 mm apart by their positions, .* headers say 2.5 mm"):
        image = read_image(path)
    assert image.GetSpacing()[2] == pytest.approx(5)


@pytest.mark.parametrize("implicit", [True, False])
def test_a_data_set_without_preamble(tmp_path, scan, implicit):
    data = multiframe(scan, ORDERS["downwards"])
    path = tmp_path / "raw"
    bare = pydicom.Dataset(data)
    with path.open("wb") as stream:
        pydicom.dcmwrite(
            stream, bare, implicit_vr=implicit, little_endian=True, enforce_file_format=False
        )
    assert path.read_bytes()[:1] == b"\x08"
    assert is_dicom(path)
    assert_same(read_image(path), scan)


@pytest.mark.parametrize("kind", [SECONDARY, ULTRASOUND, ENHANCED_MR, NUCLEAR])
def test_frames_without_positions(tmp_path, scan, kind):
    """A spacing of 1 is never assumed, even if the first frame has a position and a thickness."""
    data = plain(multiframe(scan, kind=kind))
    data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    data.PixelSpacing, data.SliceThickness = [1, 1], 1
    path = write(tmp_path / "scan.dcm", data)
    with pytest.raises(ValueError, match=r"frames have no patient position .* convert it to NIfTI"):
        read_image(path)


def test_one_frame_without_position(tmp_path, scan):
    data = multiframe(scan)
    del data.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence
    with pytest.raises(ValueError, match="frames have no patient position"):
        read_image(write(tmp_path / "scan.dcm", data))
    del data.PerFrameFunctionalGroupsSequence[6]
    with pytest.raises(ValueError, match="it has 7 frames and describes 6"):
        read_image(write(tmp_path / "scan.dcm", data))


@pytest.mark.parametrize("missing", ["PixelSpacing", None])
def test_no_pixel_spacing(tmp_path, scan, missing):
    data = multiframe(scan, shared=None if missing else {})
    if missing:
        del data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    else:
        del data.SharedFunctionalGroupsSequence
    with pytest.raises(ValueError, match="no pixel spacing of two positive numbers"):
        read_image(write(tmp_path / "scan.dcm", data))


def nuclear(scan, step, kind="RECON TOMO"):
    """A reconstruction of nuclear medicine: the first slice's position and a signed step."""
    data = plain(multiframe(scan, kind=NUCLEAR))
    data.ImageType = ["ORIGINAL", "PRIMARY", kind, "EMISSION"]
    data.PixelSpacing, data.SpacingBetweenSlices = ["0.9", "0.7"], step
    first = place(scan, 0)
    data.DetectorInformationSequence = [
        item(
            ImagePositionPatient=first["PlanePositionSequence"][0].ImagePositionPatient,
            ImageOrientationPatient=first["PlaneOrientationSequence"][0].ImageOrientationPatient,
        )
    ]
    data.SliceVector = list(range(1, 8))
    return data


def test_nuclear_medicine(tmp_path, scan):
    """A negative step goes against the normal: frame k is at corner + k x step x normal."""
    for name, step in (("up", "2.5"), ("down", "-2.5")):
        write(tmp_path / f"{name}.dcm", nuclear(scan, step))
    with pytest.warns(InputWarning, match=r"down\.dcm: only the first frame has a place"):
        image = read_image(tmp_path / "down.dcm")
    with pytest.warns(InputWarning, match="check that the image is not upside down"):
        assert_same(read_image(tmp_path / "up.dcm"), scan)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(scan)[::-1])
    normal = np.reshape(scan.GetDirection(), (3, 3))[:, 2]
    np.testing.assert_allclose(image.GetOrigin(), scan.GetOrigin() - 6 * 2.5 * normal, atol=1e-6)
    with pytest.raises(ValueError, match="frames have no patient position"):
        read_image(write(tmp_path / "rotating.dcm", nuclear(scan, "2.5", kind="TOMO")))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_dose_grid(tmp_path, scan, sign):
    """Offsets of planes are along the normal, or for axial planes z coordinates."""
    image = sitk.Image(scan)
    image.SetDirection((1, 0, 0, 0, sign, 0, 0, 0, sign))
    for name, start in (("relative", 0.0), ("absolute", 80.0)):
        data = plain(multiframe(image, kind=DOSE))
        axes = ["1", "0", "0", "0", str(sign), "0"]
        data.ImagePositionPatient, data.ImageOrientationPatient = ["-31", "12.5", "80"], axes
        data.PixelSpacing, data.DoseGridScaling = ["0.9", "0.7"], "0.001"
        along = sign if start else 1
        data.GridFrameOffsetVector = [str(start + 2.5 * along * k) for k in range(7)]
        values = sitk.GetArrayFromImage(image) * 0.001
        assert_same(read_image(write(tmp_path / f"{name}.dcm", data)), image, values)


def test_a_segmentation_object(tmp_path, scan):
    data = multiframe(scan, kind=SEGMENTATION, dtype=np.uint8)
    with pytest.raises(ValueError, match=r"is a segmentation object; convert it to NIfTI"):
        read_image(write(tmp_path / "segmentation.dcm", data))


def test_frames_of_several_files(tmp_path, scan):
    """A concatenation is one image; enhanced files of one frame each are a series."""
    uid = "1.2.826.0.1.77"
    for number, part in enumerate(([0, 1, 2], [3, 4, 5, 6])):
        data = multiframe(scan, part)
        data.SeriesInstanceUID, data.ConcatenationUID = uid, f"{uid}.1"
        write(tmp_path / "parts" / f"{number}.dcm", data)
    assert_same(read_image(tmp_path / "parts"), scan)
    for index in range(7):
        data = multiframe(scan, [index], groups=lambda _, k: rescaled(1, 10 * k))
        data.SeriesInstanceUID = uid
        write(tmp_path / "single" / f"{index}.dcm", data)
    values = sitk.GetArrayFromImage(scan) + 10 * np.arange(7).reshape(7, 1, 1)
    assert_same(read_image(tmp_path / "single"), scan, values)


def test_without_pydicom(tmp_path, scan, monkeypatch):
    """The error says that a file has several frames; single slices need no pydicom."""
    path = write(tmp_path / "scan.dcm", multiframe(scan))
    write_series(tmp_path / "series", scan, intercept=0)
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(ImportError, match="multi-frame DICOM file, needs pydicom: pip install pyd"):
        read_image(path)
    assert_same(read_image(tmp_path / "series"), scan)
