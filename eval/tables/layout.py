"""The layout of a table: a method for each row, a metric on a set of pairs for each column.

A study names a dataset config, `<study>.json` in the folder of dataset configs:

    liver                   RCN: training on MSD and BFH, tests on SLIVER, LiTS and LSPIG
    brain                   RCN: training on ADNI, ABIDE, ADHD; atlas is LPBA's first scan
    brain_s02, brain_s03    the same with LPBA's second and third scan (Table 5)
    vtn_liver               VTN: training on LiTS and BFH, tests on all pairs of SLIVER
    vtn_brain               VTN: training on all pairs, tests on all pairs of LPBA
    acdc, ukbb, cardiac3d   VR-Net: slices of ACDC and UK Biobank, volumes of 3D CMR
    oasis, nlst             RWCNet: Learn2Reg's brains with labels, lungs with key points
    oai_longitudinal, oai_cross   AVSM: knees of one subject, of two
    *_aligned               the same after ANTs' affine alignment (`python -m eval.prealign`)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

from eval.models import ModelSpec
from eval.row_methods import Baseline, Method, Trained
from rcn_tf.presets.papers import PaperTable, Score, load_tables

CAPPED = " [here "  # marks labels of rows with fewer cascades than in the paper


@dataclasses.dataclass(frozen=True)
class Task:
    """The pairs of a study's subset.

    images: of `Preset.images`, as in the paper's experiment. They choose the presets, also if
    other scans replace the paper's. source: where its data come from, for the reader of a table
    that lacks them. both_ways: whether the pairs are registered in both directions, for the
    symmetry error.
    """

    study: str
    subset: str
    images: str = "brain"
    source: str = dataclasses.field(default="", compare=False)
    both_ways: bool = dataclasses.field(default=False, compare=False)

    def aligned(self) -> Task:
        """The same pairs after affine alignment."""
        return dataclasses.replace(self, study=f"{self.study}_aligned")


@dataclasses.dataclass(frozen=True)
class Measure:
    """A column: a metric of `rcn_tf.evaluation` on a task.

    metric: "dice:LV" is that of a structure. task: None for times that may be measured on any task.
    label: what the column measures, as the paper prints it without the name of the dataset.
    """

    metric: str
    task: Task | None = None
    label: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a paper.

    name: as in `papers.yaml` and on the command line. rows: {label: method}, as printed.
    columns: {name as in `papers.yaml`: Measure}. extra: rows that the paper does not have.
    curves: {name: {number of cascades: row}}, drawn against the number of cascades.
    own: source, title and columns of a table of this project, which no paper prints.
    remarks: sentences for its readers.
    """

    name: str
    rows: Mapping[str, Method]
    columns: Mapping[str, Measure]
    extra: Mapping[str, Baseline] = dataclasses.field(default_factory=dict)
    curves: Mapping[str, Mapping[int, str]] = dataclasses.field(default_factory=dict)
    own: PaperTable | None = None
    remarks: tuple = ()

    @property
    def paper(self) -> PaperTable:
        """The table as the paper prints it; its frame if it is this project's own."""
        return self.own or load_tables()[self.name]

    def printed(self, label: str) -> Mapping[str, Score]:
        """{column: Score} of a row in the paper; empty for an extra row."""
        return self.paper.rows.get(label.partition(CAPPED)[0], {})

    def tasks(self) -> list[Task]:
        """The different tasks of the columns, in order."""
        return list(dict.fromkeys(m.task for m in self.columns.values() if m.task))

    def reduced(self, cascades: int) -> Table:
        """The table with at most `cascades` cascades; rows that become equal are merged."""
        rows, seen = {}, set()
        for label, method in self.rows.items():
            small = method.capped(cascades)
            if small not in seen:
                rows[label if small == method else f"{label}{CAPPED}{cascades}]"] = small
            seen.add(small)
        return dataclasses.replace(self, rows=rows)


# The papers' columns and their metrics in `rcn_tf.evaluation`.
METRICS = {
    "Dice": "dice",
    "IoU": "organ_jaccard",
    "landmarks": "landmark_voxels",
    "TRE": "landmark_mm",
    "similarity": "similarity",
    "Jacobian std": "jacobian_std",
    "folding %": "folding_percent",
    "HD": "outer_hausdorff_mm",
    "J<0 %": "folding_percent",
    "folds": "folds",
    "fold size": "fold_size",
    "grad J": "jacobian_gradient",
    "GPU seconds": "gpu_seconds",
    "CPU seconds": "cpu_seconds",
    "seconds": "cpu_seconds",
}


def measure(column: str, datasets: Mapping[str, Task], task: Task | None = None) -> Measure:
    """What a column such as "SLIVER Dice" or "IoU" measures.

    Args: datasets: {name in the column: Task}. task: for columns that name no dataset.
    """
    if column.endswith("seconds"):
        return Measure(METRICS[column], label=column)
    dataset, _, metric = column.rpartition(" ")
    if dataset in datasets:
        return Measure(METRICS[metric], datasets[dataset], metric)
    return Measure(METRICS[column], task, column)


def needed_models(tables: Iterable[Table], is_tested: Callable[[Task], bool]) -> list[ModelSpec]:
    """The models that the tables' rows need, each once, in order.

    Args: is_tested: returns whether there are data for a task.
    """
    specs: dict[ModelSpec, None] = {}
    for table in tables:
        for method in table.rows.values():
            for task in table.tasks():
                task = task.aligned() if method.aligned else task
                if isinstance(method, Trained) and method.fits(task) and is_tested(task):
                    specs.setdefault(method.spec(task))
    return list(specs)
