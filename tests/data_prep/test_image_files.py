"""data_prep.image_files and `rcn prepare images`: packs whose scans lie correctly in space."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from data_prep.image_files import ImageRecipe, build_pack
from data_prep.landmarks import read_landmarks, read_voxel_landmarks
from data_prep.scan_files import ScanFiles, content_hash
from data_prep.step_timer import StepTimer
from rcn_tf.commands.main import main
from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.packs import PackReader
from rcn_tf.data.scans import ScanStore
from rcn_tf.volumes.grids import Grid
from tests.dicom_multiframe import multiframe, write

SHAPE = (14, 12, 16)
BALLS = {7: (0.36, 0.4, 0.55), 301: (0.66, 0.6, 0.4)}  # id: centre as a fraction of the image


def write_scan(folder, name, *, orientation="LPS", suffix=".nii.gz", seed=0):
    """Ellipsoid with two labelled balls, their centres as landmarks, turned and oblique."""
    size = np.array([40, 34, 30])  # x, y, z
    grid = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1) / (size - 1)
    radius = np.linalg.norm((grid - 0.5) / 0.42, axis=-1)
    array = np.where(radius < 1, 300 - 150 * radius, 0)
    labels = np.zeros(array.shape, np.uint16)
    for label, centre in BALLS.items():
        ball = np.linalg.norm((grid - centre) * size, axis=-1) < 4
        array[ball], labels[ball] = 400, label
    array += np.random.default_rng(seed).normal(0, 2, array.shape) * (radius < 1)
    turn = [np.cos(0.2), -np.sin(0.2), 0, np.sin(0.2), np.cos(0.2), 0, 0, 0, 1]
    paths = {"image": folder / f"{name}{suffix}", "labels": folder / f"{name}_labels{suffix}"}
    for path, values in zip(paths.values(), (array.astype(np.float32), labels)):
        image = sitk.GetImageFromArray(np.ascontiguousarray(values.transpose(2, 1, 0)))
        image.SetSpacing((1.1, 1.3, 2.0))
        image.SetOrigin((-20.0, 13.0, 7.0))
        image.SetDirection(turn)
        sitk.WriteImage(sitk.DICOMOrient(image, orientation), str(path))
    points = [
        image.TransformContinuousIndexToPhysicalPoint((np.array(centre) * (size - 1)).tolist())
        for centre in BALLS.values()
    ]
    paths["landmarks"] = folder / f"{name}.csv"
    rows = [f"{k},{x},{y},{z}" for k, (x, y, z) in zip(BALLS, points)]
    paths["landmarks"].write_text("\n".join(["name,x,y,z", *rows, "none,,,"]) + "\n")
    return paths


def prepare_scan(image, labels=None, landmarks=None, mask=None, **options):
    """One scan through the recipe, as the pack would hold it."""
    files = ScanFiles("scan", image, labels, landmarks, mask)
    return ImageRecipe(SHAPE, **options)(files, StepTimer())


def test_a_multiframe_file(tmp_path):
    """Frames and labels from the top down give the same scan as the original image."""
    paths = write_scan(tmp_path, "scan", suffix=".nii.gz")
    for role in ("image", "labels"):
        image = sitk.Cast(sitk.ReadImage(str(paths[role])) + 0.5, sitk.sitkUInt16)
        sitk.WriteImage(image, str(paths[role]))
        down = range(image.GetDepth() - 1, -1, -1)
        write(tmp_path / f"{role}.dcm", multiframe(image, down))
    found = prepare_scan(tmp_path / "image.dcm", tmp_path / "labels.dcm")
    expected = prepare_scan(paths["image"], paths["labels"])
    np.testing.assert_array_equal(found.volume, expected.volume)
    np.testing.assert_array_equal(found.segmentation, expected.segmentation)


@pytest.mark.parametrize(
    ("orientation", "suffix"), [("LPS", ".nii.gz"), ("RIA", ".mha"), ("ASL", ".nrrd")]
)
def test_labels_and_landmarks_lie_on_the_image(tmp_path, orientation, suffix):
    paths = write_scan(tmp_path, "scan", orientation=orientation, suffix=suffix)
    scan = prepare_scan(**paths)
    volume, labels, points = scan.volume, scan.segmentation, scan.points
    assert volume.shape == labels.shape == SHAPE
    assert (volume.dtype, volume.min()) == (np.uint8, 0)
    assert volume.max() > 245
    grid = Grid.from_attributes(scan.attributes)
    for (label, _), point in zip(BALLS.items(), points):
        index = np.argwhere(labels == label)
        np.testing.assert_allclose(index.mean(axis=0), point, atol=0.5)
        assert volume[labels == label].mean() > 200
        assert volume[tuple(np.rint(point).astype(int))] > 220
    assert np.isnan(points[2]).all()
    expected = read_landmarks(paths["landmarks"])
    np.testing.assert_allclose(grid.index_to_point(points)[:2], expected[:2], atol=1e-6)
    image = sitk.ReadImage(str(paths["image"]))
    inside = image.TransformPhysicalPointToIndex(grid.index_to_point(points[0]).tolist())
    assert image[inside] == pytest.approx(400, abs=10)


@pytest.fixture
def scans(tmp_path):
    return [write_scan(tmp_path, name, seed=k) for k, name in enumerate(("one", "two"))]


def arguments(scans, folder, *flags, **changes):
    """Command line of `rcn prepare images` for these scans."""
    options = {
        "images": [scan["image"] for scan in scans],
        "labels": [scan["labels"] for scan in scans],
        "landmarks": [scan["landmarks"] for scan in scans],
        "shape": SHAPE,
        "out": [folder / "pack.h5"],
        "config": [folder / "dataset.json"],
        "workers": [1],
    }
    options.update(changes)
    words = ["prepare", "images"]
    for name, values in options.items():
        if values is not None:
            words += [f"--{name}", *map(str, values)]
    return [*words, *flags]


def test_command_writes_pack_and_config(tmp_path, scans, capsys):
    assert main(arguments(scans, tmp_path, subset=["mine"])) == 0
    assert "2 scans in" in capsys.readouterr().out
    config = load_dataset_config(tmp_path / "dataset.json")
    assert config.image_size == SHAPE
    assert config.subset("mine") == ("pack/one", "pack/two")
    assert config.structures == {"7": 7, "301": 301}
    with ScanStore(config) as store:
        store.check(config.subset("mine"))
        scan = store.read("pack/one")
    assert scan.attributes["source"] == f"sha256:{content_hash(scans[0]['image'])}"
    np.testing.assert_array_equal(scan.points[2], [-1, -1, -1])
    with PackReader(tmp_path / "pack.h5") as reader:
        assert reader.verify_checksum("two") is True


def test_ids_atlas_and_another_folder(tmp_path, scans):
    (tmp_path / "sub").mkdir()
    build_pack(
        [scan["image"] for scan in scans],
        tmp_path / "pack.h5",
        tmp_path / "sub" / "dataset.json",
        shape=SHAPE,
        ids=["x", "y"],
        atlas="y",
    )
    config = load_dataset_config(tmp_path / "sub" / "dataset.json")
    assert config.files["pack"].samefile(tmp_path / "pack.h5")
    assert (config.image_type, config.atlas) == ("brain", "pack/y")


def test_masks_in_the_originals_manner_are_recognised(tmp_path, scans):
    labels = sitk.ReadImage(str(scans[0]["labels"]))
    sitk.WriteImage(sitk.Cast(labels == 7, sitk.sitkUInt8) * 255, str(tmp_path / "liver.mha"))
    assert main(arguments(scans[:1], tmp_path, labels=[tmp_path / "liver.mha"])) == 0
    config = load_dataset_config(tmp_path / "dataset.json")
    assert (config.image_type, config.structures) == ("liver", {"255": 255})
    assert main(arguments(scans, tmp_path, type=["lung"])) == 0
    assert load_dataset_config(tmp_path / "dataset.json").image_type == "lung"


def test_padding_and_normalisation_leave_the_pack_alike(tmp_path, scans):
    """Tests a CT that is padded outside its circle, and a z-score inside the organ."""
    image = sitk.ReadImage(str(scans[0]["image"]))
    array = sitk.GetArrayFromImage(image)
    plain = prepare_scan(scans[0]["image"]).volume.astype(float)
    y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in array.shape[1:]], indexing="ij")
    organ = array != 0
    values = array[organ]
    for change in (
        np.where(x**2 + y**2 > 1.2, -3024, array),
        np.where(organ, (array - values.mean()) / values.std(), 0),
        np.where(organ, array, np.nan),
        1000 - array,
    ):
        changed = sitk.GetImageFromArray(change.astype(np.float32))
        changed.CopyInformation(image)
        sitk.WriteImage(changed, str(tmp_path / "changed.mha"))
        volume = prepare_scan(tmp_path / "changed.mha").volume
        assert np.corrcoef(volume.ravel(), plain.ravel())[0, 1] > 0.995
        assert volume[0, 0, 0] == 0


def test_no_background_is_noted_without_the_files_name(tmp_path, scans):
    image = sitk.ReadImage(str(scans[0]["image"]))
    middle = tuple(slice(n // 2 - 9, n // 2 + 1) for n in image.GetSize())
    sitk.WriteImage(image[middle], str(tmp_path / "secret.nii.gz"))
    note = prepare_scan(tmp_path / "secret.nii.gz").attributes["note"]
    assert "no background was found" in note
    assert "secret" not in note


def test_mask_places_the_box(tmp_path, scans):
    labels = sitk.ReadImage(str(scans[0]["labels"]))
    sitk.WriteImage(sitk.Cast(labels == 7, sitk.sitkUInt8), str(tmp_path / "mask.mha"))
    whole = prepare_scan(scans[0]["image"])
    part = prepare_scan(scans[0]["image"], mask=tmp_path / "mask.mha")
    extents = [np.ptp(scan.attributes["crop_box"], axis=1) for scan in (whole, part)]
    assert (extents[1] < 0.5 * extents[0]).all()


def _foreign_config(scans, folder):
    (folder / "notes.json").write_text('{"mine": 1}')
    return {"config": [folder / "notes.json"]}


def _shifted_labels(scans, folder):
    labels = sitk.ReadImage(str(scans[1]["labels"]))
    labels.SetOrigin((0, 0, 900))
    sitk.WriteImage(labels, str(folder / "shifted.nii.gz"))
    return {"labels": [scans[0]["labels"], folder / "shifted.nii.gz"]}


def _unreadable_image(scans, folder):
    (folder / "bad.nii.gz").write_bytes(b"this is no image")
    return {"images": [scans[0]["image"], folder / "bad.nii.gz"]}


def _nan_image(scans, folder):
    image = sitk.ReadImage(str(scans[1]["image"]))
    image = image / 0
    sitk.WriteImage(image, str(folder / "nan.mha"))
    return {"images": [scans[0]["image"], folder / "nan.mha"]}


def _csv(text):
    def change(scans, folder):
        (folder / "bad.csv").write_text(text)
        return {"landmarks": [scans[0]["landmarks"], folder / "bad.csv"]}

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, f: {"labels": [s[0]["labels"]]}, "2 images but 1 label map: give one for each"),
        (lambda s, f: {"ids": ["a", "a"]}, "Scan id 'a' occurs twice"),
        (lambda s, f: {"images": [s[0]["image"]] * 2}, "Scan id 'one' occurs twice"),
        (lambda s, f: {"ids": ["a", "b/c"]}, "must be a name without '/'; got 'b/c'"),
        (lambda s, f: {"atlas": ["q"]}, "The atlas 'q' is none of the scan ids"),
        (lambda s, f: {"images": [s[0]["image"], f / "gone.nii"]}, "no such file: "),
        (lambda s, f: {"shape": (8, 0, 8)}, "--shape must be three positive sizes"),
        (lambda s, f: {"config": [f / "gone" / "d.json"]}, "gone does not exist"),
        (lambda s, f: {"config": [f / "pack.h5"]}, "must be two files"),
        (lambda s, f: {"config": [s[0]["image"]]}, "is one of the inputs"),
        (lambda s, f: {"out": [s[1]["labels"]]}, "is one of the inputs"),
        (lambda s, f: {"config": [s[0]["image"].parent]}, "is a folder; expected the name"),
        (lambda s, f: {"out": [f / "a#b.h5"]}, "must not hold any of"),
        (lambda s, f: {"ids": ["a", "b[1]"]}, "A scan id must not hold any of"),
        (_foreign_config, "is not a dataset config, so it is not replaced"),
    ],
)
def test_errors_are_one_line_and_keep_the_old_pack(tmp_path, scans, capsys, change, message):
    old = '{"files": "old", "subsets": {}}'
    for name in ("pack.h5", "dataset.json"):
        (tmp_path / name).write_text(old)
    changes = change(scans, tmp_path)
    before = sorted(tmp_path.iterdir())
    assert main(arguments(scans, tmp_path, **changes)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("rcn prepare: error: ")
    assert message in lines[0]
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "pack.h5").read_text() == (tmp_path / "dataset.json").read_text() == old


BAD_SCANS = [
    (_shifted_labels, "shifted.nii.gz lies within the image"),
    (_unreadable_image, "bad.nii.gz"),
    (_nan_image, "nan.mha is empty: no voxel is a finite number"),
    (_csv("1,2,3\n"), "bad.csv must begin with a header line naming x, y and z"),
    (_csv(""), "bad.csv must begin with a header line"),
    (_csv("x,y,z\n1,2,3\n1,b,3\n"), "bad.csv: line 3 has no three finite numbers"),
    (_csv("x,y,z\n1,2\n"), "bad.csv: line 2 has 2 columns"),
    (_csv("x,y,z\n1,2,inf\n"), "bad.csv: line 2 has no three finite numbers"),
]


@pytest.mark.parametrize(("change", "message"), BAD_SCANS)
def test_a_bad_scan_is_reported_and_left_out(tmp_path, scans, capsys, change, message):
    arrangement = arguments(scans, tmp_path, **change(scans, tmp_path))
    assert main(arrangement) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert "1 scan could not be prepared:" in printed.out
    with PackReader(tmp_path / "pack.h5") as reader:
        assert reader.ids() == ["one"]
    assert load_dataset_config(tmp_path / "dataset.json").subset("all") == ("pack/one",)
    assert not list(tmp_path.glob(".*"))


def test_strict_keeps_the_old_pack_and_what_is_finished(tmp_path, scans, capsys):
    assert main(arguments(scans, tmp_path)) == 0
    old = [(tmp_path / name).read_bytes() for name in ("pack.h5", "dataset.json")]
    changes = {**_unreadable_image(scans, tmp_path), "labels": None, "landmarks": None}
    assert main(arguments(scans, tmp_path, "--strict", **changes)) == 2
    assert "bad.nii.gz" in capsys.readouterr().err
    assert [(tmp_path / name).read_bytes() for name in ("pack.h5", "dataset.json")] == old
    sitk.WriteImage(sitk.ReadImage(str(scans[1]["image"])), str(tmp_path / "bad.nii.gz"))
    assert main(arguments(scans, tmp_path, "--strict", **changes)) == 0
    assert "1 of them was finished before" in capsys.readouterr().out


def test_an_atlas_that_fails_ends_the_run(tmp_path, scans, capsys):
    changes = _unreadable_image(scans, tmp_path)
    assert main(arguments(scans, tmp_path, atlas=["bad"], **changes)) == 2
    assert not (tmp_path / "pack.h5").exists()
    assert "bad: cannot read" in capsys.readouterr().err


def test_window_labels_and_whole_images(tmp_path, scans):
    paths = scans[0]
    scan = prepare_scan(
        paths["image"], paths["labels"], window=(0.0, 510.0), keep_labels=(7,), crop=False
    )
    assert set(np.unique(scan.segmentation)) == {0, 7}
    assert scan.volume.max() == pytest.approx(200, abs=5)  # 400 of 510
    np.testing.assert_array_equal(scan.attributes["crop_box"], [[0, 30], [0, 34], [0, 40]])


def test_orientation_of_files_that_do_not_say(tmp_path, scans):
    image = sitk.ReadImage(str(scans[0]["image"]))
    image.SetDirection(np.eye(3).ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / "plain.mha"))
    turned = prepare_scan(tmp_path / "plain.mha", orientation="RAS")
    plain = prepare_scan(tmp_path / "plain.mha")
    np.testing.assert_allclose(turned.volume.astype(float), plain.volume[:, ::-1, ::-1], atol=1)
    with pytest.raises(ValueError, match="three letters such as LPS or RAS; got 'LLS'"):
        prepare_scan(tmp_path / "plain.mha", orientation="LLS")


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_assumed_of_a_scan_is_said_by_the_command(tmp_path, scans, capsys, workers):
    """The warning also comes from a worker process, once, and not if the orientation is given."""
    for scan, name in zip(scans, ("a", "b")):
        image = sitk.ReadImage(str(scan["image"]))
        sitk.WriteImage(image, str(tmp_path / f"{name}.vtk"))
    images = {"images": [tmp_path / "a.vtk", tmp_path / "b.vtk"], "workers": [workers]}
    images.update(labels=None, landmarks=None)
    if workers == 1:
        assert main(arguments(scans, tmp_path, "--orientation", "RAS", **images)) == 0
        assert "VTK states no" not in capsys.readouterr().err
        with PackReader(tmp_path / "pack.h5") as reader:
            told = reader.read("a").volume
    assert main(arguments(scans, tmp_path, **images)) == 0
    lines = [k for k in capsys.readouterr().err.splitlines() if "VTK states no" in k]
    assert len(lines) == 2
    assert all(line.startswith("rcn prepare: warning: ") for line in lines)
    assert sorted(k.split(": VTK")[0][-5:] for k in lines) == ["a.vtk", "b.vtk"]
    if workers == 1:
        with PackReader(tmp_path / "pack.h5") as reader:
            assumed = reader.read("a").volume.astype(float)
        np.testing.assert_allclose(told, assumed[:, ::-1, ::-1], atol=1)


def test_landmarks_in_voxels(tmp_path, scans):
    image = sitk.ReadImage(str(scans[0]["image"]))
    (tmp_path / "points.csv").write_text("1,2,3\n4.5,5,6\n")
    points = read_voxel_landmarks(tmp_path / "points.csv", image)
    np.testing.assert_allclose(points[0], image.TransformIndexToPhysicalPoint((1, 2, 3)))
    (tmp_path / "points.csv").write_text("1,2\n")
    with pytest.raises(ValueError, match=r"points\.csv must hold rows of three numbers"):
        read_voxel_landmarks(tmp_path / "points.csv", image)


def test_a_file_that_changes_its_role_is_another_scan(tmp_path, scans):
    """The same two files, first as image and labels, then as image and mask."""
    assert main(arguments(scans, tmp_path)) == 0
    changes = {"labels": None, "masks": [scan["labels"] for scan in scans]}
    assert main(arguments(scans, tmp_path, **changes)) == 0
    expected = prepare_scan(scans[0]["image"], mask=scans[0]["labels"])
    with PackReader(tmp_path / "pack.h5") as reader:
        scan = reader.read("one")
    assert scan.segmentation is None
    np.testing.assert_array_equal(scan.volume, expected.volume)


def test_hashed_names_and_a_hostile_header(tmp_path, scans, capsys):
    assert main(arguments(scans, tmp_path, "--hash-ids", atlas=["two"])) == 0
    config = load_dataset_config(tmp_path / "dataset.json")
    assert config.atlas == f"pack/{content_hash(scans[1]['image'])[:12]}"
    assert main(arguments(scans, tmp_path, "--hash-ids", ids=["a", "b"])) == 2
    assert "--ids and --hash-ids do not go together" in capsys.readouterr().err
    (tmp_path / "evil.mhd").write_text("NDims = 3\nElementDataFile : ../secret.raw\n")
    images = [scans[0]["image"], tmp_path / "evil.mhd"]
    assert main(arguments(scans, tmp_path, images=images, labels=None, landmarks=None)) == 1
    assert "outside its folder" in capsys.readouterr().err


def test_config_holds_a_relative_path(tmp_path, scans):
    assert main(arguments(scans, tmp_path)) == 0
    raw = json.loads((tmp_path / "dataset.json").read_text())
    assert raw["files"]["pack"]["path"] == "pack.h5"
