"""Skull stripping by external tools that the user has installed.

Nothing is stripped unless asked for: `--strip auto` takes the first of these that is found and
says which, a name insists on it. The tool's mask is used, not its image, so that geometry and
intensities stay the scan's own.

- synthstrip: `mri_synthstrip` of FreeSurfer 7.3 or later (Hoopes et al., NeuroImage 260, 2022)
- hd-bet: `hd-bet` (Isensee et al., Human Brain Mapping 40, 2019)
- watershed: `mri_watershed` of FreeSurfer, its older method, as in the RCN paper
"""

from __future__ import annotations

import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
from typing import Any

import SimpleITK as sitk

from rcn_tf.volumes.formats.images import read_image
from rcn_tf.volumes.same_space import labels_on

TIMEOUT = 1800
"""Seconds after which a tool is given up."""

_TOOLS = {  # name: (program, arguments; {image} in, {mask} or {brain} out)
    "synthstrip": ("mri_synthstrip", ("-i", "{image}", "-m", "{mask}")),
    "hd-bet": ("hd-bet", ("-i", "{image}", "-o", "{brain}", "--save_bet_mask", "-device", "cpu")),
    "watershed": ("mri_watershed", ("{image}", "{brain}")),
}
TOOLS = tuple(_TOOLS)


def find_tool(wanted: str = "auto") -> str:
    """Name of an installed tool.

    Args: wanted: one of TOOLS, or "auto" for the first that is installed.
    Raises: ValueError: unknown name. FileNotFoundError: it (or any) is not installed.
    """
    if wanted != "auto" and wanted not in _TOOLS:
        raise ValueError(f"unknown stripping tool {wanted!r}; known: auto, {', '.join(TOOLS)}")
    names = TOOLS if wanted == "auto" else (wanted,)
    for name in names:
        if shutil.which(_TOOLS[name][0]):
            return name
    programs = ", ".join(_TOOLS[name][0] for name in names)
    raise FileNotFoundError(f"no skull-stripping tool found on the PATH (looked for {programs})")


def brain_mask(path: Any, image: sitk.Image, tool: str) -> sitk.Image:
    """Mask of the brain on the grid of the image, non-zero inside.

    Args: path: the file that `image` was read from (named in errors). tool: one of TOOLS.
    Returns: SimpleITK.Image, uint8.
    Raises: ValueError: the tool failed; the end of its output is quoted.
    """
    program, arguments = _TOOLS[tool]
    with tempfile.TemporaryDirectory() as folder:
        files = {
            "image": f"{folder}/image.nii.gz",
            "mask": f"{folder}/brain_mask.nii.gz",
            "brain": f"{folder}/brain.nii.gz",
        }
        # Converted, so that the tool sees one format, and not the patient's name in a path.
        sitk.WriteImage(image, files["image"])
        command = [program, *(argument.format(**files) for argument in arguments)]
        try:
            code, words = _run(command)
        except subprocess.TimeoutExpired as error:
            raise ValueError(f"{program} on {path}: no result after {TIMEOUT} s") from error
        result = next((f for f in _results(folder) if f.is_file()), None)
        if code or result is None:
            raise ValueError(f"{program} failed on {path}: {words}")
        stripped = read_image(result)
    return labels_on(image, stripped != 0, f"the result of {program} on {path}")


def _run(command):
    """Runs a tool, which ends with this process. Returns: exit code, end of its output."""
    ending = signal.getsignal(signal.SIGTERM)
    main = threading.current_thread() is threading.main_thread()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as tool:
        try:
            if main:
                signal.signal(signal.SIGTERM, _raise_exit)
            output, _ = tool.communicate(timeout=TIMEOUT)
        finally:
            tool.kill()
            if main:
                signal.signal(signal.SIGTERM, ending)
    lines = output.strip().splitlines() or ["no message"]
    return tool.returncode, lines[-1]


def _raise_exit(_signal, _frame):
    raise SystemExit(143)


def _results(folder):
    """Where the tools leave a mask, or failing that the brain; HD-BET's versions differ."""
    names = ("brain_mask.nii.gz", "brain_bet.nii.gz", "brain.nii.gz")
    return [pathlib.Path(folder) / name for name in names]
