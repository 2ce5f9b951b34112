"""VR-Net's Tables I to VI: cascades and first flows, other methods on three data sets, run times.

    ACDC          study `acdc`, of the public download: `rcn prepare acdc`
    UK Biobank    study `ukbb`, slices of UK Biobank, which needs an application
    3D CMR        study `cardiac3d`, volumes of de Marvao et al., which need an application

Two tables are this project's: `vrnet_cascades`, VR-Nets beside VoxelMorph and RC-Net on ACDC in one
short run, and `vrnet_data`, 10, 30 and 100 % of its training pairs. VoxelMorph and N×RC-Net are the
presets `rcnet_N_*`, VR-Net's are `vrnet_*`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from eval.row_methods import FFD, IDENTITY, Baseline, Method, Trained, Unavailable
from eval.tables.layout import METRICS, Measure, Table, Task
from rcn_tf.presets.papers import PaperTable, load_tables

ACDC = Task("acdc", "test", "acdc", "`rcn prepare acdc` makes it of the public download")
UKBB = Task("ukbb", "test", "ukbb", "UK Biobank's images need an application")
CMR = Task("cardiac3d", "test", "cmr", "the 3D CMR volumes need an application")
IMAGES = ("acdc", "ukbb", "cmr")
"""`Task.images` of hearts."""

FRACTIONS = {"10 %": "10-percent", "30 %": "30-percent", "100 %": "1"}
"""{share of the training pairs: scheme of the dataset config}."""

TVL1 = Baseline("skimage_tvl1", "tvl1:tvl1")
DEMONS = Baseline("simpleitk_demons_alone", "demons:alone")
SYN = Baseline("ants_syn_alone", "ants:syn_alone")
SIAMESE = Unavailable(
    "not built: the paper prints neither layers nor channels of the Siamese network, and cites for "
    "them a recurrent network over whole films that is trained together with a segmentation"
)

_PARTS = ("LV", "Myo", "RV")
_CASCADES = ("1×1", "2×1", "2×2", "3×2", "6×1")
_SLICES, _VOLUMES = ("acdc", "ukbb"), ("cmr",)
_NOTES = {
    "tvl1": "TV-L1 is scikit-image's solver, FFD SimpleITK's B-splines without bending energy: "
    "neither is tuned on the test set, as the paper's are.",
    "std": "Standard deviations here are across pairs of slices or volumes, the paper's across "
    "subjects.",
}


def _vrnet(label: str, images: tuple = (), **change) -> Trained:
    """The VR-Net that the paper calls "R-L2 3×2"."""
    kind, cascades = label.split(" ")
    denoiser, term = kind.split("-")
    ending = "" if denoiser == "R" else "_u"
    network = f"vrnet_{term.lower()}_{cascades.replace('×', 'x')}{ending}"
    return Trained(network, images=images, **change)


def _rcnets(numbers) -> dict[str, Trained]:
    return {f"{n}×RC-Net": Trained(f"rcnet_{n}") for n in numbers}


def _table(name: str, rows: Mapping[str, Method], tasks: Mapping[str, Task], **options) -> Table:
    """Args: tasks: {beginning of a column's name: its pairs}; "" for columns that name none."""
    columns = {}
    for column in load_tables()[name].columns:
        dataset, task = next((key, tasks[key]) for key in tasks if column.startswith(key))
        columns[column] = _measure(column[len(dataset) :].strip(), task)
    return Table(name, rows, columns, **options)


def _measure(column: str, task: Task) -> Measure:
    """What "Dice", "Avg HD" or "LV Dice" measures."""
    part, _, name = column.rpartition(" ")
    if column in METRICS:
        return Measure(METRICS[column], task, column)
    metric = METRICS[name] if part == "Avg" else f"{METRICS[name]}:{part}"
    return Measure(metric, task, column)


_TABLE_1: dict[str, Method] = {
    f"{denoiser}-{term} {cascades}": _vrnet(f"{denoiser}-{term} {cascades}")
    for denoiser in "RU"
    for term in ("L2", "L1")
    for cascades in _CASCADES
}
_TABLE_2: dict[str, Method] = {
    "U-Net": _vrnet("R-L2 6×1"),
    **{
        name.capitalize(): _vrnet("R-L2 6×1", variant=name, settings=(f"network.initial={name}",))
        for name in ("noise", "zeros")
    },
}
_ON_SLICES: dict[str, Method] = {
    "Unreg": IDENTITY,
    "FFD": FFD,
    "TV-L1": TVL1,
    "Siamese": SIAMESE,
    "VoxelMorph": Trained("rcnet_1"),
    **_rcnets(range(2, 8)),
}
_ON_VOLUMES: dict[str, Method] = {
    "Unreg": IDENTITY,
    "Demons": DEMONS,
    "FFD": FFD,
    "SyN": SYN,
    "VoxelMorph": Trained("rcnet_1"),
    **_rcnets((2, 3)),
    **{f"{kind} 2×1": _vrnet(f"{kind} 2×1") for kind in ("R-L2", "R-L1", "U-L2", "U-L1")},
}
_TABLE_6: dict[str, Method] = {
    "TV-L1": Baseline(TVL1.name, TVL1.run, images=_SLICES),
    "Demons": Baseline(DEMONS.name, DEMONS.run, images=_VOLUMES),
    "SyN": Baseline(SYN.name, SYN.run, images=_VOLUMES),
    "FFD": FFD,
    "Siamese": SIAMESE,
    "VoxelMorph": Trained("rcnet_1"),
    **_rcnets((2, 3)),
    "7×RC-Net": Trained("rcnet_7", images=_SLICES),
    "R,U-L1,2 1×1": _vrnet("R-L2 1×1"),
    "R,U-L1,2 2×1": _vrnet("R-L2 2×1"),
    "R,U-L1,2 6×1": _vrnet("R-L2 6×1", images=_SLICES),
}
_SECONDS = {
    f"{rank} {device}": Measure(f"{device.lower()}_seconds", task, f"{rank} {device} seconds")
    for rank, task in (("2D", ACDC), ("3D", CMR))
    for device in ("CPU", "GPU")
}
_DATA: dict[str, Method] = {
    f"{label}, {share}": dataclasses.replace(method, scheme=scheme)
    for label, method in (
        ("R-L2 2×1", _vrnet("R-L2 2×1")),
        ("2×RC-Net", Trained("rcnet_2")),
        ("VoxelMorph", Trained("rcnet_1")),
    )
    for share, scheme in FRACTIONS.items()
}
_CASCADE_ROWS: dict[str, Method] = {
    "Unreg": IDENTITY,
    "VoxelMorph": Trained("rcnet_1"),
    "2×RC-Net": Trained("rcnet_2"),
    **{
        f"R-{term} {cascades}": _vrnet(f"R-{term} {cascades}")
        for term in ("L2", "L1")
        for cascades in _CASCADES[:4]
    },
}


def _own(name: str, title: str, rows: Mapping[str, Method], columns: tuple) -> Table:
    """A table of ACDC that the paper does not have."""
    frame = PaperTable(name, f"VR-Net, {title}", "ACDC, not in the paper", columns,
                       {label: {} for label in rows})  # fmt: skip
    measures = {column: _measure(column, ACDC) for column in columns}
    return Table(name, rows, measures, own=frame, remarks=(_NOTES["std"],))


TABLES = {
    "vrnet1": _table(
        "vrnet1", _TABLE_1, {"UK Biobank": UKBB, "ACDC": ACDC}, remarks=(_NOTES["std"],)
    ),
    "vrnet2": _table("vrnet2", _TABLE_2, {"UK Biobank": UKBB}, remarks=(_NOTES["std"],)),
    "vrnet3": _table(
        "vrnet3",
        {**_ON_SLICES, "R-L2 6×1": _vrnet("R-L2 6×1")},
        {"": UKBB},
        remarks=tuple(_NOTES.values()),
        curves={"RC-Net": {n: f"{n}×RC-Net" for n in range(2, 8)}},
    ),
    "vrnet4": _table(
        "vrnet4",
        {**_ON_SLICES, "R-L1 3×2": _vrnet("R-L1 3×2")},
        {"": ACDC},
        remarks=tuple(_NOTES.values()),
        curves={"RC-Net": {n: f"{n}×RC-Net" for n in range(2, 8)}},
    ),
    "vrnet5": _table("vrnet5", _ON_VOLUMES, {"": CMR}, remarks=tuple(_NOTES.values())),
    "vrnet6": Table(
        "vrnet6",
        _TABLE_6,
        {column: _SECONDS[column] for column in load_tables()["vrnet6"].columns},
    ),
}
OWN_TABLES = {
    "vrnet_cascades": _own(
        "vrnet_cascades",
        "cascades beside RC-Net",
        _CASCADE_ROWS,
        load_tables()["vrnet4"].columns,
    ),
    "vrnet_data": _own(
        "vrnet_data", "amount of training data", _DATA, ("Avg Dice", "Avg HD", "J<0 %")
    ),
}
