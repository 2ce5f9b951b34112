"""The papers' tables: which method makes each row, which measure of which pairs each column.

A study names a dataset config, `<study>.json` in the folder of dataset configs:

    liver                   RCN: trained on MSD and BFH; SLIVER, LiTS and LSPIG tested
    brain                   RCN: ADNI, ABIDE, ADHD to the first scan of LPBA
    brain_s02, brain_s03    the same to the second and the third scan (Table 5)
    vtn_liver               VTN: trained on LiTS and BFH, all pairs of SLIVER tested
    vtn_brain               VTN: all pairs; LPBA tested
    *_aligned               the same after ANTs' affine alignment (`python -m eval.prealign`)
"""

import dataclasses
from collections.abc import Mapping
from typing import Optional

from eval import table_methods as methods
from eval.table_methods import ANTS, ELASTIX, Trained
from rcn_tf.presets.papers import load_tables

_CAPPED = " [here "  # in labels of rows with fewer cascades than the paper's


@dataclasses.dataclass(frozen=True)
class Task:
    """The pairs of a study's subset."""

    study: str
    subset: str

    def aligned(self):
        """The same pairs after affine alignment."""
        return Task(f"{self.study}_aligned", self.subset)


@dataclasses.dataclass(frozen=True)
class Measure:
    """A column: a metric of `rcn_tf.evaluation` on a task; of times `task` is None: any will do."""

    metric: str
    task: Optional[Task] = None


@dataclasses.dataclass(frozen=True)
class Table:
    """name: as in `papers.yaml`, and on the command line. rows: {label: method}, as printed.

    columns: {name as in `papers.yaml`: Measure}. extra: rows that the paper has not.
    """

    name: str
    rows: Mapping
    columns: Mapping
    extra: Mapping = dataclasses.field(default_factory=dict)

    @property
    def paper(self):
        """PaperTable."""
        return load_tables()[self.name]

    def printed(self, label):
        """{column: Score} that the paper has in a row; empty for an extra row."""
        return self.paper.rows.get(label.partition(_CAPPED)[0], {})

    def tasks(self):
        """The different tasks of the columns, in order."""
        return list(dict.fromkeys(m.task for m in self.columns.values() if m.task))

    def reduced(self, cascades):
        """The table with at most so many cascades, without rows that become equal to another."""
        rows, seen = {}, set()
        for label, method in self.rows.items():
            small = method.capped(cascades)
            if small not in seen:
                rows[label if small == method else f"{label}{_CAPPED}{cascades}]"] = small
            seen.add(small)
        return dataclasses.replace(self, rows=rows)


DATASETS = {
    "SLIVER": Task("liver", "sliver-val"),
    "LiTS": Task("liver", "lits-val"),
    "LSPIG": Task("liver", "lspig-val"),
    "LPBA": Task("brain", "lpba-val"),
    "Atlas 1": Task("brain", "lpba-val"),
    "Atlas 2": Task("brain_s02", "lpba-val"),
    "Atlas 3": Task("brain_s03", "lpba-val"),
}
_VTN_LIVER = Task("vtn_liver", "sliver-val")
_VTN_BRAIN = Task("vtn_brain", "lpba-val")
_METRICS = {
    "Dice": "dice",
    "IoU": "organ_jaccard",
    "landmarks": "landmark_voxels",
    "similarity": "similarity",
    "Jacobian std": "jacobian_std",
    "folding %": "folding_percent",
    "GPU seconds": "gpu_seconds",
    "CPU seconds": "cpu_seconds",
}
_OTHERS = {
    "identity": methods.IDENTITY,
    "SimpleITK affine": methods.LINEAR,
    "SimpleITK demons": methods.DEMONS,
}

_VTN_2 = {
    "ANTs": ANTS,
    "Elastix": ELASTIX,
    "VoxelMorph-2": Trained("vm2"),
    "VTN ADDD": Trained("vtn_addd"),
    "VTN ADDD + inv": Trained("vtn_addd_inv"),
    "supervised": Trained("vtn_addd_supervised", scheme="supervised"),
}
_VTN_6 = {
    "ANTs": ANTS,
    "Elastix": ELASTIX,
    "VoxelMorph-2?": Trained("vm2", aligned=True),
    "VTN DD?": Trained("vtn_dd", aligned=True),
    "VTN ADD": Trained("vtn_add"),
    "VTN ADD + inv": Trained("vtn_add_inv"),
    "supervised": Trained("vtn_add_supervised", scheme="supervised"),
}


def _part(rows, table):
    """Those of the rows that a table has too."""
    return {label: rows[label] for label in load_tables()[table].rows}


def _measure(column, task):
    """Args: column: such as "SLIVER Dice" or "IoU"; task: of columns that name no dataset."""
    if column.endswith("seconds"):
        return Measure(_METRICS[column])
    dataset, _, metric = column.rpartition(" ")
    if dataset in DATASETS:
        return Measure(_METRICS[metric], DATASETS[dataset])
    return Measure(_METRICS[column], task)


