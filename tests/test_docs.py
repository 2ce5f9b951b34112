"""The documentation builds, and the commands and code in it run."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf

from eval.command import make_parser as eval_parser
from rcn_tf.commands.main import main
from rcn_tf.commands.main import make_parser as rcn_parser
from rcn_tf.models.folder import load_model

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


@pytest.mark.nightly
def test_tutorial(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_blocks(ROOT / "docs" / "tutorial.md")


def own_network_blocks(language):
    text = (ROOT / "docs/own_network.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def planes(tmp_path, monkeypatch):
    """A folder with the page's model, its config, a pack of planes, and two of them as images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    Path("mymodel.py").write_text(own_network_blocks("python")[0])
    Path("mymodel.yaml").write_text(own_network_blocks("yaml")[0])
    shape = (33, 38)
    with h5py.File("planes.h5", "w") as pack:
        for k in range(3):
            rows, columns = np.indices(shape)
            inside = ((rows - 16) / 11) ** 2 + ((columns - 18 - k) / 13) ** 2 < 1
            plane = (inside * (120 + 80 * np.sin(rows / 4 + k))).astype("uint8")
            pack[f"p{k}/volume"] = plane
            image = sitk.GetImageFromArray(plane[None].astype("float32"))
            image.SetSpacing((1.5, 2.0, 4.0))
            sitk.WriteImage(image, f"p{k}.nii.gz")
    config = {
        "files": {"/": {"path": "planes.h5"}},
        "image_size": list(shape),
        "image_type": "brain",
        "schemes": {"1": {"all": 1.0}},
        "subsets": {"all": ["p0", "p1", "p2"]},
    }
    Path("planes.json").write_text(json.dumps(config))
    yield shape
    sys.modules.pop("mymodel", None)


@pytest.mark.nightly
def test_a_whole_model_is_trained_evaluated_registered_and_exported(planes):
    assert len(own_network_blocks("python")[0].splitlines()) <= 80
    assert main(["train", "mymodel.yaml", "--out", "run"]) == 0
    terms = json.loads(Path("run/metrics.jsonl").read_text().splitlines()[0])
    assert {"dense_1/smoothness", "dense_2/smoothness", "final/similarity"} <= set(terms)

    evaluate = ["evaluate", "run", "--data", "planes.json", "--scheme", "1"]
    assert main([*evaluate, "--option", "times=3"]) == 0
    stages = json.loads(Path("run/evaluation/all/summary.json").read_text())["stages"]
    names = [stage["stage"] for stage in stages]
    assert names == ["before", "affine", "dense_1", "dense_2", "dense_3"]

    pair = ["--fixed", "p0.nii.gz", "--moving", "p2.nii.gz"]
    register = ["register", *pair, "--model", "run", "--out", "result", "--refine", "40"]
    assert main([*register, "--start", "header", "--force"]) == 0
    warped, moving = (sitk.ReadImage(f"{name}.nii.gz") for name in ("result/warped", "p2"))
    field = sitk.ReadImage("result/displacement.nii.gz", sitk.sitkVectorFloat64)
    transform = sitk.DisplacementFieldTransform(field)
    expected = sitk.Resample(moving, warped, transform, sitk.sitkLinear, 0.0)
    arrays = [sitk.GetArrayFromImage(image) for image in (warped, expected)]
    np.testing.assert_allclose(*arrays, atol=0.5)
    metrics = json.loads(Path("result/metrics.json").read_text())
    assert metrics["correlation"]["after"] > metrics["correlation"]["before"] + 0.02

    assert main(["export", "run", "--option", "times=2"]) == 0
    saved = tf.saved_model.load("run/saved_model").signatures["register"]
    images = tf.random.stateless_uniform((2, 1, *planes, 1), [1, 2])
    found = saved(fixed=images[0], moving=images[1])
    model = load_model("run")
    expected = model(images[0], images[1], times=2)
    np.testing.assert_allclose(found["flow"], expected.flow, atol=1e-4)
    assert found["matrix"].shape == (1, 2, 2)


def test_a_stage_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    _, module, use = own_network_blocks("python")
    Path("mynetwork.py").write_text(module)
    namespace = {}
    exec(use, namespace)
    model = namespace["model"]
    assert len(model.dense) == 3
    assert type(model.dense[0]).__name__ == "MyNetwork"


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PARSERS = {"rcn": rcn_parser, "python -m rcn_tf": rcn_parser, "python -m eval": eval_parser}
TESTED = {  # tests that run each command with real files
    "prepare": "commands/test_prepare.py",
    "train": "commands/test_train.py",
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
    """Checks that the options exist and fit together; TESTED says where the effect is tested."""
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
    """Checks links, navigation and every module of the API pages."""
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
