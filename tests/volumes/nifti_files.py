"""NIfTI files written byte by byte, for tests of the meaning of headers."""

import gzip
import struct

import numpy as np

VOXELS = np.arange(6 * 7 * 8, dtype=np.int16).reshape(8, 7, 6)  # z, y, x
SIZE = VOXELS.shape[::-1]


def nifti_bytes(
    *,
    sform=None,
    sform_code=1,
    qform=None,
    qform_code=1,
    pixdim=(1.0, 2.0, 3.0, 4.0),
    units=2,
    order="<",
    magic=b"n+1\0",
    frames=None,
    orient=0,
    originator=(0, 0, 0),
    voxels=True,
):
    """A NIfTI-1 file.

    Args: sform: [3, 4] or None; qform: (b, c, d, x, y, z) or None. order: "<" or ">".
    """
    header = bytearray(348)

    def put(offset, layout, *values):
        struct.pack_into(order + layout, header, offset, *values)

    dim = (3, *SIZE, 1, 1, 1, 1) if frames is None else (4, *SIZE, frames, 1, 1, 1)
    put(0, "i", 348)
    put(40, "8h", *dim)
    put(70, "2h", 4, 16)  # int16
    put(76, "8f", *pixdim, 1, 1, 1, 1)
    if magic.strip(b"\0"):
        put(108, "f", 352 if magic == b"n+1\0" else 0)
        put(123, "B", units)
        put(252, "2h", 0 if qform is None else qform_code, 0 if sform is None else sform_code)
        put(256, "6f", *(qform or [0] * 6))
        put(280, "12f", *np.ravel([[0] * 4] * 3 if sform is None else sform))
    else:
        header[252] = orient
        put(253, "3h", *originator)
    header[344:348] = magic
    content = bytes(header) + (bytes(4) if magic == b"n+1\0" else b"")
    data = b"".join((VOXELS + k).astype(order + "i2").tobytes() for k in range(frames or 1))
    return content + data if voxels else bytes(header)


def write_nifti(path, **fields):
    """Writes a .nii or .nii.gz file. Args: as for `nifti_bytes`. Returns: path."""
    content = nifti_bytes(**fields)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_pair(path, **fields):
    """Writes a .hdr and an .img file. Args: path of either. Returns: path."""
    path.with_suffix(".hdr").write_bytes(nifti_bytes(voxels=False, **fields))
    order = fields.get("order", "<")
    path.with_suffix(".img").write_bytes(VOXELS.astype(order + "i2").tobytes())
    return path
