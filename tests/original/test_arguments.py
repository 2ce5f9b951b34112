"""`args.json` and the Python text in it, which is never executed."""

import json

import pytest

from rcn_tf.original.arguments import parse_keywords, read_arguments
from tests.original.checkpoints import ARGS


def written(folder, **changes):
    (folder / "args.json").write_text(json.dumps({**ARGS, **changes}))
    return folder


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        (
            "det_factor=0.2, augmentation='identity', warp_padding=True",
            {"det_factor": 0.2, "augmentation": "identity", "warp_padding": True},
        ),
        ("losses={'a': [1, -2.5e-3]},\n  x=None,", {"losses": {"a": [1, -2.5e-3]}, "x": None}),
        (r"root='C:\data'", {"root": "C:\\data"}),
    ],
)
def test_keywords_with_literal_values(text, values):
    assert parse_keywords(text) == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x=__import__('os').system('touch hacked')", "'x' a literal value at character 3 of"),
        ("a=1, b=open('/etc/passwd')", "'b' a literal value at character 8 of"),
        ("a=some_name", "'a' a literal value"),
        ("a=[i for i in (1,)]", "'a' a literal value"),
        ("a=lambda: 1", "'a' a literal value"),
        ("a=2**99", "'a' a literal value"),
        ("a=f'{1}'", "'a' a literal value"),
        ("a={[]: 1}", "'a' a literal value"),
        ("a=1, a=2", "has 'a' twice at character 8"),
        ("**{'a': 1}", r"may not have \*\*"),
        ("[('a', 1)]", "has a value without a name at character 1"),
        ("a=1), dict(b=2", "goes on after its bracket is closed"),
        ("a=1)(b=2", "goes on after its bracket is closed"),
        ("a=1).update(b=2", "goes on after its bracket is closed"),
        ("a=1; import os", "is not 'name=value, ...' .* at character 4 of"),
        ("class=3", "is not 'name=value, ...'"),
        ("a=1 #", "is not 'name=value, ...'"),
        ("a=\0", "at character|cannot be parsed"),
        ("a=" + "[" * 900 + "]" * 900, "is not 'name=value, ...'|cannot be parsed|literal value"),
        ("a=" + "-" * 1900 + "1", "cannot be parsed|literal value"),
        ("a" * 2001, "more than 2000 characters"),
    ],
)
def test_other_text_is_refused_and_not_run(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message) as raised:
        parse_keywords(text, "`net_args`")
    assert str(raised.value).startswith("`net_args` ")
    assert len(str(raised.value)) < 250
    assert not list(tmp_path.iterdir())


def test_what_the_original_writes(tmp_path):
    found = read_arguments(written(tmp_path, base_network="VoxelMorph", n_cascades=3, rep=2))
    assert (found.base, found.n_cascades, found.n_repeats) == ("voxelmorph", 3, 2)
    assert found.dataset == "datasets/liver.json"
    assert found.raw["round"] == 20000
    assert found.notes == ()


def test_net_args_go_before_the_options(tmp_path):
    text = "base_network='VoxelMorph', n_cascades=4, rep=5, det_factor=1, summary=True, odd=[]"
    found = read_arguments(written(tmp_path, net_args=text, data_args="mode='x'"))
    assert (found.base, found.n_cascades, found.n_repeats) == ("voxelmorph", 4, 5)
    training, unknown, data = found.notes
    assert training.endswith("training only: det_factor, summary")
    assert unknown.endswith("too: odd")
    assert data.endswith("are not used: mode")


def test_no_file_and_sparse_files(tmp_path):
    found = read_arguments(tmp_path)
    assert (found.base, found.n_cascades, found.n_repeats, found.raw) == (None, None, 1, None)
    assert "no args.json" in found.notes[0]
    (tmp_path / "args.json").write_text('{"rep": null, "net_args": null}')
    found = read_arguments(tmp_path)
    assert (found.base, found.n_cascades, found.n_repeats) == (None, None, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_network": "UNet"}, "`base_network` must be VTN or VoxelMorph; got 'UNet'"),
        ({"base_network": 3}, "`base_network` must be a string; got 3"),
        ({"net_args": {"a": 1}}, "`net_args` must be a string"),
        ({"data_args": "x=open('y')"}, "`data_args` must give 'x' a literal value"),
        ({"n_cascades": "3"}, "`n_cascades` must be a whole number from 0; got '3'"),
        ({"n_cascades": -1}, "`n_cascades` must be a whole number from 0"),
        ({"rep": True}, "`rep` must be a whole number from 1; got True"),
        ({"net_args": "rep=0"}, "`rep` must be a whole number from 1; got 0"),
        ({"net_args": "warp_padding=True"}, "saw zeros outside the moving image"),
        ({"dataset": ["a"]}, "`dataset` must be a string"),
        ({"name": "x" * 200_000}, "more than 100000 bytes"),
    ],
)
def test_wrong_values(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message) as raised:
        read_arguments(written(tmp_path, **changes))
    assert "args.json" in str(raised.value)


@pytest.mark.parametrize("content", ["", "[1]", '{"rep": ', '{"rep": ' + "9" * 5000 + "}"])
def test_damaged_files(content, tmp_path):
    (tmp_path / "args.json").write_text(content)
    with pytest.raises(ValueError, match="args.json"):
        read_arguments(tmp_path)
