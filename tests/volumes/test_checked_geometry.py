"""Formats other than NIfTI: each voxel is where the file's bytes put it, or there is a message.

Headers are written by hand, so that no library's reading is compared with its own writing.
"""

import itertools
import locale
import struct

import h5py
import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.errors import InputWarning
from rcn_tf.volumes.formats.images import read_image
from rcn_tf.volumes.formats.vector_images import read_displacement, read_displacement_header
from rcn_tf.volumes.grids import Grid

SIZE = (10, 9, 8)
VOXELS = np.arange(720, dtype="<i2").reshape(SIZE[::-1])
CORNERS = np.array(list(itertools.product(*((0, n - 1) for n in SIZE))))
OBLIQUE = np.array([[0.8, 0.6, 0], [-0.48, 0.64, 0.6], [0.36, -0.48, 0.8]])  # exact


def corners(image):
    return np.array([image.TransformIndexToPhysicalPoint(c) for c in CORNERS.tolist()])


def placed(axes, origin):
    """Corners of a grid whose axis k steps by row k of `axes`."""
    return CORNERS @ np.asarray(axes, float) + origin


def metaimage(folder, *lines, spacing="ElementSpacing = 2 3 4", detached=False):
    text = "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
    for line in (*lines, spacing):
        text += f"{line}\n" if line else ""
    text += "DimSize = 10 9 8\nElementType = MET_SHORT\nElementDataFile = "
    if detached:
        (folder / "a.raw").write_bytes(VOXELS.tobytes())
        (folder / "a.mhd").write_text(text + "a.raw\n")
        return folder / "a.mhd"
    (folder / "a.mha").write_bytes(text.encode() + b"LOCAL\n" + VOXELS.tobytes())
    return folder / "a.mha"


def nrrd(folder, *lines, detached=False):
    text = "NRRD0005\n# made by hand: space: nowhere\ntype: short\ndimension: 3\n"
    text += "sizes: 10 9 8\nencoding: raw\nendian: little\n"
    text += "".join(f"{line}\n" for line in lines)
    if detached:
        (folder / "a.raw").write_bytes(VOXELS.tobytes())
        (folder / "a.nhdr").write_text(text + "data file: a.raw\n")
        return folder / "a.nhdr"
    (folder / "a.nrrd").write_bytes(text.encode() + b"\n" + VOXELS.tobytes())
    return folder / "a.nrrd"


def numbers(matrix):
    return " ".join(f"{value:.17g}" for value in np.ravel(matrix))


def vectors(matrix):
    return " ".join(f"({','.join(f'{v:.17g}' for v in row)})" for row in np.asarray(matrix))


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("name", ["TransformMatrix", "Orientation", "Rotation"])
@pytest.mark.parametrize("flip", [1, -1])
def test_metaimage(tmp_path, name, flip, detached):
    """The matrix has one row per axis; "Offset", "Origin" and "Position" are the same."""
    rows = OBLIQUE * [[1], [1], [flip]]
    place = {"TransformMatrix": "Offset", "Orientation": "Position", "Rotation": "Origin"}[name]
    lines = (f"{name} = {numbers(rows)}", f"{place} = 1 -2 3")
    image = read_image(metaimage(tmp_path, *lines, detached=detached))
    steps = rows * np.array([[2], [3], [4]])
    np.testing.assert_allclose(corners(image), placed(steps, (1, -2, 3)), atol=1e-9)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), VOXELS)


@pytest.mark.parametrize(
    ("space", "to_lps"),
    [
        ("left-posterior-superior", (1, 1, 1)),
        ("LPS", (1, 1, 1)),
        ("right-anterior-superior", (-1, -1, 1)),
        ("RAS", (-1, -1, 1)),
        ("left-anterior-superior", (1, -1, 1)),
        ("LAS", (1, -1, 1)),
    ],
)
@pytest.mark.parametrize("detached", [False, True])
def test_nrrd(tmp_path, space, to_lps, detached):
    steps = OBLIQUE * np.array([[2], [3], [-4]])
    lines = [f"space: {space}", f"space directions: {vectors(steps)}", "space origin: (1,-2,3)"]
    image = read_image(nrrd(tmp_path, *lines, detached=detached))
    expected = placed(steps, (1, -2, 3)) * to_lps
    np.testing.assert_allclose(corners(image), expected, atol=1e-9)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), VOXELS)


