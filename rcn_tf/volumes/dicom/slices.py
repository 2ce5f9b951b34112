"""A slice of a DICOM series: place, values and acquisition of one plane of pixels.

A file of the old kind holds one, a multi-frame file many (`files`, `frames`). Both become
`Slice`s, so that all later steps, above all the checks, are written once.
"""

from __future__ import annotations

import dataclasses
import pathlib

TELLING = {
    "StackID": ("0020|9056", "stack {}"),
    "EchoTime": ("0018|0081", "echo time {} ms"),
    "EffectiveEchoTime": ("0018|9082", "echo time {} ms"),
    "EchoNumbers": ("0018|0086", "echo {}"),
    "TemporalPositionIdentifier": ("0020|0100", "time point {}"),
    "TemporalPositionIndex": ("0020|9128", "time point {}"),
    "DiffusionBValue": ("0018|9087", "b-value {} s/mm2"),
    "DiffusionGradientOrientation": ("0018|9089", "gradient {}"),
    "NominalPercentageOfCardiacPhase": ("0018|9241", "cardiac phase {} %"),
    "NominalPercentageOfRespiratoryPhase": ("0020|9245", "respiratory phase {} %"),
    "TriggerTime": ("0018|1060", "trigger time {} ms"),
    "NominalCardiacTriggerDelayTime": ("0020|9153", "trigger delay {} ms"),
    "FrameReferenceTime": ("0054|1300", "reference time {} ms"),
    "TemporalPositionTimeOffset": ("0020|930d", "time {} s"),
    "ComplexImageComponent": ("0008|9208", "{}"),
    "InversionTime": ("0018|0082", "inversion time {} ms"),
    "InversionTimes": ("0018|9079", "inversion time {} ms"),
    "FlipAngle": ("0018|1314", "flip angle {} degrees"),
    "KVP": ("0018|0060", "{} kV"),
    "ConvolutionKernel": ("0018|1210", "kernel {}"),
    "ImageType": ("0008|0008", "image type {}"),
    "FrameType": ("0008|9007", "frame type {}"),
    "EnergyWindowVector": ("0054|0010", "energy window {}"),
    "RRIntervalVector": ("0054|0060", "heartbeat {}"),
    "TimeSlotVector": ("0054|0070", "cardiac phase {}"),
    "AcquisitionNumber": ("0020|0012", "acquisition {}"),
    "FrameAcquisitionNumber": ("0020|9156", "acquisition {}"),
    "ContrastBolusAgent": ("0018|0010", "contrast agent {}"),
    "AcquisitionTime": ("0008|0032", "acquired at {}"),
    "FrameAcquisitionDateTime": ("0018|9074", "acquired at {}"),
}
"""Attributes that tell the acquisitions of one series apart, the clearest first: tag, words."""

_FARTHEST = 1e6  # mm
_NAN = float("nan")


@dataclasses.dataclass(frozen=True, eq=False)
class Slice:
    """One plane of pixels.

    file, frame: where it is; frame from 0, None for the only plane of a file of the old kind.
    uid: of its series. instance, kind: SOP instance and class UIDs.
    together: what the frames of one file have in common; "" if only the series joins slices.
    size: columns, rows. spacing: (x, y), mm, along a row and along a column.
    position: of the first pixel's centre, LPS, mm; axes: of a row, of a column; NaN if unsaid.
    stated_step: distance between slices, mm, as the header has it; NaN if unsaid.
    stated_count: slices there should be in the series at least; 0 if unsaid.
    slope, intercept: value = slope x stored + intercept.
    padding: stored values (value, limit of the range) of pixels outside the image; None if unsaid.
    implied: whether its place follows from the first frame's and a step.
    inverted: the lowest plus the highest stored value, if the lowest is shown white; else None.
    pixel_type: SimpleITK's, of the values; None for frames.
    told: {keyword of `TELLING`: text}.
    """

    file: str
    frame: int | None = None
    uid: str = ""
    together: str = ""
    instance: str = ""
    kind: str = ""
    modality: str = ""
    description: str = ""
    size: tuple[int, ...] = (0, 0)
    spacing: tuple[float, ...] = (_NAN, _NAN)
    position: tuple[float, ...] = (_NAN,) * 3
    axes: tuple[float, ...] = (_NAN,) * 6
    stated_step: float = _NAN
    thickness: float = _NAN
    stated_count: int = 0
    slope: float = 1.0
    intercept: float = 0.0
    padding: tuple[int | None, ...] = (None, None)
    implied: bool = False
    inverted: int | None = None
    pixel_type: int | None = None
    told: dict[str, str] = dataclasses.field(default_factory=dict)

    def __str__(self):
        name = str(pathlib.Path(self.file))
        return name if self.frame is None else f"frame {self.frame + 1} of {name}"

    @property
    def has_place(self) -> bool:
        """Whether position and orientation are known and plausible for a body."""
        return all(abs(value) < _FARTHEST for value in (*self.position, *self.axes))  # NaN fails


def as_stored(value: float | None, signed: bool, bits: int) -> int | None:
    """A stored value that a header gives in the other sign's notation (65535 for -1).

    Args: value: number or None. signed: whether pixels are. bits: of a pixel's value.
    """
    if value is None:
        return None
    value = int(value)
    if signed and value >= 2 ** (bits - 1):
        return value - 2**bits
    return value + 2**16 if not signed and value < 0 else value
