"""Options given twice, in every command."""

import argparse

import pytest

from eval import command, prealign
from rcn_tf.commands.main import main
from rcn_tf.commands.parser import CommandParser


def parser():
    made = CommandParser(prog="tool")
    made.add_argument("-o", "--out")
    made.add_argument("--many", nargs="+")
    made.add_argument("--set", action="append", default=[])
    made.add_argument("--force", action="store_true")
    made.add_argument("--native", action=argparse.BooleanOptionalAction)
    made.add_mutually_exclusive_group().add_argument("--one")
    made.add_argument("rest", nargs="*")
    return made


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--out", "a", "--out", "a"], "--out"),
        (["--out", "a", "--ou", "b"], "--out"),
        (["--out=a", "-o", "b"], "--out"),
        (["--one", "a", "--one", "b"], "--one"),
        (["--many", "1", "2", "--many", "3"], "give all its values after one"),
        (["--native", "--no-native"], "--native"),
    ],
)
def test_given_twice_is_one_line(capsys, arguments, named):
    with pytest.raises(SystemExit, match="2"):
        parser().parse_args(arguments)
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert named in error and "given twice" in error and "tool --help" in error


def test_what_may_be_repeated():
    made = parser()
    arguments = ["x", "--set", "a", "--set", "b", "--force", "--force", "--out", "c", "--native"]
    for _ in range(2):  # a parser may be used twice
        args = made.parse_args(arguments)
        assert (args.set, args.force, args.out, args.native) == (["a", "b"], True, "c", True)
        assert args.rest == ["x"]


COMMANDS = [
    (main, "register --fixed a --fixed b --moving c --out d"),
    (main, "apply --transform a --image b --image c --out d"),
    (main, "train x.yaml --out a --out b"),
    (main, "evaluate m --data a --data b"),
    (main, "export m --out a --out b"),
    (main, "prepare images --images a --images b --shape 4 4 4 --out c --config d"),
    (main, "prepare images --images a --shape 4 4 4 --shape 5 5 5 --out c --config d"),
    (main, "prepare lpba --data a --data b --out c"),
    (main, "build-ops --cuda --no-cuda"),
    (command.main, "table1 --out a --out b"),
    (prealign.main, "c.json --reference a/b --out c --out d"),
]


@pytest.mark.parametrize(
    ("run", "arguments"), COMMANDS, ids=lambda value: value if isinstance(value, str) else "run"
)
def test_every_command_refuses(capsys, run, arguments):
    with pytest.raises(SystemExit, match="2"):
        run(arguments.split())
    error = capsys.readouterr().err
    assert "given twice" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("apply --transfrom a", "there is no option --transfrom; did you mean --transform?"),
        ("apply --image a", "the following arguments are required: --transform"),
        ("apply --transform a --imgae b", "there is no option --imgae; did you mean --image?"),
        ("apply --transform a --imgae=b", "there is no option --imgae; did you mean --image?"),
        ("register --fixed a --moving b --out c --qqq", "there is no option --qqq; see rcn"),
        ("apply --transform a --system LPS surplus", "unexpected argument 'surplus'"),
        ("apply --transform a --system XYZ", "invalid choice: 'XYZ'"),
        ("prepare lpba --data a --out b --mode c", "there is no option --mode"),
        ("prepare nothing", "rcn prepare: error: "),
        ("regster", "rcn: error: "),
        ("", "rcn: error: the following arguments are required: COMMAND"),
    ],
)
def test_mistyped_options_are_one_line(capsys, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        main(arguments.split())
    error = capsys.readouterr().err
    assert message in error and "--help" in error
    assert len(error.splitlines()) == 1


def test_settings_and_scans_given_twice(tmp_path, capsys):
    settings = ["--set", "steps=1", "--set", "steps=2"]
    with pytest.raises(SystemExit, match="2"):
        main(["train", "vtn_3_brain", "--out", str(tmp_path / "run"), *settings])
    assert "error: --set steps is given twice" in capsys.readouterr().err
    twice = ["--mask", "S1", "a.nii", "--mask", "S1", "b.nii"]
    command = ["prepare", "lpba", "--data", str(tmp_path), "--out", str(tmp_path), *twice]
    assert main(command) == 2
    assert "--mask is given twice for the scan S1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["regster"], "there is no command 'regster'; did you mean register?"),
        (["prepare", "image"], "there is no command 'image'; did you mean images?"),
        (["xyz"], "there is no command 'xyz'; there are prepare, train"),
    ],
)
def test_mistyped_commands_are_one_line(capsys, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
