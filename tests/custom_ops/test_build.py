"""Building and loading the native op: the cache, and what happens if that fails."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from custom_ops import build, loader, selfcheck, toolchain
from rcn_tf.commands.main import main

ROOT = Path(__file__).parents[2]
SOURCES = len(toolchain.KERNELS + toolchain.GLUE)

# Replaces a compiler: logs each call and writes the requested file after a delay.
COMPILER = """#!/bin/sh
if [ "$1" = --version ]; then echo "fakec++ 1.0"; exit 0; fi
echo call >> {log}
sleep 0.2
for word in "$@"; do last="$word"; done
echo compiled > "$last"
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RCN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A fake compiler and its log."""
    log = tmp_path / "log"
    log.touch()
    install(tmp_path / "fakec++", COMPILER.format(log=log))
    monkeypatch.setenv("CXX", str(tmp_path / "fakec++"))
    return log


def install(path, script):
    path.write_text(script)
    path.chmod(0o755)


def calls(log):
    return len(log.read_text().split())


def run(code, **environment):
    """(stdout, stderr, exit code) of Python code that runs in a separate process."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        capture_output=True,
        text=True,
    )
    return done.stdout, done.stderr, done.returncode


def test_second_build_comes_from_the_cache(cache, fake):
    first = build.build(toolchain.plan(cuda=False))
    once = calls(fake)
    assert once == SOURCES + 1  # and the link
    assert first.parent.parent == cache / "ops"
    assert build.build(toolchain.plan(cuda=False)) == first
    assert calls(fake) == once


def test_whatever_decides_the_result_is_part_of_the_key(cache, fake):
    plan = toolchain.plan(cuda=False)
    changes = {
        "compiler_version": "fakec++ 2.0",
        "tensorflow": "2.99",
        "compile_flags": ("-DOTHER",),
        "link_flags": ("-lother",),
        "processor": "other",
        "sources": "other",
        "nvcc": "/nvcc",
        "gpus": (75,),
    }
    names = {dataclasses.replace(plan, **{key: value}).name for key, value in changes.items()}
    assert len(names | {plan.name}) == len(changes) + 1


@pytest.mark.parametrize("damage", ["truncated", "record", "missing"])
def test_damaged_cache_is_built_again(cache, fake, damage):
    library = build.build(toolchain.plan(cuda=False))
    good = library.read_bytes()
    if damage == "truncated":
        library.write_bytes(good[:3])
    elif damage == "record":
        (library.parent / "build.json").write_text("{")
    else:
        library.unlink()
    before = calls(fake)
    assert build.build(toolchain.plan(cuda=False)).read_bytes() == good
    assert calls(fake) == 2 * before


@pytest.mark.slow
def test_two_processes_build_once(cache, fake):
    code = "from custom_ops import build, toolchain; build.build(toolchain.plan(cuda=False))"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    assert calls(fake) == SOURCES + 1
    assert build.is_intact(next(p for p in (cache / "ops").iterdir() if p.is_dir()))


def test_failed_build_leaves_nothing_and_names_the_first_error(cache, tmp_path, monkeypatch):
    script = '#!/bin/sh\n[ "$1" = --version ] && echo bad 1 && exit 0\n'
    install(
        tmp_path / "badc++", script + "echo 'a.h:1: note: x'; echo 'a.h:2: error: boom'; exit 1"
    )
    monkeypatch.setenv("CXX", str(tmp_path / "badc++"))
    with pytest.raises(toolchain.BuildError, match=r"badc\+\+ failed: a.h:2: error: boom"):
        build.build(toolchain.plan(cuda=False))
    assert [p.suffix for p in (cache / "ops").iterdir()] == [".lock"]


