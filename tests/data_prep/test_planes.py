"""`rcn prepare images --shape H W`: from files of single slices to training and evaluation."""

import json

import h5py
import numpy as np
import pandas
import pytest
import SimpleITK as sitk

from rcn_tf.commands.main import main
from rcn_tf.data.packs import PackReader
from rcn_tf.volumes.grids import Grid

SHAPE = (16, 20)
SPACING = (0.5, 2.0)  # x, y
CENTRES = {"a": (14, 22), "b": (16, 20), "c": (13, 19)}  # y, x of a disc


def disc(centre, shape=(32, 40)):
    """Distance of each pixel from a centre, pixels."""
    y, x = np.indices(shape)
    return np.hypot(y - centre[0], x - centre[1])


def write_slice(path, array, *, across=None):
    """A 2D file, or a volume of one slice across an array axis."""
    volume = array if across is None else np.expand_dims(array, across)
    image = sitk.GetImageFromArray(volume)
    beyond = len(SPACING) if across is None else 2 - across
    image.SetSpacing(np.insert(SPACING, beyond, 3.0)[: volume.ndim].tolist())
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def slices(tmp_path):
    """Three slices, their label maps and landmarks; {kind: [path, ...]}."""
    paths = {"images": [], "labels": [], "landmarks": []}
    for name, centre in CENTRES.items():
        distance = disc(centre)
        grey = np.float32(np.clip(40 * (9 - distance), 0, 250) + 5 * (distance < 9))
        paths["images"].append(write_slice(tmp_path / f"{name}.nii.gz", grey))
        labels = np.uint8(distance < 6)
        paths["labels"].append(write_slice(tmp_path / f"{name}_labels.nii.gz", labels))
        x, y = centre[1] * SPACING[0], centre[0] * SPACING[1]
        landmarks = tmp_path / f"{name}.csv"
        elsewhere = f"{x + len(paths['landmarks'])},{y - 3},0"
        landmarks.write_text(f"x,y,z\n{x},{y},0\n,,\n{elsewhere}\n")
        paths["landmarks"].append(landmarks)
    return paths


def prepare(folder, paths, shape=SHAPE):
    words = ["prepare", "images", "--shape", *map(str, shape), "--workers", "1"]
    words += ["--out", str(folder / "planes.h5"), "--config", str(folder / "planes.json")]
    for kind, files in paths.items():
        words += [f"--{kind}", *map(str, files)]
    return main(words)


@pytest.mark.slow
def test_planes_are_prepared_trained_on_evaluated_and_looked_at(tmp_path, slices):
    assert prepare(tmp_path, slices) == 0
    with PackReader(tmp_path / "planes.h5") as reader:
        scans = {name: reader.read(name) for name in CENTRES}
    for name, scan in scans.items():
        assert scan.volume.shape == scan.segmentation.shape == SHAPE
        grid = Grid.from_attributes(scan.attributes)
        assert grid.shape == (1, *SHAPE)
        np.testing.assert_allclose(scan.spacing, grid.spacing[1:])
        assert (scan.points[1] == -1).all()
        centre = np.argwhere(scan.segmentation).mean(axis=0)
        np.testing.assert_allclose(scan.points[0], centre, atol=0.6)
        there = grid.index_to_point([0, *scan.points[0]])
        y, x = CENTRES[name]
        np.testing.assert_allclose(there, [x * SPACING[0], y * SPACING[1], 0], atol=1e-4)
    config = {
        "model": "tests.contract.small_models:PlanarShift",
        "network": {"channels": 2},
        "data": {"config": str(tmp_path / "planes.json")},
        "loss": {
            "dense": {"smoothness": 1.0},
            "final": {"similarity": 1.0, "landmark_distance": 0.1},
        },
        "steps": 2,
        "halve_at": [],
        "batch_size": 1,
    }
    (tmp_path / "train.json").write_text(json.dumps(config))
    run = tmp_path / "run"
    assert main(["train", str(tmp_path / "train.json"), "--out", str(run)]) == 0
    data = ["--data", str(tmp_path / "planes.json"), "--scheme", "1"]
    assert main(["evaluate", str(run), *data, "--out", str(tmp_path / "results")]) == 0
    (rows,) = (tmp_path / "results").glob("**/pairs.csv")
    table = pandas.read_csv(rows)
    before = table[table["stage"] == "before"].set_index(["fixed", "moving"])
    row = before.loc[("planes/a", "planes/b")]
    a, b = scans["a"], scans["b"]
    distances = np.linalg.norm(b.spacing * (b.points - a.points)[[0, 2]], axis=-1)
    expected = distances.mean()
    assert expected > 0.3
    assert row["landmark_mm"] == pytest.approx(expected, rel=1e-5)
    assert main(["prepare", "qc", str(tmp_path / "planes.json"), "--out", str(tmp_path / "q")]) == 0


