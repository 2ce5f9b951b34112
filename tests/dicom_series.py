"""Series from which others are derived: CT, MR and PET of one oblique image."""

import numpy as np
import pydicom
import SimpleITK as sitk

from rcn_tf.volumes.dicom.headers import read_headers
from tests import dicom_files
from tests.dicom_files import CT, MR, pet_header

CT_IMAGE, MR_IMAGE, PET_IMAGE, SC_IMAGE = (
    f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "4", "128", "7")
)
KINDS = {
    "CT": {"changes": CT},
    "MR": {"changes": MR, "intercept": 0},
    "PT": {
        "changes": pet_header,
        "intercept": 0,
        "slopes": [1] + [0.731 + 0.1 * k for k in range(11)],
    },
}


def scan(kind="CT", dtype=np.int16):
    """An oblique image with a different step along each axis."""
    d, h, w = np.indices((12, 6, 5))
    array = 100 * d - 40 * h + 9 * w - (300 if kind == "CT" else -200)
    image = sitk.GetImageFromArray(array.astype(dtype))
    return placed(image)


def placed(image, handed=1):
    image.SetSpacing((0.7123456, 0.9, 2.5))
    image.SetOrigin((-31.0123, 12.5, 80.0))
    c, s = np.cos(0.3), np.sin(0.3)
    image.SetDirection((c, 0, s * handed, 0, 1, 0, -s, 0, c * handed))
    return image


def made(folder, kind="CT", **changes):
    """Headers of a series on disk."""
    settings = dict(KINDS[kind])
    if changes:
        base = settings["changes"]
        settings["changes"] = lambda k: {**(base(k) if callable(base) else base), **changes}
    dicom_files.write_series(folder, scan(kind), **settings)
    return read_headers(folder)


def written(folder):
    return [pydicom.dcmread(file) for file in sorted(folder.iterdir())]
