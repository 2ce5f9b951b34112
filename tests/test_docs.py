"""The documentation builds, and what it tells to run does run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rcn_tf.commands.main import main

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_blocks(page):
    """Runs a page's Python blocks in one namespace, and its `rcn` commands, in their order."""
    namespace = {}
    for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            exec(compile(text, str(page), "exec"), namespace)
            continue
        for line in text.strip().splitlines():
            program, *arguments = shlex.split(line)
            assert program == "rcn"
            assert main(arguments) == 0, line


@pytest.mark.slow
def test_tutorial(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_blocks(ROOT / "docs" / "tutorial.md")


def test_own_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    module, use = [text for _, text in BLOCK.findall((ROOT / "docs/own_network.md").read_text())]
    Path("mynetwork.py").write_text(module)
    namespace = {}
    exec(use, namespace)
    model = namespace["model"]
    assert len(model.dense) == 3
    assert type(model.dense[0]).__name__ == "MyNetwork"


def test_site_builds_without_a_warning(tmp_path):
    """Links, navigation and every module of the API pages."""
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "api" / "registration" / "index.html").read_text(encoding="utf-8")
    assert "DisplacementField" in page
    assert "Where points move to." in page


def test_readme_names_only_files_that_exist():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), f"{page.name}: {target}"
