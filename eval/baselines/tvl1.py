"""TV-L1 optical flow (Zach et al., VR-Net's reference [3]), by scikit-image.

VR-Net's authors wrote an ADMM solver of their own with three scales, tuned on the test sets. Here
scikit-image's solver runs with its default weights on a pyramid down to 16 pixels, which has three
scales at 64 to 127 pixels. Needs `pip install '.[optical-flow]'`.
"""

from __future__ import annotations

import numpy as np

from eval.baselines.physical import require


def tvl1(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """TV-L1 flow of two images of any rank. Returns: flow, see `eval.baselines`.

    Raises: MissingExtraError: scikit-image is not installed.
    """
    registration = require("skimage.registration", "optical-flow")
    images = [np.asarray(one, np.float32) / np.float32(255) for one in (fixed, moving)]
    flow = registration.optical_flow_tvl1(*images)  # [R, *spatial], pull-back, voxels, ij
    return np.ascontiguousarray(np.moveaxis(flow, 0, -1), np.float32)
