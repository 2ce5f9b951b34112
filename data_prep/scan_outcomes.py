"""Outcomes of the preparation of scans, one by one and in total."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Outcome of one scan.

    error: one line, or None; disk_full: whether that was the reason. labels: ids in the
    segmentation. note: the recipe's. warnings: sentences on the scan's files. seconds: by step.
    reused: finished in an earlier run.
    """

    scan_id: str
    error: str | None = None
    disk_full: bool = False
    labels: tuple = ()
    note: str = ""
    warnings: tuple = ()
    seconds: dict = dataclasses.field(default_factory=dict)
    reused: bool = False


@dataclasses.dataclass(frozen=True)
class Summary:
    """Outcome of a run.

    outcomes: all, in the pack's order. seconds: wall time. remarks: sentences on what was
    changed, or left, in a dataset config that was there before.
    """

    outcomes: tuple
    seconds: float
    remarks: tuple = ()

    @property
    def prepared(self) -> list[str]:
        """Ids of the scans that are in the pack."""
        return [one.scan_id for one in self.outcomes if one.error is None]

    @property
    def failed(self) -> dict[str, str]:
        """{scan id: error} of the scans that are not in the pack."""
        return {one.scan_id: one.error for one in self.outcomes if one.error is not None}

    @property
    def fresh(self) -> int:
        """Number of scans that were prepared in this run and not found finished."""
        return sum(one.error is None and not one.reused for one in self.outcomes)

    @property
    def labels(self) -> list[int]:
        """All label ids except 0, sorted."""
        return sorted({label for one in self.outcomes for label in one.labels} - {0})

    @property
    def notes(self) -> dict[str, str]:
        """{scan id: note} of the scans that have one."""
        return {one.scan_id: one.note for one in self.outcomes if one.note}

    def step_shares(self) -> dict[str, float]:
        """{step: share of the workers' time}, largest first."""
        total: dict[str, float] = {}
        for one in self.outcomes:
            for step, seconds in one.seconds.items():
                total[step] = total.get(step, 0.0) + seconds
        whole = sum(total.values()) or 1.0
        order = sorted(total, key=total.__getitem__, reverse=True)
        return {step: total[step] / whole for step in order}
