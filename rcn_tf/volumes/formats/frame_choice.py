"""The choice of one frame of a file with several (a time series, diffusion directions)."""

from __future__ import annotations

import pathlib


def check_frame(frame: int | None, count: int, path: str | pathlib.Path) -> None:
    """Checks the choice of a frame.

    Args: frame: number from 0, or None where none was chosen; count: of the file's frames.
    Raises: ValueError: there are several and none was chosen, or there is no such frame.
    """
    if frame is None and count > 1:
        raise ValueError(
            f"{path} is 4D with {count} frames; expected 3D: of the fixed and the moving image of "
            f"`rcn register`, --fixed-frame and --moving-frame choose one of 0 to {count - 1}; of "
            "anything else, save one frame as a 3D file"
        )
    if frame is not None and not 0 <= frame < count:
        frames = "a single frame, 0" if count == 1 else f"frames 0 to {count - 1}"
        raise ValueError(f"{path} has {frames}; got frame {frame}")
