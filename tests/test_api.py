"""The API pages cover every public name, their names exist, and calls in docstrings run."""

import ast
import doctest
import importlib
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "api").glob("*.md"))
TARGETS = {
    target: page.name
    for page in PAGES
    for target in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
}
PUBLIC = ("rcn_tf", "rcn_tf.fields", "rcn_tf.losses", "rcn_tf.metrics", "custom_ops")
WITH_CALLS = ("rcn_tf.fields", "rcn_tf.losses", "rcn_tf.metrics", "rcn_tf.models", "custom_ops")


def source_of(module):
    """Path of a module's source, or None."""
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(found.origin) if found and found.origin else None


def documented_names(module):
    """Names of a module that a page shows: definitions with a docstring."""
    names = set()
    for node in ast.parse(source_of(module).read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names |= {node.name} if ast.get_docstring(node) else set()
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_page_names_exists(target):
    module, _, name = target.rpartition(".")
    known = source_of(target) or (source_of(module) and name in documented_names(module))
    assert known, f"docs/api/{TARGETS[target]}: {target}"


@pytest.mark.parametrize("package", PUBLIC)
def test_pages_show_every_public_name(package):
    module = importlib.import_module(package)
    missing = []
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, type(importlib)):  # a module: itself, or the files of a package
            shown = any(f"{target}.".startswith(f"{package}.{name}.") for target in TARGETS)
        else:
            shown = any(
                name in documented_names(target)
                and getattr(importlib.import_module(target), name) is value
                for target in TARGETS
                if source_of(target)
            )
        missing += [] if shown else [name]
    assert not missing, f"no page of docs/api shows {missing} of {package}"


def modules_with_calls():
    """Modules of the public packages with docstrings that show a call and its result."""
    for package in WITH_CALLS:
        source = source_of(package)
        files = source.parent.glob("*.py") if source.name == "__init__.py" else [source]
        for path in sorted(files):
            if ">>> " in path.read_text(encoding="utf-8"):
                parts = path.relative_to(ROOT).with_suffix("").parts
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("module", sorted(modules_with_calls()))
def test_calls_shown_in_docstrings_give_what_is_shown(module):
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.testmod(importlib.import_module(module), optionflags=flags)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("package", ["rcn_tf", "custom_ops"])
def test_packages_say_that_they_are_typed(package):
    assert (ROOT / package / "py.typed").is_file()