def test_metaimage_without_a_direction(tmp_path):
    with pytest.warns(InputWarning, match=r"a\.mha does not state its orientation; LPS"):
        image = read_image(metaimage(tmp_path, "Offset = 1 -2 3"))
    np.testing.assert_allclose(corners(image), placed(np.diag([2, 3, 4]), (1, -2, 3)))
    with pytest.warns(InputWarning, match=r"\(AnatomicalOrientation RAI does not count\)"):
        read_image(metaimage(tmp_path, "AnatomicalOrientation = RAI"))
    told = read_image(metaimage(tmp_path, "Offset = 1 -2 3"), orientation="RAS")
    np.testing.assert_allclose(corners(told), placed(np.diag([-2, -3, 4]), (-1, 2, 3)))


@pytest.mark.parametrize(
    "lines",
    [
        ["spacings: 2 3 4"],
        ["space dimension: 3", "space directions: (2,0,0) (0,3,0) (0,0,4)"],
        ["space: 3D-right-handed", "space directions: (2,0,0) (0,3,0) (0,0,4)"],
        ["space: 3D-left-handed", "space directions: (2,0,0) (0,3,0) (0,0,4)"],
        ["space: scanner-xyz", "space directions: (2,0,0) (0,3,0) (0,0,4)"],
    ],
)
def test_nrrd_in_no_known_space(tmp_path, lines):
    with pytest.warns(InputWarning, match="does not state its orientation.*; LPS"):
        image = read_image(nrrd(tmp_path, *lines))
    np.testing.assert_allclose(corners(image), placed(np.diag([2, 3, 4]), 0))


def test_no_voxel_size(tmp_path):
    matrix = f"TransformMatrix = {numbers(np.eye(3))}"
    with pytest.warns(InputWarning, match="does not state its voxel size; 1 mm"):
        read_image(metaimage(tmp_path, matrix, spacing=""))
    image = read_image(metaimage(tmp_path, matrix, spacing="ElementSize = 2 3 4"))
    assert image.GetSpacing() == (2, 3, 4)
    for lines in ([], ["space: LPS"], ["thicknesses: 2 3 4"], ["spacings: 2 3 nan"]):
        with pytest.warns(InputWarning, match="does not state its voxel size; 1 mm"):
            read_image(nrrd(tmp_path, *lines), orientation="LPS")


@pytest.mark.parametrize(
    ("unit", "factor"), [("mm", 1), ("cm", 10), ("m", 1000), ("um", 0.001), ("microns", 0.001)]
)
def test_units(tmp_path, unit, factor):
    steps = np.diag([2, 3, 4]) / factor
    lines = [
        "space: RAS",
        f"space directions: {vectors(steps)}",
        f"space origin: (1,{2 / factor},3)",
    ]
    path = nrrd(tmp_path, *lines, f'space units: "{unit}" "{unit}" "{unit}"')
    if factor == 1:
        image = read_image(path)
    else:
        with pytest.warns(InputWarning, match=f"in {unit}; it is converted to mm"):
            image = read_image(path)
    np.testing.assert_allclose(image.GetSpacing(), (2, 3, 4))
    np.testing.assert_allclose(image.GetOrigin(), (-factor, -2, 3 * factor))
    by_axis = nrrd(tmp_path, "spacings: 2 3 4", f'units: "{unit}" "{unit}" "{unit}"')
    if factor < 100:
        with pytest.warns(InputWarning):
            assert read_image(by_axis).GetSpacing() == pytest.approx(
                (2 * factor, 3 * factor, 4 * factor)
            )


def test_unknown_units(tmp_path):
    lines = ["space: RAS", "space directions: (2,0,0) (0,3,0) (0,0,4)"]
    for units in ('"parsec" "parsec" "parsec"', '"mm" "mm" "cm"'):
        with pytest.warns(InputWarning, match="which is not known; mm are assumed"):
            image = read_image(nrrd(tmp_path, *lines, f"space units: {units}"))
        assert image.GetSpacing() == (2, 3, 4)
    matrix = f"TransformMatrix = {numbers(np.eye(3))}"
    with pytest.warns(InputWarning, match="in cm; it is converted"):
        image = read_image(metaimage(tmp_path, matrix, "DistanceUnits = cm"))
    assert image.GetSpacing() == (20, 30, 40)


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((3, 3)),
        np.diag([1.0, 1, 0]),
        [[1, 0, 0], [1, 0, 0], [0, 0, 1]],
        [[float("nan"), 0, 0], [0, 1, 0], [0, 0, 1]],
    ],
)
def test_directions_that_are_none(tmp_path, rows):
    for path in (
        metaimage(tmp_path, f"TransformMatrix = {numbers(rows)}"),
        nrrd(tmp_path, "space: RAS", f"space directions: {vectors(rows)}"),
    ):
        with pytest.raises(ValueError, match="do not give each axis a direction .* correct them"):
            read_image(path)


