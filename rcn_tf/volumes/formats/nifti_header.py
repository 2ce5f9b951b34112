"""What a NIfTI-1, NIfTI-2 or Analyze 7.5 header states about the geometry, read from its bytes.

ITK's reader decides without a warning which of a header's two matrices it uses. A header holds:

- **sform**: three rows of a matrix, index to RAS, in the header's unit; used if its code is not 0.
- **qform**: a quaternion, an offset and the voxel sizes; used if its code is not 0.
- **Analyze 7.5**, the same 348 bytes without NIfTI's mark at their end, has neither: only a byte
  `orient` that hardly any program fills in, and SPM's `originator`, the voxel at (0, 0, 0).

Reference: the NIfTI-1.1 and NIfTI-2 standards (nifti.nimh.nih.gov), "orientation and location".
"""

from __future__ import annotations

import dataclasses
import gzip
import pathlib
import struct
import zlib

import numpy as np

from rcn_tf.volumes.formats.detached_headers import companions

_SIZES = {348: 1, 540: 2}  # bytes of the header, which are its first number: version
_MARKS = (b"n+1\0", b"ni1\0", b"n+2\0", b"ni2\0")
_MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}  # of xyzt_units' lowest three bits
_SINGLE = 1.2e-7  # two units in the last place of a quaternion's number near 1


def _unstated():
    """Default of numbers that an Analyze header does not have: an empty array."""
    return dataclasses.field(default_factory=lambda: np.zeros(0))


@dataclasses.dataclass(frozen=True, eq=False)
class NiftiHeader:
    """The fields that place the voxels, as they are stored.

    size: (x, y, z). pixdim: [4], qfac and the voxel sizes. unit: mm per unit of the header, or
    None if it states none (then mm are meant). qform_code, sform_code: 0 if that matrix
    is not used; both are 0 in Analyze. quaternion: (b, c, d). offset: [3]. sform: [3, 4].
    is_analyze: whether it is Analyze, not NIfTI. orient: Analyze's byte. originator: (x, y, z),
    voxels from 1; zeros if there is none. Numbers that are not finite are NaN.
    """

    size: tuple[int, ...]
    pixdim: np.ndarray
    unit: float | None = None
    qform_code: int = 0
    sform_code: int = 0
    quaternion: np.ndarray = _unstated()
    offset: np.ndarray = _unstated()
    sform: np.ndarray = _unstated()
    is_analyze: bool = False
    orient: int = 0
    originator: tuple[int, ...] = (0, 0, 0)

    def sform_affine(self) -> np.ndarray:
        """[4, 4] float64: index (x, y, z, 1) to point, RAS, mm."""
        return _scaled(np.concatenate([self.sform, [[0, 0, 0, 1]]]), self.unit)

    def qform_affine(self) -> np.ndarray:
        """[4, 4] float64: index (x, y, z, 1) to point, RAS, mm; ignores the signs of sizes."""
        affine = np.eye(4)
        sizes = np.abs(self.pixdim[1:]) * [1, 1, -1 if self.pixdim[0] < 0 else 1]
        affine[:3, :3] = _rotation(*self.unit_quaternion()) * sizes
        affine[:3, 3] = self.offset
        return _scaled(affine, self.unit)

    def unit_quaternion(self) -> tuple[float, float, float, float]:
        """(a, b, c, d) of length 1, even if rounding made (b, c, d) longer."""
        vector = self.quaternion
        rest = 1 - vector @ vector
        if rest < 1e-7:
            return (0.0, *(vector / np.linalg.norm(vector)))
        return (float(np.sqrt(rest)), *vector)

    def qform_error(self) -> float:
        """Angle in radians by which single precision may have turned the qform.

        a = sqrt(1 - b^2 - c^2 - d^2) is inaccurate near 0, where the rotation is by 180 degrees, as
        in every image that is stored in LPS order.
        """
        a = self.unit_quaternion()[0]
        return 2 * min(np.sqrt(_SINGLE), _SINGLE / max(a, _SINGLE))


def read_header(path: str | pathlib.Path) -> NiftiHeader | None:
    """Reads the header of a NIfTI or Analyze file.

    Args: path: .nii, .hdr or .img, compressed or not, under any name.
    Returns: NiftiHeader, or None for a file of another format.
    """
    content = _start(_file_with_header(pathlib.Path(path)))
    if len(content) < 348:
        return None
    for order in "<>":
        version = _SIZES.get(struct.unpack_from(order + "i", content)[0])
        if version == 1:
            return _version_1(content, order)
        if version == 2 and len(content) >= 540:
            return _version_2(content, order)
    return None


def _file_with_header(path):
    if ".img" in path.name.lower():
        others = companions(path)
        return next((other for other in others if ".hdr" in other.name.lower()), path)
    return path


def _start(path):
    """The first bytes of a file, unpacked where it is compressed."""
    with path.open("rb") as file:
        content = file.read(540)
        if content[:2] != b"\x1f\x8b":
            return content
        file.seek(0)
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                return unpacked.read(540)
        except (OSError, EOFError, zlib.error):
            return b""


def _version_1(content, order):
    def field(offset, layout):
        return struct.unpack_from(order + layout, content, offset)

    common = {"size": field(42, "3h"), "pixdim": _numbers(field(76, "4f"))}
    if content[344:348] not in _MARKS:
        originator, orient = field(253, "3h"), content[252]
        return NiftiHeader(**common, is_analyze=True, orient=orient, originator=originator)
    return NiftiHeader(
        **common,
        unit=_MILLIMETRES.get(content[123] & 7),
        qform_code=max(0, field(252, "h")[0]),
        sform_code=max(0, field(254, "h")[0]),
        quaternion=_numbers(field(256, "3f")),
        offset=_numbers(field(268, "3f")),
        sform=_numbers(field(280, "12f")).reshape(3, 4),
    )


def _version_2(content, order):
    def field(offset, layout):
        return struct.unpack_from(order + layout, content, offset)

    return NiftiHeader(
        size=field(24, "3q"),
        pixdim=_numbers(field(104, "4d")),
        unit=_MILLIMETRES.get(field(500, "i")[0] & 7),
        qform_code=max(0, field(344, "i")[0]),
        sform_code=max(0, field(348, "i")[0]),
        quaternion=_numbers(field(352, "3d")),
        offset=_numbers(field(376, "3d")),
        sform=_numbers(field(400, "12d")).reshape(3, 4),
    )


def _numbers(values):
    """float64 array; what is not finite is NaN."""
    array = np.array(values, np.float64)
    return np.where(np.isfinite(array), array, np.nan)


def _rotation(a, b, c, d):
    """[3, 3] rotation matrix of a quaternion of length 1."""
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )


def _scaled(affine, unit):
    return np.diag([unit or 1.0] * 3 + [1.0]) @ affine