def _table(name, rows, *, task=None, extra=None):
    columns = {column: _measure(column, task) for column in load_tables()[name].columns}
    return Table(name, rows, columns, extra or {})


TABLES = {
    table.name: table
    for table in (
        _table(
            "table1",
            {
                "ANTs SyN": ANTS,
                "Elastix B-spline": ELASTIX,
                "VoxelMorph": Trained("voxelmorph_alone", aligned=True),
                "VoxelMorph (reimplem.)": Trained("voxelmorph_1"),
                "5-cascade VoxelMorph": Trained("voxelmorph_5"),
                "3×5-cascade VoxelMorph": Trained("voxelmorph_5", 3),
                "VTN (ADDD)": Trained("vtn_addd"),
                "10-cascade VTN": Trained("vtn_10"),
                "2×10-cascade VTN": Trained("vtn_10", 2),
            },
            extra=_OTHERS,
        ),
        _table(
            "table2",
            {
                "Affine only": Trained("affine"),
                **{f"{n}-cascade VoxelMorph": Trained(f"voxelmorph_{n}") for n in range(1, 6)},
                **{f"{n}-cascade VTN": Trained(f"vtn_{n}") for n in range(1, 11)},
            },
        ),
        _table(
            "table3",
            {
                f"{r}×{n}": Trained(f"vtn_{n}", r)
                for n in (1, 2, 3, 5, 10)
                for r in range(1, 6 if n == 1 else 4)
            },
        ),
        _table(
            "table4",
            {
                "VoxelMorph": Trained("voxelmorph_1"),
                "VM x2": Trained("vm_x2"),
                "VM-double": Trained("vm_double"),
                "VM xx2": Trained("vm_xx2"),
                "2×1-cascade VM": Trained("voxelmorph_1", 2),
                "2-cascade VM": Trained("voxelmorph_2"),
            },
        ),
        _table(
            "table5",
            {
                "ANTs SyN": ANTS,
                "Elastix B-spline": ELASTIX,
                "VoxelMorph": Trained("voxelmorph_1"),
                "5-cascade VoxelMorph": Trained("voxelmorph_5"),
                "3×5-cascade VoxelMorph": Trained("voxelmorph_5", 3),
                "VTN (ADDD)": Trained("vtn_addd"),
                "10-cascade VTN": Trained("vtn_10"),
                "2×10-cascade VTN": Trained("vtn_10", 2),
            },
        ),
        _table(
            "vtn2",
            _VTN_2,
            task=_VTN_LIVER,
            extra=_OTHERS,
        ),
        _table(
            "vtn3",
            _part(_VTN_2, "vtn3"),
            task=_VTN_LIVER,
        ),
        _table(
            "vtn4",
            {
                "LITS": Trained("vtn_addd", scheme="lits"),
                "BFH": Trained("vtn_addd", scheme="bfh"),
                "LITS + BFH": Trained("vtn_addd"),
            },
            task=_VTN_LIVER,
        ),
        _table(
            "vtn5",
            {
                letters: Trained(f"vtn_{letters.lower()}")
                for letters in ("D", "DD", "DDD", "AD", "ADD", "ADDD")
            },
            task=_VTN_LIVER,
        ),
        _table(
            "vtn6",
            _VTN_6,
            task=_VTN_BRAIN,
            extra=_OTHERS,
        ),
        _table(
            "vtn7",
            _part(_VTN_6, "vtn7"),
            task=_VTN_BRAIN,
        ),
        _table(
            "vtn8",
            {
                "ADNI + ABIDE-1": Trained("vtn_dd", scheme="adni+abide1", aligned=True),
                "ADNI + ABIDE-1 + ABIDE-2": Trained("vtn_dd", scheme="adni+abide", aligned=True),
                "ADNI + ABIDE-1 + ABIDE-2 + ADHD": Trained("vtn_dd", aligned=True),
            },
            task=_VTN_BRAIN,
        ),
        _table(
            "vtn9",
            {
                **{f"{d}?": Trained(f"vtn_{d.lower()}", aligned=True) for d in ("D", "DD", "DDD")},
                **{letters: Trained(f"vtn_{letters.lower()}") for letters in ("AD", "ADD", "ADDD")},
            },
            task=_VTN_BRAIN,
        ),
    )
}


def needed_models(tables, is_tested):
    """ModelSpecs that the tables' rows need, each once, in order.

    Args: is_tested: f(task) -> whether there are data for it.
    """
    specs = {}
    for table in tables:
        for method in table.rows.values():
            for task in table.tasks():
                task = task.aligned() if method.aligned else task
                if isinstance(method, Trained) and is_tested(task):
                    specs.setdefault(method.spec(task.study))
    return list(specs)