def test_directions_that_are_missing(tmp_path):
    for lines in (["TransformMatrix = 1 0 0 0 1 0"], ["TransformMatrix = a b c d e f g h i"]):
        with pytest.raises(
            ValueError, match="TransformMatrix that do not give each axis a direction"
        ):
            read_image(metaimage(tmp_path, *lines))
    with pytest.raises(ValueError, match="space directions that do not give each axis a direction"):
        read_image(nrrd(tmp_path, "space: RAS", "space directions: (2,0,0) (0,3,0) none"))


def sheared(degrees):
    rows = np.eye(3)
    rows[2, 1] = np.tan(np.deg2rad(degrees))
    return rows


def test_sheared_directions(tmp_path):
    files = (
        metaimage(tmp_path, f"TransformMatrix = {numbers(sheared(15))}"),
        nrrd(tmp_path, "space: LPS", f"space directions: {vectors(sheared(15) * 3)}"),
    )
    for path in files:
        with pytest.raises(ValueError, match=r"sheared: .* 15\.0 degrees .* --fixed-orientation"):
            read_image(path)
        image = read_image(path, orientation="LAS")
        assert image.GetDirection() == (1, 0, 0, 0, -1, 0, 0, 0, 1)


def test_directions_that_were_rounded(tmp_path):
    rows = np.round(OBLIQUE, 2) + [[0.004, 0, 0], [0, -0.004, 0], [0, 0, 0.004]]
    for path in (
        metaimage(tmp_path, f"TransformMatrix = {numbers(rows)}"),
        nrrd(tmp_path, "space: LPS", f"space directions: {vectors(rows * [[2], [3], [4]])}"),
    ):
        image = read_image(path)
        direction = np.reshape(image.GetDirection(), (3, 3))
        np.testing.assert_allclose(direction @ direction.T, np.eye(3), atol=1e-9)
        expected = placed(OBLIQUE * [[2], [3], [4]], 0)
        assert np.abs(corners(image) - expected).max() < 0.2
    with pytest.warns(InputWarning, match="not quite orthonormal; .* by up to 0.* mm"):
        read_image(
            metaimage(
                tmp_path,
                f"TransformMatrix = {numbers(sheared(0.99) @ OBLIQUE)}",
                spacing="ElementSpacing = 1 1 9",
            )
        )


def test_directions_that_are_scaled(tmp_path):
    path = metaimage(tmp_path, "TransformMatrix = 2 0 0 0 2 0 0 0 2")
    with pytest.warns(InputWarning, match="length 2 x 2 x 2; .* voxels of 4 x 6 x 8 mm"):
        image = read_image(path)
    np.testing.assert_allclose(corners(image), placed(np.diag([4, 6, 8]), 0))
    np.testing.assert_allclose(image.GetDirection(), np.eye(3).ravel())


def vtk(path):
    header = "# vtk DataFile Version 3.0\nby hand\nBINARY\nDATASET STRUCTURED_POINTS\n"
    header += "DIMENSIONS 10 9 8\nSPACING 2 3 4\nORIGIN 1 -2 3\nPOINT_DATA 720\n"
    header += "SCALARS scalars short 1\nLOOKUP_TABLE default\n"
    path.write_bytes(header.encode() + VOXELS.astype(">i2").tobytes())
    return path


def gipl(path):
    header = bytearray(256)
    struct.pack_into(">4H", header, 0, 10, 9, 8, 1)
    struct.pack_into(">H", header, 8, 15)  # short
    struct.pack_into(">4f", header, 10, 2, 3, 4, 0)
    struct.pack_into(">4d", header, 204, 1, -2, 3, 0)
    struct.pack_into(">I", header, 252, 4026526128)
    path.write_bytes(bytes(header) + VOXELS.astype(">i2").tobytes())
    return path


def mrc(path):
    header = bytearray(1024)
    struct.pack_into("<4i", header, 0, 10, 9, 8, 1)  # int16
    struct.pack_into("<3i", header, 28, 10, 9, 8)
    struct.pack_into("<3f", header, 40, 20, 27, 32)
    struct.pack_into("<3f", header, 52, 90, 90, 90)
    struct.pack_into("<3i", header, 64, 1, 2, 3)
    struct.pack_into("<3f", header, 196, 1, -2, 3)
    header[208:216] = b"MAP \x44\x44\0\0"
    path.write_bytes(bytes(header) + VOXELS.tobytes())
    return path


