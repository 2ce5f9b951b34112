"""The fields of a NIfTI header that give the file's size and the times of its frames.

They are read from the bytes, whatever the file is called and whether or not it is compressed.
"""

from __future__ import annotations

import dataclasses
import gzip
import math
import pathlib
import struct
import zlib

GZIP = b"\x1f\x8b"
_SECONDS_BITS = 0b111000  # of xyzt_units


@dataclasses.dataclass(frozen=True)
class FrameHeader:
    """Fields of a header, from `read_frame_header`.

    Args:
        version: 1 or 2, of the format.
        shape: sizes of the axes, x first; the last of more than three is not 1.
        bits: of a voxel.
        offset: of the voxels, bytes.
        step, start: of the fourth axis (pixdim[4], toffset), in the header's own unit.
        time_unit: the bits of xyzt_units that name this unit.
        compressed: whether the file is gzip's.
    """

    version: int
    shape: tuple[int, ...]
    bits: int
    offset: int
    step: float
    start: float
    time_unit: int
    compressed: bool

    def file_bytes(self) -> int:
        """Bytes that the uncompressed file must have."""
        return self.offset + math.prod(self.shape) * self.bits // 8


def read_frame_header(path: str | pathlib.Path) -> FrameHeader | None:
    """Header of a NIfTI-1 or NIfTI-2 file that holds its voxels; None of any other file.

    Args: path: any file.
    """
    path = pathlib.Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(540)
        compressed = start.startswith(GZIP)
        if compressed:
            with gzip.open(path, "rb") as file:
                start = file.read(540)
    except (OSError, EOFError, zlib.error):
        return None
    for order in "<>":
        for size, magic, form in ((348, b"n+1\0", _FORM_1), (540, b"n+2\0", _FORM_2)):
            if len(start) >= size and start[:4] == struct.pack(f"{order}i", size):
                place = 344 if size == 348 else 4
                if start[place : place + 4] == magic:
                    return _header(start, order, form, compressed)
    return None


_FORM_1 = {"dim": (40, "8h"), "bits": (72, "h"), "offset": (108, "f"), "step": (92, "f")} | (
    {"start": (136, "f"), "units": (123, "B")}
)
_FORM_2 = {"dim": (16, "8q"), "bits": (14, "h"), "offset": (168, "q"), "step": (136, "d")} | (
    {"start": (216, "d"), "units": (500, "i")}
)


def _header(start, order, form, compressed):
    fields = {
        name: struct.unpack_from(order + kind, start, place) for name, (place, kind) in form.items()
    }
    count, *sizes = fields["dim"]
    shape = tuple(sizes[: max(0, min(count, 7))])
    offset, step, begin = (
        fields[name][0] if math.isfinite(fields[name][0]) else 0
        for name in ("offset", "step", "start")
    )
    if min(shape, default=0) < 1:
        return None
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return FrameHeader(
        1 if form is _FORM_1 else 2,
        shape,
        fields["bits"][0],
        max(0, int(offset)),
        step,
        begin,
        fields["units"][0] & _SECONDS_BITS,
        compressed,
    )
