"""Several volumes in one series or file: listed and chosen, never mixed."""

import shutil

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from rcn_tf.errors import InputWarning
from rcn_tf.volumes.dicom.series import list_series
from rcn_tf.volumes.formats.images import read_image
from tests.dicom_files import write_series
from tests.dicom_multiframe import (
    DOSE,
    ENHANCED_MR,
    SEGMENTATION,
    item,
    multiframe,
    plain,
    rescaled,
    write,
)

UID = "1.2.826.0.1.55"


@pytest.fixture
def scan():
    d, h, w = np.indices((7, 6, 5))
    image = sitk.GetImageFromArray((100 * d + 40 * h + 9 * w).astype(np.int16))
    image.SetSpacing((0.7, 0.9, 2.5))
    image.SetOrigin((-31.0, 12.5, 80.0))
    return image


def assert_values(image, expected):
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(expected))
    np.testing.assert_allclose(image.GetSpacing(), expected.GetSpacing(), atol=1e-6)
    np.testing.assert_allclose(image.GetOrigin(), expected.GetOrigin(), atol=1e-6)


def labels_of(path):
    return [series.words for series in list_series(path)]


SERIES = {
    "echo times": ("EchoTime", ["4.6", "2.3", "12"], ["echo time 2.3 ms", "echo time 4.6 ms"]),
    "phases": ("TemporalPositionIdentifier", ["1", "2", "10"], ["time point 1", "time point 2"]),
    "b-values": ("DiffusionBValue", [0.0, 1000.0, 50.0], ["b-value 0 s/mm2", "b-value 50 s/mm2"]),
    "complex": (
        "ImageType",
        [["ORIGINAL", "PRIMARY", kind] for kind in "MPR"],
        [f"image type ORIGINAL\\PRIMARY\\{kind}" for kind in "MP"],
    ),
    "acquisitions": ("AcquisitionNumber", [3, 1, 2], ["acquisition 1", "acquisition 2"]),
    "times": (
        "AcquisitionTime",
        ["100000", "101000", "102000"],
        ["acquired at 100000", "acquired at 101000"],
    ),
}


@pytest.mark.parametrize("kind", SERIES)
def test_volumes_of_one_series(tmp_path, scan, kind):
    keyword, values, words = SERIES[kind]
    for number, value in enumerate(values):
        write_series(tmp_path, scan + number, uid=UID, changes={keyword: value}, tag=str(number))
    assert labels_of(tmp_path)[:2] == words
    with pytest.raises(ValueError, match=f"has 3 series; .* 1: CT portal, {words[0][:8]}.*7 slic"):
        read_image(tmp_path)
    with pytest.raises(ValueError, match="no single series '1.2.826.0.1.55'"):
        read_image(tmp_path, UID)
    for number, one in enumerate(list_series(tmp_path), 1):
        (index,) = [k for k, value in enumerate(values) if _shown(value) in one.words.split(" ")]
        assert_values(read_image(tmp_path, number), scan + index)


def _shown(value):
    if isinstance(value, float):
        return f"{value:g}"
    return "\\".join(value) if isinstance(value, list) else str(value)


FRAMES = {
    "echoes": lambda k: {"MREchoSequence": [item(EffectiveEchoTime=2.3 * (1 + k))]},
    "phases": lambda k: {
        "FrameContentSequence": [item(TemporalPositionIndex=k + 1, StackID="1")],
        "CardiacSynchronizationSequence": [item(NominalPercentageOfCardiacPhase=50.0 * k)],
    },
    "gradients": lambda k: {
        "MRDiffusionSequence": [
            item(
                DiffusionBValue=1000.0,
                DiffusionGradientDirectionSequence=[
                    item(DiffusionGradientOrientation=[float(k == 0), float(k == 1), 0.0])
                ],
            )
        ]
    },
    "a dimension": lambda k: {"FrameContentSequence": [item(DimensionIndexValues=[k + 1, 1])]},
}


