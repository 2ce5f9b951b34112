"""Which checkpoint is chosen, which parts are used, and the errors for damaged ones."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from rcn_tf.original.architecture import check_weights, infer_architecture
from rcn_tf.original.checkpoint import (
    find_checkpoint,
    listed,
    read_shapes,
    read_values,
    split_names,
)
from tests.original.checkpoints import small_weights, write_checkpoint

STEPS = (1000, 3000, 20000)


@pytest.fixture(scope="module")
def weights():
    return small_weights("voxelmorph", 2)


@pytest.fixture(scope="module")
def folder(weights, tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("run") / "Nov23-1120", weights, STEPS)


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "step", "note"),
    [
        ("", 20000, None),
        (":3000", 3000, None),
        (":0", 1000, "there is no step 0: the nearest, 1000, was taken"),
        (":2000", 3000, "there is no step 2000: the nearest, 3000, was taken"),
        (":99999999", 20000, "the nearest, 20000"),
        ("/model-1000", 1000, None),
        ("/model-1000.index", 1000, None),
        ("/model-1000.data-00000-of-00001", 1000, None),
    ],
)
def test_the_step_that_is_taken(folder, ending, step, note):
    found = find_checkpoint(f"{folder}{ending}")
    assert (found.step, found.prefix) == (step, folder / f"model-{step}")
    assert found.note is None if note is None else note in found.note


def test_another_name(copy):
    for path in copy.glob("model-1000.*"):
        path.rename(path.with_name(path.name.replace("model-1000", "best")))
    found = find_checkpoint(copy / "best")
    assert (found.step, found.prefix.name) == (None, "best")
    assert list(found.checksums()) == ["best.index", "best.data-00000-of-00001"]


def test_values_are_those_of_the_step(folder, weights):
    checkpoint = find_checkpoint(f"{folder}:3000")
    names, others = split_names(read_shapes(checkpoint))
    assert sorted(names) == sorted(weights)
    assert {what: len(group) for what, group in others.items()} == {
        "of the optimiser": 2 * len(weights) + 2,
        "of the run": 2,
    }
    values = read_values(checkpoint, names)
    for name, value in weights.items():
        np.testing.assert_array_equal(values[name], value * (3000 / 20000))


def test_names_of_everything_else():
    names = [
        "gaffdfrm/a/W",
        "gaffdfrm/a/W/Adam_3",
        "gaffdfrm/beta1_power_1",
        "gaffdfrm/is_training",
    ]
    weights, others = split_names([*names, "other/W"])
    assert weights == ["gaffdfrm/a/W"]
    assert others == {
        "of the optimiser": names[1:3],
        "of the run": names[3:],
        "of something else": ["other/W"],
    }


def test_missing_files(copy, tmp_path):
    (copy / "model-1000.index").unlink()
    with pytest.raises(FileNotFoundError, match="model-1000.index is missing"):
        find_checkpoint(copy / "model-1000")
    (copy / "model-20000.data-00000-of-00001").unlink()
    with pytest.raises(FileNotFoundError, match="model-20000.data-00000-of-00001 is missing"):
        find_checkpoint(copy)
    half = copy / "model-3000.data-00000-of-00001"
    half.rename(half.with_name("model-3000.data-00001-of-00002"))
    with pytest.raises(FileNotFoundError, match="model-3000.data-00000-of-00002 is missing"):
        find_checkpoint(f"{copy}:3000")
    for path in copy.glob("*.index"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no model-STEP.index; the .index of model-1000"):
        find_checkpoint(copy)
    for path in (tmp_path / "none", tmp_path / "none:7", copy / "model-7", tmp_path / "a" / "b"):
        with pytest.raises(FileNotFoundError, match="expected FOLDER, FOLDER:STEP or"):
            find_checkpoint(path)
    with pytest.raises(FileNotFoundError, match="holds no model-STEP.index"):
        find_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("index", lambda data: b"", "is not an index of a TensorFlow checkpoint"),
        ("index", lambda data: data[:-50], "is not an index of a"),
        (
            "index",
            lambda data: b"\x17" * 500 + data[500:],
            "is not an index of a TensorFlow checkpoint",
        ),
        ("data-00000-of-00001", lambda data: b"", "is cut short: 0 bytes, the index lists"),
        ("data-00000-of-00001", lambda data: data[:-1], "is cut short"),
    ],
)
def test_damaged_files(copy, name, change, message):
    path = copy / f"model-20000.{name}"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as raised:
        read_shapes(find_checkpoint(copy))
    assert str(path) in str(raised.value)


def test_damaged_values(copy):
    path = copy / "model-20000.data-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[: len(data) // 2] = bytes(len(data) // 2)
    path.write_bytes(data)
    checkpoint = find_checkpoint(copy)
    with pytest.raises(ValueError, match="gaffdfrm/affine_stem/conv1/W cannot be read: .*hecksum"):
        read_values(checkpoint, split_names(read_shapes(checkpoint))[0])


@pytest.mark.slow
def test_weights_that_are_not_finite(weights, tmp_path):
    bad = {**weights, "gaffdfrm/deform_stem_1/flow/b": np.float32([1, np.nan, 2])}
    checkpoint = find_checkpoint(write_checkpoint(tmp_path / "bad", bad))
    with pytest.raises(ValueError, match=r"1 weight holds NaN or infinity \(gaffdfrm/"):
        read_values(checkpoint, list(bad))


def test_architecture_of_both_networks(weights):
    shapes = {name: value.shape for name, value in weights.items()}
    found = infer_architecture(shapes, "here")
    assert (found.base, found.n_cascades, found.channels) == ("voxelmorph", 2, 2)
    assert (found.affine_channels, found.head) == (2, (1, 1, 1))
    affine = {name: shape for name, shape in shapes.items() if "affine_stem" in name}
    assert infer_architecture(affine, "here").n_cascades == 0
    vtn = {**affine, "gaffdfrm/deform_stem_0/conv1/W": (3, 3, 3, 2, 8)}
    vtn["gaffdfrm/deform_stem_0/upsamp1to0/W"] = (4, 4, 4, 3, 19)
    found = infer_architecture(vtn, "here")
    assert (found.base, found.n_cascades, found.channels) == ("vtn", 1, 8)


def test_other_variables_are_no_network_of_the_original(weights):
    shapes = {name: value.shape for name, value in weights.items()}

    def message(**changes):
        changed = {**shapes, **{f"gaffdfrm/{name}": shape for name, shape in changes.items()}}
        with pytest.raises(ValueError, match="^here") as raised:
            infer_architecture({k: v for k, v in changed.items() if v is not None}, "here")
        return str(raised.value)

    first = "affine_stem/conv1/W"
    assert "has no gaffdfrm/affine_stem/conv1/W" in message(**{first: None})
    assert "at most 64 channels; got (3, 3, 3, 2, 9999)" in message(**{first: (3, 3, 3, 2, 9999)})
    assert "the kernel of a 3D convolution" in message(**{"deform_stem_0/conv1/W": (5,)})
    assert "the dense stages 0, 1, 3; expected" in message(**{"deform_stem_3/conv1/W": (1,)})
    assert "is not upsamp1to0 (vtn) or flow" in message(**{"deform_stem_0/flow/W": None})
    with pytest.raises(ValueError, match="here is not a checkpoint of the original"):
        infer_architecture({}, "here")


def test_every_difference_is_counted():
    wanted = dict.fromkeys("abcdef", (3, 2))
    found = dict.fromkeys("bxyz", ((3, 2), tf.float32))
    found["c"], found["d"] = ((2, 3), tf.float32), ((3, 2), tf.int32)
    check_weights({"b": (3, 2)}, {"b": ((3, 2), tf.float32)}, "here")
    with pytest.raises(ValueError, match="does not fit its network") as raised:
        check_weights(wanted, found, "here")
    for part in (
        "3 missing (a, e, f)",
        "3 unknown (x, y, z)",
        "2 of another shape or type (c: (2, 3) float32, not (3, 2), d: (3, 2) int32, not (3, 2))",
    ):
        assert part in str(raised.value)
    assert listed(list("abcde")) == "a, b, c, and 2 more"
