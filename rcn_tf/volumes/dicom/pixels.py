"""How a DICOM file stores values: 16-bit integers and the line that gives the values back."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

_LEVELS, _HALF = 65535, 32768


@dataclasses.dataclass(frozen=True)
class Storage:
    """value = slope x stored + intercept, with stored integers of 16 bits, signed or not."""

    slope: float
    intercept: float
    signed: bool

    def encode(self, values: npt.ArrayLike) -> np.ndarray:
        """Stored integers, nearest to the values; little endian."""
        kind = np.dtype("<i2" if self.signed else "<u2")
        limits = np.iinfo(kind)
        stored = np.rint((np.asarray(values, np.float64) - self.intercept) / self.slope)
        return np.clip(stored, limits.min, limits.max).astype(kind)

    def decode(self, stored: np.ndarray) -> np.ndarray:
        """Values as a reader will see them, float64."""
        return stored * np.float64(self.slope) + self.intercept


def choose_storage(array: np.ndarray, *, intercept: bool = True) -> Storage:
    """Chooses the storage of an array: exact for whole numbers that span less than 65536.

    Args: array: finite values. intercept: whether there may be one (not for PET).
    Returns: Storage; with slope 1 if it is exact. Slope and intercept are rounded to the
        standard's decimal strings of 16 characters.
    Raises: ValueError: values whose difference is too large for a float.
    """
    low, high = array.min().item(), array.max().item()
    if np.issubdtype(array.dtype, np.integer) or np.array_equal(array, np.rint(array)):
        if low >= -_HALF and high < _HALF:
            return Storage(1.0, 0.0, signed=True)
        if low >= 0 and high <= _LEVELS:
            return Storage(1.0, 0.0, signed=False)
        if intercept and high - low <= _LEVELS and _as_written(low) == low:
            return Storage(1.0, float(low), signed=False)
    if not np.isfinite(high - low):
        raise ValueError(f"values from {low:g} to {high:g} cannot be stored in 16 bits")
    if intercept:
        slope = _as_written((high - low) / _LEVELS) or 1.0
        return Storage(slope, _as_written(low), signed=False)
    signed = low < 0
    slope = max(high / (_HALF - 1), -low / _HALF) if signed else high / _LEVELS
    return Storage(_as_written(slope) or 1.0, 0.0, signed)


def _as_written(value):
    from pydicom.valuerep import format_number_as_ds

    return float(format_number_as_ds(float(value)))
