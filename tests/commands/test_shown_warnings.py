"""A command's warnings are single lines on standard error, each once and at the right time."""

import warnings

import pytest

from rcn_tf.commands.shown_warnings import noting_warnings, printing_warnings
from rcn_tf.errors import InputWarning, warn


@pytest.mark.parametrize("last", [True, False])
def test_one_line_once_and_in_its_place(last, capsys):
    with printing_warnings("register", last=last):
        for _ in range(2):
            warn("scan.img does not say its orientation;\nRAS is assumed")
        between = capsys.readouterr().err
    line = "rcn register: warning: scan.img does not say its orientation; RAS is assumed\n"
    assert (between, capsys.readouterr().err) == (("", line) if last else (line, ""))


def test_warnings_are_shown_though_the_command_fails(capsys):
    with pytest.raises(ValueError, match="too bad"), printing_warnings("apply", last=True):
        warn("odd")
        raise ValueError("too bad")
    assert capsys.readouterr().err == "rcn apply: warning: odd\n"


def test_noted_warnings_are_shown_too(capsys):
    with printing_warnings("register", last=True), noting_warnings() as noted:
        warn("odd")
        warn("odd")
        warn("strange")
    assert noted == ["odd", "strange"]
    assert capsys.readouterr().err.count("warning") == 2


def test_earlier_filters_come_back():
    with printing_warnings("info", last=False):
        pass
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        warn("heard")
    assert [(one.category, str(one.message)) for one in found] == [(InputWarning, "heard")]
