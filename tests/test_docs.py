"""The documentation builds, and what it tells to run does run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from eval.command import make_parser as eval_parser
from rcn_tf.commands.main import main
from rcn_tf.commands.main import make_parser as rcn_parser

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


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PARSERS = {"rcn": rcn_parser, "python -m rcn_tf": rcn_parser, "python -m eval": eval_parser}
TESTED = {  # where each command is run with real files; pages show it with a user's own
    "prepare": "commands/test_prepare.py",
    "train": "training/test_loop.py",
    "import-original": "commands/test_import_original.py",
    "evaluate": "commands/test_evaluate.py",
    "register": "commands/test_register.py",
    "apply": "commands/test_apply.py",
    "export": "commands/test_export.py",
    "build-ops": "custom_ops/test_build.py",
    "info": "commands/test_info.py",
    "python -m eval": "eval/test_command.py",
}


def shown_commands(page):
    """(program, arguments) of each command in a page's code blocks, without placeholders."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    blocks += re.findall(r"^    .*$", text, re.MULTILINE)
    for line in "\n".join(blocks).splitlines():
        for program in PARSERS:
            words = re.match(rf"\s*{program} (.*)", line)
            if words and "..." not in line:
                yield program, shlex.split(words[1], comments=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_is_one(page, capsys):
    """Its options exist and fit together; what it does is tested where TESTED says."""
    for program, arguments in shown_commands(page):
        try:
            PARSERS[program]().parse_args(arguments)
        except SystemExit as ended:
            assert ended.code == 0, f"{program} {' '.join(arguments)}: {capsys.readouterr().err}"
        command = program if program == "python -m eval" else arguments[0]
        if not command.startswith("-"):
            assert (ROOT / "tests" / TESTED[command]).is_file()


@pytest.mark.slow
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