def test_cache_that_cannot_be_written_is_named(fake, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RCN_CACHE", str(tmp_path / "file"))
    with pytest.raises(toolchain.BuildError, match="cannot be written"):
        build.build(toolchain.plan(cuda=False))


WARP = """
import warnings, numpy as np, custom_ops
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(3):
        custom_ops.warp(np.zeros((1, 2, 2, 2, 1), "f4"), np.zeros((1, 2, 2, 2, 3), "f4"))
print(custom_ops.resolve_backend())
print([str(w.message) for w in caught if "native warp" in str(w.message)])
"""


def test_without_a_compiler_python_runs_after_one_warning(cache, tmp_path):
    out, err, code = run(WARP, PATH=str(tmp_path), CXX="", CUDA_HOME="")
    assert code == 0, err
    assert out.startswith("python\n")
    assert out.count("no C++ compiler was found") == 1


@pytest.mark.slow
def test_library_that_does_not_load_is_built_again_then_given_up(cache, fake):
    out, err, code = run(WARP)
    assert code == 0, err
    assert out.startswith("python")
    assert "does not load" in out
    assert calls(fake) == 2 * (SOURCES + 1)  # built twice, not once per call


def test_ops_that_compute_something_else_are_not_trusted(native):
    class LosesAGradient:
        rcn_warp = staticmethod(native.rcn_warp)
        rcn_warp_flow_grad = staticmethod(native.rcn_warp_flow_grad)

        @staticmethod
        def rcn_warp_image_grad(shape, flow, upstream):
            return 0 * native.rcn_warp_image_grad(shape, flow, upstream)

    selfcheck.check(native)
    with pytest.raises(toolchain.BuildError, match="gradient by the image .* is wrong"):
        selfcheck.check(LosesAGradient)


def test_a_build_is_checked_once(native, monkeypatch, tmp_path):
    """A check takes more than a second, at every start of a command."""
    checks, library = [], tmp_path / build.LIBRARY
    monkeypatch.setattr(loader, "_loaded", lambda plan: (native, library))
    monkeypatch.setattr(selfcheck, "check", checks.append)
    for _ in range(2):
        assert loader._load.__wrapped__()[0] is native
    assert checks == [native]

    def wrong(module):
        raise toolchain.BuildError("the warp is wrong")

    library = tmp_path / "other" / build.LIBRARY  # which `_loaded` returns from here on
    library.parent.mkdir()
    monkeypatch.setattr(selfcheck, "check", wrong)
    for _ in range(2):  # a library that fails is never taken for a checked one
        assert loader._load.__wrapped__()[0] is None


@pytest.mark.slow
def test_demanding_the_native_op_says_why_it_is_not_there(cache, tmp_path):
    code = "import custom_ops; custom_ops.resolve_backend()"
    _, err, _ = run(code, PATH=str(tmp_path), CXX="", RCN_OPS="native")
    assert "ImportError: RCN_OPS asks for the native warp op: no C++ compiler was found" in err


@pytest.mark.slow
def test_python_backend_builds_nothing(cache, fake):
    out, err, code = run(WARP, RCN_OPS="python")
    assert code == 0, err
    assert out == "python\n[]\n"
    assert calls(fake) == 0


def test_command_builds_and_finds_what_it_built(cache, fake, capsys, caplog):
    assert main(["build-ops", "--no-cuda"]) == 0
    printed = capsys.readouterr().out
    assert "native warp op for TensorFlow" in printed
    assert "Building" in caplog.text
    assert str(cache) in printed
    caplog.clear()
    assert main(["build-ops", "--no-cuda"]) == 0
    assert "Building" not in caplog.text


@pytest.mark.slow
def test_command_shows_the_compilers_on_demand(cache, fake):
    words = ["build-ops", "--no-cuda", "--verbose"]
    _, err, code = run(f"from rcn_tf.commands.main import main; raise SystemExit(main({words}))")
    assert code == 0
    assert "Building" in err
    assert err.count("fakec++ ") == SOURCES + 1


def test_command_fails_in_one_line(cache, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NVCC", "/nowhere/nvcc")
    assert main(["build-ops", "--cuda"]) == 2
    assert "no nvcc was found" in capsys.readouterr().err
    monkeypatch.delenv("NVCC")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "")
    assert main(["build-ops"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == (
        "rcn build-ops: error: the native warp op cannot be built: no C++ compiler was found "
        "(g++, clang++ or the one that CXX names)"
    )
    assert "Traceback" not in err


NVCC = """#!/bin/sh
case "$1" in
--version) echo "Cuda compilation tools, release 12.4, V12.4.1";;
--list-gpu-code) printf 'sm_50\\nsm_75\\nsm_90\\nsm_86\\nsm_90a\\nsm_120\\n';;
esac
"""


def test_cuda_commands_cover_the_gpus_that_nvcc_knows(cache, fake, tmp_path, monkeypatch):
    install(tmp_path / "nvcc", NVCC)
    monkeypatch.setenv("NVCC", str(tmp_path / "nvcc"))
    plan = toolchain.plan(cuda=True)
    assert plan.gpus == (toolchain.visible_gpus() or (75, 86, 90, 120))
    commands, objects = plan.compile_commands(tmp_path)
    assert len(commands) == len(objects) == SOURCES + len(toolchain.CUDA)
    for source, command in zip(toolchain.CUDA, commands[-len(toolchain.CUDA) :]):
        kernels = " ".join(command)
        assert source in kernels
        for gpu in plan.gpus:
            assert f"arch=compute_{gpu},code=sm_{gpu}" in kernels
        assert f"code=compute_{plan.gpus[-1]}" in kernels
    assert all("-DRCN_CUDA" in c for c in commands if "op_kernels.cc" in " ".join(c))