@pytest.mark.parametrize("order", ["one after the other", "interleaved"])
@pytest.mark.parametrize("kind", FRAMES)
def test_volumes_of_one_file(tmp_path, scan, kind, order):
    """Frame 2k or 7 + k belongs to the second volume; each has its own slope."""
    second = (lambda n: n % 2) if order == "interleaved" else (lambda n: n // 7)
    slices = np.repeat(range(7), 2) if order == "interleaved" else np.tile(range(7), 2)
    data = multiframe(
        scan,
        slices,
        kind=ENHANCED_MR,
        groups=lambda n, _: {**FRAMES[kind](second(n)), **rescaled(1 + second(n), 0)},
    )
    data.DimensionIndexSequence = [
        item(DimensionIndexPointer=0x00189082), item(DimensionIndexPointer=0x00209057)
    ]  # fmt: skip
    path = write(tmp_path / "scan.dcm", data)
    assert len(list_series(path)) == 2
    with pytest.raises(ValueError, match=r"scan\.dcm has 2 series; .*1: CT t1, .* \(7 frames, "):
        read_image(path)
    found = {int(read_image(path, n).GetPixel(4, 5, 6)): n for n in (1, 2)}
    assert_values(read_image(path, found[scan.GetPixel(4, 5, 6)]), scan)
    assert_values(read_image(path, found[2 * scan.GetPixel(4, 5, 6)]), scan * 2)


def test_two_attributes_together(tmp_path, scan):
    """Two echoes, magnitude and phase of each."""
    for number, (echo, kind) in enumerate([(2.3, "M"), (2.3, "P"), (4.6, "M"), (4.6, "P")]):
        changes = {"EchoTime": echo, "ImageType": ["ORIGINAL", "PRIMARY", kind]}
        write_series(tmp_path, scan + number, uid=UID, changes=changes, tag=str(number))
    assert labels_of(tmp_path)[1] == "echo time 2.3 ms, image type ORIGINAL\\PRIMARY\\P"
    assert_values(read_image(tmp_path, 2), scan + 1)


def test_an_incomplete_echo_is_refused_when_chosen(tmp_path, scan):
    write_series(tmp_path, scan, uid=UID, changes={"EchoTime": 2.3}, tag="a")
    gap = [0, 1, 2, 4, 5, 6]
    write_series(tmp_path, scan, uid=UID, changes={"EchoTime": 4.6}, positions=gap, tag="b")
    assert_values(read_image(tmp_path, 1), scan)
    with pytest.raises(ValueError, match="slices are missing"):
        read_image(tmp_path, 2)


@pytest.mark.parametrize("keyword", ["TriggerTime", "AcquisitionTime"])
def test_times_of_each_slice(tmp_path, scan, keyword):
    """Phases of a heart whose beats differ between slices are separated by order in each place."""
    for number in range(3):
        times = {"TriggerTime": 50, "AcquisitionTime": 101000}
        write_series(
            tmp_path,
            scan + number,
            uid=UID,
            tag=str(number),
            changes=lambda k, n=number: {keyword: str(times[keyword] + 20 * n + 3 * k)},  # noqa: B023
        )
    shown = {"TriggerTime": "trigger time", "AcquisitionTime": "acquisition time"}[keyword]
    assert labels_of(tmp_path) == [f"number {n} by {shown}" for n in (1, 2, 3)]
    for number in (1, 2, 3):
        assert_values(read_image(tmp_path, number), scan + (number - 1))


def test_nothing_tells_them_apart(tmp_path, scan):
    for tag in "ab":
        write_series(tmp_path, scan, uid=UID, tag=tag)
    with pytest.raises(ValueError, match="slices lie on one another .* folder of its own"):
        read_image(tmp_path)


def sagittal(scan):
    return sitk.DICOMOrient(scan, "PIR")


@pytest.mark.parametrize("frames", [True, False])
def test_a_scout_within_the_series(tmp_path, scan, frames):
    """A scout is left out with a warning; three slices of it are another volume."""
    for count, folder in ((1, tmp_path / "scout"), (3, tmp_path / "planes")):
        if frames:
            data = multiframe(scan)
            other = multiframe(sagittal(scan), range(count))
            data.PerFrameFunctionalGroupsSequence.extend(other.PerFrameFunctionalGroupsSequence)
            data.NumberOfFrames = 7 + count
            data.PixelData += bytes(2 * 30 * count)
            write(folder / "scan.dcm", data)
        else:
            write_series(folder, scan, uid=UID)
            # of the size of the others, or else it would be refused for that
            part = sagittal(sitk.Resample(scan, (5, 6, 5), sitk.Transform(), 1, scan.GetOrigin()))
            write_series(folder, part, uid=UID, positions=range(count), tag="scout")
    with pytest.warns(InputWarning, match="scout: 1 slice of another orientation .* left out"):
        assert_values(read_image(tmp_path / "scout"), scan)
    with pytest.raises(ValueError, match=r"has 2 series; .*axial \(7 .*; 2: .*sagittal \(3 "):
        read_image(tmp_path / "planes")


def test_slabs_of_a_file(tmp_path, scan):
    """Two stacks with a gap between them are not a volume with missing slices."""
    data = multiframe(
        scan,
        [0, 1, 2, 4, 5, 6],
        groups=lambda n, _: {"FrameContentSequence": [item(StackID=str(1 + n // 3))]},
    )
    path = write(tmp_path / "scan.dcm", data)
    assert labels_of(path) == ["stack 1", "stack 2"]
    assert_values(read_image(path, 2), scan[:, :, 4:])


def test_files_and_series_in_one_folder(tmp_path, scan):
    """A multi-frame file counts as one series; a single one is taken without a choice."""
    write(tmp_path / "a.dcm", multiframe(scan, range(6)))
    assert_values(read_image(tmp_path), scan[:, :, :6])
    write_series(tmp_path, scan + 1, uid=UID)
    write(tmp_path / "b.dcm", multiframe(scan, range(5)))
    with pytest.raises(ValueError, match=r"1: .*7 slices, .* 2: CT t1 \(6 frames, .*5 frames"):
        read_image(tmp_path)
    for number, expected in ((1, scan + 1), (2, scan[:, :, :6]), (3, scan[:, :, :5])):
        assert_values(read_image(tmp_path, number), expected)
    archive = shutil.make_archive(str(tmp_path / "study"), "zip", tmp_path)
    assert_values(read_image(archive, 2), scan[:, :, :6])


def test_what_belongs_to_a_scan_is_not_taken_for_it(tmp_path, scan):
    write_series(tmp_path, scan, uid=UID)
    write(tmp_path / "labels.dcm", multiframe(scan, kind=SEGMENTATION, dtype=np.uint8))
    dose = plain(multiframe(scan, kind=DOSE))
    write(tmp_path / "dose.dcm", dose)
    assert_values(read_image(tmp_path), scan)
    assert len(list_series(tmp_path)) == 3


def test_copies(tmp_path, scan):
    """Copies of files count once; another file of the same instance is an error."""
    write_series(tmp_path, scan, uid=UID)
    files = sorted(tmp_path.iterdir())
    for file in files[:3]:
        shutil.copy(file, f"{file} (1)")
    with pytest.warns(InputWarning, match="3 files are copies of others and were left out"):
        assert_values(read_image(tmp_path), scan)
    header = pydicom.dcmread(files[0])
    header.PixelData = bytes(len(header.PixelData))
    header.save_as(tmp_path / "other")
    with pytest.raises(ValueError, match="are different files of the same SOP instance"):
        read_image(tmp_path)


def test_a_copy_of_a_multiframe_file(tmp_path, scan):
    file = write(tmp_path / "scan.dcm", multiframe(scan))
    shutil.copy(file, tmp_path / "scan (1).dcm")
    with pytest.warns(InputWarning, match="1 files are copies of others"):
        assert_values(read_image(tmp_path), scan)


def test_fewer_slices_than_stated(tmp_path, scan):
    write_series(tmp_path, scan, positions=range(6), changes={"ImagesInAcquisition": 7})
    with pytest.warns(InputWarning, match="state 7 slices, 6 are there"):
        read_image(tmp_path)