@pytest.mark.parametrize("across", [0, 1, 2])
def test_a_volume_of_one_slice_is_the_plane_across_its_thin_axis(tmp_path, across):
    distance = disc(CENTRES["a"])
    image = np.float32(np.clip(40 * (9 - distance), 0, 250))
    path = write_slice(tmp_path / "one.nii.gz", image, across=across)
    other = write_slice(tmp_path / "two.nii.gz", image[:, ::-1], across=across)
    assert prepare(tmp_path, {"images": [path, other]}) == 0
    with PackReader(tmp_path / "planes.h5") as reader:
        scan = reader.read("one")
    grid = Grid.from_attributes(scan.attributes)
    assert scan.volume.shape == SHAPE
    assert grid.shape == tuple(np.insert(SHAPE, across, 1))
    np.testing.assert_allclose(scan.spacing, np.delete(grid.spacing, across))
    centre = np.argwhere(scan.volume > 128).mean(axis=0)
    there = np.insert(np.float64(CENTRES["a"]), across, 0)
    source = Grid.from_image(sitk.ReadImage(str(path)))
    point = grid.index_to_point(np.insert(centre, across, 0))
    np.testing.assert_allclose(source.point_to_index(point), there, atol=0.6)


def test_tiff(tmp_path, capsys):
    paths = []
    for name, centre in CENTRES.items():
        image = sitk.GetImageFromArray(np.uint8(np.clip(40 * (9 - disc(centre)), 0, 250)))
        paths.append(tmp_path / f"{name}.tif")
        sitk.WriteImage(image, str(paths[-1]))
    assert prepare(tmp_path, {"images": paths}) == 0
    assert "will refuse planes of 16 x 20" in capsys.readouterr().err
    with h5py.File(tmp_path / "planes.h5") as pack:
        assert all(pack[name]["volume"].shape == SHAPE for name in CENTRES)


@pytest.mark.parametrize(
    ("depth", "shape", "message"),
    [
        (4, (16, 20), "a.nii.gz is a volume of 4 slices, but the shape has two sizes"),
        (1, (8, 16, 20), "a.nii.gz is a single slice, but the shape has three sizes"),
        (1, (8, 16, 20, 3), "--shape must be three positive sizes, or two for planes"),
    ],
)
def test_the_wrong_number_of_sizes_is_one_line(tmp_path, capsys, depth, shape, message):
    image = np.repeat(np.float32(disc((14, 22)) < 9)[None], depth, axis=0)
    write_slice(tmp_path / "a.nii.gz", image if depth > 1 else image[0], across=None)
    assert prepare(tmp_path, {"images": [tmp_path / "a.nii.gz"]}, shape) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "planes.h5").exists()


def test_a_landmark_beside_the_plane_is_refused(tmp_path, slices, capsys):
    slices["landmarks"][0].write_text("x,y,z\n5,5,40\n,,\n")
    assert prepare(tmp_path, slices) == 1
    assert "a.csv has a landmark beside the plane of" in capsys.readouterr().err