@pytest.mark.parametrize(("write", "name"), [(vtk, "VTK"), (gipl, "GIPL"), (mrc, "MRC")])
def test_formats_without_orientation(tmp_path, write, name):
    path = write(tmp_path / f"a.{name.lower()}")
    before = locale.setlocale(locale.LC_ALL)
    with pytest.warns(InputWarning, match=rf"a\.{name.lower()}: {name} states no orientation; LPS"):
        image = read_image(path)
    np.testing.assert_allclose(corners(image), placed(np.diag([2, 3, 4]), (1, -2, 3)))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), VOXELS)
    told = read_image(path, orientation="RAS")
    np.testing.assert_allclose(corners(told), placed(np.diag([-2, -3, 4]), (-1, 2, 3)))
    assert locale.setlocale(locale.LC_ALL) == before  # which ITK's reader of VTK sets


def test_tiff(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(tmp_path / "a.tif"))
    with pytest.warns(InputWarning) as caught:
        read_image(tmp_path / "a.tif")
    texts = [str(one.message) for one in caught]
    assert any("TIFF states no orientation; LPS" in text for text in texts)
    assert any("TIFF states no distance of slices; 1 mm is taken" in text for text in texts)


def test_hdf5_of_itk(tmp_path):
    image = sitk.GetImageFromArray(VOXELS)
    image.SetDirection(OBLIQUE.T.ravel().tolist())
    image.SetSpacing((2, 3, 4))
    image.SetOrigin((1, -2, 3))
    sitk.WriteImage(image, str(tmp_path / "a.h5"))
    with h5py.File(tmp_path / "a.h5") as file:  # a row per axis
        stored = file["ITKImage/0"]
        steps = stored["Directions"][()] * stored["Spacing"][()][:, None]
        expected = placed(steps, stored["Origin"][()])
    np.testing.assert_allclose(corners(read_image(tmp_path / "a.h5")), expected)


def test_implausible_voxels(tmp_path):
    matrix = f"TransformMatrix = {numbers(np.eye(3))}"
    with pytest.warns(InputWarning, match="has voxels of 2000 x 3000 x 4000 mm by its header"):
        read_image(metaimage(tmp_path, matrix, spacing="ElementSpacing = 2000 3000 4000"))


def test_fields(tmp_path):
    """A field's geometry is checked like an image's; no option overrides it."""

    def field(*lines):
        text = "NRRD0005\ntype: float\ndimension: 4\nsizes: 3 10 9 8\nencoding: raw\n"
        text += "endian: little\nkinds: vector domain domain domain\n" + "".join(lines)
        path = tmp_path / "a.nrrd"
        path.write_bytes(text.encode() + b"\n" + np.ones(2160, "<f4").tobytes())
        return path

    sound = field(
        "space: left-posterior-superior\n",
        f"space directions: none {vectors(OBLIQUE * 2)}\nspace origin: (1,2,3)\n",
    )
    np.testing.assert_allclose(corners(read_displacement(sound)), placed(OBLIQUE * 2, (1, 2, 3)))
    grid = Grid.from_image(read_displacement_header(sound))
    assert grid.shape == SIZE[::-1]
    np.testing.assert_allclose(
        grid.index_to_point(CORNERS[:, ::-1]), placed(OBLIQUE * 2, (1, 2, 3))
    )
    path = field("space: LPS\n", f"space directions: none {vectors(sheared(15))}\n")
    for read in (read_displacement, read_displacement_header):
        with pytest.raises(ValueError, match="sheared.* or write its header anew"):
            read(path)
    rounded = field("space: LPS\n", f"space directions: none {vectors(sheared(0.4) * 2)}\n")
    repaired = read_displacement(rounded)
    direction = np.reshape(repaired.GetDirection(), (3, 3))
    np.testing.assert_allclose(direction @ direction.T, np.eye(3), atol=1e-9)
    grid = Grid.from_image(read_displacement_header(rounded))
    np.testing.assert_allclose(grid.index_to_point(CORNERS[:, ::-1]), corners(repaired), atol=1e-9)
    with pytest.warns(InputWarning, match="LPS .* where that is wrong, write its header anew"):
        read_displacement(field("spacings: nan 2 2 2\n"))
