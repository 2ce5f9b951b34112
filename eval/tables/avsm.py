"""AVSM's Tables 1 and 2: knees of the same subject and of different ones, and ablations.

    longitudinal    study `oai_longitudinal`, two visits of a subject: `rcn prepare oai`
    cross           study `oai_cross`, different subjects

Pairs are registered in both directions, so that every row also has its symmetry error (Fig. 7).
`avsm_steps` is this project's: the same trained model after more and more steps (Fig. 8).
"""

from __future__ import annotations

from collections.abc import Mapping

from eval.row_methods import (
    ANTS,
    DEMONS,
    ELASTIX,
    IDENTITY,
    LINEAR,
    Baseline,
    Method,
    Trained,
    Unavailable,
)
from eval.tables.layout import METRICS, Measure, Table, Task
from rcn_tf.presets.papers import PaperTable, load_tables

_SOURCE = "OAI's images need an application; `rcn prepare oai` makes it of them"
LONGITUDINAL = Task(
    "oai_longitudinal", "test-pairs", "knee_longitudinal", source=_SOURCE, both_ways=True
)
CROSS = Task("oai_cross", "test-pairs", "knee_cross", source=_SOURCE, both_ways=True)
DATASETS = {"longitudinal": LONGITUDINAL, "cross": CROSS}
KNEES = ("knee_longitudinal", "knee_cross")
"""`Task.images` of knees."""

AFFINE_STEPS, VELOCITY_STEPS = (1, 3, 5, 7), (1, 2, 3)
_REMARKS = (
    "Folds here are voxels with a negative Jacobian determinant (forward differences); the paper's "
    "code counts negative products of the three diagonal derivatives, which are among the metrics "
    "below as folds of the product.",
    "The symmetry error is the mean distance that a point of the interior is off after a "
    "registration and that of the reversed pair.",
)
_SECONDS = (
    "The paper's seconds are those of a GTX 1080 Ti, of NiftyReg, demons and SyN those of ten "
    "cores; here they are the processor's for all rows.",
    "Demons start from SimpleITK's affine map, SyN from ANTs' own; the VoxelMorph of the paper is "
    "diffeomorphic and starts from AVSM's affine steps, the one here has an affine stage of its "
    "own.",
)


def _avsm(affine: int | None = None, velocity: int | None = None) -> Trained:
    """The whole AVSM with a number of steps; by default its own."""
    chosen = (("n_affine_steps", affine), ("n_velocity_steps", velocity))
    return Trained("avsm", options=tuple(one for one in chosen if one[1] is not None))


def _row(row: str, affine: int, velocity: int) -> Trained:
    """A row of Table 2, which is tested with the steps that it trains."""
    options = (("n_affine_steps", affine), ("n_velocity_steps", velocity))
    return Trained(f"avsm_{row}", options=options)


_TABLE_1: dict[str, Method] = {
    "affine-NiftyReg": Baseline("niftyreg_affine", "niftyreg:affine"),
    "affine-opt": Baseline("affine_opt", "momentum:affine"),
    "affine-net (7-step)": _avsm(velocity=0),
    "Demons": DEMONS,
    "SyN": ANTS,
    "NiftyReg-NMI": Baseline("niftyreg_nmi", "niftyreg:nmi"),
    "NiftyReg-LNCC": Baseline("niftyreg_lncc", "niftyreg:lncc"),
    "vSVF-opt": Baseline("vsvf_opt", "momentum:vsvf"),
    "VoxelMorph(w/o aff)": Trained("voxelmorph_alone"),
    "VoxelMorph(with aff)": Trained("voxelmorph"),
    "AVSM (2-step)": _avsm(),
    "AVSM (3-step)": _avsm(velocity=3),
}
_EXTRA_1 = {
    "identity": IDENTITY,
    "SimpleITK affine": LINEAR,
    "ANTs affine": Baseline("ants_affine", "ants:affine"),
    "Elastix B-spline": ELASTIX,
}
_TABLE_2: dict[str, Method] = {
    "I": Unavailable("the paper prints no number: without the regularisation its training fails"),
    "II: + Af-Reg": _row("af_reg", 1, 0),
    "III: + Af-Multi": _row("af_multi", 7, 0),
    "IV: + Af-Sym": _row("af_sym", 7, 0),
    "V: + Af-MK": _row("af_mk", 7, 0),
    "VI: + vSVF": _row("vsvf", 7, 1),
    "VII: + vSVF-MK": _row("vsvf_mk", 7, 1),
    "VIII: + vSVF-Multi": _row("vsvf_multi", 7, 3),
    "IX: + vSVF-Sym": _avsm(velocity=3),
}
_STEPS: dict[str, Method] = {
    **{f"affine {n}": _avsm(affine=n, velocity=0) for n in AFFINE_STEPS},
    **{f"affine 7, velocity {n}": _avsm(velocity=n) for n in VELOCITY_STEPS},
}


def _table(name: str, rows: Mapping[str, Method], **options) -> Table:
    columns = {}
    for column in load_tables()[name].columns:
        dataset, _, metric = column.partition(" ")
        if dataset in DATASETS:
            columns[column] = Measure(METRICS[metric], DATASETS[dataset], metric)
        else:
            columns[column] = Measure(METRICS[column], label=column)
    return Table(name, rows, columns, **options)


def _steps() -> Table:
    """The table of steps, which the paper draws as Fig. 8."""
    metrics = {"Dice": "dice", **{name: METRICS[name] for name in ("folds", "fold size")}}
    metrics["symmetry (mm)"] = "symmetry_mm"
    columns = {
        f"{dataset} {name}": Measure(metric, task, name)
        for dataset, task in DATASETS.items()
        for name, metric in metrics.items()
    }
    frame = PaperTable(
        "avsm_steps", "AVSM, steps", "one model with more and more steps, not in the paper",
        tuple(columns), {label: {} for label in _STEPS},
    )  # fmt: skip
    return Table(
        "avsm_steps", _STEPS, columns, own=frame, remarks=_REMARKS, extra={"identity": IDENTITY}
    )


TABLES = {
    "avsm1": _table("avsm1", _TABLE_1, extra=_EXTRA_1, remarks=(*_REMARKS, *_SECONDS)),
    "avsm2": _table("avsm2", _TABLE_2, extra={"identity": IDENTITY}, remarks=_REMARKS),
}
OWN_TABLES = {"avsm_steps": _steps()}
