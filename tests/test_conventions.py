"""Rules of CONTRIBUTING.md that a test can check."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = sorted(
    p for name in ("rcn_tf", "custom_ops", "data_prep", "eval") for p in (ROOT / name).rglob("*.py")
)
COMMANDS = (ROOT / "rcn_tf" / "commands", ROOT / "data_prep" / "commands")


def nodes(path, kind):
    return [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, kind)]


def is_command(path):
    commands = (
        "data_prep/brain_study.py",
        "data_prep/default_study.py",
        "eval/command.py",
        "eval/prealign.py",
    )
    return (
        any(folder in path.parents for folder in COMMANDS)
        or str(path.relative_to(ROOT)) in commands
    )


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_keep_the_rules(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "a module says what it is for"
    assert len(path.read_text().splitlines()) <= 400
    if path.name != "keras_api.py":
        modules = [alias.name for node in nodes(path, ast.Import) for alias in node.names]
        modules += [node.module or "" for node in nodes(path, ast.ImportFrom)]
        assert not {"keras", "tf_keras"} & {module.split(".")[0] for module in modules}
        assert not re.search(r"\btf\.keras", path.read_text())
    called = {n.func.id for n in nodes(path, ast.Call) if isinstance(n.func, ast.Name)}
    assert "eval" not in called
    if not is_command(path):
        assert "print" not in called
        assert not nodes(path, ast.Assert)


CPP_NAMES = r"SetFileName|sitk\.(Read|Write)(Image|Transform)|GetImageIOFromFileName|GDCMSeries"
PLAIN = r"plain_name|plain_folder|under_right_name"
OWN_NAMES = {  # they write to their own temporary folders, or callers pass plain names
    *("stripping.py", "ants.py", "elastix.py", "niftyreg.py", "frame_writer.py"),
    *("checked_files.py", "checked_geometry.py", "decoding.py", "files.py", "itk_maps.py"),
}


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: str(p.relative_to(ROOT)))
def test_names_for_itk_are_plain(path):
    """ITK ends the process if a name is not UTF-8 (`rcn_tf.files.plain_names`)."""
    text = path.read_text()
    if re.search(CPP_NAMES, text) and path.name not in OWN_NAMES:
        assert re.search(PLAIN, text), "give ITK names of rcn_tf.files.plain_names"


def test_help_needs_no_tensorflow():
    code = "import sys; from rcn_tf.commands.main import main\ntry: main(['--help'])\n"
    code += "except SystemExit: pass\nassert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_public_names_exist():
    import rcn_tf

    for name in rcn_tf.__all__:
        assert getattr(rcn_tf, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'theta'"):
        _ = rcn_tf.theta
