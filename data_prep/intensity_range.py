"""Which intensity window a data set needs: what its scans hold, and what a window would do.

A pack holds 256 grey levels, which a window spreads over [low, high]. A narrow window cuts off
intensities, a wide one leaves few levels for those that matter: RWCNet's -4000 to 16000 gives all
tissue of a CT, -1000 to 300 HU, no more than 17 of them.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Sequence

import numpy as np

LEVELS = 255
OUTER, INNER = (0.1, 99.9), (5.0, 95.0)  # percentiles
_FEW = 32  # levels below which a window is too wide


@dataclasses.dataclass(frozen=True)
class ScanRange:
    """Intensities of one scan.

    Attributes:
        path: of the image.
        least, most: of all voxels.
        outer: 0.1 and 99.9 % percentiles without the padding.
        inner: 5 and 95 % percentiles without the padding.
        padding: value of the outermost voxels if it is the scan's least one and fills more than
            1 % of it, else None.
    """

    path: pathlib.Path
    least: float
    most: float
    outer: tuple[float, float]
    inner: tuple[float, float]
    padding: float | None


@dataclasses.dataclass(frozen=True)
class WindowEffect:
    """What a window does to one scan.

    Attributes:
        below, above: shares of the voxels that it cuts off, without the padding.
        levels: grey levels between the scan's 5 and 95 % percentiles.
    """

    below: float
    above: float
    levels: float

    @property
    def too_wide(self) -> bool:
        """Whether so few levels are left that structures may merge."""
        return self.levels < _FEW


def scan_range(path: pathlib.Path, array: np.ndarray) -> ScanRange:
    """Intensities of a scan. Args: array: of the image, any shape, not empty.

    Raises: ValueError: it holds NaN or infinity.
    """
    array = np.asarray(array, np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{path} holds NaN or infinity.")
    padding = _padding(array)
    values = _inside(array, padding)
    outer, inner = _percentiles(values, OUTER), _percentiles(values, INNER)
    return ScanRange(path, float(array.min()), float(array.max()), outer, inner, padding)


def suggested_window(scans: Sequence[ScanRange]) -> tuple[float, float]:
    """The window from the least to the most outer percentile of all scans, rounded outwards.

    Scans that are scaled already, to [0, 1] or 0..255, keep that range.
    """
    low, high = min(s.least for s in scans), max(s.most for s in scans)
    for top in (1.0, 255.0):
        if low >= 0 and top / 2 < high <= top:
            return 0.0, top
    low, high = min(s.outer[0] for s in scans), max(s.outer[1] for s in scans)
    unit = 10.0 ** math.floor(math.log10((high - low) or 1.0) - 1)
    return math.floor(low / unit) * unit, math.ceil(high / unit) * unit


def window_effect(array: np.ndarray, low: float, high: float) -> WindowEffect:
    """What the window [low, high] does to a scan. Args: array: as in `scan_range`."""
    array = np.asarray(array, np.float64)
    values = _inside(array, _padding(array))
    first, last = (min(max(p, low), high) for p in np.percentile(values, INNER))
    return WindowEffect(
        float((values < low).mean()),
        float((values > high).mean()),
        LEVELS * float(last - first) / (high - low),
    )


def _percentiles(values: np.ndarray, pair: tuple[float, float]) -> tuple[float, float]:
    low, high = np.percentile(values, pair)
    return float(low), float(high)


def _padding(array):
    """The least value, if the scan's corners hold it and it fills more than 1 %; else None."""
    least = array.min()
    corners = array[np.ix_(*([0, -1] for _ in range(array.ndim)))]
    filled = (array == least).mean()
    return float(least) if (corners == least).all() and 0.01 < filled < 1 else None


def _inside(array, padding):
    return array.ravel() if padding is None else array[array != padding]
